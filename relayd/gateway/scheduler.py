"""Large fan-outs, spread over turns of the event loop, so that one room does not stall the others.

1. A delivery to a room that is small, or that the rest of this turn's budget pays for, is made directly.
2. Any other becomes a `Job` and waits in the queue of its room, together with all that comes for the room after it.
   Its targets are the sockets that were in the room when it came, so a later joiner is not sent it.
3. In each turn the queues are served in rotation, a slice each, until the turn's budget is spent. In between, the loop
   reads from other sockets and serves other rooms.

Work is counted in bytes and deliveries, not in time, so that the same input always takes the same turns.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence

from relayd.gateway.hearer import Hearer

# A write and its system call take as long as copying about 2 KiB more would.
DELIVERY_COST = 2_048
# Of one turn: 1,200 short frames, or 42 of 60 KB, which take about 10 ms of one core. A short message to 1,000 users,
# the largest rooms but few, still fits into one turn.
TURN_COST = 5 * 2**19
# What a queue may use before the next queue is served.
SLICE_COST = TURN_COST // 8
# What costs no more is delivered without a look at the budget: a message to 100 users.
DIRECT_COST = 256 * 1024
# Frames in all queues. Past it the oldest job is completed in the same turn: the loop is then late, which is what makes
# the server refuse newcomers (see `LoopLag`), and memory stays bounded.
MAX_QUEUED_BYTES = 64 * 2**20


def _nothing() -> None:
    pass


class Job:
    """One delivery to many sockets, of which some may have been made.

    Args:
        targets: in the order of delivery; those that have left meanwhile must be no problem for `deliver`.
        deliver: makes it for one of them.
        frame_bytes: of the frame, which all of them share.
        cost: of the delivery to one.
        on_done: called after the last.
    """

    __slots__ = ("_cost", "_deliver", "_next", "_on_done", "_targets", "frame_bytes")

    def __init__(
        self,
        targets: Sequence[Hearer],
        deliver: Callable[[Hearer], None],
        frame_bytes: int,
        cost: int,
        on_done: Callable[[], None] = _nothing,
    ) -> None:
        self.frame_bytes = frame_bytes
        self._targets = targets
        self._deliver = deliver
        self._cost = cost
        self._on_done = on_done
        self._next = 0

    @property
    def is_done(self) -> bool:
        """Whether every target was delivered to."""
        return self._next >= len(self._targets)

    def run(self, budget: int) -> int:
        """Deliver to as many targets as the budget pays for, and to at least one.

        Returns:
            The cost.
        """
        targets = self._targets[self._next : self._next + max(1, budget // self._cost)]
        self._next += len(targets)
        for socket in targets:
            self._deliver(socket)
        if self.is_done:
            self._on_done()
        return len(targets) * self._cost


class FanoutScheduler:
    """Holds the deliveries that wait, and makes them.

    Attributes:
        queued_bytes: of the frames that wait.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queues: dict[Hashable, deque[Job]] = {}  # none is empty; the one that is served next stands first
        self._left = TURN_COST  # of this turn's budget
        self._is_scheduled = False
        self.queued_bytes = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits."""
        return not self._queues

    def fits(self, key: Hashable, cost: int) -> bool:
        """Whether a delivery of that cost is to be made directly. Books it then; else it is to be added.

        Args:
            key: of the queue whose order it has to keep.
        """
        if self._queues and key in self._queues:
            return False
        if cost <= DIRECT_COST:
            return True
        if cost > self._left:
            return False
        self._left -= cost
        self._schedule()
        return True

    def add(self, key: Hashable, job: Job) -> None:
        """Queue a job behind those with the same key, and begin with it if this turn's budget is not spent yet."""
        self._queues.setdefault(key, deque()).append(job)
        self.queued_bytes += job.frame_bytes
        while self.queued_bytes > MAX_QUEUED_BYTES:
            self._run_next(_UNBOUNDED)
        self._serve()

    def drop(self, key: Hashable) -> None:
        """Forget a queue: nobody is there to be delivered to."""
        queue = self._queues.pop(key, ())
        self.queued_bytes -= sum(job.frame_bytes for job in queue)

    def complete(self) -> None:
        """Make every delivery that waits, now."""
        while self._queues:
            self._run_next(_UNBOUNDED)

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        self._is_scheduled = False
        self._left = TURN_COST
        if self._queues:
            self._serve()

    def _serve(self) -> None:
        while self._queues and self._left > 0:
            self._left -= self._run_next(min(SLICE_COST, self._left))
        self._schedule()

    def _run_next(self, budget: int) -> int:
        """Run the first job of the first queue, and let the next queue be the first."""
        key, queue = next(iter(self._queues.items()))
        job = queue[0]
        cost = job.run(budget)
        if self._queues.get(key) is not queue:  # its last socket left meanwhile
            return cost
        del self._queues[key]
        if job.is_done:
            queue.popleft()
            self.queued_bytes -= job.frame_bytes
        if queue:
            self._queues[key] = queue
        return cost


_UNBOUNDED = 2**62
