"""Passes: one newcomer each, once and soon, past the lock and past bans of an address, but not into a full room."""

from __future__ import annotations

import pytest
from rules.people import BORN, House, key

from relayd.errors import Locked, NoSuchRoom, RoomFull
from relayd.rooms.access import MAX_PASSES, PASS_VALID_S
from relayd.rooms.room import Ticket
from relayd.wire import ids
from relayd.wire.rest import RoomSettings


def passes(house: House, count: int = 1) -> list[ids.Credential]:
    made = [key(ids.INVITE) for _ in range(count)]
    for one in made:
        house.room.add_pass(one.digest, BORN)
    return made


def test_a_pass_lets_one_newcomer_in_once():
    house = House(locked=True)
    (given,) = passes(house)
    with pytest.raises(Locked):
        house.join(BORN, key=house.invite)
    admission, session = house.join(BORN + 1, key=given)
    assert not admission.member.is_owner
    with pytest.raises(NoSuchRoom):
        house.join(BORN + 1, key=given)
    again, _ = house.join(BORN + 2, session=session)
    assert again.member is admission.member, "from then on it is the session that counts"


def test_a_pass_runs_out():
    house = House()
    early, late = passes(house, 2)
    house.join(BORN + PASS_VALID_S - 0.001, key=early)
    with pytest.raises(NoSuchRoom):
        house.join(BORN + PASS_VALID_S, key=late)
    with pytest.raises(NoSuchRoom):
        house.room.check_key(late, BORN + PASS_VALID_S)


def test_a_pass_shows_the_room_until_it_is_used():
    house = House()
    (given,) = passes(house)
    for _ in range(3):
        house.room.check_key(given, BORN)
    house.join(BORN, key=given)
    with pytest.raises(NoSuchRoom):
        house.room.check_key(given, BORN)
    for wrong in (None, key(ids.INVITE), key(ids.OWNER)):
        with pytest.raises(NoSuchRoom):
            house.room.check_key(wrong, BORN)


def test_a_full_room_is_full_and_the_pass_still_good():
    house = House(most=1)
    (given,) = passes(house)
    admission, _ = house.join(BORN, key=house.invite)
    with pytest.raises(RoomFull):
        house.join(BORN, key=given)
    house.room.leave(admission.member, BORN + 1)
    house.join(BORN + 1, key=given)


def test_a_pass_outlives_no_flood_of_others():
    house = House()
    first, *others = passes(house, MAX_PASSES + 1)
    with pytest.raises(NoSuchRoom):
        house.join(BORN, key=first)
    for one in others[:3]:
        house.join(BORN, key=one)


def test_a_pass_leads_past_a_lobby():
    """An admin who is asked to help waits for nobody; others do, but for the owner and those who come by session."""
    house = House(settings=RoomSettings(lobby=True))
    (given,) = passes(house)

    def waits(credential: ids.Credential, *, by_session: bool = False, user_id: str = "u_new") -> bool:
        ticket = Ticket(credential, None, b"address")
        return house.room.must_wait(ids.UserId(user_id), ticket, BORN, by_session=by_session)

    assert not waits(given)
    assert waits(house.invite)
    assert not waits(house.invite, by_session=True)
    assert not waits(house.owner, user_id=house.room.meta.owner_id)
    house.join(BORN, key=given)
    assert waits(given), "it is spent"
