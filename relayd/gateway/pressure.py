"""What waits for slow readers: over all of them there is a bound, too."""

from __future__ import annotations

from relayd.gateway.hearer import Hearer


class Pressure:
    """The readers that are behind.

    Attributes:
        waiting_bytes: for all of them, at most: what they take is seen when they are looked at.
        closed: how many were cut off, for their own queue or for all together.

    Args:
        max_bytes: over all; past it the longest queue goes first. 0 means no limit.
    """

    def __init__(self, max_bytes: int) -> None:
        self.waiting_bytes = 0
        self.closed = 0
        self.max_bytes = max_bytes
        self._slow: dict[Hearer, None] = {}

    @property
    def slow(self) -> int:
        """How many are behind."""
        return len(self._slow)

    def add(self, socket: Hearer) -> None:
        """The socket is behind."""
        self._slow[socket] = None
        self.grow(socket.waiting_bytes)

    def remove(self, socket: Hearer) -> None:
        """It has caught up, or is gone."""
        self._slow.pop(socket, None)

    def grow(self, size: int) -> None:
        """So many bytes more wait for one of them."""
        self.waiting_bytes += size
        if self.max_bytes and self.waiting_bytes > self.max_bytes:
            self.relieve()

    def relieve(self) -> None:
        """Cuts off the longest queues while all together are too long."""
        waiting = sorted(((socket.waiting_bytes, socket.number, socket) for socket in self._slow), reverse=True)
        self.waiting_bytes = sum(size for size, _, _ in waiting)
        for size, _, socket in waiting:
            if not self.max_bytes or self.waiting_bytes <= self.max_bytes:
                return
            self.waiting_bytes -= size
            socket.cut_off()
