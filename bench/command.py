"""The command line of the suite."""

from __future__ import annotations

import argparse
import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench import generator, machine, plots, profile, report
from bench.plan import TARGETS, WORKS, Job, Samples

RESULTS = Path(__file__).parent / "results.json"
DOCS = Path(__file__).parent.parent / "docs"

_LOOK_S = 0.5  # for which it is looked whether anything else is going on


def main() -> None:
    """`run`, `table`, `docs` or `profile`."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="measure, write the JSON, print the table")
    run.add_argument("--rounds", type=int, default=5)
    run.add_argument("--growth-rounds", type=int, default=3, help="of the works that only show how cost grows")
    run.add_argument("--tries", type=int, default=2, help="of what others on the machine disturb")
    run.add_argument("--patience", type=float, default=10, help="seconds to wait for others on the machine to rest")
    run.add_argument("--only", nargs="+", choices=sorted(WORKS), default=list(WORKS), metavar="WORK")
    run.add_argument("--results", type=Path, default=RESULTS)
    run.add_argument("--add", action="store_true", help="keep what the JSON has of other works")
    run.set_defaults(act=_run)
    for name, act, text in (
        (
            "table",
            lambda options: print(report.printed(_read(options.results))),
            "print the tables again, from the JSON",
        ),
        ("docs", _write_docs, "draw docs/performance-*.png and put the tables into docs/performance.md"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--results", type=Path, default=RESULTS)
        command.set_defaults(act=act)
    profiler = commands.add_parser("profile", help="where relayd's time goes; needs py-spy")
    profiler.set_defaults(act=lambda options: profile.main())
    options = parser.parse_args()
    # As an exception, so that no server outlives the run.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    generator.build()
    options.act(options)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def _write_docs(options: argparse.Namespace) -> None:
    results = _read(options.results)
    plots.draw(results, DOCS)
    report.write_into(DOCS / "performance.md", results)


def _run(options: argparse.Namespace) -> None:
    kept = (
        [] if not options.add else [one for one in _read(options.results)["samples"] if one["work"] not in options.only]
    )
    samples: list[dict[str, Any]] = kept
    state = Samples(samples)
    started = time.monotonic()
    for number in range(options.rounds):
        for name, work in WORKS.items():
            if name not in options.only or (work not in TARGETS and number >= options.growth_rounds):
                continue
            jobs = list(work(state))
            # Every other round the other way round, so that being first or last favours nobody.
            for job in jobs if number % 2 == 0 else reversed(jobs):
                samples.append(_measure(job, number, options.tries, options.patience))
                print(f"{time.monotonic() - started:6.0f} s  {report.line(samples[-1])}", file=sys.stderr, flush=True)
        results = {"machine": machine.describe(), "samples": samples}
        options.results.write_text(json.dumps(results, indent=1) + "\n")
    print(report.printed(_read(options.results)))


def _measure(job: Job, number: int, most_tries: int, patience_s: float) -> dict[str, Any]:
    """The least disturbed of a few tries."""
    tries: list[dict[str, Any]] = []
    while len(tries) < most_tries and not any(
        one["foreign"] <= report.DISTURBED and "failed" not in one for one in tries
    ):
        _wait_for_rest(patience_s)
        own, busy, began = _own_cpu_s(), machine.busy_seconds(), time.monotonic()
        try:
            measured = job.call()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            measured = {"failed": repr(error)}
        foreign = machine.busy_seconds() - busy - (_own_cpu_s() - own)
        share = foreign / (time.monotonic() - began) / len(machine.CORES)
        tries.append(
            {"work": job.work, "server": job.server, "case": job.case, "round": number, "foreign": share, **measured}
        )
    return min(tries, key=lambda one: ("failed" in one, one["foreign"]))


def _wait_for_rest(patience_s: float) -> None:
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        before = machine.busy_seconds()
        time.sleep(_LOOK_S)
        if machine.busy_seconds() - before < report.DISTURBED * _LOOK_S * len(machine.CORES):
            return


def _own_cpu_s() -> float:
    """Of this process, the servers and the generator: each has ended, and been waited for, when this is asked."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))
