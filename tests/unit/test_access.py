"""Keys, sessions and bans; and what is remembered of a member, all of it bounded."""

from __future__ import annotations

import os

import pytest

from relayd.errors import NoSuchRoom, OwnerOnly
from relayd.rooms.access import MAX_BANS, MAX_DEPARTED, Bans, Departure, Keys, Sessions
from relayd.rooms.member import REMEMBERED_MESSAGES, REMEMBERED_S, Connection, Member, Said
from relayd.wire import ids
from relayd.wire.ids import INVITE, OWNER, SESSION, Credential


def credential(kind: str) -> Credential:
    made = ids.parse_key(ids.new_key(kind, os.urandom))
    assert made is not None
    return made


INVITED, OWNS = credential(INVITE), credential(OWNER)
KEYS = Keys(INVITED.digest, OWNS.digest)
LEFT = Departure()


def test_keys_open_what_they_are_for():
    assert KEYS.is_owner(OWNS) is True
    assert KEYS.is_owner(INVITED) is False
    KEYS.require_owner(OWNS)
    with pytest.raises(OwnerOnly):
        KEYS.require_owner(INVITED)
    assert (KEYS.invite, KEYS.owner) == (INVITED.digest, OWNS.digest)


@pytest.mark.parametrize(
    "other",
    [
        None,
        credential(INVITE),
        credential(OWNER),
        credential(SESSION),
        Credential(INVITE, OWNS.digest),  # the right digest of the wrong kind
        Credential(OWNER, INVITED.digest),
        Credential(SESSION, OWNS.digest),
    ],
)
def test_any_other_key_is_no_such_room(other):
    """The same answer whether there is a room or not."""
    for ask in (KEYS.is_owner, KEYS.require_owner):
        with pytest.raises(NoSuchRoom):
            ask(other)


def test_keys_do_not_show():
    assert repr(KEYS) == "Keys()"


def test_sessions_inside_departed_and_forgotten():
    sessions = Sessions()
    sessions.add(b"1", "u_1")
    assert sessions.user_of(b"1") == "u_1"
    sessions.depart([b"1", b"unknown"], LEFT)
    assert sessions.user_of(b"1") == "u_1"
    assert sessions.user_of(b"unknown") is None
    sessions.drop([b"1", b"unknown"])
    assert sessions.user_of(b"1") is None
    sessions.add(b"2", "u_2")
    sessions.drop([b"2"])
    assert sessions.user_of(b"2") is None


def test_departed_sessions_are_bounded_and_those_inside_are_not():
    sessions = Sessions()
    sessions.add(b"inside", "u_0")
    for number in range(MAX_DEPARTED + 1):
        sessions.add(b"%d" % number, f"u_{number}")
        sessions.depart([b"%d" % number], LEFT)
    assert sessions.user_of(b"0") is None  # who left first
    assert sessions.user_of(b"1") == "u_1"
    assert sessions.user_of(b"inside") == "u_0"


def test_how_a_user_left_is_kept_as_long_as_a_session():
    """And no longer: the newest departure holds, none is left of those who came back or are forgotten."""
    sessions = Sessions()
    for name in (b"1", b"2"):
        sessions.add(name, "u_1")
    sessions.depart([b"1"], LEFT)
    last = Departure((b"address",), 5.0, b"{}")
    sessions.depart([b"2"], last)
    assert sessions.departure_of("u_1") == last
    sessions.drop([b"1"])
    assert sessions.departure_of("u_1") == last
    sessions.add(b"2", "u_1")
    assert sessions.departure_of("u_1") is None
    sessions.depart([b"2"], last)
    for number in range(MAX_DEPARTED):
        sessions.add(b"%d" % number, f"u_x{number}")
        sessions.depart([b"%d" % number], LEFT)
    assert sessions.departure_of("u_1") is None


def test_who_came_back_is_not_forgotten_with_the_departed():
    sessions = Sessions()
    sessions.add(b"back", "u_b")
    sessions.depart([b"back"], LEFT)
    sessions.add(b"back", "u_b")
    for number in range(MAX_DEPARTED + 1):
        sessions.add(b"%d" % number, "u")
        sessions.depart([b"%d" % number], LEFT)
    assert sessions.user_of(b"back") == "u_b"


def test_who_left_again_left_last():
    """The order is that of the last leave: a visitor of today is not forgotten before one of yesterday."""
    sessions = Sessions()
    for name in (b"old", b"other", b"old"):
        sessions.add(name, "u")
        sessions.depart([name], LEFT)
    for number in range(MAX_DEPARTED - 1):
        sessions.add(b"%d" % number, "u")
        sessions.depart([b"%d" % number], LEFT)
    assert sessions.user_of(b"old") == "u"
    assert sessions.user_of(b"other") is None


def test_bans_are_bounded_and_nothing_is_no_ban():
    bans = Bans()
    bans.add([b"", b"x"])
    assert b"x" in bans
    assert b"" not in bans
    bans.add([b"%d" % number for number in range(MAX_BANS)])
    assert b"x" not in bans
    assert b"0" in bans


def member() -> Member:
    return Member("u_1", is_owner=False, profile=b"{}", joined_seq=0, joined_mark=0)


def test_messages_are_remembered_for_two_minutes():
    one = member()
    assert one.said(b"a", 0.0) is None
    one.remember(b"a", Said(1, False, 10.0))
    assert one.said(b"a", 130.0) == Said(1, False, 10.0)
    assert one.said(b"a", 130.1) is None
    assert one.said(b"b", 10.0) is None


def test_messages_remembered_are_bounded_in_number_and_age():
    one = member()
    for number in range(REMEMBERED_MESSAGES + 1):
        one.remember(b"%d" % number, Said(number, False, 0.0))
    assert one.said(b"0", 0.0) is None
    assert one.said(b"1", 0.0) is not None
    one.remember(b"late", Said(999, False, REMEMBERED_S + 1))
    assert list(one.known) == [b"late"]


def test_said_again_after_it_was_forgotten_counts_anew():
    one = member()
    one.remember(b"a", Said(1, False, 0.0))
    one.remember(b"b", Said(2, False, 1.0))
    one.remember(b"a", Said(3, False, REMEMBERED_S + 0.5))
    assert list(one.known) == [b"b", b"a"]
    assert one.said(b"a", REMEMBERED_S + 0.5).seq == 3


def test_who_is_silent_keeps_no_ids():
    """They go when two minutes have passed, also without another message."""
    one = member()
    one.remember(b"a", Said(1, False, 0.0))
    one.remember(b"b", Said(2, False, 1.0))
    one.forget_ids(REMEMBERED_S + 0.5)
    assert list(one.known) == [b"b"]
    one.forget_ids(REMEMBERED_S + 1.5)
    assert one.known is None
    assert one.said(b"b", REMEMBERED_S + 1.5) is None


def test_longest_idle_connection():
    one = member()
    assert one.away
    for number, active_at in enumerate([5.0, 3.0, 4.0]):
        one.connections.append(Connection(b"g", number, b"", None, one, active_at))
    assert not one.away
    assert one.longest_idle().number == 1
