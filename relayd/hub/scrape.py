"""Where Prometheus asks: `/metrics` on a listener of its own, so that no client can reach it."""

from __future__ import annotations

import logging
import socket as sockets
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from tornado.web import Application, RequestHandler

from relayd.errors import NotFound
from relayd.http.handler import JsonHandler
from relayd.hub.private import PrivateServer

log = logging.getLogger("relayd.metrics")

_MAX_BODY_BYTES = 65_536  # nobody sends one
_MAX_CONNECTIONS = 20  # Prometheus has one; fewer than the descriptors that are kept back


class Metrics(JsonHandler):
    """`/metrics`."""

    methods = ("GET", "HEAD")

    def initialize(self, registry: CollectorRegistry) -> None:  # type: ignore[override]
        """Tornado's constructor."""
        super().initialize()
        self._registry = registry

    def get(self) -> None:
        """Tells them, in the form that was asked for: Prometheus' text, or OpenMetrics."""
        encode, content_type = choose_encoder(self.request.headers.get("Accept", ""))
        self.set_header("Content-Type", content_type)
        self.finish(encode(self._registry))

    head = get


class NothingHere(JsonHandler):
    """Every address that is none."""

    def get(self) -> None:
        """Says so."""
        raise NotFound

    head = post = put = patch = delete = options = get


class MetricsServer:
    """Serves the metrics.

    Args:
        registry: of what.
        listeners: where; closed with it.
    """

    def __init__(self, registry: CollectorRegistry, listeners: list[sockets.socket]) -> None:
        handlers: list[Any] = [(r"/metrics", Metrics, {"registry": registry})]
        application = Application(handlers, default_handler_class=NothingHere, log_function=_log_request)
        self._server = PrivateServer(
            application, listeners, max_body_bytes=_MAX_BODY_BYTES, max_connections=_MAX_CONNECTIONS
        )
        self._server.accept()

    def stop(self) -> None:
        """Serves nobody else."""
        self._server.stop()

    async def close(self) -> None:
        """Serves nobody any more."""
        self._server.stop()
        await self._server.close_all_connections()


def _log_request(handler: RequestHandler) -> None:
    log.debug("%s %d %.1fms", handler.request.method, handler.get_status(), 1000 * handler.request.request_time())
