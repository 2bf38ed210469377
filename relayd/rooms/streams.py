"""Passes of a sender over a file, and those who share one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from math import inf

from relayd.rooms.member import Connection

HELD_SHARE = 0.25  # of the time, for which a receiver may hold others up
HELD_BEYOND_S = 1.0  # and so much longer now and then: a disk that spins up, a telephone between two cells


class Receiver:
    """One connection that receives the file.

    Attributes:
        upto: it has room for the chunks below that.
        behind: what it was sent before is still on its way out of the relay.
        stream: None while it waits for one.
    """

    __slots__ = ("_at", "_held_until", "behind", "connection", "stream", "upto")

    def __init__(self, connection: Connection, first: int, upto: int) -> None:
        self.connection = connection
        self.upto = upto
        self.behind = False
        self.stream: Stream | None = None
        self._at = first
        # When all the holding up will have been made good for; a held second takes four.
        self._held_until = 0.0

    @property
    def at(self) -> int:
        """The chunk it gets next."""
        return self._at if self.stream is None else self.stream.at

    @at.setter
    def at(self, index: int) -> None:
        self._at = index

    @property
    def has_room(self) -> bool:
        """Whether it can be sent the next chunk."""
        return not self.behind and self.at < self.upto

    def hold_up(self, since: float, now: float) -> None:
        """Books the time for which others waited for it."""
        self._held_until = max(self._held_until, since) + (now - since) / HELD_SHARE

    def patience_ends(self, since: float) -> float:
        """When it will have held up the others for too long, if it does so from `since` on."""
        owed_s = max(0.0, self._held_until - since)
        return since + (HELD_BEYOND_S / HELD_SHARE - owed_s) / (1 / HELD_SHARE - 1)


class Stream:
    """One pass of the sender.

    Attributes:
        number: the sender's connection knows it by that.
        at: the chunk that comes next from the sender.
        asked: the sender was asked for the chunks below that.
        booked: how many receivers each of those that have not come yet was booked for; empty where nothing is paced.
        limit: all of its receivers have room for the chunks below that.
        window: so many chunks may be under way.
        held_at: since when some of its receivers wait for others; None while none does.
        routes: for the hub, which makes them: its receivers by gateway. Forgotten when those change.
    """

    __slots__ = (
        "_slowest",
        "asked",
        "at",
        "behind",
        "booked",
        "first",
        "held_at",
        "limit",
        "moved_at",
        "number",
        "patience_ends",
        "receivers",
        "routes",
        "window",
    )

    def __init__(self, number: int, first: int, now: float) -> None:
        self.number = number
        self.first = self.at = self.asked = first
        self.receivers: dict[Receiver, None] = {}
        self.limit = first
        self.window = 1
        self.booked: deque[int] = deque()
        self.behind = 0  # how many of its receivers are
        self.moved_at = now  # when a chunk came or was asked for
        self.held_at: float | None = None
        self.patience_ends = inf
        self.routes: dict[bytes, bytes] | None = None
        self._slowest = 0  # how many receivers have no more room than `limit`

    def add(self, receivers: Iterable[Receiver], window: Callable[[Receiver], int]) -> None:
        """They stand where it stands, and have room for all that was asked for."""
        for receiver in receivers:
            receiver.stream = self
            self.receivers[receiver] = None
            self.behind += receiver.behind
        self.routes = None
        self._measure(window)

    def remove(self, receivers: Iterable[Receiver], window: Callable[[Receiver], int]) -> None:
        """They get no more of it. Those who stay are looked at only when the last of the slowest has gone."""
        for receiver in receivers:
            del self.receivers[receiver]
            receiver.at = self.at
            receiver.stream = None
            self.behind -= receiver.behind
            self._slowest -= receiver.upto == self.limit
        self.routes = None
        if not self._slowest:
            self._measure(window)

    def _measure(self, window: Callable[[Receiver], int]) -> None:
        if self.receivers:
            self.limit = min(receiver.upto for receiver in self.receivers)
            self._slowest = sum(receiver.upto == self.limit for receiver in self.receivers)
            self.window = min(map(window, self.receivers))

    def widen(self, before: int, window: Callable[[Receiver], int]) -> None:
        """One receiver has more room than `before`. Looks at all of them only when the last of the slowest has."""
        if before == self.limit:
            self._slowest -= 1
            if not self._slowest:
                self._measure(window)

    @property
    def starved(self) -> bool:
        """Whether all that was asked for has come."""
        return self.asked == self.at

    def blockers(self) -> list[Receiver]:
        """Those who have no room for the next chunk."""
        return [receiver for receiver in self.receivers if not receiver.has_room]

    def blocked(self) -> int:
        """How many they are."""
        if self.behind:
            return len(self.blockers())
        return self._slowest if self.limit <= self.at else 0
