"""The way from an HTTP request to a `RelaySocket`: the opening handshake (RFC 6455, section 4.2).

Tornado reads the request and writes the answer; then the socket leaves its stream for a transport of the loop's
own. Tornado's frame reader costs about 100 us a message and its `write_message` 40 us a copy; ours a few.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import socket as sockets
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from tornado.iostream import IOStream, StreamClosedError
from tornado.util import _websocket_mask
from tornado.websocket import WebSocketProtocol13

from relayd.errors import Malformed, Overloaded, RateLimited, RelayError, UpgradeRequired
from relayd.gateway.handlers import Door, Handler
from relayd.gateway.page import Assets, serve
from relayd.gateway.socket import RelaySocket, Station
from relayd.rooms.addresses import neighbourhood
from relayd.wire.ids import RoomId, parse_room_id

SUBPROTOCOL = "relay.v1"
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

    async def take(self, stream: IOStream, room_id: RoomId, address: str) -> None:
        """Gives the socket of a stream that has answered its handshake to a `RelaySocket`."""
        socket: sockets.socket | None = None
        try:
            early = _unread(stream)
            socket = stream.socket.dup()
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


class Socket(Handler):
    """`/<room_id>`: the chat for those who ask for an upgrade, the page for those who look."""

    methods = ("GET", "HEAD")

    def initialize(self, door: Door, lobby: Lobby, assets: Assets) -> None:  # type: ignore[override]
        """Tornado's constructor."""
        super().initialize(door)
        self._lobby = lobby
        self._assets = assets

    def head(self, room_id_text: str) -> None:
        """The page's head."""
        serve(self, self._assets.page)

    async def get(self, room_id_text: str) -> None:
        """Upgrades, or shows the page: the same bytes for every id, as it reveals nothing."""
        headers = self.request.headers
        if headers.get("Upgrade", "").lower() != "websocket":
            serve(self, self._assets.page)
            return
        peers = self.door.peers
        peers.check_origin(self.request, peers.base_url(self.request))
        key = headers.get("Sec-WebSocket-Key", "")
        tokens = {token.strip().lower() for token in headers.get("Connection", "").split(",")}
        if self.request.version != "HTTP/1.1" or "upgrade" not in tokens or not _is_nonce(key):
            raise Malformed("That is no WebSocket handshake: see RFC 6455, section 4.2.1")
        if headers.get("Sec-WebSocket-Version") != "13":
            raise UpgradeRequired
        address = peers.address(self.request)
        self._lobby.check(address)
        # Can't be None: the route lets only canonical UUIDs pass.
        room_id = parse_room_id(room_id_text) or RoomId(b"")
        self.clear()
        self.set_status(101)
        for name in list(self._headers):
            self.clear_header(name)
        self.set_header("Upgrade", "websocket")
        self.set_header("Connection", "Upgrade")
        self.set_header("Sec-WebSocket-Accept", WebSocketProtocol13.compute_accept_value(key))
        offered = [item.strip() for item in headers.get("Sec-WebSocket-Protocol", "").split(",")]
        if SUBPROTOCOL in offered:
            self.set_header("Sec-WebSocket-Protocol", SUBPROTOCOL)
        self.finish()
        await self._lobby.take(self.detach(), room_id, address)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Counts the refusal, and answers with it."""
        info = kwargs.get("exc_info")
        if info and isinstance(info[1], RelayError) and "Upgrade" in self.request.headers:
            self._lobby.refused[info[1].code] += 1
        super().write_error(status_code, **kwargs)


def unmask(mask: bytes, data: bytes) -> bytes:
    """XORs data with a mask, in C."""
    return _websocket_mask(mask, data)


def _is_nonce(text: str) -> bool:
    """A base64-encoded value of 16 bytes (RFC 6455, section 4.2.1, point 5)."""
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
