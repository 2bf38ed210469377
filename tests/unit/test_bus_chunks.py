"""The way of chunks, over both transports: in order, whole, and never lost without a word."""

from __future__ import annotations

import asyncio
import os
import struct
import tempfile

import pytest
import zmq

from relayd.bus.chunks import GatewayChunks, HubChunks, route_to
from relayd.bus.sockets import Endpoints

WAIT_S = 30.0


class Bus:
    """A hub, gateways by their topic, and what has come where."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.context = zmq.Context()
        self.up: list[tuple[bytes, int, int, bytes]] = []
        self.down: dict[bytes, list[tuple[tuple[int, ...], bytes]]] = {}
        self.gateways: dict[bytes, GatewayChunks] = {}
        self.passes_on = True
        self.hub = HubChunks(self.context, endpoint, self._take)

    def _take(self, gateway: bytes, number: int, stream: int, payload: zmq.Frame) -> None:
        self.up.append((gateway, number, stream, payload.bytes))
        for topic in self.gateways:
            if self.passes_on:
                assert self.hub.pass_on(topic, route_to([number, stream]), payload)

    def gateway(self, topic: bytes) -> GatewayChunks:
        heard = self.down.setdefault(topic, [])
        self.gateways[topic] = GatewayChunks(
            self.context, self.endpoint, topic, lambda numbers, payload: heard.append((numbers, bytes(payload.buffer)))
        )
        return self.gateways[topic]

    def close(self) -> None:
        for gateway in self.gateways.values():
            gateway.close()
        self.hub.close()
        self.context.destroy(linger=0)


@pytest.fixture(params=["inproc", "ipc"])
async def bus(request):
    with tempfile.TemporaryDirectory(prefix="relayd-test-") as directory:
        one = Bus((Endpoints.inproc("test") if request.param == "inproc" else Endpoints.ipc(directory)).chunks)
        yield one
        one.close()


async def until(holds) -> None:
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await asyncio.sleep(0.005)


async def test_in_one_process_nobody_waits_for_the_loop():
    """A chunk is there before what is said after it on the rest of the bus, which is received at once, too."""
    context, up, down = zmq.Context(), [], []
    endpoint = Endpoints.inproc("test").chunks
    hub = HubChunks(context, endpoint, lambda *chunk: up.append(chunk))
    gateway = GatewayChunks(context, endpoint, b"g" * 16, lambda *chunk: down.append(chunk), hub)
    for number in range(3):
        assert gateway.send(number, 7, b"chunk")
        assert [chunk[:3] for chunk in up] == [(b"g" * 16, one, 7) for one in range(number + 1)]
    hub.deliver()
    assert down == []
    assert hub.pass_on(b"g" * 16, route_to([5]), up[0][3])
    hub.deliver()
    assert [(numbers, bytes(payload.buffer)) for numbers, payload in down] == [((5,), b"chunk")]
    gateway.close()
    hub.pass_on(b"g" * 16, route_to([5]), up[0][3])
    hub.deliver()
    hub.close()
    context.destroy(linger=0)


async def test_from_one_gateway_to_all(bus):
    """Also to gateways whose topic begins with a zero byte, which ZeroMQ would not have as an identity."""
    topics = [bytes(16), b"a" * 16, bytes([0xFF]) * 16]
    gateways = [bus.gateway(topic) for topic in topics]
    # Each says that it is there when it comes; a chunk of it comes after that.
    bus.passes_on = False
    for gateway in gateways:
        assert gateway.send(1, 1, b"")
    await until(lambda: len(bus.up) == 3)
    bus.passes_on = True
    frame = os.urandom(61_486)
    assert gateways[1].send(2**63, 2**32 - 1, frame)
    await until(lambda: all(bus.down[topic] for topic in topics))
    assert bus.up[-1] == (topics[1], 2**63, 2**32 - 1, frame)
    assert all(bus.down[topic] == [((2**63, 2**32 - 1), frame)] for topic in topics)


async def test_order_under_load(bus):
    """What does not fit is told to wait; nothing is lost, and the order stays."""
    gateway = bus.gateway(b"a" * 16)
    frames = [struct.pack(">I", number) + bytes(10_000) for number in range(2_000)]
    waited = 0
    for number, frame in enumerate(frames):
        while not gateway.send(7, number, frame):
            waited += 1
            await asyncio.sleep(0)
    await until(lambda: len(bus.down[b"a" * 16]) == len(frames))
    assert [frame for _, frame in bus.down[b"a" * 16]] == frames
    assert waited


async def test_a_gateway_that_is_not_there(bus):
    """The hub is told that a chunk cannot be passed on."""
    bus.gateway(b"a" * 16).send(1, 1, b"x")
    await until(lambda: bus.up)
    payload = zmq.Frame(b"y")
    assert not bus.hub.pass_on(b"b" * 16, route_to([1]), payload)
    assert bus.hub.pass_on(b"a" * 16, route_to([1]), payload)


async def test_a_gateway_that_stands_still(bus):
    """Its pipe takes so much and no more; what is refused is refused whole."""
    gateway = bus.gateway(b"a" * 16)
    gateway.send(1, 1, b"x")
    bus.passes_on = False
    await until(lambda: bus.up)
    payload, taken = zmq.Frame(bytes(1_000)), 0
    while taken < 200_000 and bus.hub.pass_on(b"a" * 16, route_to([1, 2, 3]), payload):
        taken += 1
    assert taken < 200_000
    await until(lambda: len(bus.down[b"a" * 16]) >= taken)
    assert all(heard == ((1, 2, 3), bytes(1_000)) for heard in bus.down[b"a" * 16])
