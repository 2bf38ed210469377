"""Whether a server is still there: when to ask it, and when to take its connection for dead. Times are arguments.

The times are those of a clock that goes on while the machine sleeps (`relayd.client.clock`).
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NamedTuple

LATE_S: Final = 2.0  # a look that comes so much later than it should: the process did not run

# While an own message waits for its echo, the server is asked this soon.
AWAITED_ASK_AFTER_S: Final = 3.0
# How long an answer may take: a bad mobile network has round trips of 2 s, and loses packets. After a sleep there is
# mostly a network or none, and the person is looking.
AWAITED_ANSWER_S: Final = 5.0
WOKEN_ANSWER_S: Final = 3.0
# What is read so soon after waking may have come before the sleep, and have lain unread in the kernel.
STALE_S: Final = 0.5
# What was written before a question delays its answer.
SLOWEST_BYTES_S: Final = 4 * 1024  # the uplink of a very bad mobile network (GPRS)


class SleepDetector:
    """Notices that this process did not run for a while: the machine slept, or it was stopped.

    Args:
        now: when it is looked first.
        every_s: how often it is looked.
    """

    __slots__ = ("_every_s", "_looked_at")

    def __init__(self, now: float, every_s: float) -> None:
        self._looked_at = now
        self._every_s = every_s

    def has_slept(self, now: float) -> bool:
        """Whether the process has not run for a while since the last look."""
        return now - self._looked_at - self._every_s > LATE_S

    def slept_s(self, now: float) -> float:
        """For how long it has not; 0.0 if it has run. This is a look."""
        slept_s = now - self._looked_at - self._every_s if self.has_slept(now) else 0.0
        self._looked_at = now
        return slept_s


class Patience(NamedTuple):
    """How a connection is watched.

    Attributes:
        look_every_s: how often `look` is called.
        ask_after_s: of silence, where no answer is awaited.
        dead_after_s: of silence, whatever is queued: longer than from one ping of the server to the next.
    """

    look_every_s: float
    ask_after_s: float
    dead_after_s: float


class Verdict(Enum):
    """What is to be done about a connection."""

    NOTHING = auto()
    ASK = auto()  # send a ping; the question counts as asked
    DEAD = auto()


class Liveness:
    """What is known of one connection.

    Anything that comes shows that the server is there. If nothing does, it is asked, and has less time to answer where
    somebody waits. What was written before the question makes that time longer, as the question comes after it: a slow
    line is not a dead one.

    Args:
        patience: how it is watched.
        now: when the connection was made.

    Attributes:
        heard_at: when the last bytes came.
        question: what the ping is to carry, and its answer does.
    """

    def __init__(self, patience: Patience, now: float) -> None:
        self._patience = patience
        self._detector = SleepDetector(now, patience.look_every_s)
        self.heard_at = now
        self.question = b""
        self._count = 0
        self._asked_at: float | None = None  # while there is no answer
        self._woken = False  # the machine has slept, and nothing has come since
        self._carried_at = now  # when a slow line has carried everything that was written
        self._backlog_s = 0.0  # how far that was away when the server was asked

    def heard(self, now: float) -> None:
        """Bytes have come; or what has come is not read, which nobody can hold against the server."""
        if self._detector.has_slept(now) or (self._woken and now < (self._asked_at or now) + STALE_S):
            return
        self._take_heard(now)

    def answered(self, answer: bytes, now: float) -> None:
        """A pong has come."""
        if answer == self.question:
            self._take_heard(now)

    def _take_heard(self, now: float) -> None:
        self.heard_at = now
        self._asked_at = None
        self._woken = False

    def wrote(self, size: int, now: float) -> None:
        """So many bytes were written."""
        self.server_pauses(size / SLOWEST_BYTES_S, now)

    def server_pauses(self, seconds: float, now: float) -> None:
        """The server takes nothing for that time, and so does not answer either."""
        self._carried_at = max(self._carried_at, now) + seconds

    def look(self, now: float, *, awaiting: bool) -> Verdict:
        """What is to be done now; to be called every `look_every_s`, or when `next_look_s` says.

        Args:
            awaiting: an own message waits for its echo, or a command for its answer.
        """
        slept_s = self._detector.slept_s(now)
        if slept_s:
            # An answer may have come without being read yet, so the question is asked again.
            self._woken, self._asked_at = True, None
            self._carried_at += slept_s
        if self._asked_at is not None:
            return Verdict.DEAD if now >= self._dead_at(self._asked_at, awaiting=awaiting) else Verdict.NOTHING
        ask_after_s = AWAITED_ASK_AFTER_S if awaiting else self._patience.ask_after_s
        if not self._woken and now - self.heard_at < ask_after_s:
            return Verdict.NOTHING
        self._asked_at, self._backlog_s = now, max(0.0, self._carried_at - now)
        self._count += 1
        self.question = b"%d" % self._count
        return Verdict.ASK

    def next_look_s(self, now: float, *, awaiting: bool) -> float:
        """Seconds until `look` is to be called."""
        if self._asked_at is None:
            return self._patience.look_every_s
        left_s = self._dead_at(self._asked_at, awaiting=awaiting) - now
        return max(0.0, min(self._patience.look_every_s, left_s))

    def _dead_at(self, asked_at: float, *, awaiting: bool) -> float:
        """When the connection counts as dead if nothing comes."""
        patience = self._patience
        if self._woken:
            return asked_at + min(WOKEN_ANSWER_S + self._backlog_s, patience.dead_after_s)
        answer_s = AWAITED_ANSWER_S if awaiting else patience.dead_after_s - patience.ask_after_s
        return min(asked_at + answer_s + self._backlog_s, self.heard_at + patience.dead_after_s)
