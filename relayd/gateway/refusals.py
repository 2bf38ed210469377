"""What this gateway has refused since it last reported, for the hub to add up."""

from __future__ import annotations

from collections import Counter

from relayd.bus.messages import Refused

MAX_KEYS = 1_000  # in a second; past it refusals are counted without their addresses


class RefusalCounter:
    """Counts refusals between two reports."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()  # by (what, reason, address)

    def add(self, what: str, reason: str, address: str) -> None:
        """One more; see `rooms.refusals.Line`."""
        key = what, reason, address
        if key not in self._counts and len(self._counts) >= MAX_KEYS:
            key = what, reason, ""
        self._counts[key] += 1

    def take(self) -> Refused | None:
        """Those since it was last called; None if there were none."""
        if not self._counts:
            return None
        counts, self._counts = self._counts, Counter()
        return Refused([(*key, count) for key, count in counts.items()])
