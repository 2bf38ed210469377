"""The way from an HTTP request to a `RelaySocket`: a socket leaves Tornado's stream for a transport of the loop's own.

Tornado's frame reader costs about 100 us a message and its `write_message` 40 us a copy; ours a few.
"""

from __future__ import annotations

import asyncio
import socket as sockets
from collections import Counter
from collections.abc import Callable
from typing import cast

from tornado.iostream import IOStream, StreamClosedError
from tornado.util import _websocket_mask

from relayd.errors import Overloaded, RateLimited
from relayd.gateway.socket import RelaySocket, Station
from relayd.rooms.addresses import neighbourhood
from relayd.wire.ids import RoomId

_REFUSALS = ("overloaded", "rate_limited", "wrong_host", "wrong_origin")  # counted from the start: see Counts
_EARLY_BYTES = 65_536  # more than a client can send with its request before it has an answer


class Lobby:
    """Takes sockets from HTTP and counts them.

    Args:
        station: what they share.
        check_lag: raises `Overloaded` while the loop is late.

    Attributes:
        opened: how many it has taken; each has its place among them as its number.
        refused: handshakes that were refused, by error code.
    """

    def __init__(self, station: Station, check_lag: Callable[[], None]) -> None:
        self.opened = 0
        self.refused = Counter(dict.fromkeys(_REFUSALS, 0))
        self._station = station
        self._check_lag = check_lag
        self._by_address: Counter[str] = Counter()

    def check(self, address: str) -> None:
        """Whether one more may come.

        Raises:
            Overloaded, RateLimited: the server has enough of them, or this address has.
        """
        self._check_lag()
        limits = self._station.settings.limits
        if limits.max_connections and len(self._station.fanout.sockets) >= limits.max_connections:
            raise Overloaded("The server has as many connections as it may", retry_after_s=5)
        limit = limits.max_connections_per_address
        if limit and self._by_address[neighbourhood(address)] >= limit:
            raise RateLimited("Your address has as many connections as it may", retry_after_s=5)

    async def take(self, stream: IOStream, room_id: RoomId, address: str, answer: bytes) -> None:
        """Answers a handshake, and gives its socket to a `RelaySocket`."""
        if stream.writing():  # it reads no answers, not even those to its requests before
            stream.close()
            return
        socket: sockets.socket | None = None
        try:
            early = _unread(stream)
            socket = stream.socket.dup()
            socket.send(answer)  # fits: nothing else waits, and no system's send buffer is smaller
            stream.close()  # before anything is awaited: it would read what is not for it
            if socket.family != sockets.AF_UNIX:
                socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
            self.opened += 1
            relay_socket = RelaySocket(self._station, self.opened, room_id, address, early)
            await asyncio.get_running_loop().connect_accepted_socket(lambda: relay_socket, socket)
        except (OSError, StreamClosedError):  # gone while it was handed over, or no descriptor left for it
            stream.close()
            if socket is not None:
                socket.close()
            return
        if self._station.settings.limits.max_connections_per_address and relay_socket.is_open:
            self._by_address[neighbourhood(address)] += 1
            relay_socket.on_lost = lambda: self._count_down(neighbourhood(address))

    def _count_down(self, address: str) -> None:
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


def _unread(stream: IOStream) -> bytes:
    """What the stream has read beyond the request."""
    # Typed as an Awaitable; it is a Future, as Tornado's documentation of coroutines says of all of theirs.
    reading = cast("asyncio.Future[bytes]", stream.read_bytes(_EARLY_BYTES, partial=True))
    if reading.done():
        return reading.result()
    # It waits for more, which its closing will answer with an error that nobody needs to hear.
    reading.add_done_callback(lambda future: future.exception())
    return b""


def unmask(mask: bytes, data: bytes) -> bytes:
    """XORs data with a mask, in C."""
    return _websocket_mask(mask, data)
