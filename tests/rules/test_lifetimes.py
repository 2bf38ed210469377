"""Lifetimes over 24 hours, in milliseconds: the rules take the time as an argument."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.people import BORN, GRACES, House

from relayd.errors import InvalidFields
from relayd.rooms import state
from relayd.rooms.expiry import Lifetime, lifetime, next_warning
from relayd.rooms.ledger import Ledger
from relayd.rooms.member import REMEMBERED_S
from relayd.rooms.meta import changed_meta
from relayd.rooms.room import Due, Room

HOUR, DAY = 3600.0, 86_400.0
NOTHING = Due([], None, "")


def edited(room: Room, expiration: float | str, now: float) -> None:
    """As the hub does it for a PATCH of `expiration_date`."""
    life = lifetime(expiration, BORN, now)
    room.change(changed_meta(room.meta, ends_at=life.ends_at, users_leave=life.users_leave), now)


def lived(room: Room, until: float = BORN + 2 * DAY) -> list[tuple[float, Due]]:
    """What happens to a room left to itself, and when: the clock jumps from one due moment to the next."""
    happened = []
    while (now := room.due_at()) <= until:
        due = room.advance(now)
        if due != NOTHING:
            happened.append((now - BORN, due))
        if due.over:
            break
        assert room.due_at() > now, "a moment that stays due would keep the hub busy for ever"
    return happened


# What can be asked for. -----------------------------------------------------------------------------------------


@given(st.floats(1e-6, 24))
def test_hours_are_exact(hours):
    assert lifetime(hours, BORN, BORN) == Lifetime(BORN, BORN + hours * 3600, users_leave=False)


def test_less_than_the_clock_can_tell_is_over_at_once():
    with pytest.raises(InvalidFields, match="has passed"):
        lifetime(1e-60, BORN, BORN)


@pytest.mark.parametrize("asked", [0, -1, 24.000001, 25, float("inf"), float("nan"), -0.0, "soon", "", "usersleave"])
def test_other_hours_are_refused(asked):
    with pytest.raises(InvalidFields, match="more than 0 and at most 24") as caught:
        lifetime(asked, BORN, BORN)
    assert [problem.field for problem in caught.value.problems] == ["expiration_date"]


def test_users_leave_ends_after_a_day_at_the_latest():
    assert lifetime("usersLeave", BORN, BORN) == Lifetime(BORN, BORN + DAY, users_leave=True)


def test_hours_count_from_creation():
    """An edit cannot carry a room past its day, nor end it in the past."""
    assert lifetime(2, BORN, BORN + HOUR).ends_at == BORN + 2 * HOUR
    for now in (BORN + 2 * HOUR, BORN + 3 * HOUR):
        with pytest.raises(InvalidFields, match="has passed"):
            lifetime(2, BORN, now)


@given(st.floats(0, DAY), st.floats(1, DAY))
def test_warnings_come_in_the_future_longest_first(now, seconds):
    life, at, told = Lifetime(0.0, seconds, users_leave=False), now, []
    while (due := next_warning(life, at)) is not None:
        assert at < due < seconds
        told.append(due)
        at = due
    assert told == [seconds - left for left in (300.0, 60.0) if seconds - left > now]


# A room with an end. --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [24, 12, 1.5, 0.1])
def test_timed_room_lives_to_the_second(hours):
    """Warned 5 minutes and 1 minute before, over exactly at the end, with people in it."""
    house = House(hours)
    house.guest(BORN)
    end = hours * HOUR
    assert lived(house.room) == [
        (pytest.approx(end - 300, abs=1e-5), Due([], 300, "")),
        (pytest.approx(end - 60, abs=1e-5), Due([], 60, "")),
        (pytest.approx(end, abs=1e-5), Due([], None, "expired")),
    ]
    assert house.room.due_at() == house.room.meta.ends_at


def test_timed_room_lives_without_people():
    assert lived(House(3).room)[-1] == (3 * HOUR, Due([], None, "expired"))


@pytest.mark.parametrize(("minutes", "warnings"), [(4, [60]), (5, [60]), (5.01, [300, 60]), (1, []), (0.5, [])])
def test_short_room_is_warned_of_what_lies_ahead(minutes, warnings):
    happened = lived(House(minutes / 60).room)
    assert [due.warning_s for _, due in happened[:-1]] == warnings
    assert happened[-1][1].over == "expired"


def test_nothing_is_over_a_moment_before():
    house = House(1)
    house.room.advance(BORN + HOUR - 60)
    assert house.room.advance(BORN + HOUR - 0.001) == NOTHING
    assert house.room.advance(BORN + HOUR).over == "expired"


def test_late_clock_gives_one_warning_with_the_time_left():
    """A hub that slept past both says how long it is now, once."""
    room = House(1).room
    assert room.advance(BORN + HOUR - 30) == Due([], 30, "")
    assert room.advance(BORN + HOUR - 29) == NOTHING


def test_room_that_nobody_joins_ends():
    """Whatever its hours, if a stranger made it; an admin may make a room long before its meeting."""
    strangers, admins = House(3, creator=(b"network",)), House(3)
    assert lived(strangers.room) == [(GRACES.join_s, Due([], None, "empty"))]
    assert lived(admins.room)[-1] == (3 * HOUR, Due([], None, "expired"))


def test_room_that_was_joined_keeps_its_hours():
    """Also when its people have left."""
    house = House(3, creator=(b"network",))
    admission, _ = house.guest(BORN + 599)
    house.room.leave(admission.member, BORN + 600)
    assert lived(house.room)[-1] == (3 * HOUR, Due([], None, "expired"))


def test_another_end_does_not_keep_a_room_that_nobody_joins():
    """An edit gives the time that people need to come, as for every room, and no more."""
    room = House(3, creator=(b"network",)).room
    edited(room, "usersLeave", BORN + 590)
    edited(room, 24, BORN + 591)
    assert lived(room) == [(590 + GRACES.leave_s, Due([], None, "empty"))]


def test_room_in_use_is_not_forgotten_by_a_restart():
    """The next process knows that somebody was there."""
    house = House(3, creator=(b"network",))
    admission, _ = house.guest(BORN)
    house.room.leave(admission.member, BORN + 1)
    first, *others = state.all_of(house.room)
    draft = state.Draft(first)
    for record in others:
        draft.take(record)
    room = state.room_of(draft, GRACES, 8, Ledger(), BORN + 2)
    assert lived(room)[-1] == (3 * HOUR, Due([], None, "expired"))


# Ids of messages. -----------------------------------------------------------------------------------------------


def test_ids_go_though_nobody_speaks():
    """Of those inside and of those who have left: in twice the time for which they hold."""
    house = House(24)
    (inside, _), (left, _) = house.guest(BORN), house.guest(BORN)
    for member in (inside.member, left.member):
        house.room.say(member, b"1", 1, direct=False, now=BORN + 10)
    house.room.leave(left.member, BORN + 20)
    house.room.say(inside.member, b"2", 1, direct=False, now=BORN + 100)
    now = house.room.due_at()
    assert now == BORN + 10 + REMEMBERED_S
    house.room.advance(now + 0.1)
    assert (list(inside.member.known), house.room.known) == ([b"2"], {})
    house.room.advance(house.room.due_at())
    assert inside.member.known is None
    assert house.room.due_at() == house.room.warning_at


# A room that ends with its people. ------------------------------------------------------------------------------


def test_nobody_came():
    assert lived(House().room) == [(600.0, Due([], None, "empty"))]


def test_first_one_may_come_at_the_last_moment():
    house = House()
    assert house.room.advance(BORN + 599.9) == NOTHING
    house.guest(BORN + 599.9)
    assert house.room.advance(BORN + 600).over == ""
    assert lived(house.room)[-1] == (DAY, Due([], None, "expired"))


def test_last_one_left():
    house = House()
    admission, _ = house.guest(BORN + 5)
    house.room.leave(admission.member, BORN + 100)
    assert lived(house.room) == [(100 + GRACES.leave_s, Due([], None, "empty"))]


def test_last_one_was_lost():
    """The place is kept first, then the grace begins: a page reload kills no room."""
    house = House()
    admission, _ = house.guest(BORN)
    house.room.disconnect(admission.connection, BORN + 100)
    assert lived(house.room) == [
        (160.0, Due([admission.member.user_id], None, "")),
        (160 + GRACES.leave_s, Due([], None, "empty")),
    ]


def test_late_clock_ends_it_in_one_step():
    """Grace counts from when the place was given up, not from when the clock looked."""
    house = House()
    admission, _ = house.guest(BORN)
    house.room.disconnect(admission.connection, BORN + 100)
    assert house.room.advance(BORN + 190) == Due([admission.member.user_id], None, "empty")


def test_coming_back_in_the_grace_saves_it():
    house = House()
    admission, session = house.guest(BORN)
    house.room.leave(admission.member, BORN + 100)
    assert house.room.advance(BORN + 129.9) == NOTHING
    house.join(BORN + 129.9, session=session)
    assert house.room.due_at() > BORN + 1000


@pytest.mark.parametrize(("resume", "kept"), [(60, 60), (30, 30), (10, 10), (5, 10), (0, 10)])
def test_place_is_kept_as_long_as_is_said_and_at_least_ten_seconds(resume, kept):
    house = House(1)
    room = house.room
    room.change(changed_meta(room.meta, settings=type(room.meta.settings)(resume=resume)), BORN)
    admission, _ = house.guest(BORN)
    room.disconnect(admission.connection, BORN + 7)
    assert room.due_at() == BORN + 7 + kept
    assert room.advance(BORN + 7 + kept - 0.001).gone == []
    assert room.advance(BORN + 7 + kept).gone == [admission.member.user_id]


# A server that turns everybody away for a while. ----------------------------------------------------------------


def test_a_pause_keeps_places_and_rooms():
    """Nobody loses a place, nor the room its life; afterwards everyone has the time that was left."""
    house = House()
    (early, _), (late, _) = house.guest(BORN), house.guest(BORN)
    house.room.disconnect(early.connection, BORN + 100)
    house.room.pause_graces(BORN + 140)
    house.room.disconnect(late.connection, BORN + 500)
    assert house.room.advance(BORN + 1000) == NOTHING
    assert house.room.due_at() == house.room.warning_at
    house.room.resume_graces(BORN + 1000)
    assert lived(house.room) == [
        (1020.0, Due([early.member.user_id], None, "")),
        (1060.0, Due([late.member.user_id], None, "")),
        (1060 + GRACES.leave_s, Due([], None, "empty")),
    ]


def test_a_pause_of_an_empty_room():
    """The room that waits for its first user, and the one whose last user has left before or in the pause."""
    waiting, left, leaving = House(), House(), House()
    left.room.leave(left.guest(BORN)[0].member, BORN + 10)
    admission, _ = leaving.guest(BORN)
    for house in (waiting, left, leaving):
        house.room.pause_graces(BORN + 20)
    leaving.room.leave(admission.member, BORN + 30)
    for house in (waiting, left, leaving):
        assert house.room.advance(BORN + 2000) == NOTHING
        house.room.resume_graces(BORN + 2000)
        house.room.resume_graces(BORN + 3000)
    assert lived(waiting.room) == [(2580.0, Due([], None, "empty"))]
    assert lived(left.room) == [(2020.0, Due([], None, "empty"))]
    assert lived(leaving.room)[0][0] >= 2030


def test_a_pause_prolongs_no_room():
    """Past its end it is over, warned of before."""
    house = House(1)
    house.room.pause_graces(BORN + 100)
    assert lived(house.room) == [(HOUR - 300, Due([], 300, "")), (HOUR - 60, Due([], 60, "")), (HOUR, OVER)]


OVER = Due([], None, "expired")


# Edits. ---------------------------------------------------------------------------------------------------------


def test_longer_life_warns_anew():
    house = House(1)
    assert house.room.advance(BORN + HOUR - 300).warning_s == 300
    edited(house.room, 2, BORN + HOUR - 200)
    assert [due.warning_s for _, due in lived(house.room)] == [300, 60, None]


def test_shorter_life_warns_of_what_lies_ahead():
    house = House(24)
    edited(house.room, 1, BORN + HOUR - 100)
    assert lived(house.room) == [(HOUR - 60, Due([], 60, "")), (HOUR, Due([], None, "expired"))]


def test_other_edits_do_not_warn_twice():
    house = House(1)
    assert house.room.advance(BORN + HOUR - 300).warning_s == 300
    house.room.change(changed_meta(house.room.meta, locked=True), BORN + HOUR - 299)
    assert [due.warning_s for _, due in lived(house.room)] == [60, None]


def test_edit_swallows_no_warning_that_is_due():
    """The hub hears of the edit in the turn in which it would have warned."""
    house = House(1)
    house.room.change(changed_meta(house.room.meta, locked=True), BORN + HOUR - 300)
    assert house.room.advance(BORN + HOUR - 300).warning_s == 300


def test_timed_room_becomes_one_that_ends_empty():
    """Its people left long ago: it waits a grace from now on."""
    house = House(5)
    admission, _ = house.guest(BORN)
    house.room.leave(admission.member, BORN + 10)
    edited(house.room, "usersLeave", BORN + HOUR)
    assert lived(house.room) == [(HOUR + GRACES.leave_s, Due([], None, "empty"))]


@pytest.mark.parametrize(("now", "end"), [(1, 600), (569, 600), (571, 601), (5000, 5030)])
def test_first_one_is_still_waited_for_after_an_edit(now, end):
    """Nobody has come yet: the invited have the ten minutes that any such room gives them."""
    house = House(5)
    edited(house.room, "usersLeave", BORN + now)
    assert lived(house.room) == [(end, Due([], None, "empty"))]


def test_empty_room_becomes_a_timed_one():
    house = House()
    edited(house.room, 1, BORN + 599)
    assert lived(house.room)[-1] == (HOUR, Due([], None, "expired"))


def test_editing_an_empty_room_does_not_prolong_it():
    house = House()
    edited(house.room, "usersLeave", BORN + 500)
    house.room.change(changed_meta(house.room.meta, locked=True), BORN + 550)
    assert lived(house.room) == [(600.0, Due([], None, "empty"))]


def test_shorter_resume_lets_go_sooner():
    house = House(1)
    admission, _ = house.guest(BORN)
    house.room.disconnect(admission.connection, BORN)
    house.room.change(changed_meta(house.room.meta, settings=type(house.room.meta.settings)(resume=10)), BORN + 1)
    assert house.room.due_at() == BORN + 10
