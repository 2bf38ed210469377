"""The way of chunks of files: beside that of what is said, so that nothing said queues behind them.

A message is a small head and the frame as its sender sent it. The hub passes the very memory on that it received, to
as many gateways as there are. Up, a pipe that is full makes the sender's gateway wait; down, what does not fit is not
sent, and the hub knows.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import zmq

from relayd.bus.pump import MORE, NOBLOCK, Pump

Payload = zmq.Frame  # has a length, and `buffer`

# Messages a pipe holds. Up, two pipes full of chunks of 60 KiB are 8 MiB a gateway. Down, receivers' credit is the
# bound, and this stands far above it.
_UP_HIGH_WATER, _DOWN_HIGH_WATER = 64, 4_096
# In one turn of the loop: what is said waits for so many at most.
_AT_ONCE = 16

# Parts are sent and received one by one: their number is known, and to ask ZeroMQ for it costs more than a part.
_UP = struct.Struct(">QI")


def _identity(topic: bytes) -> bytes:
    return b"g" + topic  # ZeroMQ keeps those for itself that begin with a zero byte


class HubChunks:
    """The hub's end.

    Args:
        context, endpoint: of the bus.
        on_chunk: takes gateway, socket, stream and frame of a chunk.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        on_chunk: Callable[[bytes, int, int, Payload], None],
    ) -> None:
        self._on_chunk = on_chunk
        self._gateway: GatewayChunks | None = None  # in the same process
        self._has_passed_on = False  # since `deliver`
        self._router = context.socket(zmq.ROUTER)
        # Else what cannot be passed on would be dropped without a word.
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._router.setsockopt(zmq.RCVHWM, _UP_HIGH_WATER)
        self._router.setsockopt(zmq.SNDHWM, _DOWN_HIGH_WATER)
        self._router.bind(endpoint)
        self.pump = Pump(self._router, self._receive, self._take, _AT_ONCE)

    def pass_on(self, gateway: bytes, route: bytes, payload: Payload) -> bool:
        """Passes a chunk to the sockets of a gateway that `route_to` names; False if it cannot be done."""
        try:
            self._router.send(_identity(gateway), MORE)
            self._router.send(route, MORE)
            self._router.send(payload, NOBLOCK, copy=False)
        except zmq.ZMQError:  # its pipe is full, or it is gone
            return False
        self._has_passed_on = True
        self.pump.look()
        return True

    def meet(self, gateway: GatewayChunks) -> None:
        """That gateway runs in this process: see `deliver`."""
        self._gateway = gateway

    def deliver(self) -> None:
        """Has a gateway in this process receive what was passed on, before it hears what was said after that."""
        if self._gateway is not None and self._has_passed_on:
            self._has_passed_on = False
            self._gateway.pump.drain()

    def _receive(self, flags: int) -> tuple[bytes, bytes, Payload]:
        recv = self._router.recv
        return recv(flags), recv(flags), recv(flags, copy=False)

    def _take(self, parts: tuple[bytes, bytes, Payload]) -> None:
        identity, head, payload = parts
        if head:  # an empty one says only that the gateway is there
            number, stream = _UP.unpack(head)
            self._on_chunk(identity[1:], number, stream, payload)

    def close(self) -> None:
        """Closes its socket; what was not received is dropped."""
        self.pump.close()


class GatewayChunks:
    """A gateway's end.

    Args:
        context, endpoint: of the bus.
        topic: of the gateway.
        on_chunk: takes the numbers of sockets, and the frame that is for them.
        hub: if it runs in the same process: what either sends is received at once, as on the rest of the bus.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        topic: bytes,
        on_chunk: Callable[[tuple[int, ...], Payload], None],
        hub: HubChunks | None = None,
    ) -> None:
        self._on_chunk = on_chunk
        self._hub = hub
        self._dealer = context.socket(zmq.DEALER)
        self._dealer.setsockopt(zmq.IDENTITY, _identity(topic))
        self._dealer.setsockopt(zmq.SNDHWM, _UP_HIGH_WATER)
        self._dealer.setsockopt(zmq.RCVHWM, _DOWN_HIGH_WATER)
        self._dealer.connect(endpoint)
        self.pump = Pump(self._dealer, self._receive, self._take, _AT_ONCE)
        self._dealer.send(b"", MORE)
        self._dealer.send(b"", NOBLOCK)
        if hub is not None:
            hub.meet(self)

    def send(self, number: int, stream: int, frame: bytes) -> bool:
        """Sends a chunk that came on a socket; False if it must be tried again later."""
        try:
            self._dealer.send(_UP.pack(number, stream), MORE)
            self._dealer.send(frame, NOBLOCK)
        except zmq.Again:
            return False
        if self._hub is not None:
            self._hub.pump.drain()
        self.pump.look()
        return True

    def _receive(self, flags: int) -> tuple[bytes, Payload]:
        recv = self._dealer.recv
        return recv(flags), recv(flags, copy=False)

    def _take(self, parts: tuple[bytes, Payload]) -> None:
        route, payload = parts
        self._on_chunk(struct.unpack(f">{len(route) // 8}Q", route), payload)

    def close(self) -> None:
        """Closes its socket; what was not received is dropped."""
        self.pump.close()


def route_to(numbers: list[int]) -> bytes:
    """Which sockets of a gateway a chunk is for."""
    return struct.pack(f">{len(numbers)}Q", *numbers)
