"""What the hub says in one turn: messages leave together, and everything else finds them gone before it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rules.people import BORN, House

from relayd.bus.messages import Announced, Attached, Said, Sent
from relayd.hub.outgoing import Outgoing, by_gateway
from relayd.rooms.member import Connection
from relayd.wire.ids import RoomId

ROOM, OTHER, GATEWAY = RoomId(b"r" * 16), RoomId(b"s" * 16), b"g" * 16


def outgoing() -> tuple[Outgoing, list]:
    published = []
    return Outgoing(lambda *event: published.append(event), lambda: 0.0), published


def test_messages_of_a_turn_leave_together():
    out, published = outgoing()
    for seq in (4, 5, 6):
        out.say(ROOM, seq, b"%d" % seq)
    out.say(OTHER, 1, b"x")
    assert published == []
    out.flush()
    assert published == [(ROOM, Said(4, [b"4", b"5", b"6"])), (OTHER, Said(1, [b"x"]))]
    out.flush()
    assert len(published) == 2


def test_anything_else_about_the_room_comes_after_them():
    """A joiner hears what was said after the join; a room's end comes after its last word."""
    for act, topic in ((Outgoing.to_room, ROOM), (Outgoing.to_gateway, GATEWAY)):
        out, published = outgoing()
        event = Attached(1, "u_1", 1, [b"joined"])
        out.say(ROOM, 1, b"before")
        out.say(OTHER, 9, b"elsewhere")
        args = (ROOM, event) if act is Outgoing.to_room else (ROOM, GATEWAY, event)
        act(out, *args)
        out.say(ROOM, 2, b"after")
        out.flush()
        assert published == [
            (ROOM, Said(1, [b"before"])),
            (topic, event),
            (OTHER, Said(9, [b"elsewhere"])),
            (ROOM, Said(2, [b"after"])),
        ]


def test_a_frame_for_some_sockets_goes_once_to_each_gateway():
    house = House()
    member = house.guest(BORN)[0].member
    connections = [
        Connection(gateway, number, b"", house.room, member, BORN)
        for gateway, number in ((b"1", 1), (b"2", 2), (b"1", 3))
    ]
    out, published = outgoing()
    out.say(house.room.meta.room_id, 1, b"before")
    out.to_connections(connections, b"frame")
    out.to_connections(connections[:1], b"signal", droppable=True)
    out.to_connections([], b"nobody")
    assert published == [
        (house.room.meta.room_id, Said(1, [b"before"])),
        (b"1", Sent([1, 3], b"frame", False)),
        (b"2", Sent([2], b"frame", False)),
        (b"1", Sent([1], b"signal", True)),
    ]
    assert {gateway: len(group) for gateway, group in by_gateway(connections).items()} == {b"1": 2, b"2": 1}


ACTS = st.lists(st.tuples(st.sampled_from(["say", "room", "gateway", "flush"]), st.sampled_from([ROOM, OTHER])))


@given(ACTS)
def test_each_room_hears_its_own_order(acts):
    """However rooms take turns: everything once, in the order it was said, and numbers without a gap."""
    out, published = outgoing()
    seqs, meant = {ROOM: 0, OTHER: 0}, {ROOM: [], OTHER: []}
    for number, (act, room_id) in enumerate([*acts, ("flush", ROOM)]):
        frame = b"%d" % number
        if act == "say":
            seqs[room_id] += 1
            out.say(room_id, seqs[room_id], frame)
        elif act == "room":
            out.to_room(room_id, Announced(frame))
        elif act == "gateway":
            out.to_gateway(room_id, room_id, Announced(frame))
        else:
            out.flush()
        meant[room_id] += [frame] if act != "flush" else []
    heard, next_seq = {ROOM: [], OTHER: []}, {ROOM: 1, OTHER: 1}
    for topic, event in published:
        if isinstance(event, Said):
            assert event.first_seq == next_seq[topic]
            next_seq[topic] += len(event.frames)
            heard[topic] += event.frames
        else:
            heard[topic].append(event.frame)
    assert heard == meant
