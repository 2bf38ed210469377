"""What the attacks may do at most, and what they did, as a table."""

from __future__ import annotations

import dataclasses
import math

from bench.abuse.honest import Phase
from bench.abuse.trial import Outcome

AFTERWARDS = 1.5  # p50 after an attack, as a multiple of that before


@dataclasses.dataclass(frozen=True)
class Requirement:
    """What honest people may notice of an attack.

    Beside it, of every attack: no honest connection is closed, no newcomer is refused, at least half as many get in as
    before, no message is lost, and afterwards p50 is what it was, `AFTERWARDS` times at most.

    Attributes:
        p50, p99: latency, as a multiple of that before.
        longest_ms: the longest latency.
        out_mb_per_s: what the attackers are sent, once budgets that began full are used up.
        more_mib: the most memory of the server, beyond what it had before.
    """

    p50: float = math.inf
    p99: float = math.inf
    longest_ms: float = math.inf
    out_mb_per_s: float = math.inf
    more_mib: float = 128

    def __str__(self) -> str:
        """The one that is not the same for all."""
        limits = {
            f"{self.out_mb_per_s:g} MB/s": self.out_mb_per_s,
            f"{self.longest_ms:g} ms": self.longest_ms,
            f"p99 x{self.p99:g}": self.p99,
            f"p50 x{self.p50:g}": self.p50,
        }
        return next(text for text, limit in limits.items() if limit < math.inf)


USUAL = Requirement(p50=1.5)
REQUIRED = {
    # Each of the readers may have a full queue, up to the limit of all queues: 256 MiB.
    "slow-readers": Requirement(longest_ms=100, more_mib=512),
    "joins": Requirement(p99=10, out_mb_per_s=10),
    "profiles": Requirement(p99=10, out_mb_per_s=10),
    "mixture": Requirement(p99=10),
}

_COLUMNS = "{:<14} {:<8} {:>6} {:>6} {:>5} {:>5} {:>4} {:>5} {:>6} {:>4} {:>5}"
HEADING = (
    _COLUMNS.format("attack", "required", "p50", "p99", "ms", "in", "shut", "lost", "out/in", "MiB", "after")
    + "\n"
    + " ".join("-" * width for width in (14, 8, 6, 6, 5, 5, 4, 5, 6, 4, 5))
)


def line(name: str, outcome: Outcome) -> str:
    """One attack's row.

    Its columns: p50 and p99 of the latency, and the longest one in ms; newcomers who got in, of as many as would have
    before; honest connections that were closed; messages that were lost; bytes sent to the attackers for each that they
    sent; the most memory of the server; p50 afterwards.
    """
    during, told = outcome.during, outcome.told
    return _COLUMNS.format(
        name,
        str(REQUIRED.get(name, USUAL)),
        _ratio(outcome, during, 50),
        _ratio(outcome, during, 99),
        _short(during.longest_ms),
        f"{len(during.joins_s)}/{_usual_joins(outcome):.0f}",
        sum(outcome.closed.values()),
        outcome.lost,
        _short(told["received"] / max(1, told["sent"])),
        f"{outcome.peak_mib:.0f}",
        _ratio(outcome, outcome.after, 50),
    )


def problems(name: str, outcome: Outcome) -> list[str]:
    """Where it did more than it may; empty if it is withstood."""
    required, during = REQUIRED.get(name, USUAL), outcome.during
    measured = (
        ("p50, times that before", ratio(outcome, during, 50), required.p50),
        ("p99, times that before", ratio(outcome, during, 99), required.p99),
        ("p50 afterwards, times that before", ratio(outcome, outcome.after, 50), AFTERWARDS),
        ("ms until a message came", during.longest_ms, required.longest_ms),
        ("MB/s to the attackers", outcome.told["received_per_s"] / 1e6, required.out_mb_per_s),
        ("MiB of memory more than before", outcome.peak_mib - outcome.before_mib, required.more_mib),
        ("honest connections closed", sum(outcome.closed.values()), 0),
        ("messages lost", outcome.lost, 0),
        ("newcomers refused", during.refused.total(), 0),
    )
    found = [f"{what}: {value:.4g}, required: {most:g} at most" for what, value, most in measured if not value <= most]
    least = _usual_joins(outcome) / 2
    if len(during.joins_s) < least:
        found.append(f"newcomers who got in: {len(during.joins_s)}, required: {least:.0f} at least")
    return found


def ratio(outcome: Outcome, phase: Phase, percent: float) -> float:
    """Latency of a phase as a multiple of that before; infinite if no message came in one of them."""
    before, there = outcome.before.latency_ms(percent), phase.latency_ms(percent)
    return there / before if before < math.inf else math.inf


def _usual_joins(outcome: Outcome) -> float:
    before, during = outcome.before, outcome.during
    return len(before.joins_s) * during.seconds / before.seconds


def _ratio(outcome: Outcome, phase: Phase, percent: float) -> str:
    return f"x{_short(ratio(outcome, phase, percent))}"


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"
