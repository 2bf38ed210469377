"""Another process, with the code that is installed by then, takes over from this one; clients notice nothing.

    this one                                        the next one
    starts it                                   →   loads settings and code, says nothing if it cannot
    `Prelude`, and the listening sockets        →   starts its gateways, which do not read yet
                                                ←   "prepared"
    stops reading; all that was said is heard
    every gateway gives its connections         →   every gateway takes those of one
    `State`, and where all rooms are written    →   restores rooms, hears their topics
                                                ←   "ready"
    "yours"                                     →   goes on
    tells systemd, lets go of the channel       →   says to systemd what it has to say, lets newcomers in

Until "yours" the next one has read nothing and written nothing, so this one can go on at any time: it does if the
next one ends, fails or says nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket as sockets
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from relayd import __version__
from relayd.errors import CannotUpgrade, IncompatibleRooms, IncompatibleVersion, RelayError
from relayd.hub import memlog, snapshot
from relayd.hub.blocks import ClosedState
from relayd.hub.control.listener import ControlListener
from relayd.hub.hub import Hub
from relayd.hub.memlog import MemoryLog
from relayd.hub.service import ConnectionState
from relayd.machine import passing
from relayd.machine.clock import SteadyClock
from relayd.machine.listeners import Listeners
from relayd.machine.passing import PassingFailed
from relayd.machine.systemd import Systemd

log = logging.getLogger("relayd")

OPTION = "--take-over"  # of relayd's command line; hidden
FORMAT = 3  # of all that goes from one process to the next; both must have the same
_START_S = 60.0  # for the next process, and its workers, to be prepared
_HALT_S = 10.0  # for all gateways to have sent what their clients said
_TAKE_S = 30.0  # for the next process to be ready
_TELL_S = 5.0  # for systemd to be told which process is the main one
_MAX_WORD_BYTES = 4096

_ORPHANED = '"$@" >&2 & echo $!'

PREPARED, READY, YOURS, FAILED = b"prepared", b"ready", b"yours", b"failed: "
# What follows FAILED where trying again would not help: only a restart does, which keeps the rooms, or ends them.
VERSION, ROOMS = "incompatible version: ", "incompatible rooms: "
_INCOMPATIBLE: dict[str, type[RelayError]] = {VERSION: IncompatibleVersion, ROOMS: IncompatibleRooms}


class Prelude(msgspec.Struct, frozen=True):
    """What the next process needs to prepare itself.

    Its descriptors are, in this order: sockets of clients, of metrics, of control, and a channel to each gateway.
    """

    format: int
    version: str
    clients: int
    clients_lent: bool
    metrics: int
    metrics_lent: bool
    control_path: str  # "" if its socket is somebody else's
    has_workers: bool
    topics: list[bytes]  # of the gateways
    clock_offset_s: float
    log_version: int = 1  # of the memory with the rooms


class State(msgspec.Struct, frozen=True):
    """What it needs to go on. The memory with all rooms comes as a descriptor."""

    log_version: int
    keeps: bool  # whether the service manager has a copy of that memory
    connections: list[ConnectionState]
    closed: ClosedState | None = None  # of a relayd that knew nothing of it


class Upgraded(NamedTuple):
    """Who goes on."""

    pid: int
    version: str


class Gateways(NamedTuple):
    """What is done with this process' gateways."""

    has_workers: bool
    topics: Callable[[], Sequence[bytes]]
    hold: Callable[[], None]  # accepts nobody
    accept: Callable[[], None]
    pass_channels: Callable[[bytes, dict[bytes, sockets.socket]], None]


class HandOver:
    """The side of the process that has everything.

    Args:
        hub: its rooms.
        gateways: its gateways.
        clients, metrics, control: where it listens.
        clock: of its rooms.
        systemd: is told who the main process is.
        arguments: of its command line; None if it was started otherwise, and does not know how to start another.

    Attributes:
        is_done: another process goes on.
        on_done: called when that is so.
    """

    def __init__(
        self,
        hub: Hub,
        gateways: Gateways,
        clients: Listeners,
        metrics: Listeners,
        control: ControlListener,
        clock: SteadyClock,
        systemd: Systemd,
        arguments: Sequence[str] | None,
    ) -> None:
        self._hub = hub
        self._gateways = gateways
        self._clients = clients
        self._metrics = metrics
        self._control = control
        self._clock = clock
        self._systemd = systemd
        self._arguments = arguments
        self._loop = asyncio.get_running_loop()
        self.under_way = False
        self.is_done = False
        self.on_done: Callable[[], None] = lambda: None

    async def run(self) -> Upgraded:
        """Lets another process go on. This one must end then, and say nothing to anybody.

        Raises:
            CannotUpgrade: why it cannot; this process goes on.
            IncompatibleVersion, IncompatibleRooms: it takes a restart, which keeps the rooms, or ends them.
        """
        if self._arguments is None or os.getpid() == 1:
            raise CannotUpgrade("This process cannot start another that outlives it: restart it instead")
        if self.under_way or self._hub.draining:
            raise CannotUpgrade("It ends already, or another upgrade is under way")
        self.under_way = True
        ours, theirs = passing.pair()
        try:
            with theirs:
                pid = self._start(theirs)
            try:
                version = await self._pass_on(ours, pid)
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                raise
        except PassingFailed as failed:
            log.warning("another process could not take over, this one goes on: %s", failed)
            raise _error_of(str(failed)) from None
        finally:
            ours.close()
            self.under_way = False
        return Upgraded(pid, version)

    def _start(self, theirs: sockets.socket) -> int:
        """The next process, as a child of whoever adopts orphans: systemd watches over its own children only."""
        # -P: without the working directory, which has no say in which relayd is installed.
        command = (sys.executable, "-P", "-m", "relayd.cli.relayd", *(self._arguments or ()))
        fd, environment = theirs.fileno(), {**os.environ, **self._systemd.environment()}
        # Not by the event loop, which would wait for the one that the shell leaves behind.
        started = subprocess.run(  # noqa: S603 - itself
            ["/bin/sh", "-c", _ORPHANED, "sh", *command, OPTION, str(fd)],
            stdout=subprocess.PIPE,
            pass_fds=[fd],
            env=environment,
            check=False,
        )
        if not started.stdout.strip().isdigit():
            raise PassingFailed("it cannot be started; see the log")
        return int(started.stdout)

    async def _pass_on(self, ours: sockets.socket, pid: int) -> str:
        topics = list(self._gateways.topics())
        pairs = {topic: passing.pair() for topic in topics}
        try:
            self._send_prelude(ours, topics, [theirs for _, theirs in pairs.values()])
            version = (await self._hear(ours, PREPARED, _START_S)).decode()
            self._gateways.pass_channels(b"g", {topic: own for topic, (own, _) in pairs.items()})
        finally:
            for own, theirs in pairs.values():
                own.close()
                theirs.close()
        self._gateways.hold()
        self._hub.say_phase("halt")
        try:
            await self._give(ours, topics, pid)
        except BaseException:
            self._hub.say_phase("go_on")
            self._hub.begin()
            self._gateways.accept()
            raise
        return version

    def _send_prelude(self, ours: sockets.socket, topics: list[bytes], channels: list[sockets.socket]) -> None:
        prelude = Prelude(
            format=FORMAT,
            version=__version__,
            clients=len(self._clients.sockets),
            clients_lent=self._clients.lent,
            metrics=len(self._metrics.sockets),
            metrics_lent=self._metrics.lent,
            control_path=str(self._control.path or ""),
            has_workers=self._gateways.has_workers,
            topics=topics,
            clock_offset_s=self._clock.offset_s,
            log_version=memlog.VERSION,
        )
        given = (*self._clients.sockets, *self._metrics.sockets, self._control.socket, *channels)
        _pass(ours, msgspec.msgpack.encode(prelude), [socket.fileno() for socket in given])

    async def _give(self, ours: sockets.socket, topics: list[bytes], pid: int) -> None:
        try:
            await self._hub.reached("halted", topics, _HALT_S)
        except TimeoutError:
            raise PassingFailed("not all gateways of this one have stopped reading in time") from None
        memory, connections = self._hub.freeze()
        state = State(memlog.VERSION, self._hub.log is not None, connections, self._hub.service.closed.state())
        try:
            _pass(ours, msgspec.msgpack.encode(state), [memory.fd])
        finally:
            if self._hub.log is None:
                memory.close()
        self._hub.say_phase("give")
        await self._hear(ours, READY, _TAKE_S)
        try:
            ours.send(YOURS)
        except OSError:
            raise PassingFailed("it has ended; see the log") from None
        self.is_done = True
        self.on_done()
        self._systemd.notify(MAINPID=pid)  # the last that systemd hears from this one
        self._hub.say_phase("let_go")
        self._clients.lent = self._metrics.lent = True
        self._control.lend()

    async def _hear(self, ours: sockets.socket, word: bytes, seconds: float) -> bytes:
        """Waits for that word; gives what comes with it."""
        ours.setblocking(False)
        try:
            async with asyncio.timeout(seconds):
                said = await self._loop.sock_recv(ours, _MAX_WORD_BYTES)
        except TimeoutError:
            raise PassingFailed(f"it was not {word.decode()} within {seconds:.0f} s") from None
        except ConnectionError:
            said = _last_words(ours)
        if said.startswith(FAILED):
            raise PassingFailed(said.removeprefix(FAILED).decode(errors="replace"))
        if not said.startswith(word):
            raise PassingFailed("it has ended; see the log")
        return said[len(word) :]


def _error_of(why: str) -> RelayError:
    """What an administrator is told, given the reason of a `PassingFailed`."""
    for prefix, kind in _INCOMPATIBLE.items():
        if why.startswith(prefix):
            return kind(f"{why.removeprefix(prefix)}; this one goes on")
    return CannotUpgrade(f"The next relayd did not take over, this one goes on: {why}")


def _pass(ours: sockets.socket, payload: bytes, fds: list[int]) -> None:
    # One that takes nothing has ended, and may have said why: that is heard next.
    with contextlib.suppress(PassingFailed):
        passing.send(ours, payload, fds)


class TakeOver:
    """The side of the next process.

    Args:
        channel: to the process before.

    Attributes:
        prelude: what that one has said.
        fds: of its listening sockets, as `Prelude` says.
        channels: to its gateways, by topic.

    Raises:
        PassingFailed: nothing comes, or what comes is not understood; the other one is told.
    """

    def __init__(self, channel: sockets.socket) -> None:
        self._channel = channel
        payload, fds = passing.receive(channel)
        head = msgspec.msgpack.decode(payload)
        head = head if isinstance(head, dict) else {}
        before = f"relayd {head.get('version', 'of an unknown version')}"
        if head.get("log_version", 1) != memlog.VERSION:
            raise self.fail(f"{ROOMS}relayd {__version__} cannot read the rooms of {before}: a restart ends them")
        if head.get("format") != FORMAT:
            what = f"relayd {__version__} cannot take over the connections of {before}: a restart keeps the rooms"
            raise self.fail(VERSION + what)
        self.prelude = msgspec.msgpack.decode(payload, type=Prelude)
        first = len(fds) - len(self.prelude.topics)
        self.fds = fds[:first]
        self.channels = {
            topic: sockets.socket(fileno=fd) for topic, fd in zip(self.prelude.topics, fds[first:], strict=True)
        }

    def fail(self, why: str) -> PassingFailed:
        """Tells the process before why this one cannot take over; an error to end with."""
        with contextlib.suppress(OSError):
            self._channel.send(FAILED + why.encode()[: _MAX_WORD_BYTES - len(FAILED)])
        return PassingFailed(why)

    async def run(self, hub: Hub, clock: SteadyClock, pass_channels: Callable[..., None]) -> None:
        """Goes on with all that the process before had; done when it is this one's.

        Raises:
            PassingFailed: it is not, and this process must end without a word.
        """
        topics = self.prelude.topics
        pass_channels(b"t", self.channels)
        for channel in self.channels.values():
            channel.close()
        self._channel.send(PREPARED + __version__.encode())
        await self._readable()
        payload, fds = passing.receive(self._channel)
        state = msgspec.msgpack.decode(payload, type=State)
        try:
            kept = snapshot.read(MemoryLog.open(fds[0]), clock())
        except memlog.Unreadable as why:
            raise self.fail(f"the rooms cannot be read: {why}") from None
        hub.restore(kept, keep=state.keeps)
        hub.readmit(state.connections)
        if state.closed is not None:
            hub.restore_closed(state.closed)
        if not state.keeps:
            kept.log.close()
        try:
            taken = await hub.reached("prepared", topics, _TAKE_S)
        except TimeoutError:
            raise self.fail("not all connections came in time") from None
        self._channel.setblocking(True)
        self._channel.send(READY)
        await self._readable()
        if self._channel.recv(_MAX_WORD_BYTES) != YOURS:
            raise PassingFailed("the process before goes on")
        hub.say_phase("open")
        await hub.reached("opened", topics, _TAKE_S)
        hub.begin()
        hub.disconnect_others(taken)
        log.info("taken over from relayd %s", self.prelude.version)
        hub.say_phase("go_on")
        # systemd hears nobody but the main process: the one before closes its end once it has said which that is.
        with contextlib.suppress(PassingFailed):
            await self._readable(_TELL_S)
        self._channel.close()

    async def _readable(self, seconds: float = _START_S) -> None:
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._channel.fileno(), readable.set)
        try:
            async with asyncio.timeout(seconds):
                await readable.wait()
        except TimeoutError:
            raise PassingFailed("the process before says nothing") from None
        finally:
            loop.remove_reader(self._channel.fileno())


def _last_words(ours: sockets.socket) -> bytes:
    """What the other end said before it closed; that it left something unread is told, once, before its words are."""
    try:
        return ours.recv(_MAX_WORD_BYTES)
    except OSError:
        return b""
