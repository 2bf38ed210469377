"""HTTP connections, and what is under way on each: some are kept for the next request (RFC 9112, section 9.3).

A proxy keeps many. Were they closed when another process takes over, it might just have sent a request on one; it may
not send that again, as it cannot know what became of it, and somebody would be told of a bad gateway.
"""

from __future__ import annotations

import contextlib
import socket as sockets
from collections.abc import Callable

from relayd.errors import RelayError
from relayd.http.stream import HttpStream, HttpStreams, Timeouts


class Line(HttpStream):
    """A client's connection.

    Attributes:
        is_busy: the head of a request has come, and not all of the answer has gone.
    """

    is_busy = False
    on_refused: Callable[[str, RelayError], None] | None = None

    def refuse(self, error: RelayError) -> None:
        """See `HttpStream`."""
        super().refuse(error)
        if self.on_refused is not None and self.socket is not None:
            self.on_refused(_peer(self.socket), error)

    @property
    def is_quiet(self) -> bool:
        """Whether it waits for a request; else it is closed, or something is under way."""
        # One that is not read from has a head that will be looked at in the next turn of the loop.
        return not self.is_busy and self.reading()

    @property
    def has_unread(self) -> bool:
        """Whether something has been read that nobody has looked at: the beginning of a request."""
        return self._read_buffer_size > 0


class Lines(HttpStreams[Line]):
    """Knows all, and takes those from Tornado on which nothing is under way while they are to be handed over.

    What is asked meanwhile waits in the system, for whoever reads the connection next.

    Args:
        timeouts: of each.
        on_refused: called with the peer's address ("" on a Unix socket) and why, for what reaches no handler.
    """

    def __init__(self, timeouts: Timeouts, on_refused: Callable[[str, RelayError], None]) -> None:
        super().__init__(Line, timeouts)
        self._on_refused = on_refused
        self._held: list[sockets.socket] = []
        self._holding = False

    def open(self, connection: sockets.socket, *, is_kept: bool, on_closed: Callable[[], None] | None) -> Line:
        """A stream of a connection."""
        line = super().open(connection, is_kept=is_kept, on_closed=on_closed)
        line.on_refused = self._on_refused
        return line

    def on_quiet(self, line: Line) -> None:
        """It is new, or all that was asked is answered; it is not read from yet."""
        line.is_busy = False
        if self._holding:
            self._hold(line)

    def on_asking(self, line: Line) -> None:
        """The head of a request has come, which is to be answered."""
        line.is_busy = True

    @property
    def are_quiet(self) -> bool:
        """Whether nothing is under way on any."""
        return all(line.is_quiet or line.closed() for line in self._open)

    def hold(self) -> None:
        """Takes those that are quiet, and those that become so until `release`."""
        self._holding = True
        for line in list(self._open):
            if line.is_quiet:
                self._hold(line)

    def release(self) -> list[sockets.socket]:
        """Those taken, which are the caller's now; no more are."""
        held, self._held, self._holding = self._held, [], False
        return held

    def _hold(self, line: Line) -> None:
        if line.closed() or line.has_unread:
            return
        try:
            connection, on_closed = line.take_socket()
        except OSError:  # no descriptor left for it
            return
        if on_closed is not None:
            on_closed()
        self._held.append(connection)


def _peer(connection: sockets.socket) -> str:
    with contextlib.suppress(OSError):  # the client has gone
        return str(connection.getpeername()[0]) if connection.family != sockets.AF_UNIX else ""
    return ""
