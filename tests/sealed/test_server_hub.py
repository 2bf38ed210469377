"""Sealed rooms in the hub, without gateways: what is kept of them, and what never is."""

from __future__ import annotations

import json
import os

import pytest

from relayd.bus.messages import Rekeyed
from relayd.client.sealing import new_room
from relayd.errors import RelayError
from relayd.hub.outgoing import Outgoing
from relayd.hub.sealed import SealedRooms
from relayd.hub.service import RoomService
from relayd.registry.registry import Registry
from relayd.rooms.ledger import Ledger
from relayd.rooms.room import Ticket
from relayd.rooms.seal import Seal, rekey_bytes
from relayd.settings import Settings
from relayd.wire.commands import Rekey
from relayd.wire.ids import UserId
from relayd.wire.rest import CreateRoom
from relayd.wire.sealing_text import encode_base64url


@pytest.fixture
def hub():
    """The rooms and what is said to gateways, without either."""
    said = []
    outgoing = Outgoing(lambda topic, event: said.append(event), lambda: 0.0)
    service = RoomService(Settings(), Registry(), outgoing, os.urandom, lambda: None, Ledger())

    def told():
        outgoing.flush()
        return said

    return service, SealedRooms(service, outgoing), told


def test_only_boxes_of_known_users_are_kept(hub):
    """An owner cannot fill the memory with boxes for people who were never here, nor the gateways' with others'."""
    service, sealed, told = hub
    made = new_room()
    created = service.create(CreateRoom(access=made.access), 0.0, address=None)
    room = service.find(created.id)
    ids = [UserId(created.owner_id), UserId("u_" + "a" * 16), UserId("u_" + "b" * 16)]
    for number, user_id in enumerate(ids[:2]):
        room.admit(user_id, Ticket(None, None, b""), None, b"gateway", number, 0.0)
    room.add_session(room.members[ids[1]], b"session")
    room.leave(room.members[ids[1]], 0.0)
    box = encode_base64url(bytes(128))
    sealed.rekey(
        room,
        Rekey(id="r", epoch=1, verifier="0" * 64, check=made.access.check, boxes=dict.fromkeys(ids, box)),
        0.0,
    )
    assert set(room.rekeying.boxes) == set(ids[:2])
    assert [set(event.boxes) for event in told() if isinstance(event, Rekeyed)] == [{ids[0]}]


def test_the_registry_keeps_the_seal(hub):
    """As it was given, and as it is after a rekey; an open room has none."""
    service, sealed, _ = hub
    made = new_room()
    created = service.create(CreateRoom(access=made.access), 0.0, address=None)
    room = service.find(created.id)
    assert service._registry.get(room.meta.room_id).seal == Seal(made.access, 0)
    room.admit(UserId(created.owner_id), Ticket(None, None, b""), None, b"gateway", 1, 0.0)
    boxes = {created.owner_id: encode_base64url(bytes(128))}
    sealed.rekey(room, Rekey(id="r", epoch=1, verifier="0" * 64, check=made.access.check, boxes=boxes), 0.0)
    kept = service._registry.get(room.meta.room_id)
    assert kept == room.meta
    assert (kept.seal.epoch, kept.seal.access.verifier) == (1, "0" * 64)
    assert made.access.verifier not in str([repr(kept), repr(room.meta)])
    open_room = service.find(service.create(CreateRoom(), 0.0, address=None).id)
    assert service._registry.get(open_room.meta.room_id).seal is None


def test_a_password_that_comes_through_makes_no_room(hub):
    """The hub would make an open room of it: it makes none."""
    service, _, _ = hub
    with pytest.raises(RelayError):
        service.create(CreateRoom(password="x"), 0.0, address=None)
    assert not service.rooms


def test_boxes_for_everyone_fit_into_the_frame():
    """The bound on a rekey's frame is that of the longest there can be."""
    for users in (1, 300):
        box, check = encode_base64url(bytes(128)), encode_base64url(bytes(16))
        boxes = {f"u_{number:016x}": box for number in range(users)}
        frame = {"type": "rekey", "id": "\\u0000" * 64, "epoch": 2**32 - 1, "verifier": "0" * 64, "check": check}
        frame |= {"kick": "u_0123456789abcdef", "boxes": boxes}
        assert len(json.dumps(frame)) <= rekey_bytes(users)


def test_what_newcomers_are_told_of_cards_is_bounded(hub):
    """Cards past the bound are not lost: those of a user are told before the next message under one of them."""
    service, _, told = hub
    room = service.find(service.create(CreateRoom(access=new_room().access, max=1000), 0.0, address=None).id)
    gateway, profile = b"gateway", b'{"c":"%03d%s"}'
    for number in range(300):
        user_id = UserId(f"u_{number % 100:016x}")
        room.admit(user_id, Ticket(None, None, b""), profile % (number, b"x" * 900), gateway, number, 0.0)
    service.presence_changed(room, 0.0)
    service.advance(1.0)
    told().clear()
    (frame,) = service.attendance.after_joined(room, None, [], 1.0)
    assert 32 * 1024 < len(frame) < 72 * 1024
    listed = {user["id"] for user in json.loads(frame)["changed"]}
    assert 10 < len(listed) < 30
    for member in room.members.values():
        for connection in member.connections:
            service.attendance.announce_card(room, connection, 2.0)
        assert len(told()) == (0 if member.user_id in listed else 1)
        told().clear()
