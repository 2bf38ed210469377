"""The composition root: the only module that knows all the others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket as sockets
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import uvloop
import zmq

from relayd import collector
from relayd.bus.messages import Report
from relayd.bus.sockets import TOPIC_BYTES, Endpoints
from relayd.gateway.app import Gateway
from relayd.heartbeat import Heartbeat
from relayd.hub.control.listener import ControlListener
from relayd.hub.control.peers import socket_group
from relayd.hub.control.server import ControlServer
from relayd.hub.hub import Hub
from relayd.keeping import Rooms
from relayd.machine import descriptors
from relayd.machine.accepting import Acceptor
from relayd.machine.clock import SteadyClock
from relayd.machine.heap import HeapTrimmer
from relayd.machine.listeners import Listeners, listening
from relayd.machine.places import default_control
from relayd.machine.systemd import Systemd
from relayd.settings import Settings
from relayd.startup import Start, store
from relayd.steering import Helm
from relayd.supervisor import Supervisor
from relayd.upgrade import Gateways, HandOver, Prelude, TakeOver

if TYPE_CHECKING:
    from relayd.hub.scrape import MetricsServer

log = logging.getLogger("relayd")

OnListening = Callable[[list[str]], None]
Load = Callable[[], Settings]

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
EXIT_GAVE_UP = 70  # EX_SOFTWARE of sysexits(3): workers end at once; whoever started this may try a few times


class Doors(NamedTuple):
    """Where the daemon is reached: by clients, by who watches it, and by admins."""

    clients: Listeners
    metrics: Listeners
    control: ControlListener

    @classmethod
    def open(cls, settings: Settings, systemd: Systemd) -> Doors:
        """Those that systemd has handed in, and for the others those of the settings.

        Raises:
            CannotListen: one cannot be had.
        """
        fds, systemd.fds = systemd.fds, {}
        with contextlib.ExitStack() as stack:
            control = _control_listener(settings, fds.pop("control", []), is_service="http" in fds)
            stack.callback(control.close)
            clients = _listeners("listen", settings.listen, fds.pop("http", []))
            stack.callback(clients.close)
            metrics = _listeners("metrics", (settings.metrics,) if settings.metrics else (), fds.pop("metrics", []))
            stack.pop_all()
        _close_others(fds)
        return cls(clients, metrics, control)

    @classmethod
    def inherit(cls, before: TakeOver) -> Doors:
        """Those of the process before, which still has them."""
        inherited = [listening(fd) for fd in before.fds]
        clients, others = inherited[: before.prelude.clients], inherited[before.prelude.clients :]
        return cls(Listeners(clients, lent=True), Listeners(others[:-1], lent=True), ControlListener(others[-1]))

    def own(self, prelude: Prelude) -> None:
        """It has ended: what was its own is this one's."""
        self.clients.lent, self.metrics.lent = prelude.clients_lent, prelude.metrics_lent
        if prelude.control_path:
            self.control.own(Path(prelude.control_path))


def _control_listener(settings: Settings, fds: list[int], *, is_service: bool) -> ControlListener:
    if fds:
        return ControlListener(listening(fds[0]))
    path = settings.control or default_control(os.environ)
    if is_service:
        log.warning("systemd hands in no control socket: is relayd-control.socket active? relayctl --socket %s", path)
    return ControlListener.bind(path, socket_group(settings.control_groups))


def _listeners(setting: str, places: tuple[str, ...], fds: list[int]) -> Listeners:
    if not fds:
        return Listeners.bind(setting, places)
    taken = Listeners.take(fds)
    if places not in ((), Settings().listen):
        log.warning("%s has no effect: systemd holds the sockets, %s", setting, " ".join(taken.addresses))
    return taken


def _close_others(fds: dict[str, list[int]]) -> None:
    """Whoever connects to a socket that nobody serves would wait for ever."""
    for name, named in fds.items():
        log.warning("systemd hands in %s, and there is no use for it: see FileDescriptorName= of its unit", name)
        for fd in named:
            os.close(fd)


class Daemon:
    """A running relayd: the hub, and gateways in this process or in others.

    Attributes:
        addresses: where it listens, as `http://HOST:PORT` or `unix:PATH`.
        stop: set when it is to end.
        exit_code: to end with.
    """

    def __init__(
        self,
        start: Start,
        doors: Doors,
        rooms: Rooms,
        load: Load,
        systemd: Systemd,
        *,
        arguments: Sequence[str] | None = None,
        before: TakeOver | None = None,
    ) -> None:
        settings = start.settings
        self.addresses = doors.clients.addresses
        self.stop = asyncio.Event()
        self.exit_code = 0
        self._doors = doors
        self._systemd = systemd
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._cleanup = contextlib.ExitStack()
        self._before = before
        self._clock = rooms.clock
        count = (os.cpu_count() or 1) if settings.workers == "auto" else settings.workers
        topics = [os.urandom(TOPIC_BYTES) for _ in range(max(1, count))]
        if before is not None:  # as many gateways as there were, of the same names
            topics = before.prelude.topics
            count = len(topics) if before.prelude.has_workers else 0
        endpoints = self._private_endpoints() if count else Endpoints.inproc("relayd")
        self._hub = Hub(settings, self._context, endpoints, rooms.clock, os.urandom, rooms.kept)
        self._topic = topics[0]  # of the gateway in this process
        self._gateway: Gateway | None = None
        self._acceptor: Acceptor | None = None
        self._supervisor: Supervisor | None = None
        if count:
            self._supervisor = Supervisor(
                settings, endpoints, doors.clients.sockets, topics, self._hub.lose_gateway, self._give_up
            )
        else:
            self._gateway = Gateway(settings, self._context, endpoints, topics[0], os.urandom, self._hub.ends)
            self._acceptor = Acceptor(doors.clients.sockets, self._gateway.adopt)
        self._heartbeat = Heartbeat(systemd, max(1, count), self.status)
        self._hub.service.on_report = self._on_report
        self._hand_over = HandOver(
            self._hub, self._gateways(), doors.clients, doors.metrics, doors.control, rooms.clock, systemd, arguments
        )
        self._hand_over.on_done = self._on_handed_over
        self._helm = Helm(start, self._hub, self.addresses, load, self.stop, systemd, self._hand_over)
        self._metrics: MetricsServer | None = None
        self._control = ControlServer(settings, doors.control, self._hub, self._helm)
        self._helm.on_settings += [self._control.change, self._store_settings]
        if self._supervisor is not None:
            self._helm.on_settings.append(self._supervisor.change)

    def on_signal(self, number: signal.Signals) -> None:
        """SIGHUP reloads, anything else ends."""
        (self._helm.on_hangup if number == signal.SIGHUP else self._helm.on_terminate)()

    async def start(self) -> None:
        """Lets clients in.

        Raises:
            PassingFailed: it was to take over from another process, which goes on.
        """
        if self._before is None:
            self._hub.begin()
        if self._supervisor is not None:
            ready, stopped = asyncio.ensure_future(self._supervisor.ready()), asyncio.ensure_future(self.stop.wait())
            await asyncio.wait((ready, stopped), return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            stopped.cancel()
        if self._before is not None:
            await self._before.run(self._hub, self._clock, self._pass_channels)
            self._doors.own(self._before.prelude)
        if self._doors.clients.lent:
            self._helm.hold_newcomers = self._hold_newcomers
        self._heartbeat.start()
        self._store_settings(self._helm.settings)
        self._control.start()
        if self._doors.metrics.sockets:
            self._metrics = _metrics_server(self._hub, len(self._topics()), self._doors.metrics)
        self._accept()

    def _on_handed_over(self) -> None:
        """Who comes from now on, to whatever socket, is the next process' to serve."""
        self._heartbeat.close()
        self._control.stop()
        if self._metrics is not None:
            self._metrics.stop()

    @property
    def is_handed_over(self) -> bool:
        """Whether another process goes on with all that it had."""
        return self._hand_over.is_done

    def _gateways(self) -> Gateways:
        return Gateways(
            self._supervisor is not None, self._topics, self._hold_newcomers, self._accept, self._pass_channels
        )

    def _topics(self) -> list[bytes]:
        return self._supervisor.topics if self._supervisor is not None else [self._topic]

    def _accept(self) -> None:
        if self._acceptor is not None:
            self._acceptor.start()
        if self._supervisor is not None:
            self._supervisor.accept()

    def _pass_channels(self, kind: bytes, channels: dict[bytes, sockets.socket]) -> None:
        if self._supervisor is not None:
            self._supervisor.pass_channels(kind, channels)
        if self._gateway is not None:
            handing = self._gateway.handing
            # A copy: whoever gives it closes the original.
            {b"g": handing.give_to, b"t": handing.take_from}[kind](channels[self._topic].dup())

    async def close(self) -> None:
        """Ends in order: clients first, then rooms, then the bus."""
        self._heartbeat.close()
        if self._acceptor is not None:
            self._acceptor.stop()
        if self._gateway is not None:
            await self._gateway.close()
        if self._supervisor is not None:
            await self._supervisor.close()
        if self._metrics is not None:
            await self._metrics.close()
        await self._control.close()
        self._hub.close()
        self._context.destroy(linger=0)
        self._cleanup.close()
        self._doors.metrics.close()
        self._doors.clients.close()

    def _private_endpoints(self) -> Endpoints:
        """Sockets of the bus that only this user can reach (mkdtemp makes the directory 0700)."""
        parent = os.environ.get("RUNTIME_DIRECTORY") or os.environ.get("XDG_RUNTIME_DIR")
        directory = tempfile.TemporaryDirectory(prefix="relayd-", dir=parent)
        return Endpoints.ipc(self._cleanup.enter_context(directory))

    def _hold_newcomers(self) -> None:
        if self._acceptor is not None:
            self._acceptor.stop()
        if self._supervisor is not None:
            self._supervisor.hold()

    def _on_report(self, gateway: bytes, report: Report) -> None:
        self._heartbeat.hear(gateway)
        if self._supervisor is not None:
            self._supervisor.report(gateway, report)

    def status(self) -> str:
        """The state in a line, for systemd."""
        service = self._hub.service
        counts = f"{len(service.rooms)} rooms, {len(service.connections)} connections"
        return f"{counts}; {self._helm.trouble}" if self._helm.trouble else counts

    def _store_settings(self, settings: Settings) -> None:
        if self._hub.log is not None:
            store(settings, self._systemd)

    def _give_up(self) -> None:
        log.error("workers end at once again and again; giving up")
        self.exit_code = EXIT_GAVE_UP
        self.stop.set()


def _metrics_server(hub: Hub, workers: int, listeners: Listeners) -> MetricsServer:
    # Imported late: whoever is not watched pays neither the memory nor the start.
    from relayd.hub.metrics import registry  # noqa: PLC0415
    from relayd.hub.scrape import MetricsServer  # noqa: PLC0415

    for address in listeners.addresses:
        log.info("metrics at %s/metrics", address)
    return MetricsServer(registry(hub, workers), listeners.sockets)


@contextlib.asynccontextmanager
async def running(
    start: Start,
    signals: tuple[signal.Signals, ...] = (),
    load: Load | None = None,
    systemd: Systemd | None = None,
    *,
    arguments: Sequence[str] | None = None,
    before: TakeOver | None = None,
) -> AsyncIterator[Daemon]:
    """A daemon from start to orderly end.

    Args:
        start: the settings, and where they come from.
        signals: those it obeys.
        load: reads the settings anew.
        systemd: may have handed in the sockets, and is told how it fares.
        arguments: of the command line, to start another one with for an upgrade.
        before: the process from which it takes over.

    Raises:
        CannotListen: it cannot listen where it should.
        PassingFailed: it cannot take over.
    """
    systemd = systemd or Systemd()
    if before is None:
        rooms = start.rooms or Rooms.take(systemd)  # before the doors, which close what they have no use for
        doors = Doors.open(start.settings, systemd)
    else:
        rooms, doors = Rooms(SteadyClock(before.prelude.clock_offset_s), None), Doors.inherit(before)
    load = load or (lambda: start.settings)
    daemon = Daemon(start, doors, rooms, load, systemd, arguments=arguments, before=before)
    try:
        for number in signals:
            asyncio.get_running_loop().add_signal_handler(number, daemon.on_signal, number)
        await daemon.start()
        yield daemon
    finally:
        await daemon.close()


async def serve(
    start: Start,
    load: Load | None = None,
    systemd: Systemd | None = None,
    on_listening: OnListening | None = None,
    arguments: Sequence[str] | None = None,
    channel: sockets.socket | None = None,
) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code.

    Args:
        start: the settings, and where they come from.
        load: reads the settings anew, for a reload.
        systemd: of this process.
        on_listening: called with the addresses once clients can come.
        arguments: of the command line, to start another one with for an upgrade.
        channel: to the process from which it takes over.

    Raises:
        CannotListen: it cannot listen where it should.
        PassingFailed: it cannot take over.
    """
    descriptors.raise_limit()
    collector.calm()
    heap = HeapTrimmer(asyncio.get_running_loop())
    systemd = systemd or Systemd()
    before = None if channel is None else TakeOver(channel)
    async with running(start, _SIGNALS, load, systemd, arguments=arguments, before=before) as daemon:
        if not daemon.stop.is_set():
            for address in daemon.addresses:
                log.info("listening on %s", address)
            if on_listening is not None:
                on_listening(daemon.addresses)
            systemd.notify(READY=1, STATUS=daemon.status())
        await daemon.stop.wait()
        if not daemon.is_handed_over:
            systemd.notify(STOPPING=1)
        log.info("stopping")
    heap.close()
    log.info("stopped")
    return daemon.exit_code


def run(
    start: Start,
    load: Load | None = None,
    systemd: Systemd | None = None,
    on_listening: OnListening | None = None,
    arguments: Sequence[str] | None = None,
    channel: sockets.socket | None = None,
) -> int:
    """Runs the daemon on a loop of its own; see `serve`."""
    return uvloop.run(serve(start, load, systemd, on_listening, arguments, channel))
