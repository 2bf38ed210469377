"""Rooms and seats: what is counted, for whom, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import NoPlaces, Overloaded, RateLimited
from relayd.rooms.seats import GUARANTEED_SEATS, SITE_SHARES, Occupancy, seats_of
from relayd.settings import Limits

LIMITS = Limits(max_rooms=100, max_places=2_000, address_share=0.1, admin_reserve=0.02)
HOME, OTHER = (b"v4",), (b"another",)


def rooms_of(occupancy: Occupancy, creator: tuple[bytes, ...], count: int, seats: int = 1) -> None:
    """So many rooms, as if nobody had asked whether they may be."""
    for number in range(count):
        occupancy.set(b"%d/%a" % (number, creator), creator, seats)


@given(st.integers(0, 20_000), st.integers(1, 10_000))
def test_seats_of_a_room(members, most):
    """Those of its users; of a room for up to 50, all from the start."""
    seats = seats_of(members, most)
    assert seats >= members
    assert seats >= min(most, 50)
    assert seats in (members, most, 50)


def test_big_rooms_do_not_fill_a_server_that_nobody_uses():
    """Twenty rooms for 10,000 had all 200,000 places."""
    occupancy, limits = Occupancy(), Limits(address_share=0)
    for number in range(20):
        occupancy.check(limits, HOME, rooms=1, seats=seats_of(0, 10_000))
        occupancy.set(b"%d" % number, HOME, seats_of(0, 10_000))
    assert occupancy.seats == 20 * GUARANTEED_SEATS
    occupancy.check(limits, OTHER, rooms=1, seats=50)


def test_what_one_address_may_have():
    """In rooms and in seats; another address has its own, and what ends is free again."""
    for rooms, seats in ((10, 1), (4, 50)):
        occupancy = Occupancy()
        rooms_of(occupancy, HOME, rooms, seats)
        with pytest.raises(RateLimited, match=r"limits\.address_share") as refused:
            occupancy.check(LIMITS, HOME, rooms=1, seats=seats)
        assert refused.value.retry_after_s
        occupancy.check(LIMITS, OTHER, rooms=1, seats=seats)
        occupancy.check(LIMITS, (), rooms=1, seats=seats)
        occupancy.remove(b"0/%a" % (HOME,))
        occupancy.check(LIMITS, HOME, rooms=1, seats=seats)


def test_a_site_may_have_a_few_times_as_much():
    """From a /48 anybody draws as many /64s as they like: all of them together have a limit, too."""
    occupancy = Occupancy()
    for number in range(SITE_SHARES):
        rooms_of(occupancy, (b"/64 %d" % number, b"/48"), 10)
    with pytest.raises(RateLimited):
        occupancy.check(LIMITS, (b"/64 new", b"/48"), rooms=1, seats=1)
    occupancy.check(LIMITS, (b"/64 new", b"/48 of somebody else"), rooms=1, seats=1)


def test_one_room_may_always_be():
    """On a small server the share is less than a room, and nobody could make one."""
    small = Limits(max_rooms=5, max_places=100)
    occupancy = Occupancy()
    occupancy.check(small, HOME, rooms=1, seats=50)
    rooms_of(occupancy, HOME, 1, 50)
    with pytest.raises(RateLimited):
        occupancy.check(small, HOME, rooms=1, seats=1)


def test_zero_is_no_limit():
    occupancy = Occupancy()
    rooms_of(occupancy, HOME, 300, 50)
    occupancy.check(Limits(max_rooms=0, max_places=0, address_share=0.05), HOME, rooms=1, seats=50)
    occupancy.check(Limits(max_rooms=400, max_places=0, address_share=0), HOME, rooms=1, seats=50)


def test_taking_nothing_is_never_refused():
    """Whoever holds more than they may, as limits were lowered, can still rename a room, or make it smaller."""
    occupancy = Occupancy()
    rooms_of(occupancy, HOME, 200, 50)
    for seats in (0, -10):
        occupancy.check(LIMITS, HOME, rooms=0, seats=seats)


def test_admins_have_a_reserve():
    """Strangers have all rooms and seats; admins have more, and then no more."""
    occupancy = Occupancy()
    rooms_of(occupancy, HOME, 100, 20)
    with pytest.raises(Overloaded, match=r"100 rooms \(limits\.max_rooms\)"):
        occupancy.check(LIMITS, OTHER, rooms=1, seats=1)
    with pytest.raises(NoPlaces, match=r"2000 places \(limits\.max_places\)"):
        occupancy.check(LIMITS, OTHER, rooms=0, seats=1)
    for number in range(10):
        occupancy.check(LIMITS, (), rooms=1, seats=50)
        occupancy.set(b"urgent %d" % number, (), 50)
    with pytest.raises(Overloaded):
        occupancy.check(LIMITS, (), rooms=1, seats=0)
    with pytest.raises(NoPlaces):
        occupancy.check(LIMITS, (), rooms=0, seats=1)
    large = Limits(max_rooms=10_000, max_places=2_000, admin_reserve=0.02, address_share=0)
    occupancy.check(large, (), rooms=10_090, seats=0)
    with pytest.raises(Overloaded):
        occupancy.check(large, (), rooms=10_091, seats=0)
