"""Sessions of users who have left: how many are remembered over all rooms, and whose go first."""

from __future__ import annotations

import pytest
from rules.people import BORN, House

from relayd.errors import NoSuchRoom
from relayd.rooms.departed import DepartedSessions
from relayd.rooms.ledger import Ledger

HOME, CAMPUS = (b"address",), (b"/64", b"/48")


def visited(house: House):
    """A session of somebody who came and went."""
    admission, session = house.guest(BORN)
    house.room.leave(admission.member, BORN)
    return session


def is_known(house: House, session) -> bool:
    """Whether its user can come back as who they were."""
    return house.room.sessions.user_of(session.digest) is not None


def test_the_oldest_of_all_rooms_go_first():
    departed = DepartedSessions(most=3)
    one, other = House(departed=departed), House(departed=departed)
    first, second = visited(one), visited(other)
    visited(one)
    assert len(departed) == 3
    visited(other)
    assert (len(departed), is_known(one, first), is_known(other, second)) == (3, False, True)
    with pytest.raises(NoSuchRoom):
        one.join(BORN, None, first)


def test_a_forgotten_user_is_written_down():
    """Also where another room's user has taken the place: the next process must not know them either."""
    departed, ledger = DepartedSessions(most=1), Ledger(is_kept=True)
    one = House(departed=departed, ledger=ledger)
    admission, _ = one.guest(BORN)
    one.room.leave(admission.member, BORN)
    ledger.take()
    visited(House(departed=departed))
    assert list(ledger.take()[0][one.room].users) == [admission.member.user_id]


def test_who_comes_back_is_not_counted():
    departed = DepartedSessions(most=2)
    house = House(departed=departed)
    back, gone = visited(house), visited(house)
    house.join(BORN, None, back)
    assert len(departed) == 1
    visited(house)
    assert is_known(house, gone)


def test_one_address_takes_its_share_only():
    """Rooms made from it, however many, push nobody out who left a room of others."""
    departed = DepartedSessions(most=20, share=0.1)
    honest = House(departed=departed, creator=HOME)
    remembered = visited(honest)
    for number in range(30):
        hostile = House(departed=departed, creator=(b"/64 %d" % number, b"/48"))
        last = visited(hostile)
    assert len(departed) == 3
    assert is_known(honest, remembered)
    assert not is_known(hostile, last)


def test_a_room_forgets_its_own_oldest():
    departed = DepartedSessions(most=20, share=0.1)
    house = House(departed=departed, creator=CAMPUS)
    first, second, third = (visited(house) for _ in range(3))
    assert [is_known(house, one) for one in (first, second, third)] == [False, True, True]


def test_admins_rooms_have_no_share():
    departed = DepartedSessions(most=20, share=0.1)
    house = House(departed=departed)
    assert all(is_known(house, one) for one in [visited(house) for _ in range(20)])


def test_a_share_of_less_than_one_is_one():
    departed = DepartedSessions(most=3, share=0.1)
    house = House(departed=departed, creator=HOME)
    assert is_known(house, visited(house))


def test_a_lower_limit_holds_with_the_next_leave():
    departed = DepartedSessions()
    house = House(departed=departed, creator=HOME)
    sessions = [visited(house) for _ in range(10)]
    departed.most, departed.share = 4, 0.5
    visited(house)
    assert len(departed) == 2
    assert not any(is_known(house, one) for one in sessions[:9])
    departed.most = 1
    visited(House(departed=departed, creator=(b"another",)))
    assert len(departed) == 1


def test_a_room_that_ends_takes_its_sessions_with_it():
    departed = DepartedSessions(most=20)
    house = House(departed=departed)
    visited(house)
    house.room.forget_sessions()
    assert len(departed) == 0
