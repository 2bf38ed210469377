"""The first look at a connection and at a request: WebSocket handshakes are answered here, before anything of HTTP is
made for them; everything else is the application's.

Of what a join cost, handlers, headers and dates were a third, and reading HTTP another.
"""

from __future__ import annotations

import re
import socket as sockets
from collections.abc import Awaitable, Callable
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

from relayd.errors import RelayError
from relayd.gateway.acceptor import Newcomer, SocketAcceptor
from relayd.gateway.handlers import Door, Handler
from relayd.gateway.handshake import BEGINNING, MAX_HEAD_BYTES, ROOM_PATH, Asked, handshake_answer, read_plain
from relayd.gateway.lines import Line, Lines
from relayd.rooms.refusals import HANDSHAKE
from relayd.wire.ids import RoomId, parse_room_id

_is_room = re.compile(ROOM_PATH).fullmatch


class Front(HTTPServerConnectionDelegate):
    """What the HTTP server asks about each request.

    Args:
        application: serves all that is no handshake, and says what is wrong with one.
        door: of its handlers.
        acceptor: takes the sockets.
        lines: is told what is under way on each connection.
    """

    def __init__(self, application: Application, door: Door, acceptor: SocketAcceptor, lines: Lines) -> None:
        self.application = application
        self.door = door
        self.acceptor = acceptor
        self.lines = lines

    def greet(self, connection: sockets.socket, remote_ip: str, on_closed: Callable[[], None] | None) -> bool:
        """Whether a new connection is a chat's, which is served from now on.

        Looked at without being taken: what is no plain handshake, or may not pass, is all there for who reads HTTP.

        Args:
            connection: accepted.
            remote_ip: of the peer.
            on_closed: see `SocketAcceptor.welcome`.
        """
        try:
            # Of what begins otherwise nothing is read: a copy of it, perhaps with a password, would lie in memory.
            if connection.recv(len(BEGINNING), sockets.MSG_PEEK) != BEGINNING:
                return False
            handshake = read_plain(connection.recv(MAX_HEAD_BYTES, sockets.MSG_PEEK), remote_ip)
            if handshake is None:
                return False
            newcomer = self.let_in(handshake, handshake.room_id_text, is_counted=on_closed is not None)
            connection.recv(handshake.size)
        except (OSError, RelayError):
            return False
        self.acceptor.welcome(connection, newcomer, on_closed=on_closed)
        return True

    def let_in(self, request: Asked, room_id_text: str, *, is_counted: bool) -> Newcomer:
        """Whoever asks to be let in by a handshake.

        Raises:
            RelayError: it is none, or may not pass.
        """
        peers = self.door.peers
        peers.check_host(request.host)
        peers.check_origin(request)
        answer = handshake_answer(request)
        address = peers.address(request)
        self.acceptor.check(address, is_counted=is_counted)
        # Can't be None: the pattern lets only canonical UUIDs pass.
        return Newcomer(parse_room_id(room_id_text) or RoomId(b""), address, answer)

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """One more request on a connection, of which nothing has come yet."""
        # This is a server, and Tornado's has no other connections; their streams are the gateway's.
        assert isinstance(request_conn, HTTP1Connection) and isinstance(request_conn.stream, Line)  # noqa: S101, PT018
        self.lines.on_quiet(request_conn.stream)
        return _Request(self, server_conn, request_conn, request_conn.stream)


class _Request(HTTPMessageDelegate):
    def __init__(self, front: Front, server_conn: object, connection: HTTP1Connection, line: Line) -> None:
        self._front = front
        self._server_conn = server_conn
        self._connection = connection
        self._line = line
        self._inner: HTTPMessageDelegate | None = None  # None once the socket is no longer HTTP's

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)  # noqa: S101 - as this is a server
        self._front.lines.on_asking(self._line)
        application = self._front.application
        if start_line.method == "GET" and headers.get("Upgrade", "").lower() == "websocket":
            found = _is_room(start_line.path.partition("?")[0])
            if found is not None:
                request = HTTPServerRequest(connection=self._connection, start_line=start_line, headers=headers)
                try:
                    newcomer = self._front.let_in(request, found[1], is_counted=self._line.is_counted)
                except RelayError as error:
                    self._front.acceptor.refused[error.code] += 1
                    refused = {"door": self._front.door, "error": error}
                    self._inner = application.get_handler_delegate(request, Refused, refused)
                else:
                    self._connection.detach()
                    self._front.acceptor.take(self._line, newcomer)
                    return None
        if self._inner is None:
            self._inner = application.start_request(self._server_conn, self._connection)
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._inner.data_received(chunk) if self._inner is not None else None

    def finish(self) -> None:
        if self._inner is not None:
            self._inner.finish()

    def on_connection_close(self) -> None:
        if self._inner is not None:
            self._inner.on_connection_close()


class Refused(Handler):
    """A handshake that is not accepted: says why, as everywhere."""

    refused_as = HANDSHAKE

    def initialize(self, door: Door, error: RelayError) -> None:  # type: ignore[override]
        """Tornado's constructor."""
        super().initialize(door)
        self._error = error

    def prepare(self) -> Any:
        """Nothing is asked: it has been."""

    def get(self) -> None:
        """After the body has been read: an answer before it would be lost to a reset connection."""
        raise self._error
