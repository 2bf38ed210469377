"""Rates: never more than pace and burst allow, and a wait that is exact."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import RateLimited
from relayd.rooms.limits import BURST_S, Allowance, PerAddress, room_allowance, user_allowance
from relayd.settings import MessageRate

STEPS = st.lists(st.tuples(st.floats(0, 10), st.integers(0, 2000)), max_size=60)


@given(st.floats(0.3, 1000), st.floats(10, 100_000), STEPS)
def test_never_more_than_rate_and_burst(messages, size_rate, steps):
    """In any stretch of time: what was said is at most the burst and what the rate brought."""
    one, now, said = Allowance(messages, 0, size_rate, 0.0), 0.0, []
    for pause, wanted in steps:
        now += pause
        size = min(wanted, size_rate * BURST_S)
        if one.take_message(size, now) == 0:
            said.append((now, size))
    for first in range(len(said)):
        elapsed = now - said[first][0]
        assert len(said) - first <= messages * (BURST_S + elapsed) + 1 + 1e-6
        assert sum(size for _, size in said[first:]) <= size_rate * (BURST_S + elapsed) + 1e-3


@given(st.floats(0.3, 1000), STEPS)
def test_wait_is_exact(rate, steps):
    """After the wait it goes, a moment before it does not; and asking costs nothing."""
    one, now = Allowance(rate, rate, 1000, 0.0), 0.0
    for pause, size in steps:
        now += pause / 10
        wait = one.take_message(size, now)
        if wait:
            assert one.take_message(size, now) == wait
            if wait > 1e-6:
                assert one.take_message(size, now + wait * 0.99) > 0
            now += wait + 1e-9
            assert one.take_message(size, now) == 0


def test_burst_then_rate():
    one = Allowance(2, 0, 0, 0.0)
    assert [one.take_message(1, 0.0) for _ in range(11)] == [0] * 10 + [0.5]
    assert one.take_message(1, 0.5) == 0
    assert [one.take_message(1, 100.0) == 0 for _ in range(11)] == [True] * 10 + [False]


def test_more_than_the_burst_needs_to_owe_nothing():
    """Else it could never be said at all; what it took is owed."""
    one = Allowance(0, 0, 1, 0.0)
    assert one.take_message(20, 0.0) == 0
    assert one.take_message(1, 0.0) == 16.0
    assert one.take_message(20, 0.0) == 20.0


def test_refusal_costs_nothing():
    one = Allowance(1, 0, 0, 0.0)
    assert [one.take_message(0, 0.0) for _ in range(5)] == [0] * 5
    assert all(one.take_message(0, 0.9) for _ in range(100))
    assert one.take_message(0, 1.0) == 0


def test_messages_signals_and_bytes_count_apart():
    one = Allowance(1, 2, 100, 0.0)
    assert [one.take_message(0, 0.0) for _ in range(6)] == [0] * 5 + [1.0]
    assert one.take_signal(500, 0.0) == 0
    assert one.take_signal(50, 0.0) == 0.5
    assert one.take_signal(0, 0.0) == 0
    assert one.take_message(200, 0.0) == 2.0  # the longer of the two


def test_no_limit_is_no_wait():
    one = Allowance(0, 0, 0, 0.0)
    assert not any(one.take_message(10**9, 0.0) or one.take_signal(10**9, 0.0) for _ in range(1000))


def test_slow_rates_still_let_one_through():
    """A rate of less than one in five seconds lets one pass when none is owed."""
    one = Allowance(0.01, 0.01, 0, 0.0)
    assert one.take_message(1, 0.0) == 0
    assert one.take_message(1, 0.0) == pytest.approx(100)
    assert one.take_message(1, 100.0) == 0


def test_user_and_room_have_their_own_rates():
    rate = MessageRate(1, 2, 3, 10, 20, 30)
    for make, messages, signals, size in ((user_allowance, 1, 2, 3), (room_allowance, 10, 20, 30)):
        one = make(rate, 0.0)
        assert not any(one.take_message(0, 0.0) for _ in range(int(messages * BURST_S)))
        assert one.take_message(0, 0.0) == pytest.approx(1 / messages)
        assert not any(one.take_signal(0, 0.0) for _ in range(int(signals * BURST_S)))
        assert one.take_signal(0, 0.0) == pytest.approx(1 / signals)
        one = make(rate, 0.0)
        assert one.take_signal(int(size * BURST_S), 0.0) == 0
        assert one.take_message(size, 0.0) == pytest.approx(1)


def test_addresses_do_not_share():
    limit = PerAddress(2)
    for address in ("a", "b", "a", "b"):
        limit.spend(address, 0.0)
    with pytest.raises(RateLimited, match="address") as caught:
        limit.spend("a", 0.0)
    assert caught.value.retry_after_s == pytest.approx(30)
    limit.spend("a", 30.001)
    with pytest.raises(RateLimited):
        limit.spend("a", 30.001)


def test_address_without_limit():
    limit = PerAddress(0)
    for _ in range(1000):
        limit.spend("a", 0.0)


def test_addresses_remembered_are_bounded():
    """The one unused for longest is forgotten, not the one that just asked."""
    limit = PerAddress(1, most=2)
    limit.spend("a", 0.0)
    limit.spend("b", 0.0)
    with pytest.raises(RateLimited):
        limit.spend("a", 0.0)
    limit.spend("c", 0.0)  # b goes
    with pytest.raises(RateLimited):
        limit.spend("a", 0.0)
    limit.spend("b", 0.0)
    with pytest.raises(RateLimited):
        limit.spend("b", 0.0)
    assert len(limit._paid_at) == 2
