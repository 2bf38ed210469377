"""HTTP servers on sockets of this machine's own: for admins and Prometheus, not for clients."""

from __future__ import annotations

import socket as sockets
from typing import Any

from relayd.http.server import HttpConnections
from relayd.http.stream import HttpStream, HttpStreams, Timeouts
from relayd.machine.accepting import Acceptor


class PrivateServer(HttpConnections):
    """Serves a bounded number of connections; it may use the last descriptors, as clients use up all others.

    Args:
        delegate: answers requests.
        listeners: where; the caller closes them.
        max_body_bytes: of a request; past it the answer is 400.
        max_connections: at a time; more wait in the kernel's queue.
        timeouts: of each connection.
    """

    def initialize(  # type: ignore[override]
        self,
        delegate: Any,
        listeners: list[sockets.socket],
        *,
        max_body_bytes: int,
        max_connections: int,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - a tuple
    ) -> None:
        """Tornado's constructor."""
        super().initialize(delegate, HttpStreams(HttpStream, timeouts), max_body_bytes=max_body_bytes)
        self._acceptor = Acceptor(listeners, self._take, may_use_reserve=True)
        self._max_connections = max_connections
        self._open = 0
        self._is_listening = False

    def accept(self) -> None:
        """Accept connections from now on."""
        self._is_listening = True
        self._acceptor.start()

    def stop(self) -> None:
        """Accept no more; connections that are open are served."""
        self._is_listening = False
        self._acceptor.stop()

    def _take(self, connection: sockets.socket) -> None:
        try:
            address = connection.getpeername()
        except OSError:  # the client has gone
            connection.close()
            return
        self._open += 1
        if self._open >= self._max_connections:
            self._acceptor.stop()
        self.serve(connection, address)

    def on_close(self, server_conn: object) -> None:
        """A connection has ended."""
        super().on_close(server_conn)
        self._open -= 1
        if self._is_listening and self._open == self._max_connections - 1:
            self._acceptor.start()
