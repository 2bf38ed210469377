"""The gateway as it runs: listeners, HTTP, sockets, and its end of the bus."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket as sockets
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random

import msgspec
import zmq
from tornado.web import Application, RequestHandler

from relayd.bus.chunks import GatewayChunks, HubChunks
from relayd.bus.messages import Blocked, Call, NewSettings, Phase, Probe, Report, SendAway, Tally
from relayd.bus.sockets import Endpoints, GatewayBus, HubBus
from relayd.errors import AddressBlocked, Draining, RateLimited, RelayError
from relayd.gateway import rest
from relayd.gateway.acceptor import SocketAcceptor, unmask
from relayd.gateway.calls import HubCalls
from relayd.gateway.departure import Departure
from relayd.gateway.fanout import Fanout
from relayd.gateway.front import Front
from relayd.gateway.handing import Handing
from relayd.gateway.handlers import Door, Handler, NothingHere
from relayd.gateway.handshake import ROOM_PATH
from relayd.gateway.lines import Lines
from relayd.gateway.outlet import Station
from relayd.gateway.page import Assets, File, Page
from relayd.gateway.peer import UNIX_IP, Peers
from relayd.gateway.pressure import Pressure
from relayd.gateway.probes import Probes
from relayd.gateway.publisher import Publisher
from relayd.gateway.read_buffers import ReadBuffers
from relayd.gateway.wheel import Wheel
from relayd.http.handler import MAX_DROPPED_BYTES, problem_response
from relayd.http.passwords import Passwords
from relayd.http.server import HttpConnections
from relayd.http.stream import MAX_HEAD_BYTES, Timeouts
from relayd.lag import LoopLag
from relayd.logs import change_logging
from relayd.machine.process import resident_bytes
from relayd.rooms.addresses import canonical
from relayd.rooms.blocks import BlockList
from relayd.rooms.creation import CreationPolicy
from relayd.rooms.limits import AddressRateLimiter, ConnectionLimit, per_minute
from relayd.rooms.refusals import CONNECTION, HEAD
from relayd.settings import Settings
from relayd.wire.ids import RandomBytes

log = logging.getLogger("relayd.http")

_REPORT_S = 1.0
_TIMEOUTS = Timeouts()


class Gateway:
    """Serves clients.

    Args:
        settings: see `Settings`.
        context, endpoints: of the bus.
        topic: of this gateway on the bus, 16 bytes.
        random_bytes: a cryptographic source of randomness.
        hub: both of its ends of the bus, if it is in the same process.
    """

    def __init__(
        self,
        settings: Settings,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoints: Endpoints,
        topic: bytes,
        random_bytes: RandomBytes,
        hub: tuple[HubBus, HubChunks] | None = None,
    ) -> None:
        self._lag = LoopLag()
        self._pressure = Pressure(settings.limits.max_outboxes, asyncio.get_running_loop().call_soon)
        self._wheel = Wheel()
        self._fanout = Fanout(self._subscribe, self._unsubscribe, time.monotonic)
        self._calls = HubCalls(self._call, settings.timing.call_timeout)
        hub_bus, hub_chunks = hub or (None, None)
        self._bus = GatewayBus(context, endpoints, topic, self._fanout.deliver, self._calls.on_answer, hub_bus)
        self._chunks = GatewayChunks(context, endpoints.chunks, topic, self._fanout.deliver_chunk, hub_chunks)
        self._publisher = Publisher(topic, self._bus.tell)
        seed = int.from_bytes(random_bytes(8), "big")
        random = Random(seed)  # noqa: S311 - for ping times and farewells
        self._station = Station(
            topic,
            settings,
            self._fanout,
            self._publisher,
            self._chunks,
            self._wheel,
            self._pressure,
            ReadBuffers(settings.limits.max_read_buffers_bytes, self._wheel),
            unmask,
            random,
            Counter(),
        )
        self._departure = Departure(self._fanout, random)
        self._fanout.on(SendAway, lambda topic, event: self._departure.begin(event.over_s))
        self._probes = Probes(time.monotonic)
        self._fanout.on(Probe, lambda topic, event: self._probes.admit(event.digest))
        self._fanout.on(NewSettings, lambda topic, event: self._change(event.settings))
        self._connection_limit = ConnectionLimit(settings.limits.max_connections_per_address)
        self._blocked = BlockList()
        self._fanout.on(Blocked, lambda topic, event: self._block(event))
        self._acceptor = SocketAcceptor(self._station, self._connection_limit, self._blocked, self._lag.check)
        self._lines = Lines(_TIMEOUTS, self._on_bad_head)
        keep = partial(self.adopt, is_kept=True)
        self.handing = Handing(self._station, self._acceptor, self._calls, self._lines, keep)
        self._fanout.on(Phase, lambda topic, event: self.handing.on_phase(event))
        self._peers = Peers(settings)
        self._passwords = Passwords(random_bytes)
        self._password_rate = AddressRateLimiter(per_minute(settings.limits.proof_rate))
        # A little more than a socket waits for the answer to its close frame.
        self._close_timeout_s = settings.timing.close_timeout + 1
        self._creation = CreationPolicy(settings.rooms)
        door = Door(
            self._calls,
            self._blocked,
            self._station.refusals,
            self._creation,
            self._peers,
            self._passwords,
            self._password_rate,
        )
        self._front = Front(self._application({"door": door}), door, self._acceptor, self._lines)
        self._server = HttpConnections(self._front, self._lines, max_body_bytes=MAX_DROPPED_BYTES)
        self._reporting = asyncio.get_running_loop().create_task(self._keep_reporting())

    def adopt(self, connection: sockets.socket, *, is_kept: bool = False) -> None:
        """Serves a connection that was accepted, or that another process has kept for the client's next request."""
        connection.setblocking(False)
        try:
            address = connection.getpeername() if connection.family != sockets.AF_UNIX else ("", 0)
        except OSError:  # gone already
            connection.close()
            return
        peer = address[0] or UNIX_IP
        on_closed: Callable[[], None] | None = None
        # Connections of a proxy are its clients': those count by what it says of each.
        if connection.family != sockets.AF_UNIX and not self._peers.is_trusted(peer):
            try:
                self._blocked.check(peer)
                if not is_kept:
                    self._connection_limit.check(peer)
            except (AddressBlocked, RateLimited) as error:
                self._acceptor.refused[error.code] += 1
                self._station.refusals.add(CONNECTION, error.code, canonical(peer))
                _refuse(connection, error)
                return
            on_closed = self._connection_limit.add(peer)
        if not self._front.greet(connection, peer, on_closed):
            self._server.serve(connection, address, is_kept=is_kept, on_closed=on_closed)

    async def _keep_reporting(self) -> None:
        while True:
            self._pressure.relieve()
            refused = self._station.refusals.take()
            if refused is not None:
                self._publisher.add(refused)
            self._publisher.add(self._report())
            await asyncio.sleep(_REPORT_S)

    def _report(self) -> Report:
        fanout = self._fanout
        return Report(
            connections=len(fanout.sockets),
            rooms=len(fanout.channels),
            slow=self._pressure.slow,
            waiting_bytes=self._pressure.waiting_bytes,
            lag_s=self._lag.seconds,
            cpu_s=time.process_time(),
            memory=resident_bytes(),
            sent_at=time.monotonic(),
            tally=Tally(
                deliveries=fanout.deliveries,
                delivered_bytes=fanout.delivered_bytes,
                file_bytes=fanout.file_bytes,
                opened=self._acceptor.opened,
                refused=self._acceptor.refused,
                joins_refused=self._station.joins_refused,
                slow_closed=self._pressure.closed,
                unreadable_headers=self._peers.unreadable,
                fanout=fanout.latency,
            ),
        )

    @property
    def ready(self) -> bool:
        """Whether new clients are welcome."""
        return not self._departure.begun

    def _change(self, settings: Settings) -> None:
        """Other settings hold from now on; a frame's size only for sockets to come."""
        self._station.settings = settings
        self._peers.change(settings)
        self._creation.change(settings.rooms)
        self._password_rate.change(per_minute(settings.limits.proof_rate))
        self._connection_limit.most = settings.limits.max_connections_per_address
        self._pressure.max_bytes = settings.limits.max_outboxes
        self._station.read_buffers.max_bytes = settings.limits.max_read_buffers_bytes
        self._calls.timeout_s = settings.timing.call_timeout
        self._close_timeout_s = settings.timing.close_timeout + 1
        for socket in self._fanout.sockets.values():
            socket.forget_allowance()
        change_logging(settings)

    def _block(self, event: Blocked) -> None:
        """Other addresses are blocked from now on; their chats are closed."""
        self._blocked.change(event.targets, event.digest_key)
        if not self._blocked:
            return
        for socket in list(self._fanout.sockets.values()):
            if self._blocked.has(socket.address):
                socket.close(AddressBlocked.close, AddressBlocked.code)

    def _on_bad_head(self, peer: str, error: RelayError) -> None:
        # Of a proxy's connection nothing says whose request it was.
        address = "" if not peer or self._peers.is_trusted(peer) else canonical(peer)
        self._station.refusals.add(HEAD, error.code, address)

    def _application(self, door: dict[str, Door]) -> Application:
        assets = Assets()
        routes = [(pattern, handler, door) for pattern, handler in rest.ROUTES]
        return Application(
            [
                *routes,
                (r"/", Page, {**door, "assets": assets}),
                (ROOM_PATH, Page, {**door, "assets": assets}),
                (r"/web/(.+)", File, {**door, "assets": assets}),
                (r"/healthz", Health, {**door, "probes": self._probes}),
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
        self._reporting.cancel()
        self._fanout.complete()  # else those of a room that has just ended would be told of a restart
        self._departure.begin(0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._fanout.emptied.wait(), self._close_timeout_s)
        for socket in list(self._fanout.sockets.values()):
            socket.abort()
        self._passwords.close()
        await self._server.close_all_connections()
        self._departure.close()
        self.handing.close()
        self._lag.close()
        self._wheel.close()
        self._publisher.close()
        self._chunks.close()
        self._bus.close()


class Health(Handler):
    """`/healthz`: this process lives."""

    methods = ("GET", "HEAD")

    def initialize(self, door: Door, probes: Probes) -> None:  # type: ignore[override]
        """Tornado's constructor."""
        super().initialize(door)
        self._probes = probes

    def get(self) -> None:
        """Says so; to a probe also how it arrived."""
        seen, token = b"", self.request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self._probes.knows(token):
            seen = b',"seen":' + msgspec.json.encode(self.door.peers.seen(self.request))
        self.write_json(b'{"status":"ok"%b}' % seen)

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


def _refuse(connection: sockets.socket, error: RelayError) -> None:
    """Closes a connection; if it has sent something already, with an answer."""
    with contextlib.suppress(OSError):
        if connection.recv(MAX_HEAD_BYTES):
            connection.send(problem_response(error))
    connection.close()


def _log_request(handler: RequestHandler) -> None:
    """One line a request, without its path; with the client's address only where `log_addresses` is set."""
    method, status, took_ms = handler.request.method, handler.get_status(), 1000 * handler.request.request_time()
    if isinstance(handler, Handler) and handler.door.peers.log_addresses:
        address = handler.door.peers.client(handler.request)
        fields = {"method": method, "status": status, "ms": took_ms, "address": address}
        log.debug("%(method)s %(status)d %(ms).1fms address=%(address)s", fields)
    else:
        log.debug("%s %d %.1fms", method, status, took_ms)
