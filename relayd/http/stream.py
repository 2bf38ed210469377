"""Connections of an HTTP server: a bound on each head, deadlines, and a close that lets the last answer arrive.

Tornado has one deadline, for a request's head together with the wait for it. It has none for writing, and closes
without a word when a head is too large.
"""

from __future__ import annotations

import asyncio
import socket as sockets
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Generic, NamedTuple, TypeVar

from tornado.concurrent import Future
from tornado.iostream import IOStream, UnsatisfiableReadError

from relayd.errors import HeadTooLarge, Malformed, RelayError, RequestTimeout
from relayd.http.handler import MAX_DROPPED_BYTES, problem_response

MAX_HEAD_BYTES = 8 * 1024  # nginx, Apache and Tomcat allow a line or a head as much; browsers send less than 2 KiB
MIN_WRITTEN_BYTES = 16 * 1024  # in `Timeouts.write_s`: 220 bytes a second, which any line carries
LINGER_S = 5.0  # nginx's lingering_timeout
_LOOK_S = 1.0
_DROPPED_AT_ONCE = 64 * 1024
_RESET = struct.pack("ii", 1, 0)  # struct linger
_BARE_400 = b"HTTP/1.1 400 Bad Request\r\n\r\n"  # Tornado's answer to what it cannot read, before it closes


class Timeouts(NamedTuple):
    """Seconds after which a connection is closed; looked at once a second.

    Attributes:
        head: for a request's head, from its first byte; that of the first request, from the connection's start.
        idle: between two requests.
        body: for a request's body.
        write: in which the client must read `MIN_WRITTEN_BYTES` of an answer, or the rest of it; None for no limit.
    """

    head: float = 15  # a head is one packet or two
    idle: float = 75  # nginx's keepalive_timeout
    body: float = 75
    write: float | None = 75


class Farewell:
    """Closes a connection once the client has read the last answer, or has had time to.

    What it still sends is read and dropped: left unread, it would make the system reset the connection, and the
    client would lose the answer (RFC 9112, section 9.6).

    Args:
        connection: of nobody else.
        farewells: holds this one from `begin` to the end.
        on_closed: called then.
    """

    def __init__(
        self, connection: sockets.socket, farewells: set[Farewell], on_closed: Callable[[], None] | None
    ) -> None:
        self._connection = connection
        self._farewells = farewells
        self._on_closed = on_closed
        self._left_bytes = MAX_DROPPED_BYTES
        self._deadline: asyncio.TimerHandle | None = None

    def begin(self, answer: bytes) -> None:
        """Send the last answer (or nothing) and wait; it fits into the system's buffer, as nothing else is there."""
        try:
            self._connection.send(answer)
            self._connection.shutdown(sockets.SHUT_WR)
        except OSError:  # the client has gone
            self.close()
            return
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(LINGER_S, self.close)
        loop.add_reader(self._connection.fileno(), self._drop)
        self._farewells.add(self)

    def close(self) -> None:
        """Wait no longer."""
        if self._deadline is not None:
            self._deadline.cancel()
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            self._farewells.discard(self)
        self._connection.close()
        if self._on_closed is not None:
            self._on_closed()

    def _drop(self) -> None:
        try:
            size = len(self._connection.recv(_DROPPED_AT_ONCE))
        except BlockingIOError:
            return
        except OSError:
            size = 0
        self._left_bytes -= size
        if not size or self._left_bytes < 0:
            self.close()


class HttpStream(IOStream):
    """A client's connection.

    Args:
        connection: accepted.
        timeouts: see there.
        farewells: where it is entered while it closes slowly.
        is_kept: whether another process has served requests on it before.
        on_closed: to call when the connection has been closed.
    """

    def __init__(
        self,
        connection: sockets.socket,
        timeouts: Timeouts,
        farewells: set[Farewell],
        *,
        is_kept: bool,
        on_closed: Callable[[], None] | None,
    ) -> None:
        super().__init__(connection)
        self._timeouts = timeouts
        self._farewells = farewells
        self._on_closed = on_closed
        self._closes_quietly = False  # as the client cannot be told anything
        self._now = asyncio.get_running_loop().time
        self._is_first = not is_kept
        self._in_head = True  # a head is read, or waited for; else a body
        self._has_begun = True  # something of it has come, or must come now
        self._since = self._now()  # when the present wait for the client began
        self._written_bytes = 0
        self._writing_since: float | None = None  # None while nothing waits for the client to read
        self._written_before = 0  # by then
        self._last_answer = b""  # to send while closing

    # What Tornado calls. ------------------------------------------------------------------------------------------

    def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        """Read a head."""
        self._in_head, self._since = True, self._now()
        self._has_begun, self._is_first = self._is_first or self._read_buffer_size > 0, False
        return super().read_until_regex(regex, max_bytes)

    def read_until(self, delimiter: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        """Read the size of a chunk of a body."""
        self._begin_body()
        return super().read_until(delimiter, max_bytes)

    def read_bytes(self, num_bytes: int, partial: bool = False) -> Awaitable[bytes]:
        """Read a piece of a body."""
        self._begin_body()
        return super().read_bytes(num_bytes, partial)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """Read what has come; of a head, which is searched for its end, no more than shows that it is too large."""
        most = MAX_HEAD_BYTES + 1 - self._read_buffer_size if self._in_head else len(buf)
        with memoryview(buf) as view, view[: max(1, most)] as part:
            size = super().read_from_fd(part)
        if size and not self._has_begun:
            self._has_begun, self._since = True, self._now()
        return size

    def write(self, data: bytes | memoryview) -> Future[None]:
        """Write, but for Tornado's 400: a problem is sent in its place, once the stream is closed."""
        if data != _BARE_400:
            return super().write(data)
        self.refuse(Malformed())
        written: Future[None] = Future()
        written.set_result(None)
        return written

    def refuse(self, error: RelayError) -> None:
        """Have a problem sent when the stream is closed: the request is none, or not all of it came."""
        self._last_answer = problem_response(error)

    def write_to_fd(self, data: memoryview) -> int:
        """Write what the system takes."""
        size = super().write_to_fd(data)
        self._written_bytes += size
        return size

    def close(self, exc_info: Any = False) -> None:
        """Close it; a client that sent too much is told so."""
        if isinstance(exc_info, UnsatisfiableReadError):
            self.refuse(HeadTooLarge() if self._in_head else Malformed())
        if not self.closed() and self.writing():
            self._last_answer = b""  # it would stand in the middle of another
        super().close(exc_info)

    def close_fd(self) -> None:
        """Close the socket, after a while if that would destroy an answer on its way."""
        connection, self.socket = self.socket, None  # type: ignore[assignment]
        farewell = Farewell(connection, self._farewells, self._on_closed)
        if not self._closes_quietly and (self._last_answer or _has_unread(connection)):
            farewell.begin(self._last_answer)
        else:
            farewell.close()

    def take_socket(self) -> tuple[sockets.socket, Callable[[], None] | None]:
        """Take the connection out of the stream; what the stream has read and nobody has taken is lost.

        Returns:
            The connection, and what to call when it has been closed.

        Raises:
            OSError: there is no descriptor left for it.
        """
        connection = self.socket.dup()
        on_closed, self._on_closed = self._on_closed, None
        self._closes_quietly = True
        self.close()
        return connection, on_closed

    @property
    def is_counted(self) -> bool:
        """Whether somebody is to be told when the connection is closed."""
        return self._on_closed is not None

    # Deadlines. ---------------------------------------------------------------------------------------------------

    def close_if_overdue(self, now: float) -> None:
        """Close it if the client has kept the server waiting for too long.

        Args:
            now: seconds on the loop's clock.
        """
        if self.closed():
            return
        if self.writing():
            if self._is_stuck(now):
                self._closes_quietly = True
                # A reset: what the system has for it would else stay in memory until it is read.
                self.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _RESET)
                self.close()
            return
        self._writing_since = None
        if self.reading() and now - self._since > self._patience_s:
            if self._read_buffer_size or not self._in_head:
                self.refuse(RequestTimeout())
            self.close()

    @property
    def _patience_s(self) -> float:
        if not self._in_head:
            return self._timeouts.body
        return self._timeouts.head if self._has_begun else self._timeouts.idle

    def _is_stuck(self, now: float) -> bool:
        if self._writing_since is None or self._written_bytes - self._written_before >= MIN_WRITTEN_BYTES:
            self._writing_since, self._written_before = now, self._written_bytes
        return self._timeouts.write is not None and now - self._writing_since > self._timeouts.write

    def _begin_body(self) -> None:
        if self._in_head:
            self._in_head, self._has_begun, self._since = False, True, self._now()


S = TypeVar("S", bound=HttpStream)


class HttpStreams(Generic[S]):
    """The open connections of a server.

    Args:
        kind: makes one.
        timeouts: of each.
    """

    def __init__(self, kind: type[S], timeouts: Timeouts) -> None:
        self._kind = kind
        self._timeouts = timeouts
        self._open: set[S] = set()
        self._farewells: set[Farewell] = set()
        self._loop = asyncio.get_running_loop()
        self._looking: asyncio.TimerHandle | None = None  # only while there are any

    def open(self, connection: sockets.socket, *, is_kept: bool, on_closed: Callable[[], None] | None) -> S:
        """A stream of a connection; see `HttpStream`."""
        stream = self._kind(connection, self._timeouts, self._farewells, is_kept=is_kept, on_closed=on_closed)
        self._open.add(stream)
        if self._looking is None:
            self._looking = self._loop.call_later(_LOOK_S, self._look)
        return stream

    def _look(self) -> None:
        now = self._loop.time()
        for stream in self._open:
            stream.close_if_overdue(now)
        self._open = {stream for stream in self._open if not stream.closed()}
        self._looking = self._loop.call_later(_LOOK_S, self._look) if self._open else None

    def close(self) -> None:
        """Look at none any more, and close those that are closing slowly."""
        if self._looking is not None:
            self._looking.cancel()
        for farewell in list(self._farewells):
            farewell.close()


def _has_unread(connection: sockets.socket) -> bool:
    try:
        return bool(connection.recv(1, sockets.MSG_PEEK))
    except OSError:
        return False
