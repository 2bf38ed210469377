"""HTTP connections, and what is under way on each: some are kept for the next request (RFC 9112, section 9.3).

A proxy keeps many. Were they closed when another process takes over, it might just have sent a request on one; it may
not send that again, as it cannot know what became of it, and somebody would be told of a bad gateway.
"""

from __future__ import annotations

import socket as sockets
from weakref import WeakSet

from tornado.iostream import IOStream


class Line(IOStream):
    """A client's connection."""

    @property
    def has_unread(self) -> bool:
        """Whether something has been read that nobody has looked at: the beginning of a request."""
        return self._read_buffer_size > 0


class Lines:
    """Knows on which something is under way, and takes the others from Tornado while they are to be handed over.

    What is asked meanwhile waits in the system, for whoever reads the connection next.
    """

    def __init__(self) -> None:
        self._quiet: WeakSet[Line] = WeakSet()
        self._busy: WeakSet[Line] = WeakSet()
        self._held: list[sockets.socket] = []
        self._holding = False

    def on_quiet(self, line: Line) -> None:
        """It is new, or all that was asked is answered; it is not read from yet."""
        self._busy.discard(line)
        self._quiet.add(line)
        if self._holding:
            self._hold(line)

    def on_asking(self, line: Line) -> None:
        """The head of a request has come, which is to be answered."""
        self._quiet.discard(line)
        self._busy.add(line)

    @property
    def are_quiet(self) -> bool:
        """Whether nothing is under way on any."""
        # One that waits for nothing more has a head that will be looked at in the next turn of the loop.
        asking = (line for line in self._quiet if not line.reading())
        return all(line.closed() for line in (*self._busy, *asking))

    def hold(self) -> None:
        """Takes those that are quiet, and those that become so until `release`."""
        self._holding = True
        for line in list(self._quiet):
            if line.reading():
                self._hold(line)

    def release(self) -> list[sockets.socket]:
        """Those taken, which are the caller's now; no more are."""
        held, self._held, self._holding = self._held, [], False
        return held

    def _hold(self, line: Line) -> None:
        if line.closed() or line.has_unread:
            return
        try:
            self._held.append(line.socket.dup())
        except OSError:  # no descriptor left for it
            return
        line.close()
