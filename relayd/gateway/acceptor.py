"""The way from an HTTP request to a `RelaySocket`: a socket leaves Tornado's stream for a transport of the loop's own.

Tornado's frame reader costs about 100 us a message and its `write_message` 40 us a copy; ours a few.
"""

from __future__ import annotations

import asyncio
import socket as sockets
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, cast

from tornado.iostream import StreamClosedError
from tornado.util import _websocket_mask

from relayd.errors import Overloaded
from relayd.gateway.outlet import Station
from relayd.gateway.socket import RelaySocket
from relayd.http.stream import HttpStream
from relayd.rooms.blocks import BlockList
from relayd.rooms.limits import ConnectionLimit
from relayd.wire.ids import RoomId

_REFUSALS = ("overloaded", "rate_limited", "wrong_host", "wrong_origin")  # counted from the start: see Counts
_EARLY_BYTES = 65_536  # more than a client can send with its request before it has an answer


class Newcomer(NamedTuple):
    """Who may pass.

    Attributes:
        room_id: of the path.
        address: the client's.
        answer: bytes that accept the handshake.
    """

    room_id: RoomId
    address: str
    answer: bytes


class SocketAcceptor:
    """Takes sockets from HTTP and counts them.

    Args:
        station: what they share.
        limit: of connections of one address.
        blocked: addresses that may not connect.
        check_lag: raises `Overloaded` while the loop is late.

    Attributes:
        opened: how many it has taken; each has its place among them as its number.
        refused: handshakes that were refused, by error code.
    """

    def __init__(
        self, station: Station, limit: ConnectionLimit, blocked: BlockList, check_lag: Callable[[], None]
    ) -> None:
        self.opened = 0
        self.refused = Counter(dict.fromkeys(_REFUSALS, 0))
        self._station = station
        self._check_lag = check_lag
        self._limit = limit
        self._blocked = blocked
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()

    def check(self, address: str, *, is_counted: bool) -> None:
        """Whether one more may come.

        Args:
            address: the client's.
            is_counted: whether its connection is among those of the address already.

        Raises:
            Overloaded, RateLimited: the server has enough of them, or this address has.
            AddressBlocked: it may not connect.
        """
        self._blocked.check(address)
        self._check_lag()
        limits = self._station.settings.limits
        if limits.max_connections and len(self._station.fanout.sockets) >= limits.max_connections:
            raise Overloaded("The server has as many connections as it may", retry_after_s=5)
        if not is_counted:
            self._limit.check(address)

    def take(self, stream: HttpStream, newcomer: Newcomer) -> None:
        """Welcomes who has come by a stream of Tornado's."""
        if stream.writing():  # it reads no answers, not even those to its requests before
            stream.close()
            return
        try:
            early = _unread(stream)
            connection, on_closed = stream.take_socket()  # before the loop turns: it would read what is not for it
        except (OSError, StreamClosedError):  # gone meanwhile, or no descriptor left for it
            stream.close()
            return
        self.welcome(connection, newcomer, early, on_closed)

    def welcome(
        self,
        connection: sockets.socket,
        newcomer: Newcomer,
        early: bytes = b"",
        on_closed: Callable[[], None] | None = None,
    ) -> None:
        """Answers a handshake, and gives its connection to a `RelaySocket`.

        Args:
            connection: the client's.
            newcomer: what was found about it.
            early: bytes that came after the handshake.
            on_closed: to call when it is closed, if it is counted among those of its address already.
        """
        on_closed = on_closed or self._limit.add(newcomer.address)
        try:
            connection.send(newcomer.answer)  # fits: nothing else waits, and no system's send buffer is smaller
            if connection.family != sockets.AF_UNIX:
                connection.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        except OSError:
            connection.close()
            on_closed()
            return
        self.opened += 1
        relay_socket = RelaySocket(self._station, self.opened, newcomer.room_id, newcomer.address, early)
        relay_socket.on_lost = on_closed
        connecting = self._loop.create_task(self._connect(connection, relay_socket))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)

    async def admit(self, connection: sockets.socket, relay_socket: RelaySocket) -> None:
        """Gives a connection to its `RelaySocket` that another process had before."""
        relay_socket.on_lost = self._limit.add(relay_socket.address)
        await self._connect(connection, relay_socket)

    async def _connect(self, connection: sockets.socket, relay_socket: RelaySocket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: relay_socket, connection)
        except OSError:  # gone while it was handed over
            connection.close()
            relay_socket.never_connected()


def _unread(stream: HttpStream) -> bytes:
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
