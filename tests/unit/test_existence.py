"""A wrong key costs the server the same work whether or not the room exists: time tells nobody that it does."""

from __future__ import annotations

import gc
import os
import sys

import pytest

from relayd.bus.messages import (
    Batch,
    Call,
    CreateInvite,
    EditRoom,
    EndRoom,
    Join,
    KickUser,
    ListInvites,
    ListUsers,
    ReadRoom,
    RenewInvite,
    RevokeInvite,
)
from relayd.bus.messages import CreateRoom as MakeRoom
from relayd.hub.calls import Calls
from relayd.hub.files import Files
from relayd.hub.outgoing import Outgoing
from relayd.hub.service import RoomService
from relayd.hub.talk import Talk
from relayd.registry.registry import Registry
from relayd.rooms.ledger import Ledger
from relayd.settings import Settings
from relayd.wire import ids, rest

NO_ROOM = "7f9c24e8-3b12-4fef-91e0-5b2f60f1a0aa"
WRONG_KEYS = [
    *(ids.new_key(kind, lambda size: b"\1" * size) for kind in (ids.INVITE, ids.OWNER, ids.SESSION)),
    *("", "ri_x"),
]


@pytest.fixture
def service():
    """The rooms, with one named "tea"."""
    outgoing = Outgoing(lambda topic, event: None, lambda: 0.0)
    service = RoomService(Settings(), Registry(), outgoing, os.urandom, lambda: None, Ledger())
    service.create(rest.CreateRoom(name="tea"), 0.0, address=None)
    return service


def work(function, *arguments):
    """What a function returns, and everything of Python and of C that it calls, in order.

    Collecting garbage is not the function's work: what others hang on it (Hypothesis does) would show up here.
    """
    done = []

    def note(frame, event, argument):
        if event == "call":
            done.append(frame.f_code.co_qualname)
        elif event == "c_call":
            done.append(argument.__qualname__)

    gc.disable()
    sys.setprofile(note)
    try:
        result = function(*arguments)
    finally:
        sys.setprofile(None)
        gc.enable()
    return result, done


@pytest.mark.parametrize("key", WRONG_KEYS)
@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (ReadRoom, ()),
        (ListUsers, ("", "192.0.2.1")),
        (EditRoom, (rest.EditRoom(), "192.0.2.1")),
        (EndRoom, ()),
        (KickUser, ("u_0", False)),
        (RenewInvite, ()),
        (CreateInvite, (rest.CreateInvite(),)),
        (ListInvites, ()),
        (RevokeInvite, ("i_0",)),
    ],
)
def test_requests(service, kind, fields, key):
    """By id and by name."""
    calls, (room,) = Calls(service), service.rooms.values()
    for there, missing in ((ids.room_id_text(room.meta.room_id), NO_ROOM), ("tea", "cup")):
        (one, done), (other, done_other) = (
            work(calls.answer, Call(1, kind(reference, key, *fields)), 1.0) for reference in (there, missing)
        )
        assert one == other
        assert one.fault.code == "no_such_room"
        assert done == done_other
        assert ("compare_digest" in done) == (key in WRONG_KEYS[:2])


@pytest.mark.parametrize("key", WRONG_KEYS)
def test_joins(service, key):
    """By key and by session."""
    outgoing = Outgoing(lambda topic, event: None, lambda: 0.0)
    files = Files(service, outgoing, lambda gateway, chunk: None)
    talk, (room,) = Talk(service, outgoing, files, os.urandom), service.rooms.values()
    for given in ((key, ""), ("", key)):
        done = [
            work(talk.hear, Batch(b"gateway", [Join(1, room_id, "192.0.2.1", *given, "", None, "", 0)]), 1.0)
            for room_id in (room.meta.room_id, ids.parse_room_id(NO_ROOM))
        ]
        assert done[0] == done[1]
    assert service.counts.joins == 0
    assert service.counts.joins_refused["no_such_room"] == 4


def test_absent_rooms_do_not_exist(service):
    """No name, no id and no key finds what stands for them."""
    for reference in ("", "cup", NO_ROOM, "x" * 10_000):
        absent = service.find_or_absent(reference)
        assert absent not in service.rooms.values()
        assert absent.members == {}
    calls = Calls(service)
    made = calls.answer(Call(1, MakeRoom(rest.CreateRoom(name="cup"), "192.0.2.1")), 1.0)
    assert made.fault is None
