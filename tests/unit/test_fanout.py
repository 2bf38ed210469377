"""The fan-out of a large room takes several turns of the loop, and every socket is still sent all of it in order."""

from __future__ import annotations

import asyncio
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.bus.messages import (
    Announced,
    Attached,
    Dropped,
    Ended,
    PresenceTold,
    Rekeyed,
    Said,
    Sent,
    Signalled,
    Subscribed,
)
from relayd.gateway import scheduler
from relayd.gateway.fanout import Fanout
from relayd.gateway.scheduler import DELIVERY_COST, MAX_QUEUED_BYTES, TURN_COST
from relayd.wire.ids import RoomId

BIG, SMALL, OTHER = RoomId(b"b" * 16), RoomId(b"s" * 16), RoomId(b"o" * 16)
GATEWAY = b"g" * 16
# What comes in the turn in which the budget is renewed may find the rest of the one before.
MOST = 2 * TURN_COST + 128 * 1024


class Socket:
    """What a fan-out sees of a socket; it notes what it is sent, and in which turn of the loop."""

    def __init__(self, fanout: Fanout, number: int, room_id: RoomId, turns: Turns) -> None:
        self.number, self.room_id, self.user_id = number, room_id, f"u{number}"
        self.got: list[bytes] = []
        self.turns: list[int] = []
        self.code = 0
        self._fanout, self._turns = fanout, turns

    def write(self, data: bytes) -> None:
        assert not self.code, "written to after its close frame"
        self.got.append(_payload(data))
        self.turns.append(self._turns.number)
        self._turns.costs[-1] += DELIVERY_COST + len(data)

    def offer(self, data: bytes, *, droppable: bool = False) -> None:
        if not self.code:
            self.write(data)

    def on_chunk(self, header: bytes, data: memoryview) -> None:
        self.offer(header + data)

    def is_of(self, topic: bytes) -> bool:
        return topic == GATEWAY

    def on_subscribed(self) -> None:
        pass

    def on_attached(self, user_id: str, data: bytes) -> None:
        self.offer(data)

    def close(self, code: int, reason: str) -> None:
        if not self.code:
            self.code = code
            self._fanout.exit(self)


class Turns:
    """Counts the turns of the loop, and what was delivered in each."""

    def __init__(self) -> None:
        self.number, self.costs = 0, [0]

    async def wait(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)
            self.number += 1
            self.costs.append(0)

    async def until_idle(self, fanout: Fanout) -> None:
        while not fanout.is_idle:
            await self.wait(1)


class Payload(bytes):
    """A chunk, as the bus brings it."""

    @property
    def buffer(self) -> memoryview:
        return memoryview(self)


def _payload(data: bytes) -> bytes:
    """Without the frame's header, of one frame."""
    return data[4:] if data[1] == 126 else data[10:] if data[1] == 127 else data[2:]


class Rooms:
    """A fan-out and sockets."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.fanout = Fanout(lambda topic: None, lambda topic: None, lambda: 0.0)
        self.sockets: list[Socket] = []

    def join(self, room_id: RoomId, count: int, seq: int = 0) -> list[Socket]:
        joined = []
        for _ in range(count):
            socket = Socket(self.fanout, len(self.sockets) + 1, room_id, self.turns)
            self.sockets.append(socket)
            self.fanout.add(socket)
            self.fanout.enter(socket)
            self.fanout.deliver(room_id, Subscribed())
            self.fanout.deliver(GATEWAY, Attached(socket.number, socket.user_id, seq, [b"joined"]))
            joined.append(socket)
        return joined


def _message(seq: int, size: int = 60_000) -> Said:
    return Said(seq, [b"%d " % seq + b"x" * size])


async def test_a_large_fan_out_takes_several_turns():
    """No turn has more work than the budget, and a small room is served while the large one waits."""
    rooms = Rooms()
    readers, few = rooms.join(BIG, 4_000), rooms.join(SMALL, 5)
    await rooms.turns.wait(2)
    rooms.turns.costs = [0]
    rooms.fanout.deliver(BIG, _message(1))
    rooms.fanout.deliver(SMALL, _message(1, 100))
    assert all(len(one.got) == 2 for one in few), "a small room waits for nothing"
    assert not all(len(one.got) == 2 for one in readers)
    await rooms.turns.until_idle(rooms.fanout)
    assert all(one.got[1].startswith(b"1 ") for one in readers)
    assert max(rooms.turns.costs) <= MOST
    assert rooms.turns.number >= 4_000 * 62_000 // TURN_COST


async def test_two_large_rooms_share_the_turns():
    """What begins later does not wait until the first is done."""
    rooms = Rooms()
    first, second = rooms.join(BIG, 1_000), rooms.join(OTHER, 200)
    await rooms.turns.wait(2)
    rooms.fanout.deliver(BIG, _message(1))
    rooms.fanout.deliver(OTHER, _message(1))
    await rooms.turns.until_idle(rooms.fanout)
    assert max(one.turns[-1] for one in second) < max(one.turns[-1] for one in first)


async def test_a_room_of_a_thousand_is_served_in_one_turn():
    """A short message needs no queue there."""
    rooms = Rooms()
    readers = rooms.join(BIG, 1_000)
    await rooms.turns.wait(2)
    rooms.fanout.deliver(BIG, _message(1, 100))
    assert rooms.fanout.is_idle
    assert all(len(one.got) == 2 for one in readers)


async def test_the_end_of_a_large_room_is_spread():
    """Everyone is sent the last message, then the end, and is closed, some each turn."""
    rooms = Rooms()
    readers = rooms.join(BIG, 4_000)
    await rooms.turns.wait(2)
    rooms.fanout.deliver(BIG, _message(1, 100))
    rooms.fanout.deliver(BIG, Ended(b"end", 4005, "room_closed"))
    assert not all(one.code for one in readers)
    await rooms.turns.until_idle(rooms.fanout)
    assert all(one.got[-1] == b"end" and len(one.got) == 3 and one.code == 4005 for one in readers)
    assert BIG not in rooms.fanout.channels


async def test_a_joiner_is_sent_what_was_said_after_its_join():
    """And not what still waits for the others."""
    rooms = Rooms()
    rooms.join(BIG, 1_000)
    await rooms.turns.wait(2)
    rooms.fanout.deliver(BIG, _message(1))
    rooms.fanout.deliver(BIG, _message(2))
    late = rooms.join(BIG, 1, seq=2)[0]
    rooms.fanout.deliver(BIG, _message(3))
    await rooms.turns.until_idle(rooms.fanout)
    assert [got.split(b" ")[0] for got in late.got] == [b"joined", b"3"]


async def test_an_answer_stays_behind_the_messages_before_it():
    """A frame for one socket, and its close, wait for what waits for that socket."""
    rooms = Rooms()
    last = rooms.join(BIG, 1_000)[-1]
    await rooms.turns.wait(2)
    rooms.fanout.deliver(BIG, _message(1))
    rooms.fanout.deliver(GATEWAY, Sent([last.number], b"direct", droppable=False))
    rooms.fanout.deliver(GATEWAY, Dropped([last.number], 4004, "kicked", ""))
    assert not last.code
    await rooms.turns.until_idle(rooms.fanout)
    assert [got.split(b" ")[0] for got in last.got] == [b"joined", b"1", b"direct"]
    assert last.code == 4004


async def test_those_who_leave_meanwhile_are_passed_over():
    """A socket that is closed while deliveries wait is not written to again; an emptied room forgets them."""
    rooms = Rooms()
    readers = rooms.join(BIG, 1_000)
    await rooms.turns.wait(2)
    rooms.fanout.deliver(BIG, _message(1))
    for one in readers:
        one.close(1000, "")
    assert rooms.fanout.is_idle
    late = rooms.join(BIG, 1, seq=7)[0]
    rooms.fanout.deliver(BIG, _message(8, 10))
    assert late.got == [b"joined", b"8 " + b"x" * 10]


async def test_chunks_of_files_are_spread_and_hold_up_no_messages():
    """A chunk for thousands has a queue of its own."""
    rooms = Rooms()
    readers = rooms.join(BIG, 2_000)
    await rooms.turns.wait(2)
    rooms.turns.costs = [0]
    for _ in range(4):
        rooms.fanout.deliver_chunk(tuple(one.number for one in readers), Payload(b"c" * 60_000))
    rooms.fanout.deliver(BIG, _message(1, 100))
    await rooms.turns.until_idle(rooms.fanout)
    assert all(len(one.got) == 6 for one in readers)
    said_at = max(one.turns[next(i for i, got in enumerate(one.got) if got.startswith(b"1 "))] for one in readers)
    assert said_at < rooms.turns.number / 4
    assert max(rooms.turns.costs) <= MOST


async def test_what_waits_is_bounded():
    """Past the bound the oldest deliveries are completed; nothing is lost."""
    rooms = Rooms()
    readers = rooms.join(BIG, 70)
    await rooms.turns.wait(2)
    frames = MAX_QUEUED_BYTES // 1_000_000 + 5
    for seq in range(1, frames + 1):
        rooms.fanout.deliver(BIG, _message(seq, 1_000_000))
        assert rooms.fanout._scheduler.queued_bytes <= MAX_QUEUED_BYTES
    await rooms.turns.until_idle(rooms.fanout)
    assert all(len(one.got) == frames + 1 for one in readers)
    assert rooms.fanout._scheduler.queued_bytes == 0


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["say", "signal", "announce", "presence", "rekey", "turns"]), st.integers(0, 6)),
        st.tuples(st.sampled_from(["join", "leave", "direct", "drop"]), st.integers(0, 6)),
    ),
    max_size=30,
)


@given(EVENTS)
@settings(max_examples=60, deadline=None)
def test_every_socket_is_sent_everything_in_order(events):
    """Any sequence of events, with any turns in between, arrives as if each was delivered when it came."""
    asyncio.run(_any_sequence(events))


async def _any_sequence(events: list[tuple[str, int]]) -> None:
    model = Model()
    for index, (kind, value) in enumerate(events):
        await getattr(model, kind)(value, json.dumps([index]).encode().ljust(60_000))
    model.rooms.fanout.complete()
    for one, frames in model.expected.items():
        assert len(one.got) == len(frames)
        assert all(wanted in got for wanted, got in zip(frames, one.got, strict=True))


class Model:
    """A large room, and what each of its sockets is to be sent."""

    def __init__(self) -> None:
        self.rooms = Rooms()
        self.inside = self.rooms.join(BIG, 150)  # a frame of 60 KB takes two turns and more
        self.expected = {one: [b"joined"] for one in self.inside}
        self.seq = 0

    def _tell(self, event: object, frame: bytes, but: Socket | None = None) -> None:
        self.rooms.fanout.deliver(BIG, event)
        for one in self.inside:
            if one is not but:
                self.expected[one].append(frame.strip())

    def _target(self, value: int) -> Socket:
        return self.inside[value % len(self.inside)]

    async def turns(self, value: int, frame: bytes) -> None:
        await self.rooms.turns.wait(value)

    async def join(self, value: int, frame: bytes) -> None:
        self.inside += self.rooms.join(BIG, 1, self.seq)
        self.expected[self.inside[-1]] = [b"joined"]

    async def leave(self, value: int, frame: bytes) -> None:
        target = self._target(value)
        target.close(1000, "")
        self.inside.remove(target)
        del self.expected[target]

    async def drop(self, value: int, frame: bytes) -> None:
        target = self._target(value)
        self.rooms.fanout.deliver(GATEWAY, Dropped([target.number], 4004, "kicked", ""))
        self.inside.remove(target)

    async def say(self, value: int, frame: bytes) -> None:
        self.seq += 1
        self._tell(Said(self.seq, [frame]), frame)

    async def rekey(self, value: int, frame: bytes) -> None:
        self.seq += 1
        self._tell(Rekeyed(self.seq, 1, frame.decode(), {}), frame)

    async def signal(self, value: int, frame: bytes) -> None:
        target = self._target(value)
        self._tell(Signalled(frame, GATEWAY, target.number), frame, but=target)

    async def announce(self, value: int, frame: bytes) -> None:
        self._tell(Announced(frame), frame)

    async def presence(self, value: int, frame: bytes) -> None:
        self._tell(PresenceTold([], b"[]", b"[%b]" % frame, 1), frame)

    async def direct(self, value: int, frame: bytes) -> None:
        target = self._target(value)
        self.rooms.fanout.deliver(GATEWAY, Sent([target.number], frame, droppable=False))
        self.expected[target].append(frame.strip())


def test_the_budget_of_a_turn_is_more_than_a_slice():
    """Else a queue would be served by less than its share."""
    assert scheduler.DIRECT_COST <= scheduler.SLICE_COST < scheduler.TURN_COST
