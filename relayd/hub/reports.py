"""What gateways say of themselves, and what those that are gone have counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import NamedTuple

from relayd.bus.messages import Report, Tally


class Reported(NamedTuple):
    """A gateway's last report.

    Attributes:
        number: the lowest that no other living gateway has: whoever takes the place of one that died has its number.
        bus_lag_s: how long the report was under way.
    """

    number: int
    report: Report
    bus_lag_s: float


class Reports:
    """The last report of each gateway.

    Args:
        monotonic: the machine's clock, which the gateways read, too.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._last: dict[bytes, Reported] = {}  # by topic
        self._past = Tally()  # of gateways that are gone

    def __iter__(self) -> Iterator[Reported]:
        """By number."""
        return iter(sorted(self._last.values()))

    def take(self, gateway: bytes, report: Report) -> None:
        """A gateway says how it fares."""
        known = self._last.get(gateway)
        taken = {one.number for one in self._last.values()}
        number = known.number if known else next(one for one in count() if one not in taken)
        self._last[gateway] = Reported(number, report, max(0.0, self._monotonic() - report.sent_at))

    def lose(self, gateway: bytes) -> None:
        """It is gone; what it has counted is not."""
        lost = self._last.pop(gateway, None)
        if lost is not None:
            self._past.add(lost.report.tally)

    def total(self) -> Tally:
        """What all have counted since the start."""
        total = Tally()
        for tally in (self._past, *(one.report.tally for one in self._last.values())):
            total.add(tally)
        return total
