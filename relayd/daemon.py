"""The composition root: the only module that knows all the others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket as sockets
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
import zmq

from relayd import collector
from relayd.bus.sockets import TOPIC_BYTES, Endpoints
from relayd.clock import SteadyClock
from relayd.errors import SettingsError
from relayd.gateway.app import Gateway
from relayd.hub.control.listener import ControlListener
from relayd.hub.control.peers import socket_group
from relayd.hub.control.server import ControlServer
from relayd.hub.hub import Hub
from relayd.listeners import address_of, bind_listeners, bind_metrics
from relayd.places import default_control
from relayd.settings import Settings
from relayd.steering import Helm
from relayd.supervisor import Supervisor

if TYPE_CHECKING:
    from relayd.hub.scrape import MetricsServer

log = logging.getLogger("relayd")

OnListening = Callable[[list[str]], None]
Load = Callable[[], Settings]

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
EXIT_GAVE_UP = 70  # EX_SOFTWARE of sysexits(3): workers die at once, and starting again would not help


class Daemon:
    """A running relayd: the hub, and gateways in this process or in others.

    Attributes:
        addresses: where it listens, as `http://HOST:PORT` or `unix:PATH`.
        stop: set when it is to end.
        exit_code: to end with.
    """

    def __init__(
        self,
        settings: Settings,
        listeners: list[sockets.socket],
        metrics: list[sockets.socket],
        control: ControlListener,
        load: Load,
    ) -> None:
        self.addresses = [address_of(listener) for listener in listeners]
        self.stop = asyncio.Event()
        self.exit_code = 0
        self._listeners = listeners
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._cleanup = contextlib.ExitStack()
        count = (os.cpu_count() or 1) if settings.workers == "auto" else settings.workers
        endpoints = self._private_endpoints() if count else Endpoints.inproc("relayd")
        self._hub = Hub(settings, self._context, endpoints, SteadyClock(), os.urandom)
        self._gateway: Gateway | None = None
        self._supervisor: Supervisor | None = None
        if count:
            self._supervisor = Supervisor(settings, endpoints, listeners, count, self._hub.lose_gateway, self._give_up)
            self._hub.service.on_report = self._supervisor.report
        else:
            self._gateway = Gateway(settings, self._context, endpoints, os.urandom(TOPIC_BYTES), os.urandom)
        self._helm = Helm(settings, self._hub, self.addresses, load, self.stop)
        self._metrics = _metrics_server(self._hub, count or 1, metrics) if metrics else None
        self._control = ControlServer(settings, control, self._hub, self._helm)
        self._helm.on_settings.append(self._control.change)
        if self._supervisor is not None:
            self._helm.on_settings.append(self._supervisor.change)

    def on_signal(self, number: signal.Signals) -> None:
        """SIGHUP reloads, anything else ends."""
        (self._helm.on_hangup if number == signal.SIGHUP else self._helm.on_terminate)()

    async def start(self) -> None:
        """Lets clients in."""
        if self._gateway is not None:
            self._gateway.listen(self._listeners)
        if self._supervisor is not None:
            ready, stopped = asyncio.ensure_future(self._supervisor.ready()), asyncio.ensure_future(self.stop.wait())
            await asyncio.wait((ready, stopped), return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            stopped.cancel()

    async def close(self) -> None:
        """Ends in order: clients first, then rooms, then the bus."""
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
        for listener, address in zip(self._listeners, self.addresses, strict=True):
            listener.close()
            if address.startswith("unix:"):
                Path(address.removeprefix("unix:")).unlink(missing_ok=True)  # noqa: ASYNC240 - at the very end

    def _private_endpoints(self) -> Endpoints:
        """Sockets of the bus that only this user can reach (mkdtemp makes the directory 0700)."""
        parent = os.environ.get("RUNTIME_DIRECTORY") or os.environ.get("XDG_RUNTIME_DIR")
        directory = tempfile.TemporaryDirectory(prefix="relayd-", dir=parent)
        return Endpoints.ipc(self._cleanup.enter_context(directory))

    def _give_up(self) -> None:
        log.error("workers end at once again and again; giving up")
        self.exit_code = EXIT_GAVE_UP
        self.stop.set()


def _metrics_server(hub: Hub, workers: int, listeners: list[sockets.socket]) -> MetricsServer:
    # Imported late: whoever is not watched pays neither the memory nor the start.
    from relayd.hub.metrics import registry  # noqa: PLC0415
    from relayd.hub.scrape import MetricsServer  # noqa: PLC0415

    for listener in listeners:
        log.info("metrics at %s/metrics", address_of(listener))
    return MetricsServer(registry(hub, workers), listeners)


@contextlib.asynccontextmanager
async def running(
    settings: Settings, signals: tuple[signal.Signals, ...] = (), load: Load | None = None
) -> AsyncIterator[Daemon]:
    """A daemon from start to orderly end, which obeys these signals; `load` reads the settings anew.

    Raises:
        SettingsError: it cannot listen where it should.
    """
    control = ControlListener(settings.control or default_control(os.environ), socket_group(settings.control_groups))
    listeners: list[sockets.socket] = []
    try:
        listeners = bind_listeners(settings)
        metrics = bind_metrics(settings)
    except SettingsError:
        control.close()
        for listener in listeners:
            listener.close()
        raise
    daemon = Daemon(settings, listeners, metrics, control, load or (lambda: settings))
    try:
        for number in signals:
            asyncio.get_running_loop().add_signal_handler(number, daemon.on_signal, number)
        await daemon.start()
        yield daemon
    finally:
        await daemon.close()


async def serve(settings: Settings, load: Load | None = None, on_listening: OnListening | None = None) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code.

    Args:
        load: reads the settings anew, for a reload.
        on_listening: called with the addresses once clients can come.
    """
    raise_descriptor_limit()
    collector.calm()
    async with running(settings, _SIGNALS, load) as daemon:
        if not daemon.stop.is_set():
            for address in daemon.addresses:
                log.info("listening on %s", address)
            if on_listening is not None:
                on_listening(daemon.addresses)
        await daemon.stop.wait()
        log.info("stopping")
    log.info("stopped")
    return daemon.exit_code


def run(settings: Settings, load: Load | None = None, on_listening: OnListening | None = None) -> int:
    """Runs the daemon on a loop of its own; see `serve`."""
    return uvloop.run(serve(settings, load, on_listening))


def raise_descriptor_limit() -> None:
    """As many descriptors as the system allows: each client takes one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
