"""What relayd does while its settings are invalid and systemd holds its sockets: it refuses clients and waits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket as sockets
from collections.abc import Callable

from tornado.iostream import IOStream
from tornado.web import Application

from relayd.errors import RelayError, Restarting, SettingsError
from relayd.http.handler import MAX_BODY_BYTES, JsonHandler
from relayd.http.server import HttpConnections
from relayd.http.stream import HttpStream, HttpStreams, Timeouts
from relayd.machine.listeners import listening
from relayd.machine.systemd import Systemd
from relayd.settings import Settings

log = logging.getLogger("relayd")

SOCKETS = frozenset({"http", "control"})  # by their FileDescriptorName=
_READ_S = 1.0  # between two readings of the settings
_RETRY_S = 10.0  # for clients to come back
_TIMEOUTS = Timeouts(head=10, body=10, write=10)
_MAX_CONNECTIONS = 256  # of each kind of socket; more wait in the kernel's queue
_FULL_S = 0.1


class Standby:
    """Answers every request with 503 until the settings are valid.

    Args:
        invalid: what is wrong with the settings; reported already.
        read: reads them again.
        systemd: has handed in the sockets, which stay open.
    """

    def __init__(self, invalid: SettingsError, read: Callable[[], Settings], systemd: Systemd) -> None:
        self._problems = invalid.problems
        self._read = read
        self._systemd = systemd
        self._settings: Settings | None = None
        self._over = asyncio.Event()

    async def wait(self) -> Settings | None:
        """Waits for valid settings; None if relayd is to end before (SIGTERM, SIGINT)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._over.set)
        loop.add_signal_handler(signal.SIGHUP, self._reread)
        servers = {"http": Refusals(self._for_clients), "control": Refusals(self._for_admins)}
        # Copies: the descriptors are the daemon's, once it starts.
        doors = [(listening(os.dup(fd)), servers[name]) for name in SOCKETS for fd in self._systemd.fds.get(name, [])]
        for listener, server in doors:
            self._listen(listener, server)
        self._tell()
        pause_s = min(_READ_S, (self._systemd.watchdog_s or _READ_S) / 4)
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), pause_s)
            self._systemd.mention(WATCHDOG=1)
            self._reread()
        for listener, _ in doors:
            loop.remove_reader(listener)
            listener.close()
        for server in servers.values():
            await server.close_all_connections()
        return self._settings

    def _reread(self) -> None:
        """Reads the settings, and ends the waiting if they are valid; other problems than before are logged."""
        if self._over.is_set():
            return
        try:
            self._settings = self._read()
        except SettingsError as invalid:
            if invalid.problems != self._problems:
                self._problems = invalid.problems
                self._tell()
                for problem in invalid.problems:
                    log.error("invalid settings: %s", problem)  # noqa: TRY400 - no mistake of ours
        else:
            self._over.set()

    def _tell(self) -> None:
        self._systemd.notify(READY=1, STATUS=f"refuses clients, as its settings are invalid: {self._line}")

    @property
    def _line(self) -> str:
        return "; ".join(self._problems)

    def _listen(self, listener: sockets.socket, server: Refusals) -> None:
        if not self._over.is_set():
            asyncio.get_running_loop().add_reader(listener, self._accept, listener, server)

    def _accept(self, listener: sockets.socket, server: Refusals) -> None:
        # A connection that comes after the correction waits for the daemon: it is not refused.
        self._reread()
        if self._over.is_set() or server.is_full:
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener)
            loop.call_later(_FULL_S, self._listen, listener, server)
            return
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            connection, address = listener.accept()
            server.serve(connection, address)

    def _for_clients(self) -> RelayError:
        return Restarting("The server is not available until its settings are corrected", retry_after_s=_RETRY_S)

    def _for_admins(self) -> RelayError:
        return Restarting(f"relayd has not started, as its settings are invalid: {self._line}; correct them")


class Refusals(HttpConnections):
    """Refuses what comes over a bounded number of connections.

    Args:
        error: makes the answer.
    """

    def initialize(self, error: Callable[[], RelayError]) -> None:  # type: ignore[override]
        """Tornado's constructor."""
        super().initialize(
            # No line for each request: it would name the client's address.
            Application(
                [],
                default_handler_class=Refusal,
                default_handler_args={"error": error},
                log_function=lambda handler: None,
            ),
            HttpStreams(HttpStream, _TIMEOUTS),
            max_body_bytes=MAX_BODY_BYTES,
            keep_alive=False,  # the next request is for the daemon
        )
        self._open = 0

    @property
    def is_full(self) -> bool:
        """Whether it has as many connections as it may."""
        return self._open >= _MAX_CONNECTIONS

    def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        """Serves a connection."""
        self._open += 1
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        """A connection has ended."""
        self._open -= 1
        super().on_close(server_conn)


class Refusal(JsonHandler):
    """Refuses every request."""

    def initialize(self, error: Callable[[], RelayError]) -> None:  # type: ignore[override]
        """Tornado's constructor."""
        super().initialize()
        self._error = error

    def prepare(self) -> None:
        """Before any method is looked for."""
        raise self._error()
