"""The first look at a request: WebSocket handshakes (RFC 6455, section 4.2) are answered here, before a handler with
its headers, date and buffers is made for them; everything else is the application's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Awaitable
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.web import Application

from relayd.errors import Malformed, RelayError, UpgradeRequired
from relayd.gateway.handlers import Door, Handler
from relayd.gateway.lobby import Lobby
from relayd.wire.ids import RoomId, parse_room_id

SUBPROTOCOL = "relay.v1"

ROOM_PATH = r"/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_is_room = re.compile(ROOM_PATH).fullmatch
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3
_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
_SELECTED = f"\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}".encode()


class Front(HTTPServerConnectionDelegate):
    """What the HTTP server asks about each request.

    Args:
        application: serves all that is no handshake, and says what is wrong with one.
        door: of its handlers.
        lobby: takes the sockets.
    """

    def __init__(self, application: Application, door: Door, lobby: Lobby) -> None:
        self.application = application
        self.door = door
        self.lobby = lobby

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """One more request on a connection."""
        return _Request(self, server_conn, request_conn)


class _Request(HTTPMessageDelegate):
    def __init__(self, front: Front, server_conn: object, connection: HTTPConnection) -> None:
        self._front = front
        self._server_conn = server_conn
        self._connection = connection
        self._inner: HTTPMessageDelegate | None = None  # None once the socket is no longer HTTP's

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)  # noqa: S101 - this is a server
        application = self._front.application
        if start_line.method == "GET" and headers.get("Upgrade", "").lower() == "websocket":
            found = _is_room(start_line.path.partition("?")[0])
            if found is not None:
                request = HTTPServerRequest(connection=self._connection, start_line=start_line, headers=headers)
                try:
                    return self._upgrade(request, found[1])
                except RelayError as error:
                    self._front.lobby.refused[error.code] += 1
                    refused = {"door": self._front.door, "error": error}
                    self._inner = application.get_handler_delegate(request, Refused, refused)
        if self._inner is None:
            self._inner = application.start_request(self._server_conn, self._connection)
        return self._inner.headers_received(start_line, headers)

    def _upgrade(self, request: HTTPServerRequest, room_id_text: str) -> Awaitable[None]:
        peers = self._front.door.peers
        peers.check_host(request.host)
        peers.check_origin(request, peers.base_url(request))
        answer = handshake_answer(request)
        address = peers.address(request)
        self._front.lobby.check(address)
        # Can't be None: the pattern lets only canonical UUIDs pass.
        room_id = parse_room_id(room_id_text) or RoomId(b"")
        assert isinstance(self._connection, HTTP1Connection)  # noqa: S101 - Tornado's server has no other
        return self._front.lobby.take(self._connection.detach(), room_id, address, answer)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._inner.data_received(chunk) if self._inner is not None else None

    def finish(self) -> None:
        if self._inner is not None:
            self._inner.finish()

    def on_connection_close(self) -> None:
        if self._inner is not None:
            self._inner.on_connection_close()


def handshake_answer(request: HTTPServerRequest) -> bytes:
    """The answer that accepts a WebSocket handshake.

    Raises:
        Malformed, UpgradeRequired: it is none, or of another version.
    """
    headers = request.headers
    key = headers.get("Sec-WebSocket-Key", "")
    tokens = {token.strip().lower() for token in headers.get("Connection", "").split(",")}
    # A body would be read as frames: those two readings of one request are how requests are smuggled.
    has_body = "Transfer-Encoding" in headers or headers.get("Content-Length", "0") != "0"
    if request.version != "HTTP/1.1" or "upgrade" not in tokens or not _is_nonce(key) or has_body:
        raise Malformed("That is no WebSocket handshake: see RFC 6455, section 4.2.1")
    if headers.get("Sec-WebSocket-Version") != "13":
        raise UpgradeRequired
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest())  # noqa: S324 - RFC 6455, section 4.2.2
    offered = [item.strip() for item in headers.get("Sec-WebSocket-Protocol", "").split(",")]
    return b"%b%b%b\r\n\r\n" % (_SWITCHING, accept, _SELECTED if SUBPROTOCOL in offered else b"")


def _is_nonce(text: str) -> bool:
    """A base64-encoded value of 16 bytes (RFC 6455, section 4.2.1, point 5)."""
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


class Refused(Handler):
    """A handshake that is not accepted: says why, as everywhere."""

    def initialize(self, door: Door, error: RelayError) -> None:  # type: ignore[override]
        """Tornado's constructor."""
        super().initialize(door)
        self._error = error

    def prepare(self) -> Any:
        """Nothing is asked: it has been."""

    def get(self) -> None:
        """After the body has been read: an answer before it would be lost to a reset connection."""
        raise self._error
