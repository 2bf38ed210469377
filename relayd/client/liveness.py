"""Decides when to ping a server, and when to give its connection up. Pure: the time is an argument.

Times are in seconds, on a clock that counts while the machine sleeps (`relayd.client.clock`).
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NamedTuple

LATE_S: Final = 2.0  # a check that is later than this means that the process did not run

# Silence before a ping while an own message waits for its echo.
AWAITED_PING_AFTER_S: Final = 3.0
# Time for the pong. A bad mobile network has round trips of 2 s and loses packets. After a sleep the network is either
# there or not, and a person is waiting.
AWAITED_PONG_S: Final = 5.0
WOKEN_PONG_S: Final = 3.0
# Bytes that are read so soon after waking may have come before the sleep, and waited in the kernel's buffer.
STALE_S: Final = 0.5
# The uplink of a very bad mobile network (GPRS): a pong comes only after everything sent before the ping has arrived.
SLOWEST_BYTES_S: Final = 4 * 1024


class SleepDetector:
    """Notices that this process did not run for a while: the machine slept, or the process was stopped.

    Args:
        now: when the checks begin.
        every_s: the time between two checks.
    """

    __slots__ = ("_checked_at", "_every_s")

    def __init__(self, now: float, every_s: float) -> None:
        self._checked_at = now
        self._every_s = every_s

    def has_slept(self, now: float) -> bool:
        """Whether the process did not run for a while since the last check."""
        return now - self._checked_at - self._every_s > LATE_S

    def slept_s(self, now: float) -> float:
        """Check, and return how long the process did not run since the last check; 0.0 if it ran."""
        slept_s = now - self._checked_at - self._every_s if self.has_slept(now) else 0.0
        self._checked_at = now
        return slept_s


class Patience(NamedTuple):
    """The times for a connection.

    Attributes:
        check_every_s: between two calls of `check`.
        ping_after_s: silence before a ping, while no answer is awaited.
        dead_after_s: silence after which the connection is dead in any case; longer than the server's ping interval.
    """

    check_every_s: float
    ping_after_s: float
    dead_after_s: float


class Action(Enum):
    """What to do about a connection."""

    NONE = auto()
    PING = auto()  # send a ping with `Liveness.ping_payload`
    ABORT = auto()


class Liveness:
    """The state of one connection.

    Received bytes prove that the connection works. After some silence the server is pinged and must answer in time:
    sooner if an own message waits, or after a sleep. Bytes that were sent before the ping extend that time, because the
    ping arrives after them; so a slow connection is not taken for a dead one.

    Args:
        patience: the times.
        now: when the connection was opened.

    Attributes:
        heard_at: when the last bytes were received.
        ping_payload: of the last ping; its pong has the same.
    """

    def __init__(self, patience: Patience, now: float) -> None:
        self._patience = patience
        self._detector = SleepDetector(now, patience.check_every_s)
        self.heard_at = now
        self.ping_payload = b""
        self._count = 0
        self._pinged_at: float | None = None  # while the pong is awaited
        self._woken = False  # the machine has slept, and the server has not answered since
        self._drained_at = now  # when everything sent so far has arrived, on a connection of `SLOWEST_BYTES_S`
        self._backlog_s = 0.0  # the time from the last ping to `_drained_at`

    def received(self, now: float) -> None:
        """Bytes were received, or would be if this side read."""
        is_stale = self._woken and self._pinged_at is not None and now < self._pinged_at + STALE_S
        if not is_stale and not self._detector.has_slept(now):
            self._confirm(now)

    def pong_received(self, payload: bytes, now: float) -> None:
        """A pong was received."""
        if payload == self.ping_payload:
            self._confirm(now)

    def _confirm(self, now: float) -> None:
        self.heard_at = now
        self._pinged_at = None
        self._woken = False

    def sent(self, size: int, now: float) -> None:
        """`size` bytes were sent."""
        self.expect_pause(size / SLOWEST_BYTES_S, now)

    def expect_pause(self, seconds: float, now: float) -> None:
        """The server does not read for `seconds`, so it does not answer either."""
        self._drained_at = max(self._drained_at, now) + seconds

    def check(self, now: float, *, awaiting: bool) -> Action:
        """Return what to do now. Call it after `next_check_s`.

        Args:
            awaiting: whether an own message waits for its echo, or a command for its answer.
        """
        slept_s = self._detector.slept_s(now)
        if slept_s:
            # The pong of an earlier ping may be unread in the kernel's buffer, so ping again.
            self._woken, self._pinged_at = True, None
            # The sleep may have begun right after the last check, and nothing was carried from then on.
            self._drained_at += slept_s + self._patience.check_every_s
        if self._pinged_at is not None:
            return Action.ABORT if now >= self._dead_at(self._pinged_at, awaiting=awaiting) else Action.NONE
        ping_after_s = AWAITED_PING_AFTER_S if awaiting else self._patience.ping_after_s
        if not self._woken and now - self.heard_at < ping_after_s:
            return Action.NONE
        self._pinged_at, self._backlog_s = now, max(0.0, self._drained_at - now)
        self._count += 1
        self.ping_payload = b"%d" % self._count
        return Action.PING

    def next_check_s(self, now: float, *, awaiting: bool) -> float:
        """Seconds until the next `check`."""
        if self._pinged_at is None:
            return self._patience.check_every_s
        left_s = self._dead_at(self._pinged_at, awaiting=awaiting) - now
        return max(0.0, min(self._patience.check_every_s, left_s))

    def _dead_at(self, pinged_at: float, *, awaiting: bool) -> float:
        """When the connection is dead unless bytes are received before."""
        patience = self._patience
        if self._woken:
            return pinged_at + min(WOKEN_PONG_S + self._backlog_s, patience.dead_after_s)
        pong_s = AWAITED_PONG_S if awaiting else patience.dead_after_s - patience.ping_after_s
        return min(pinged_at + pong_s + self._backlog_s, self.heard_at + patience.dead_after_s)
