"""Guessing the password of a sealed room, slowed: what a wrong proof costs.

Wrong proofs are counted for each address and room, and for each room. The more there were lately, the later the
next one is answered; past a limit, an address is not even looked at. A right proof is never delayed, and sessions
inside need none: so a guesser cannot lock anybody out who comes from elsewhere.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

from relayd.errors import RateLimited
from relayd.rooms.addresses import prefix_factors

# A typing mistake is forgiven in a moment. OWASP's Authentication Cheat Sheet doubles delays, too.
FIRST_DELAY_S = 0.25
MAX_DELAY_S = 5.0  # what waits holds a connection, and less than the 10 s a join may take
# A room has many addresses: it takes more failures from all of them until a first one is answered late.
ROOM_SHARE = 8.0
_MAX_DOUBLINGS = 16.0


class _Failures(NamedTuple):
    """How many there were lately; each is forgotten with time."""

    number: float
    at: float


class Guessing:
    """Counts wrong proofs.

    Args:
        per_minute: so many an address may try in one room in a minute, all at once if it likes; 0 means no limit,
            and no delay.
        most: addresses and rooms remembered, of each; the one unused for longest is forgotten first.
    """

    def __init__(self, per_minute: float, most: int = 10_000) -> None:
        self.per_minute = per_minute
        self._most = most
        self._by_address: OrderedDict[Hashable, _Failures] = OrderedDict()  # (address, room)
        self._by_room: OrderedDict[Hashable, _Failures] = OrderedDict()

    def change(self, per_minute: float) -> None:
        """Another rate holds from now on."""
        self.per_minute = per_minute

    def check(self, address: str, room: bytes, now: float) -> None:
        """Lets a proof be looked at.

        Raises:
            RateLimited: that address has been wrong too often, with the time after which it may try again.
        """
        if not self.per_minute:
            return
        for prefix, factor in prefix_factors(address):
            failures = self._by_address.get((prefix, room))
            rate = factor * self.per_minute
            over = 0.0 if failures is None else self._left(failures, rate, now) + 1 - rate
            if over > 0:
                wait_s = over * 60 / rate
                raise RateLimited("Your address has sent too many wrong proofs for this room", retry_after_s=wait_s)

    def fail(self, address: str, room: bytes, now: float) -> float:
        """Books a wrong proof.

        Returns:
            Seconds after which it is to be answered.
        """
        if not self.per_minute:
            return 0.0
        own, *_ = [
            self._add(self._by_address, (prefix, room), factor * self.per_minute, now)
            for prefix, factor in prefix_factors(address)
        ]
        everyone = self._add(self._by_room, room, self.per_minute, now)
        doublings = min(_MAX_DOUBLINGS, max(own, everyone / ROOM_SHARE) - 1)
        return min(MAX_DELAY_S, FIRST_DELAY_S * math.exp2(max(0.0, doublings)))

    def _add(self, counts: OrderedDict[Hashable, _Failures], key: Hashable, rate: float, now: float) -> float:
        before = counts.pop(key, None)
        number = 1.0 + (self._left(before, rate, now) if before is not None else 0.0)
        counts[key] = _Failures(number, now)
        if len(counts) > self._most:
            counts.popitem(last=False)
        return number

    def _left(self, failures: _Failures, rate: float, now: float) -> float:
        return max(0.0, failures.number - (now - failures.at) * rate / 60)
