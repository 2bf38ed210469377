"""Probes: an admin's request that comes in from outside, and is told how it arrived.

`relayctl doctor` asks for a token over the control socket and sends it to `/healthz` by the way that clients take.
Nobody else is told anything: whether a forged address would be believed is not for those to know who forge one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from relayd.wire.ids import digest_of

LIVES_S = 60.0
MAX_PROBES = 16  # at once; an older one is forgotten


class Seen(msgspec.Struct, frozen=True):
    """How a request arrived.

    Attributes:
        address: that of the client, as limits and bans count it.
        peer, port: who connected to relayd: a client, or a proxy; `unix:` and 0 on a Unix socket.
        trusted: whether that one is believed what it says of its clients.
        forwarded: its `X-Forwarded-For`, as it came.
        rfc7239: its `Forwarded`, as it came.
        unreadable: which of the two is believed and cannot be read; "" if neither.
    """

    address: str
    peer: str
    port: int
    trusted: bool
    forwarded: str
    rfc7239: str
    unreadable: str


class Probes:
    """The tokens that are good for a minute.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: OrderedDict[bytes, float] = OrderedDict()  # by digest

    def admit(self, digest: bytes) -> None:
        """An admin was given the token with that digest."""
        self._until[digest] = self._clock() + LIVES_S
        if len(self._until) > MAX_PROBES:
            self._until.popitem(last=False)

    def knows(self, token: str) -> bool:
        """Whether it is one, still."""
        return self._until.get(digest_of(token), 0.0) > self._clock()
