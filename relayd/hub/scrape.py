"""Where Prometheus asks: `/metrics` on a listener of its own, so that no client can reach it."""

from __future__ import annotations

import logging
import socket as sockets
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from relayd.errors import NotFound
from relayd.http.handler import JsonHandler

log = logging.getLogger("relayd.metrics")

_IDLE_S = 75
_MAX_BODY_BYTES = 65_536  # nobody sends one


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
        self._server = HTTPServer(application, max_body_size=_MAX_BODY_BYTES, idle_connection_timeout=_IDLE_S)
        self._server.add_sockets(listeners)

    def stop(self) -> None:
        """Serves nobody else."""
        self._server.stop()

    async def close(self) -> None:
        """Serves nobody any more."""
        self._server.stop()
        await self._server.close_all_connections()


def _log_request(handler: RequestHandler) -> None:
    log.debug("%s %d %.1fms", handler.request.method, handler.get_status(), 1000 * handler.request.request_time())
