"""Taking connections from listening sockets, as fast as they come and no faster than they can be served."""

from __future__ import annotations

import asyncio
import logging
import socket as sockets
from collections.abc import Callable

from relayd.machine import descriptors

log = logging.getLogger("relayd")

_AT_ONCE = 64  # connections taken in one turn of the loop
_PAUSE_S = 1.0


class Acceptor:
    """Gives each new connection to `take`.

    Whoever cannot be served yet waits in the kernel's queue, and is not turned away. asyncio's and Tornado's own ways
    to accept try again at once when descriptors run out: thousands of times a second, with a traceback each.

    Args:
        listeners: listening sockets; whoever made them closes them.
        take: called with a connection, which is its own from then on.
        may_use_reserve: whether it takes the last descriptors, too: for admins, not for clients.
    """

    def __init__(
        self, listeners: list[sockets.socket], take: Callable[[sockets.socket], None], *, may_use_reserve: bool = False
    ) -> None:
        self._listeners = listeners
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._accepting = False
        self._resuming: asyncio.TimerHandle | None = None
        self._end = descriptors.limit() if may_use_reserve else descriptors.first_of_reserve()
        self._outage = descriptors.Outage()

    def start(self) -> None:
        """Accepts from now on."""
        self._accepting = True
        for listener in self._listeners:
            listener.setblocking(False)
            if listener.family != sockets.AF_UNIX:
                # Wakes us when the request is there, which can then be answered at once; and costs nothing for those
                # who connect and say nothing, who come a second late (tcp(7)).
                listener.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_DEFER_ACCEPT, 1)
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def pause(self, seconds: float) -> None:
        """Accepts nothing for so long."""
        if self._accepting:
            self.stop()
            self._resuming = self._loop.call_later(seconds, self._resume)

    def stop(self) -> None:
        """Accepts nothing more; what waits in the queue stays there."""
        self._accepting = False
        if self._resuming is not None:
            self._resuming.cancel()
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())

    def _resume(self) -> None:
        self.start()
        if descriptors.are_scarce(self._end):
            self._wait()

    def _accept(self, listener: sockets.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as failed:  # the whole machine is out of descriptors or memory: accept(2)
                self._wait(f"accept: {failed.strerror}")
                return
            scarce = connection.fileno() >= self._end
            self._take(connection)
            if scarce:
                self._wait()
            if not self._accepting:
                return

    def _wait(self, reason: str = "") -> None:
        if self._outage.is_new():
            scarce = f"{descriptors.limit()} descriptors, the limit, are in use"
            log.warning("newcomers wait: %s; looking again every second", reason or scarce)
        self.pause(_PAUSE_S)
