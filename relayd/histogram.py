"""How long things take, counted as Prometheus counts it: by bounds that are the same everywhere."""

from __future__ import annotations

from bisect import bisect_left

import msgspec

# From a turn of an idle loop to what people call broken, in steps of about two (Prometheus' own default begins at
# 5 ms, where a server like this one is busy already).
BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Histogram(msgspec.Struct, array_like=True):
    """So many took so long.

    Attributes:
        counts: how many were within each bound and above the one before; the last counts those above all bounds.
        sum_s: seconds that all took together.
    """

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    def observe(self, seconds: float) -> None:
        """One more took so long."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def add(self, other: Histogram) -> None:
        """All that another one has counted."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum_s += other.sum_s
