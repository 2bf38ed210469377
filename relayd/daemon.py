"""The composition root: the only module that knows all the others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket as sockets
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop
import zmq
from tornado.netutil import bind_sockets, bind_unix_socket

from relayd.bus.sockets import Endpoints
from relayd.clock import SteadyClock
from relayd.errors import SettingsError
from relayd.gateway.app import Gateway
from relayd.hub.hub import Hub
from relayd.settings import Settings, parse_listen

log = logging.getLogger("relayd")

BACKLOG = 4096  # Linux caps it at net.core.somaxconn, 4096 since 5.4


class Daemon:
    """A running relayd.

    Attributes:
        addresses: where it listens, as `http://HOST:PORT` or `unix:PATH`.
    """

    def __init__(self, settings: Settings, listeners: list[sockets.socket]) -> None:
        self.addresses = [_address(listener) for listener in listeners]
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        endpoints = Endpoints.inproc("relayd")
        self._hub = Hub(settings, self._context, endpoints, SteadyClock(), os.urandom)
        self._gateway = Gateway(settings, self._context, endpoints, listeners, os.urandom)

    async def close(self) -> None:
        """Ends in order: clients first, then rooms, then the bus."""
        await self._gateway.close()
        self._hub.close()
        self._context.term()


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Daemon]:
    """A daemon from start to orderly end.

    Raises:
        SettingsError: it cannot listen where it should.
    """
    listeners = bind_listeners(settings)
    daemon = Daemon(settings, listeners)
    try:
        yield daemon
    finally:
        await daemon.close()
        for address in daemon.addresses:
            if address.startswith("unix:"):
                Path(address.removeprefix("unix:")).unlink(missing_ok=True)  # noqa: ASYNC240 - at the very end


async def serve(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    raise_descriptor_limit()
    async with running(settings) as daemon:
        for address in daemon.addresses:
            log.info("listening on %s", address)
        await stop.wait()
        log.info("stopping")
    log.info("stopped")


def run(settings: Settings) -> None:
    """Runs the daemon on a loop of its own."""
    uvloop.run(serve(settings))


def bind_listeners(settings: Settings) -> list[sockets.socket]:
    """Listening sockets for `settings.listen`.

    Raises:
        SettingsError: naming each place that cannot be had, and why.
    """
    listeners: list[sockets.socket] = []
    problems: list[str] = []
    for text in settings.listen:
        try:
            listeners += _bind(parse_listen(text))
        except OSError as failed:
            problems.append(f"listen: {text}: {failed.strerror or failed}")
    if problems:
        for listener in listeners:
            listener.close()
        raise SettingsError(problems)
    return listeners


def raise_descriptor_limit() -> None:
    """As many descriptors as the system allows: each client takes one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _bind(place: tuple[str, int] | Path) -> list[sockets.socket]:
    if isinstance(place, tuple):
        host, port = place
        return bind_sockets(port, host, backlog=BACKLOG)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(place.lstat().st_mode):
            raise OSError(0, "is there already, and is no socket")
        if _answers(place):
            raise OSError(0, "another process listens there")
    # 0666: whoever may reach the directory may connect, as with a TCP port; REST and chat ask for keys.
    return [bind_unix_socket(str(place), mode=0o666, backlog=BACKLOG)]


def _answers(path: Path) -> bool:
    with sockets.socket(sockets.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False  # left behind by a process that is gone
        return True


def _address(listener: sockets.socket) -> str:
    if listener.family == sockets.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
