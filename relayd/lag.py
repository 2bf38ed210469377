"""How late the event loop is: the one sign of overload that counts everything."""

from __future__ import annotations

import asyncio

from relayd.errors import Overloaded

LATE_S = 0.25
_EVERY_S = 0.1
_WEIGHT = 0.2  # of one look among those before: about a second is what counts, one long turn is not overload


class LoopLag:
    """Looks how late its own timer is called.

    Attributes:
        seconds: by how much the loop was late lately, on a moving average.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.seconds = 0.0
        self._handle = self._look_again(self._loop.time())

    def check(self) -> None:
        """Lets newcomers pass while the loop keeps up.

        Raises:
            Overloaded: with a time to come back.
        """
        if self.seconds > LATE_S:
            raise Overloaded(retry_after_s=max(1.0, 4 * self.seconds))

    def close(self) -> None:
        """Looks no more."""
        self._handle.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        self.seconds += _WEIGHT * (now - self._due_at - self.seconds)
        self._handle = self._look_again(now)

    def _look_again(self, now: float) -> asyncio.TimerHandle:
        # At full tenths: those of hub and gateway, and the gateway's wheel, wake an idle server together. Never
        # sooner than after half the time, or a standstill would be forgotten in the moment it is over.
        self._due_at = ((now + _EVERY_S / 2) // _EVERY_S + 1) * _EVERY_S
        return self._loop.call_at(self._due_at, self._look)
