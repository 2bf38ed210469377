"""The plots, made from the JSON."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

# One colour for a server in all plots, whoever else is there. From Okabe and Ito's set, which colour-blind
# people can tell apart.
_COLOURS = {
    "relayd": "#0072B2",
    "C, a send a turn": "#000000",
    "C, a send a delivery": "#000000",
    "nats-server": "#009E73",
    "Node ws": "#E69F00",
    "Socket.IO": "#CC79A7",
    "nchan": "#D55E00",
    "bare Tornado": "#56B4E9",
}


# Of each plot: its file, the work, what goes across and up in a sample, what is written there.
_PLOTS = (
    ("members", "members", "members", "kilo_per_s", "members", "One room: thousands of deliveries a second"),
    ("latency", "rates", "rate", "p99_ms", "messages a second", "200 rooms of 5: 99 % of deliveries take at most (ms)"),
    ("memory", "memory", "connections", "mib", "connections", "Idle connections: memory of the server (MiB)"),
)


def draw(results: dict[str, Any], to: Path) -> None:
    """Writes `performance-members.png`, `-latency.png` and `-memory.png`, as far as there are numbers."""
    about = f"{results['machine']['cpu']}, {results['machine']['date']}; medians"
    samples = [_with_units(sample) for sample in results["samples"] if "failed" not in sample]
    for name, work, across, up, label, title in _PLOTS:
        lines: dict[str, dict[float, list[float]]] = {}
        for sample in samples:
            if sample["work"] == work:
                lines.setdefault(sample["server"], {}).setdefault(sample[across], []).append(sample[up])
        if lines:
            _plot(lines, title, label, about, to / f"performance-{name}.png")


def _with_units(sample: dict[str, Any]) -> dict[str, Any]:
    if sample["work"] == "memory":
        of_connections = sample["kib_per_connection"] * sample["connections"] / 1024
        return {**sample, "mib": sample["empty_mib"] + of_connections}
    return {**sample, "kilo_per_s": sample.get("deliveries_per_s", 0) / 1000}


def _plot(lines: dict[str, dict[float, list[float]]], title: str, across: str, about: str, path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - measuring needs no plots

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415
    from matplotlib.ticker import LogLocator, ScalarFormatter  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(8, 4.8), layout="constrained")
    for server, points in lines.items():
        xs = sorted(points)
        ys = [statistics.median(points[x]) for x in xs]
        style = "--" if server.startswith("C,") else "-"
        axes.plot(xs, ys, style, marker="o", color=_COLOURS.get(server), linewidth=2, label=server)
    # Memory grows with each connection by as much; of the rest, ratios count.
    scale = "linear" if across == "connections" else "log"
    axes.set(xlabel=across, xscale=scale, yscale=scale)
    if scale == "log":
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    else:
        axes.set_ylim(bottom=0)
    axes.set_title(title, loc="left", fontsize=11)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ScalarFormatter())
    axes.set_xticks(sorted({x for points in lines.values() for x in points}))
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.supxlabel(about, fontsize=8, color="#555555")
    # Without the date of drawing the same JSON gives the same file.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
