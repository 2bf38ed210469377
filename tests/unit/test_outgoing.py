"""What the hub says in one turn: messages leave together, and everything else finds them gone before it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rules.people import BORN, House

from relayd.bus.messages import Announced, Attached, Said, Sent, Turn
from relayd.hub.outgoing import Outgoing, by_gateway
from relayd.rooms.member import Connection
from relayd.rooms.room import Room
from relayd.wire.ids import RoomId

GATEWAY, ELSEWHERE = b"g" * 16, b"h" * 16


def room_at(*gateways: bytes) -> tuple[Room, RoomId]:
    """A room with a connection at each of them."""
    room = House().room
    room.gateways = dict.fromkeys(gateways, 1)
    return room, room.meta.room_id


def outgoing() -> tuple[Outgoing, list]:
    published = []
    return Outgoing(lambda *event: published.append(event), lambda: 0.0), published


def test_messages_of_a_turn_leave_together():
    """Those of one room by its topic, encoded once for all gateways."""
    room, room_id = room_at(GATEWAY, ELSEWHERE)
    out, published = outgoing()
    for seq in (4, 5, 6):
        out.say(room, seq, b"%d" % seq)
    assert published == []
    out.flush()
    assert published == [(room_id, Said(4, [b"4", b"5", b"6"]))]
    out.flush()
    assert len(published) == 1


def test_messages_of_several_rooms_are_one_event_for_each_gateway():
    """Each gateway is told of the rooms it has somebody in; nobody is told of a room without connections."""
    (both, both_id), (one, one_id), (empty, _) = room_at(GATEWAY, ELSEWHERE), room_at(GATEWAY), room_at()
    out, published = outgoing()
    out.say(both, 1, b"x")
    out.say(one, 7, b"y")
    out.say(empty, 3, b"z")
    out.say(both, 2, b"xx")
    out.flush()
    assert published == [
        (GATEWAY, Turn([(both_id, Said(1, [b"x", b"xx"])), (one_id, Said(7, [b"y"]))])),
        (ELSEWHERE, Turn([(both_id, Said(1, [b"x", b"xx"]))])),
    ]


def test_anything_else_about_the_room_comes_after_them():
    """A joiner hears what was said after the join; a room's end comes after its last word."""
    (room, room_id), (other, other_id) = room_at(GATEWAY), room_at(GATEWAY)
    for act, topic in ((Outgoing.to_room, room_id), (Outgoing.to_gateway, GATEWAY)):
        out, published = outgoing()
        event = Attached(1, "u_1", 1, [b"joined"])
        out.say(room, 1, b"before")
        out.say(other, 9, b"elsewhere")
        args = (room_id, event) if act is Outgoing.to_room else (room_id, GATEWAY, event)
        act(out, *args)
        out.say(room, 2, b"after")
        out.flush()
        assert published == [
            (room_id, Said(1, [b"before"])),
            (topic, event),
            (GATEWAY, Turn([(other_id, Said(9, [b"elsewhere"])), (room_id, Said(2, [b"after"]))])),
        ]


def test_a_frame_for_some_sockets_goes_once_to_each_gateway():
    house = House()
    member = house.guest(BORN)[0].member
    connections = [
        Connection(gateway, number, b"", house.room, member, BORN)
        for gateway, number in ((b"1", 1), (b"2", 2), (b"1", 3))
    ]
    out, published = outgoing()
    out.say(house.room, 1, b"before")
    out.to_connections(connections, b"frame")
    out.to_connections(connections[:1], b"signal", droppable=True)
    out.to_connections([], b"nobody")
    assert published == []
    out.flush()
    assert published == [
        (house.room.meta.room_id, Said(1, [b"before"])),
        (b"1", Sent([1, 3], b"frame", False)),
        (b"2", Sent([2], b"frame", False)),
        (b"1", Sent([1], b"signal", True)),
    ]
    assert {gateway: len(group) for gateway, group in by_gateway(connections).items()} == {b"1": 2, b"2": 1}


ACTS = st.lists(st.tuples(st.sampled_from(["say", "room", "gateway", "flush"]), st.sampled_from([0, 1])))


@given(ACTS)
def test_each_room_hears_its_own_order(acts):
    """However rooms take turns: everything once, in the order it was said, and numbers without a gap."""
    out, published = outgoing()
    rooms = [room_at(GATEWAY), room_at(GATEWAY)]
    ids = [room_id for _, room_id in rooms]
    seqs, meant = dict.fromkeys(ids, 0), {room_id: [] for room_id in ids}
    for number, (act, index) in enumerate([*acts, ("flush", 0)]):
        frame = b"%d" % number
        room, room_id = rooms[index]
        if act == "say":
            seqs[room_id] += 1
            out.say(room, seqs[room_id], frame)
        elif act == "room":
            out.to_room(room_id, Announced(frame))
        elif act == "gateway":
            out.to_gateway(room_id, room_id, Announced(frame))
        else:
            out.flush()
        meant[room_id] += [frame] if act != "flush" else []
    heard, next_seq = {room_id: [] for room_id in ids}, dict.fromkeys(ids, 1)
    for topic, event in published:
        for room_id, part in event.said if isinstance(event, Turn) else [(topic, event)]:
            if isinstance(part, Said):
                assert part.first_seq == next_seq[room_id]
                next_seq[room_id] += len(part.frames)
                heard[room_id] += part.frames
            else:
                heard[room_id].append(part.frame)
    assert heard == meant
