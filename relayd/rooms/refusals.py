"""What was refused to clients: counted by reason, and by address in bounded memory; and when the log says so."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import NamedTuple

LINE_EVERY_S = 60.0  # of one reason and address
MAX_LINES = 1_000  # in that time; past it addresses share the line of their reason
RECENT_S = 300.0  # refusals of an address count as recent for one to two times as long
MAX_RECENT = 10_000  # addresses

# What is refused: in the order in which a client meets them.
CONNECTION, HEAD, HANDSHAKE, REQUEST, ROOM, JOIN, FRAME = WHAT = (
    "connection",
    "head",
    "handshake",
    "request",
    "room",
    "join",
    "frame",
)


class Line(NamedTuple):
    """A line for the log.

    Attributes:
        what: one of `WHAT`.
        reason: an error's code.
        network: digest of the smallest network of the address; b"" of several addresses.
        number: refusals since the line before.
    """

    what: str
    reason: str
    network: bytes
    number: int


class Refusals:
    """Counts refusals.

    Attributes:
        totals: since the start, by (what, reason).
    """

    def __init__(self) -> None:
        self.totals: Counter[tuple[str, str]] = Counter()
        self._unwritten: Counter[tuple[str, str, bytes]] = Counter()  # by (what, reason, network)
        self._written_at: OrderedDict[tuple[str, str, bytes], float] = OrderedDict()
        self._recent: Counter[bytes] = Counter()  # by network
        self._recent_before: Counter[bytes] = Counter()
        self._recent_since = 0.0

    def add(self, what: str, reason: str, network: bytes, now: float, count: int = 1) -> None:
        """So many refusals of one kind, of one address; see `Line`."""
        # Without a look at whether anything is new: the same work for each, so that time says nothing about a room.
        self.totals[what, reason] = self.totals.get((what, reason), 0) + count
        key = what, reason, network
        is_full = len(self._unwritten) + len(self._written_at) >= MAX_LINES
        if is_full and key not in self._unwritten and key not in self._written_at:
            key = what, reason, b""
        self._unwritten[key] = self._unwritten.get(key, 0) + count
        self._age(now)
        before, is_full = self._recent.get(network, 0), len(self._recent) >= MAX_RECENT
        if before or not is_full:
            self._recent[network] = before + count

    def recent(self, now: float) -> Counter[bytes]:
        """Refusals of the last minutes, by network."""
        self._age(now)
        return self._recent + self._recent_before

    def lines(self, now: float) -> list[Line]:
        """Those that are due: of each reason and address the first refusal, then one line a minute at most."""
        while self._written_at and now - next(iter(self._written_at.values())) >= LINE_EVERY_S:
            self._written_at.popitem(last=False)
        due = [key for key in self._unwritten if key not in self._written_at]
        for key in due:
            self._written_at[key] = now
        return [Line(*key, self._unwritten.pop(key)) for key in due]

    def _age(self, now: float) -> None:
        if now - self._recent_since >= RECENT_S:
            is_old = now - self._recent_since >= 2 * RECENT_S
            self._recent_before = Counter() if is_old else self._recent
            self._recent, self._recent_since = Counter(), now
