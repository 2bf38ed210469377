"""The tables, made from the JSON."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from bench.plan import FEW, MANY, Samples

Results = dict[str, Any]

DISTURBED = 0.1  # so much of the machine may be used by what is no part of the run

# Of each work: what the columns are called, their number in a sample, and how it is written.
_TALK = (
    ("deliveries/s", "deliveries_per_s", "{:,.0f}"),
    ("CPU us/delivery", "cpu_us_per_delivery", "{:.2f}"),
    ("p99 ms", "p99_ms", "{:.2f}"),
    ("server busy", "server_busy", "{:.0%}"),
    ("generator busy", "generator_busy", "{:.0%}"),
)
_JOIN = (("joins/s", "joins_per_s", "{:,.0f}"), ("CPU us/join", "cpu_us_per_join", "{:.0f}"))
_HTTP = (("answers/s", "answers_per_s", "{:,.0f}"), ("CPU us/answer", "cpu_us_per_answer", "{:.0f}"))
_HOLD = (("KiB/connection", "kib_per_connection", "{:.2f}"), ("CPU %", "cpu_percent", "{:.2f}"))
_CROWD = (
    ("joins/s", "joins_per_s", "{:,.0f}"),
    ("presence/s, most", "presence_most_per_s", "{:.0f}"),
    ("presence/s, mean", "presence_mean_per_s", "{:.1f}"),
)
_FILE = (
    ("MB/s", "mb_per_s", "{:,.0f}"),
    ("CPU us/chunk", "cpu_us_per_chunk", "{:.0f}"),
    ("server busy", "server_busy", "{:.0%}"),
)
_BESIDE = (("p50 ms", "p50_ms", "{:.2f}"), ("p99 ms", "p99_ms", "{:.2f}"))
COLUMNS = {
    **dict.fromkeys(("room", "rooms", "latency", "workers", "members", "spread", "sizes", "rates"), _TALK),
    "joins": _JOIN,
    "crowd": _CROWD,
    "create": _HTTP,
    "details": _HTTP,
    "idle": _HOLD,
    "file": _FILE,
    "beside": _BESIDE,
    "memory": _HOLD,
}

_LIVING = {
    "room": "cpu_us_per_delivery",
    "rooms": "cpu_us_per_delivery",
    "latency": "p99_ms",
    "joins": "cpu_us_per_join",
    "create": "cpu_us_per_answer",
    "details": "cpu_us_per_answer",
}

_WORKERS = ("relayd, 2 workers", "relayd, 0 workers")

_BY_LIBRARY = {kind: (f"relayd, {kind}, by the Python library", "asyncio TCP") for kind in ("open", "sealed")}

# What is promised: text, work, number, relayd's name there, whose number it is divided by, bound, whether from above.
_RATIOS = (
    ("1 x 1000: CPU a delivery, C limit", "room", "cpu_us_per_delivery", "relayd", "C, a send a turn", "<= 1.5"),
    ("1 x 1000: deliveries/s, nats-server", "room", "deliveries_per_s", "relayd", "nats-server", "> 1"),
    ("200 x 5: CPU a delivery, C limit", "rooms", "cpu_us_per_delivery", "relayd", "C, a send a delivery", "<= 2.0"),
    ("200 x 5: deliveries/s, nats-server", "rooms", "deliveries_per_s", "relayd", "nats-server", "> 1"),
    ("200 x 5: deliveries/s, Node ws", "rooms", "deliveries_per_s", "relayd", "Node ws", "> 1"),
    ("200 x 5 at half: p99, C limit", "latency", "p99_ms", "relayd", "C, a send a delivery", "<= 2"),
    ("joins/s, a bare Tornado handshake", "joins", "joins_per_s", "relayd", "bare Tornado", ">= 0.8"),
    ("joins/s, nats-server", "joins", "joins_per_s", "relayd", "nats-server", ""),
    ("POST room, an empty handler", "create", "answers_per_s", "relayd", "bare Tornado", ">= 0.5"),
    ("GET details, an empty handler", "details", "answers_per_s", "relayd", "bare Tornado", ">= 0.7"),
    ("a file to one: bytes/s, a bare relay", "file", "mb_per_s", "relayd", "asyncio TCP", ">= 0.5"),
    ("a file, Python library, open: bytes/s, a bare relay", "file", "mb_per_s", *_BY_LIBRARY["open"], ">= 0.5"),
    ("a file, Python library, sealed: bytes/s, a bare relay", "file", "mb_per_s", *_BY_LIBRARY["sealed"], ">= 0.33"),
    ("a file to ten: bytes/s together, to one", "file", "mb_per_s", "relayd, 10 receivers", "relayd", "> 1"),
    ("2 workers, 1 process: CPU a delivery", "workers", "cpu_us_per_delivery", *_WORKERS, "<= 1.2"),
)
_VALUES = (
    ("10,000 idle: KiB a connection", "idle", "kib_per_connection", "<= 6"),
    ("10,000 idle: CPU %", "idle", "cpu_percent", "<= 1"),
    ("beside a file: chat p99, ms", "beside", "p99_ms", "<= 20"),
    ("5,000 joining: presence/s, most", "crowd", "presence_most_per_s", "<= 10"),
)


def line(sample: dict[str, Any]) -> str:
    """A sample, while the run goes on."""
    name = " ".join(str(sample[key]) for key in ("work", "case", "server") if sample[key])
    if "failed" in sample:
        return f"{name}: {sample['failed']}"
    parts = [f"{title} {form.format(sample[key])}" for title, key, form in _columns(sample)]
    warning = f"  ({sample['incomplete']} missing)" if sample.get("incomplete") else ""
    return f"{name}: {', '.join(parts)}; others on the machine {sample['foreign']:.0%}{warning}"


def tables(results: Results) -> dict[str, str]:
    """Each table by its name, as Markdown: the machine, the targets, and the works that were measured."""
    state = Samples([sample for sample in results["samples"] if "failed" not in sample])
    about = ", ".join(f"{name} {value}" for name, value in results["machine"].items() if value)
    disturbed = sum(one["foreign"] > DISTURBED for one in state.samples)
    about += f"; others took more than {DISTURBED:.0%} of it in {disturbed} of {len(state.samples)} parts"
    measured = {one["work"] for one in state.samples}
    works = {work: _work_table(state, work) for work in COLUMNS if work in measured}
    return {"machine": about, "targets": targets(state), **works}


def printed(results: Results) -> str:
    """All of them, to look at."""
    return "\n\n".join(f"### {name}\n\n{table}" for name, table in tables(results).items())


def write_into(document: Path, results: Results) -> None:
    """Puts each table where the document has `<!-- NAME -->` and `<!-- /NAME -->`."""
    text = document.read_text()
    for name, table in tables(results).items():
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if end:
            text = f"{before}{begin}{table}\n{end}{after}"
    document.write_text(text)


def ratios(state: Samples, work: str, key: str, server: str, other: str, case: str = "") -> list[float]:
    """Of a server's number to another's, round by round; where some pairs had the machine to themselves, of those."""
    others = {one["round"]: one for one in state.of(work, other, case)}
    pairs = [(one, others[one["round"]]) for one in state.of(work, server, case) if one["round"] in others]
    quiet = [pair for pair in pairs if all(one["foreign"] <= DISTURBED for one in pair)]
    return [one[key] / against[key] for one, against in quiet or pairs]


def targets(state: Samples) -> str:
    """What was promised and what was measured: median, least and most of the rounds."""
    rows = [(text, ratios(state, work, key, server, other), bound) for text, work, key, server, other, bound in _RATIOS]
    at_half = ratios(state, "workers", "cpu_us_per_delivery", *_WORKERS, "at half")
    rows.append(("2 workers, 1 process: the same at half", at_half, "<= 1.2"))
    for text, work, key, bound in _VALUES:
        rows.append((text, [one[key] for one in state.of(work, "relayd")], bound))
    for part, key in _LIVING.items():
        parts = Samples([{**one, key: one[part][key]} for one in state.samples if one["work"] == "living"])
        found = ratios(parts, "living", key, f"relayd, {MANY} rooms", f"relayd, {FEW} rooms")
        rows.append((f"{MANY:,} living rooms, {FEW}: {part}", found, "<= 1.25"))
    lines = ["| what, compared with | median | from - to | rounds | aim |", "| --- | --- | --- | --- | --- |"]
    for text, found, bound in rows:
        if found:
            spread = f"{min(found):.2f} - {max(found):.2f}"
            lines.append(f"| {text} | {statistics.median(found):.2f} | {spread} | {len(found)} | {bound} |")
    return "\n".join(lines)


def _columns(sample: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [column for column in COLUMNS.get(sample["work"], ()) if sample.get(column[1]) is not None]


def _work_table(state: Samples, work: str) -> str:
    jobs = list(dict.fromkeys((one["case"], one["server"]) for one in state.samples if one["work"] == work))
    first = state.of(work, jobs[0][1], jobs[0][0])[0]
    columns = _columns(first)
    titles = [title for title, _, _ in columns]
    base = next((server for _, server in jobs if server.startswith("C,")), "")
    if base:
        titles.append("CPU, x C")
    lines = [f"| | {' | '.join(titles)} |", "| --- " * (len(titles) + 1) + "|"]
    for case, server in jobs:
        cells = [form.format(state.median(key, work, server, case)) for _, key, form in columns]
        if base:
            own, limit = (state.median("cpu_us_per_delivery", work, one, case) for one in (server, base))
            cells.append(f"{own / limit:.2f}")
        lines.append(f"| {f'{case}: ' if case else ''}{server} | {' | '.join(cells)} |")
    return "\n".join(lines)
