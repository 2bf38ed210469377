"""What waits for slow readers: over all of them there is a bound, too."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from relayd.gateway.hearer import Hearer

# Past the bound the queues are brought down to 7/8 of it, so that the next frames do not pass it again.
KEPT_SHARE = 7 / 8
# To measure all queues takes a while where there are thousands: not again before they may have grown by this share.
_MEASURED_SHARE = 1 / 64
CLOSED_PER_TURN = 256  # the closing handshakes of so many take about 10 ms


class Pressure:
    """The readers that are behind.

    Attributes:
        waiting_bytes: for all of them, at most: what they take is seen when they are looked at.
        closed: how many were cut off, for their own queue or for all together.

    Args:
        max_bytes: over all; past it the longest queues go first. 0 means no limit.
        call_soon: calls a function in the next turn of the loop.
    """

    def __init__(self, max_bytes: int, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self.waiting_bytes = 0
        self.closed = 0
        self.max_bytes = max_bytes
        self._call_soon = call_soon
        self._slow: dict[Hearer, None] = {}
        self._to_close: dict[Hearer, None] = {}  # chosen already, and closed in this turn or the next ones
        self._is_closing = False  # the next turn closes more of them
        self._measure_at = 0  # bytes; measured again when as many wait

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
        self._to_close.pop(socket, None)

    def grow(self, size: int) -> None:
        """So many bytes more wait for one of them."""
        self.waiting_bytes += size
        if self.max_bytes and self.waiting_bytes > max(self.max_bytes, self._measure_at):
            self.relieve()

    def relieve(self) -> None:
        """Measure all queues. If they are too long together, cut off the longest until 7/8 of the bound is left."""
        waiting = [(-socket.waiting_bytes, socket.number, socket) for socket in self._slow]
        self.waiting_bytes = -sum(size for size, _, _ in waiting)
        if self.max_bytes and self.waiting_bytes > self.max_bytes:
            heapq.heapify(waiting)
            while self.waiting_bytes > KEPT_SHARE * self.max_bytes:
                size, _, socket = heapq.heappop(waiting)
                self.waiting_bytes += size
                del self._slow[socket]
                self._to_close[socket] = None
            if not self._is_closing:
                self._close_some()
        self._measure_at = self.waiting_bytes + int(_MEASURED_SHARE * self.max_bytes)

    def _close_some(self) -> None:
        for socket in list(self._to_close)[:CLOSED_PER_TURN]:
            del self._to_close[socket]
            socket.cut_off()
        self._is_closing = bool(self._to_close)
        if self._is_closing:
            self._call_soon(self._close_some)
