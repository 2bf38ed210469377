"""HTTP servers with the same bounds on what a client can make them read, keep and wait for."""

from __future__ import annotations

import socket as sockets
from collections.abc import Callable
from typing import Any

from tornado.httpserver import HTTPServer

from relayd.http.stream import MAX_HEAD_BYTES, HttpStreams


class HttpConnections(HTTPServer):
    """Serves connections that somebody else accepts.

    Args:
        delegate: answers requests.
        streams: of its connections.
        max_body_bytes: of a request; past it the answer is 400.
        keep_alive: whether a connection may have a second request.
    """

    def initialize(  # type: ignore[override]
        self, delegate: Any, streams: HttpStreams[Any], *, max_body_bytes: int, keep_alive: bool = True
    ) -> None:
        """Tornado's constructor."""
        super().initialize(
            delegate, no_keep_alive=not keep_alive, max_header_size=MAX_HEAD_BYTES, max_body_size=max_body_bytes
        )
        self.conn_params.header_timeout = None  # the streams have deadlines; Tornado's own default is an hour
        self._streams = streams

    def serve(
        self,
        connection: sockets.socket,
        address: Any,
        *,
        is_kept: bool = False,
        on_closed: Callable[[], None] | None = None,
    ) -> None:
        """Serve one more; see `HttpStream`."""
        self.handle_stream(self._streams.open(connection, is_kept=is_kept, on_closed=on_closed), address)

    async def close_all_connections(self) -> None:
        """Close all connections, and wait until nothing works for them any more."""
        await super().close_all_connections()
        self._streams.close()
