"""The bus, over inproc and ipc alike: nothing is lost, nothing is out of order, nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import tempfile

import pytest
import zmq

from relayd.bus import sockets
from relayd.bus.messages import (
    EVERY_GATEWAY,
    Announced,
    Answer,
    Batch,
    Call,
    CreateRoom,
    Fault,
    Gone,
    Leave,
    Moderation,
    ReadRoom,
    Said,
    Say,
    Signal,
    Subscribed,
)
from relayd.bus.sockets import Endpoints, GatewayBus, HubBus
from relayd.errors import FieldProblem, RoomFull, by_code
from relayd.wire import commands, rest

ROOM, OTHER = b"r" * 16, b"s" * 16


class Gateway:
    """A gateway that only notes what it hears."""

    def __init__(self, bus: Bus, topic: bytes) -> None:
        self.topic = topic
        self.heard: list[tuple[bytes, object]] = []
        self.answers: list[Answer] = []
        hub = bus.hub if bus.is_one_process else None
        self.end = GatewayBus(
            bus.context, bus.endpoints, topic, lambda *event: self.heard.append(event), self.answers.append, hub
        )

    def on(self, topic: bytes) -> list[object]:
        return [event for heard_topic, event in self.heard if heard_topic == topic]

    async def ready(self, topic: bytes) -> None:
        await until(lambda: Subscribed() in self.on(topic))


class Bus:
    """A hub's end, and as many gateways as a test wants."""

    def __init__(self, endpoints: Endpoints, *, is_one_process: bool = False) -> None:
        self.is_one_process = is_one_process
        self.context: zmq.Context = zmq.Context()
        self.endpoints = endpoints
        self.batches: list[Batch] = []
        self.hub = HubBus(self.context, endpoints, self.batches.append, self.answer)
        self.gateways: list[Gateway] = []

    def answer(self, call: Call) -> Answer:
        return Answer(call.number, call.request.room.encode(), None)

    def gateway(self, topic: bytes) -> Gateway:
        self.gateways.append(Gateway(self, topic))
        return self.gateways[-1]

    def close(self) -> None:
        for gateway in self.gateways:
            gateway.end.close()
        self.hub.close()
        self.context.term()


async def until(holds) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.001)


@pytest.fixture(params=["inproc", "ipc", "one process"])
async def bus(request):
    with tempfile.TemporaryDirectory(prefix="bus") as directory:
        endpoints = Endpoints.ipc(directory) if request.param == "ipc" else Endpoints.inproc("test")
        one = Bus(endpoints, is_one_process=request.param == "one process")
        yield one
        one.close()


async def test_nothing_is_lost_after_the_marker(bus):
    """The hub talks all the time; from its marker on, a gateway hears every message, whenever it subscribed."""
    talking, said = True, 0

    async def talk() -> None:
        nonlocal said
        while talking:
            for _ in range(20):
                said += 1
                bus.hub.publish(ROOM, Said(said, [b"x"]))
            await asyncio.sleep(0)

    talker = asyncio.create_task(talk())
    gateways = []
    for number in range(10):
        gateway = bus.gateway(b"%016d" % number)
        gateway.end.subscribe(ROOM)
        gateways.append(gateway)
        await gateway.ready(ROOM)
    talking = False
    await talker
    for gateway in gateways:
        await until(lambda gateway=gateway: gateway.on(ROOM)[-1] == Said(said, [b"x"]))
        events = gateway.on(ROOM)
        after = [event.first_seq for event in events[events.index(Subscribed()) :] if isinstance(event, Said)]
        assert after == list(range(said - len(after) + 1, said + 1))


async def test_order_is_kept_across_topics(bus):
    """A joiner's answer, on its gateway's topic, has its place among the room's messages."""
    gateway = bus.gateway(b"g" * 16)
    gateway.end.subscribe(ROOM)
    await gateway.ready(ROOM)
    await gateway.ready(gateway.topic)
    await gateway.ready(EVERY_GATEWAY)
    gateway.heard.clear()
    topics = [ROOM, gateway.topic, EVERY_GATEWAY]
    for number in range(3_000):
        bus.hub.publish(topics[number % 3], Announced(b"%d" % number))
    await until(lambda: len(gateway.heard) == 3_000)
    assert gateway.heard == [(topics[number % 3], Announced(b"%d" % number)) for number in range(3_000)]


async def test_each_subscription_has_its_own_marker(bus):
    """Also one that another gateway has made before."""
    first, second = bus.gateway(b"1" * 16), bus.gateway(b"2" * 16)
    first.end.subscribe(ROOM)
    await first.ready(ROOM)
    second.end.subscribe(ROOM)
    await second.ready(ROOM)


async def test_only_what_was_asked_for_is_heard(bus):
    """Topics are matched whole; after unsubscribing nothing comes, and subscribing again works."""
    gateway = bus.gateway(b"g" * 16)
    await gateway.ready(gateway.topic)
    gateway.end.subscribe(ROOM)
    await gateway.ready(ROOM)
    bus.hub.publish(OTHER, Announced(b"other"))
    gateway.end.unsubscribe(ROOM)
    await asyncio.sleep(0.05)
    bus.hub.publish(ROOM, Announced(b"unheard"))
    bus.hub.publish(gateway.topic, Announced(b"last"))
    await until(lambda: gateway.on(gateway.topic)[-1:] == [Announced(b"last")])
    assert gateway.on(OTHER) == []
    assert gateway.on(ROOM) == [Subscribed()]
    gateway.end.subscribe(ROOM)
    await until(lambda: gateway.on(ROOM) == [Subscribed()] * 2)


async def test_thousands_of_subscriptions(bus, monkeypatch):
    """More than the mark for what is sent: none is lost, each gets its marker."""
    monkeypatch.setattr(sockets, "HIGH_WATER", 10)
    gateway, topics = bus.gateway(b"g" * 16), [b"%016d" % number for number in range(5_000)]
    for topic in topics:
        gateway.end.subscribe(topic)
    await until(lambda: len(gateway.heard) >= 5_002)
    assert {topic for topic, _ in gateway.heard} == {*topics, gateway.topic, EVERY_GATEWAY}


async def test_batches_come_in_order_of_each_gateway(bus):
    first, second = bus.gateway(b"1" * 16), bus.gateway(b"2" * 16)
    for number in range(2_000):
        for gateway in (first, second):
            assert gateway.end.tell(Batch(gateway.topic, [Gone(number), Leave(number)]))
    await until(lambda: len(bus.batches) == 4_000)
    for gateway in (first, second):
        mine = [batch.items for batch in bus.batches if batch.gateway == gateway.topic]
        assert mine == [[Gone(number), Leave(number)] for number in range(2_000)]


async def test_what_is_said_arrives_as_it_was(bus):
    """Each kind of item with its own fields, commands with what was left out still left out."""
    gateway = bus.gateway(b"g" * 16)
    items = [
        Say(1, "id", b'{"kind":"text"}', None),
        Say(1, "id", "\u00e9\0".encode(), "u_1"),
        Signal(2, "typing", b"null", None),
        Moderation(3, commands.Kick("1", "u_1", ban=True)),
        Moderation(3, commands.Edit("1", name="n", locked=False)),
        Moderation(3, commands.Close("1")),
    ]
    gateway.end.tell(Batch(gateway.topic, items))
    await until(lambda: bus.batches)
    assert bus.batches == [Batch(gateway.topic, items)]
    assert bus.batches[0].items[4].command.max is commands.UNSET


async def test_calls_are_answered_to_who_asked(bus):
    first, second = bus.gateway(b"1" * 16), bus.gateway(b"2" * 16)
    for number in range(500):
        first.end.call(Call(number, ReadRoom(f"first {number}", "key")))
        second.end.call(Call(number, ReadRoom(f"second {number}", "key")))
    await until(lambda: len(first.answers) == len(second.answers) == 500)
    for name, gateway in (("first", first), ("second", second)):
        assert gateway.answers == [Answer(number, f"{name} {number}".encode(), None) for number in range(500)]


async def test_requests_and_faults_arrive_as_they_were(bus):
    asked = []
    problem = FieldProblem("max", "is too much")
    error = by_code("room_full", "no", retry_after_s=1.5, problems=(problem,))
    assert isinstance(error, RoomFull)
    fault = Fault(error.code, error.detail, error.retry_after_s, [tuple(problem)])
    bus.answer = lambda call: asked.append(call) or Answer(call.number, b"", fault)
    bus.hub._on_call = bus.answer
    call = Call(7, CreateRoom(rest.CreateRoom(max=3, expiration_date=1.5, settings={"files": True}), "192.0.2.7"))
    gateway = bus.gateway(b"g" * 16)
    gateway.end.call(call)
    await until(lambda: gateway.answers)
    assert asked == [call]
    assert gateway.answers == [Answer(7, b"", fault)]


async def test_full_pipe_keeps_events_back(bus, monkeypatch):
    """What a gateway cannot take yet is neither dropped nor overtaken."""
    monkeypatch.setattr(sockets, "HIGH_WATER", 10)
    bus.hub.close()
    bus.context.term()
    bus.__init__(bus.endpoints)
    gateway = bus.gateway(b"g" * 16)
    gateway.end.subscribe(ROOM)
    await gateway.ready(ROOM)
    for number in range(1, 1_501):
        bus.hub.publish(ROOM, Said(number, [bytes(1000)]))
    assert bus.hub._kept_back
    bus.hub.publish(ROOM, Announced(b"last"))
    await until(lambda: gateway.on(ROOM)[-1] == Announced(b"last"))
    assert [event.first_seq for event in gateway.on(ROOM) if isinstance(event, Said)] == list(range(1, 1_501))


async def test_hub_that_does_not_read_makes_the_gateway_wait(bus, monkeypatch):
    """`tell` says no instead of blocking or dropping; what it took arrives."""
    monkeypatch.setattr(sockets, "HIGH_WATER", 10)
    bus.hub.close()
    bus.context.term()
    bus.__init__(bus.endpoints)
    gateway, taken = bus.gateway(b"g" * 16), 0
    while gateway.end.tell(Batch(gateway.topic, [Say(taken, "id", bytes(10_000), None)])):
        taken += 1
    await until(lambda: len(bus.batches) == taken)
    assert [batch.items[0].number for batch in bus.batches] == list(range(taken))
    await until(lambda: gateway.end.tell(Batch(gateway.topic, [])))


async def test_in_one_process_nobody_waits_for_the_loop():
    """What either says is received at once, in order, though they answer each other; and nobody hears a closed one."""
    bus = Bus(Endpoints.inproc("test"), is_one_process=True)
    gateway = bus.gateway(b"g" * 16)
    gateway.end.subscribe(ROOM)
    await gateway.ready(ROOM)
    gateway.heard.clear()

    def answer(batch: Batch) -> None:
        bus.batches.append(batch)
        bus.hub.publish(ROOM, Said(len(bus.batches), [b"x"]))
        bus.hub.deliver()

    def echo(topic: bytes, event: object) -> None:
        gateway.heard.append((topic, event))
        if len(gateway.heard) < 100:
            assert gateway.end.tell(Batch(gateway.topic, [Leave(len(gateway.heard))]))

    bus.hub._on_batch, gateway.end._on_event = answer, echo
    assert gateway.end.tell(Batch(gateway.topic, [Leave(0)]))
    assert [batch.items for batch in bus.batches] == [[Leave(number)] for number in range(100)]
    assert [event.first_seq for event in gateway.on(ROOM)] == list(range(1, 101))
    bus.gateways.remove(gateway)
    gateway.end.close()
    bus.hub.publish(ROOM, Announced(b"nobody"))
    bus.hub.deliver()
    assert len(gateway.heard) == 100
    bus.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only


async def test_nothing_is_left_after_close():
    """No descriptor, and the context ends at once, whatever was still under way."""
    directory = tempfile.TemporaryDirectory(prefix="bus")
    before = descriptors()
    for endpoints in (Endpoints.inproc("x"), Endpoints.ipc(directory.name)) * 3:
        one = Bus(endpoints)
        gateway = one.gateway(b"g" * 16)
        await gateway.ready(gateway.topic)
        for _ in range(100):
            one.hub.publish(gateway.topic, Announced(bytes(1000)))
            gateway.end.tell(Batch(gateway.topic, []))
            gateway.end.call(Call(1, ReadRoom("", "")))
        one.close()
        heard = len(gateway.heard)
        await asyncio.sleep(0.01)
        assert len(gateway.heard) == heard
    assert descriptors() <= before
    directory.cleanup()


async def test_gateway_may_come_before_its_hub():
    """Over ipc processes start in any order."""
    with tempfile.TemporaryDirectory(prefix="bus") as directory:
        endpoints = Endpoints.ipc(directory)
        context = zmq.Context()
        heard = []
        early = GatewayBus(context, endpoints, b"g" * 16, lambda *event: heard.append(event), heard.append)
        assert early.tell(Batch(b"g" * 16, []))
        bus = Bus(endpoints)
        await until(lambda: len(heard) == 2)
        await until(lambda: bus.batches)
        early.close()
        context.term()
        bus.close()
