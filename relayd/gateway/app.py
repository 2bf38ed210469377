"""The gateway as it runs: listeners, HTTP, sockets, and its end of the bus."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket as sockets
from importlib import resources
from random import Random

import zmq
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from relayd.bus.messages import Call
from relayd.bus.sockets import Endpoints, GatewayBus
from relayd.errors import Draining, Restarting
from relayd.gateway import rest
from relayd.gateway.calls import HubCalls
from relayd.gateway.fanout import Fanout
from relayd.gateway.handlers import Door, Handler, NothingHere
from relayd.gateway.peer import Peers
from relayd.gateway.publisher import Publisher
from relayd.gateway.socket import Station
from relayd.gateway.sockets import Lobby, Socket, unmask
from relayd.gateway.wheel import Wheel
from relayd.http.handler import MAX_DROPPED_BYTES
from relayd.settings import Settings
from relayd.wire.ids import RandomBytes

log = logging.getLogger("relayd.http")

_UUID = r"/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_IDLE_HTTP_S = 75  # nginx's keepalive_timeout; Tornado's own default is an hour


class Gateway:
    """Serves clients.

    Args:
        settings: see `Settings`.
        context, endpoints: of the bus.
        listeners: listening sockets, bound by whoever started it; closed with it.
        random_bytes: a cryptographic source of randomness.
    """

    def __init__(
        self,
        settings: Settings,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoints: Endpoints,
        listeners: list[sockets.socket],
        random_bytes: RandomBytes,
    ) -> None:
        topic = random_bytes(16)
        self._wheel = Wheel()
        self._fanout = Fanout(self._subscribe, self._unsubscribe)
        self._calls = HubCalls(self._call, settings.timing.call_timeout)
        self._bus = GatewayBus(context, endpoints, topic, self._fanout.deliver, self._calls.on_answer)
        publisher = Publisher(topic, self._bus.tell)
        seed = int.from_bytes(random_bytes(8), "big")
        station = Station(topic, settings, self._fanout, publisher, self._wheel, unmask, Random(seed))  # noqa: S311
        self.ready = True
        # A little more than a socket waits for the answer to its close frame.
        self._close_timeout_s = settings.timing.close_timeout + 1
        self._server = HTTPServer(
            self._application(settings, Lobby(station)),
            max_body_size=MAX_DROPPED_BYTES,
            idle_connection_timeout=_IDLE_HTTP_S,
            body_timeout=_IDLE_HTTP_S,
        )
        self._server.add_sockets(listeners)

    def _application(self, settings: Settings, lobby: Lobby) -> Application:
        door = {"door": Door(self._calls, Peers(settings))}
        page = resources.files("relayd.web").joinpath("index.html").read_bytes()
        routes = [(pattern, handler, door) for pattern, handler in rest.ROUTES]
        return Application(
            [
                *routes,
                (_UUID, Socket, {**door, "lobby": lobby, "page": page}),
                (r"/", Page, {**door, "page": page}),
                (r"/healthz", Health, door),
                (r"/readyz", Ready, {**door, "gateway": self}),
            ],
            default_handler_class=NothingHere,
            default_handler_args=door,
            log_function=_log_request,
        )

    def _subscribe(self, topic: bytes) -> None:
        self._bus.subscribe(topic)

    def _unsubscribe(self, topic: bytes) -> None:
        self._bus.unsubscribe(topic)

    def _call(self, call: Call) -> None:
        self._bus.call(call)

    async def close(self) -> None:
        """Accepts nobody any more, sends everyone away with 4500, and lets the codes arrive."""
        self.ready = False
        self._server.stop()
        for socket in list(self._fanout.sockets.values()):
            socket.close(Restarting.close, Restarting.code)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._fanout.emptied.wait(), self._close_timeout_s)
        await self._server.close_all_connections()
        self._wheel.close()
        self._bus.close()


class Page(Handler):
    """`/`: the page."""

    methods = ("GET", "HEAD")

    def initialize(self, door: Door, page: bytes) -> None:  # type: ignore[override]
        """Tornado's constructor."""
        super().initialize(door)
        self._page = page

    def get(self) -> None:
        """Shows it."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(self._page)

    head = get


class Health(Handler):
    """`/healthz`: this process lives."""

    methods = ("GET", "HEAD")

    def get(self) -> None:
        """Says so."""
        self.write_json(b'{"status":"ok"}')

    head = get


class Ready(Handler):
    """`/readyz`: new clients are welcome."""

    methods = ("GET", "HEAD")

    def initialize(self, door: Door, gateway: Gateway) -> None:  # type: ignore[override]
        """Tornado's constructor."""
        super().initialize(door)
        self._gateway = gateway

    def get(self) -> None:
        """Says so, or 503."""
        if not self._gateway.ready:
            raise Draining(retry_after_s=5)
        self.write_json(b'{"status":"ready"}')

    head = get


def _log_request(handler: RequestHandler) -> None:
    """One line a request, without path and address: both say who talks to whom."""
    log.debug("%s %d %.1fms", handler.request.method, handler.get_status(), 1000 * handler.request.request_time())
