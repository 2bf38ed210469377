"""`python -m bench.abuse`: measure what each attack does to honest people, and print a table."""

from __future__ import annotations

import argparse
import sys

import uvloop

from bench.abuse.attacks import ATTACKS
from bench.abuse.table import HEADING, line, problems
from bench.abuse.trial import Times, measure


async def _main(options: argparse.Namespace) -> int:
    times = Times(options.before, options.seconds, options.rest, options.after)
    print(HEADING, flush=True)
    failed = 0
    for name in options.only:
        outcome = await measure(name, times)
        found = problems(name, outcome)
        failed += bool(found)
        print("\n    ".join([line(name, outcome), *found]), flush=True)
        if options.verbose:
            print(f"    {outcome.told}; honest people: {outcome.closed or 'none closed'}", file=sys.stderr, flush=True)
    print(f"{len(options.only) - failed} of {len(options.only)} attacks are withstood.")
    return 1 if failed else 0


def main() -> None:
    """Parses the command line; exit code 1 if an attack does more than it may."""
    parser = argparse.ArgumentParser(prog="python -m bench.abuse", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=ATTACKS, default=list(ATTACKS), metavar="ATTACK")
    parser.add_argument("--seconds", type=float, default=8, help="of each attack")
    parser.add_argument("--before", type=float, default=8, help="seconds that are measured before it")
    parser.add_argument("--rest", type=float, default=5, help="seconds to recover, which are not measured")
    parser.add_argument("--after", type=float, default=5, help="seconds that are measured after that")
    parser.add_argument("--verbose", action="store_true", help="print what the attackers did")
    sys.exit(uvloop.run(_main(parser.parse_args())))


if __name__ == "__main__":
    main()
