"""The two ends of the bus: sockets on the event loop, and nothing of what is said over them but topics."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import zmq

from relayd.bus.messages import EVERY_GATEWAY, Answer, Batch, Call, Event, Subscribed
from relayd.bus.pump import MORE, NOBLOCK, Pump

TOPIC_BYTES = 16  # SUB matches by prefix, so all topics have one length

# Messages a pipe to one peer holds. Past it PUSH makes the gateway wait, and the hub keeps events back: so many
# are several seconds of a busy server, in which a gateway that hears nothing is found dead and its pipe closed.
# ZeroMQ's default of 1,000 is less than one busy moment.
HIGH_WATER = 250_000

_RETRY_S = 0.01  # how soon an event is tried again that a full pipe did not take

_encode = msgspec.msgpack.Encoder().encode
_batch = msgspec.msgpack.Decoder(Batch).decode
_event: Callable[[memoryview], Event] = msgspec.msgpack.Decoder(Event).decode
_call = msgspec.msgpack.Decoder(Call).decode
_answer = msgspec.msgpack.Decoder(Answer).decode
_SUBSCRIBED = _encode(Subscribed())


class Endpoints(NamedTuple):
    """Where the four kinds of traffic meet; the hub binds, gateways connect."""

    stream: str
    calls: str
    events: str
    chunks: str

    @classmethod
    def inproc(cls, name: str) -> Endpoints:
        """For a hub and a gateway in one process, sharing one ZeroMQ context."""
        return cls(*(f"inproc://{name}/{kind}" for kind in cls._fields))

    @classmethod
    def ipc(cls, directory: str) -> Endpoints:
        """For gateways in other processes; the directory must be the daemon's alone (mode 0700)."""
        return cls(*(f"ipc://{directory}/{kind}" for kind in cls._fields))


class HubBus:
    """The hub's end.

    Args:
        context: shared with the gateway over inproc.
        on_batch: takes what a gateway's sockets said.
        on_call: takes a call and gives its answer.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoints: Endpoints,
        on_batch: Callable[[Batch], None],
        on_call: Callable[[Call], Answer],
    ) -> None:
        self._on_batch = on_batch
        self._on_call = on_call
        self._gateway: GatewayBus | None = None  # in the same process
        self._has_published = False  # since `deliver`
        self.on_listener: Callable[[], None] = lambda: None  # a gateway hears from now on what is for all
        pull, self._router = context.socket(zmq.PULL), context.socket(zmq.ROUTER)
        self._xpub = context.socket(zmq.XPUB)
        # Every subscription is passed up, also one that another gateway has made before: each waits for its marker.
        self._xpub.setsockopt(zmq.XPUB_VERBOSE, 1)
        # A full pipe is an error to be seen, not a reason to drop events for that gateway without a word.
        self._xpub.setsockopt(zmq.XPUB_NODROP, 1)
        self._kept_back: deque[bytes] = deque()
        for socket, endpoint in (
            (pull, endpoints.stream),
            (self._router, endpoints.calls),
            (self._xpub, endpoints.events),
        ):
            socket.set_hwm(HIGH_WATER)
            socket.bind(endpoint)
        self.batches = Pump(pull, pull.recv, self._take_batch)
        self._calls = Pump(self._router, self._recv_call, self._take_call)
        self._subscriptions = Pump(self._xpub, self._xpub.recv, self._take_subscription)

    def publish(self, topic: bytes, event: Event) -> None:
        """Tells all gateways that hear the topic."""
        self._send(topic + _encode(event))
        self._has_published = True
        self._subscriptions.look()

    def meet(self, gateway: GatewayBus) -> None:
        """That gateway runs in this process: see `deliver`."""
        self._gateway = gateway

    def deliver(self) -> None:
        """Has a gateway in this process receive what was published, before another turn of the loop begins.

        A descriptor would tell it of that in the next turn at the earliest, and at the price of three system calls.
        """
        if self._gateway is not None and self._has_published:
            self._has_published = False
            self._gateway.events.drain()

    @property
    def kept_back(self) -> int:
        """How many events wait for a pipe to have room."""
        return len(self._kept_back)

    def _send(self, data: bytes) -> None:
        """Sends an event, or keeps it and all that come after it back: their order is what clients rely on."""
        if not self._kept_back:
            try:
                self._xpub.send(data, NOBLOCK)
            except zmq.Again:
                asyncio.get_running_loop().call_later(_RETRY_S, self._send_kept_back)
            else:
                return
        self._kept_back.append(data)

    def _send_kept_back(self) -> None:
        kept_back, self._kept_back = self._kept_back, deque()
        if self._xpub.closed:
            return
        while kept_back:
            self._send(kept_back[0])
            if self._kept_back:
                self._kept_back = kept_back
                return
            kept_back.popleft()

    def _take_batch(self, data: bytes) -> None:
        self._on_batch(_batch(data))

    def _recv_call(self, flags: int) -> tuple[bytes, bytes]:
        recv = self._router.recv
        return recv(flags), recv(flags)

    def _take_call(self, parts: tuple[bytes, bytes]) -> None:
        gateway, payload = parts
        self._router.send(gateway, MORE)
        self._router.send(_encode(self._on_call(_call(payload))), NOBLOCK)

    def _take_subscription(self, data: bytes) -> None:
        if data[:1] == b"\x01":
            self._send(data[1:] + _SUBSCRIBED)
            if data[1:] == EVERY_GATEWAY:
                self.on_listener()

    def close(self) -> None:
        """Closes its sockets; what was not received is dropped."""
        for pump in (self.batches, self._calls, self._subscriptions):
            pump.close()


class GatewayBus:
    """A gateway's end.

    Args:
        context: shared with the hub over inproc.
        topic: of this gateway itself, 16 bytes; heard from the start, as is the one that all gateways hear.
        on_event: takes the topic and what was said on it.
        on_answer: takes the answer to a call.
        hub: if it runs in the same process: neither waits for a descriptor to hear what the other has said.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoints: Endpoints,
        topic: bytes,
        on_event: Callable[[bytes, Event], None],
        on_answer: Callable[[Answer], None],
        hub: HubBus | None = None,
    ) -> None:
        self._hub = hub
        self._on_event = on_event
        self._on_answer = on_answer
        self._push, self._dealer = context.socket(zmq.PUSH), context.socket(zmq.DEALER)
        self._sub = context.socket(zmq.SUB)
        for socket, endpoint in (
            (self._push, endpoints.stream),
            (self._dealer, endpoints.calls),
            (self._sub, endpoints.events),
        ):
            socket.set_hwm(HIGH_WATER)
            # Subscriptions count as messages sent, and past the mark they would be lost without a word.
            if socket is self._sub:
                socket.setsockopt(zmq.SNDHWM, 0)
            socket.connect(endpoint)
        self._answers = Pump(self._dealer, self._dealer.recv, self._take_answer)
        self.events = Pump(self._sub, self._sub.recv, self._take_event)
        self.subscribe(topic)
        self.subscribe(EVERY_GATEWAY)
        if hub is not None:
            hub.meet(self)

    def subscribe(self, topic: bytes) -> None:
        """Hears the topic from its `Subscribed` event on."""
        self._sub.setsockopt(zmq.SUBSCRIBE, topic)
        self.events.look()

    def unsubscribe(self, topic: bytes) -> None:
        """Hears it no more."""
        self._sub.setsockopt(zmq.UNSUBSCRIBE, topic)
        self.events.look()

    def tell(self, batch: Batch) -> bool:
        """Sends what the sockets said; False if the hub is so far behind that it must be tried again later."""
        try:
            self._push.send(_encode(batch), NOBLOCK)
        except zmq.Again:
            return False
        if self._hub is not None:
            self._hub.batches.drain()
        return True

    def call(self, call: Call) -> None:
        """Sends a call; its answer comes to `on_answer`."""
        self._dealer.send(_encode(call), NOBLOCK)
        self._answers.look()

    def _take_event(self, data: bytes) -> None:
        self._on_event(data[:TOPIC_BYTES], _event(memoryview(data)[TOPIC_BYTES:]))

    def _take_answer(self, data: bytes) -> None:
        self._on_answer(_answer(data))

    def close(self) -> None:
        """Closes its sockets; what was not received is dropped."""
        self._push.close(linger=0)
        for pump in (self._answers, self.events):
            pump.close()
