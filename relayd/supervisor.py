"""Gateway processes: started, watched, restarted, and handed the clients.

The process that holds the hub accepts every connection and gives it to the worker with the fewest, over that
worker's Unix socket (SCM_RIGHTS). So connections are spread evenly, none is accepted by a process that cannot
serve it, and what a dying worker had not taken yet goes to another one. SO_REUSEPORT would spread them by hash, and
lose what waits in the queue of a worker that dies or stands still.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket as sockets
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from relayd.bus.messages import Report
from relayd.bus.sockets import TOPIC_BYTES, Endpoints
from relayd.gateway.__main__ import Orders
from relayd.machine.accepting import Acceptor
from relayd.settings import Settings

log = logging.getLogger("relayd.supervisor")

QUICK_S = 5.0  # a worker that lives no longer died "at once"
MAX_QUICK_DEATHS = 5  # in a row; then whoever supervises this process is asked to look
BACKOFF_S, MAX_BACKOFF_S = 0.25, 10.0
SILENT_S = 10.0  # a worker that reports nothing for so long hangs; its clients are better off with another
START_S = 30.0  # for a worker to be ready
MAX_HOMELESS = 1024  # accepted, and waiting for a worker
_HOUSING_PAUSE_S = 0.05


class Worker:
    """One gateway process, from its start to its end.

    Attributes:
        topic: its gateway's.
        load: connections it has, as far as is known.
    """

    def __init__(self, process: asyncio.subprocess.Process, channel: sockets.socket, topic: bytes) -> None:
        self.process = process
        self.topic = topic
        self.ready = False
        self.load = 0
        self.heard_at = time.monotonic()
        self.descriptor = channel.fileno()  # readable when the worker says something
        self._channel = channel
        self._untaken: deque[sockets.socket] = deque()  # given, and not yet known to be taken

    def give(self, connection: sockets.socket) -> bool:
        """Hands the connection over; False if the worker's queue is full."""
        try:
            sockets.send_fds(self._channel, [b"c"], [connection.fileno()])
        except OSError:
            return False
        self._untaken.append(connection)
        self.load += 1
        return True

    def receive(self) -> int:
        """Takes in what the worker says: it is ready, or has taken connections. Returns how many bytes came."""
        came = -1
        # One packet a call (SOCK_SEQPACKET), and the worker waits for room in the queue to say more.
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while data := self._channel.recv(4096):
                self.ready, came = True, max(came, 0) + len(data)
                for _ in range(data.count(b"c")):
                    self._untaken.popleft().close()
            return max(came, 0)
        return came

    def pass_channel(self, kind: bytes, channel: sockets.socket) -> None:
        """Hands over a channel to another process; see `relayd.gateway.__main__`.

        Raises:
            OSError: the worker takes nothing.
        """
        sockets.send_fds(self._channel, [kind], [channel.fileno()])

    @property
    def untaken(self) -> int:
        """How many connections it was given and has not taken yet."""
        return len(self._untaken)

    def end(self) -> list[sockets.socket]:
        """The process is gone: what it had not taken."""
        self._channel.close()
        return list(self._untaken)


class Supervisor:
    """Keeps workers running.

    Args:
        settings: for the workers.
        endpoints: of the bus, over ipc.
        listeners: whose connections are given to the workers.
        topics: of the first worker of each place; so many there are.
        on_lost: called with the topic of a gateway that is gone.
        on_give_up: called when workers die at once again and again.
    """

    def __init__(
        self,
        settings: Settings,
        endpoints: Endpoints,
        listeners: list[sockets.socket],
        topics: Sequence[bytes],
        on_lost: Callable[[bytes], None],
        on_give_up: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._endpoints = endpoints
        self._acceptor = Acceptor(listeners, self._welcome)
        self._on_lost = on_lost
        self._on_give_up = on_give_up
        self._loop = asyncio.get_running_loop()
        self._workers: list[Worker] = []
        self._homeless: deque[sockets.socket] = deque()  # accepted, while no worker could take them
        self._quick_deaths = 0
        self._stopping = False
        self._all_ready = asyncio.Event()
        self._count = len(topics)
        self._keepers = [self._loop.create_task(self._keep(topic)) for topic in topics]
        self._watch = self._loop.create_task(self._kill_silent())

    @property
    def topics(self) -> list[bytes]:
        """Of the gateways that run."""
        return [worker.topic for worker in self._workers]

    def report(self, topic: bytes, report: Report) -> None:
        """A gateway says that it lives, and how many connections it has."""
        for worker in self._workers:
            if worker.topic == topic:
                worker.load, worker.heard_at = report.connections + worker.untaken, time.monotonic()

    def change(self, settings: Settings) -> None:
        """Other settings hold from now on, for workers to come; those that run hear of them over the bus."""
        self._settings = settings

    async def ready(self) -> None:
        """Until connections can be served, by all: the first worker alone would get all early clients."""
        await self._all_ready.wait()

    def accept(self) -> None:
        """Lets clients in."""
        self._acceptor.start()

    def pass_channels(self, kind: bytes, channels: dict[bytes, sockets.socket]) -> None:
        """Hands each worker, by its topic, a channel to another process."""
        for worker in self._workers:
            with contextlib.suppress(OSError):  # has just died; whoever waits for it waits in vain
                worker.pass_channel(kind, channels[worker.topic])

    def hold(self) -> None:
        """Accepts nothing more; what was accepted is served."""
        self._acceptor.stop()

    async def close(self) -> None:
        """Ends all workers in order: each sends its clients away."""
        self._stopping = True
        self._watch.cancel()
        self._stop_accepting()
        for worker in self._workers:
            with contextlib.suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGTERM)
        _, hanging = await asyncio.wait(self._keepers, timeout=self._settings.timing.close_timeout + 5)
        for worker in self._workers:
            with contextlib.suppress(ProcessLookupError):
                worker.process.kill()
        if hanging:
            await asyncio.wait(hanging)

    # Processes. -------------------------------------------------------------------------------------------------

    async def _keep(self, topic: bytes) -> None:
        """One place for a worker: whenever it is empty, it is filled."""
        while not self._stopping:
            started_at = time.monotonic()
            await self._run(topic)
            topic = os.urandom(TOPIC_BYTES)
            if self._stopping:
                return
            quick = time.monotonic() - started_at < QUICK_S
            self._quick_deaths = self._quick_deaths + 1 if quick else 0
            if self._quick_deaths >= MAX_QUICK_DEATHS:
                self._on_give_up()
                return
            if quick:
                await asyncio.sleep(min(MAX_BACKOFF_S, BACKOFF_S * 2**self._quick_deaths))

    async def _run(self, topic: bytes) -> None:
        """A worker from its start to its end; one that cannot be started has ended at once."""
        try:
            worker = await self._start(topic)
        except OSError as failed:
            log.error("no worker can be started: %s", failed.strerror or failed)  # noqa: TRY400 - no mistake of ours
            return
        code = await worker.process.wait()
        self._lose(worker)
        if not self._stopping:
            log.warning("worker pid=%d ended code=%s", worker.process.pid, code)

    async def _start(self, topic: bytes) -> Worker:
        ours, theirs = sockets.socketpair(sockets.AF_UNIX, sockets.SOCK_SEQPACKET)
        orders = Orders(self._settings, self._endpoints, topic)
        with theirs, contextlib.ExitStack() as on_failure:
            on_failure.callback(ours.close)
            # Settings go over the socket, not through the environment or argv, which others can read.
            ours.send(msgspec.msgpack.encode(orders))
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "relayd.gateway", str(theirs.fileno()), pass_fds=[theirs.fileno()]
            )
            on_failure.pop_all()
        ours.setblocking(False)
        worker = Worker(process, ours, topic)
        self._workers.append(worker)
        self._loop.add_reader(worker.descriptor, self._on_word, worker)
        return worker

    def _on_word(self, worker: Worker) -> None:
        if worker.receive() == 0:
            self._loop.remove_reader(worker.descriptor)  # its end is closed; the process will follow
            return
        worker.heard_at = time.monotonic()
        if sum(one.ready for one in self._workers) == self._count:
            self._all_ready.set()
        self._house()

    def _lose(self, worker: Worker) -> None:
        self._workers.remove(worker)
        self._loop.remove_reader(worker.descriptor)
        self._homeless.extend(worker.end())
        self._on_lost(worker.topic)
        self._house()

    async def _kill_silent(self) -> None:
        """A worker that hangs is ended: its clients come back to another and miss nothing."""
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            for worker in self._workers:
                if now - worker.heard_at > (SILENT_S if worker.ready else START_S):
                    log.error("worker pid=%d says nothing, killed", worker.process.pid)
                    with contextlib.suppress(ProcessLookupError):
                        worker.process.kill()

    # Connections. -----------------------------------------------------------------------------------------------

    def _welcome(self, connection: sockets.socket) -> None:
        self._homeless.append(connection)
        self._house()
        if len(self._homeless) >= MAX_HOMELESS:
            self._acceptor.pause(_HOUSING_PAUSE_S)  # the kernel's queue holds the others

    def _house(self) -> None:
        """Gives each waiting connection to the worker with the fewest."""
        while self._homeless:
            for worker in sorted((one for one in self._workers if one.ready), key=lambda one: one.load):
                if worker.give(self._homeless[0]):
                    self._homeless.popleft()
                    break
            else:
                return

    def _stop_accepting(self) -> None:
        self._acceptor.stop()
        while self._homeless:
            self._homeless.popleft().close()
