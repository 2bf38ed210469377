"""Rates: never more than pace and burst allow, and a wait that is exact."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import RateLimited
from relayd.rooms.limits import (
    BURST_S,
    AddressRateLimiter,
    Allowance,
    ConnectionLimit,
    TokenBucket,
    Window,
    per_minute,
    room_allowance,
    user_allowance,
)
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


def refused(limit, address, now, cost=1.0):
    """Seconds to wait; 0 if it was booked."""
    try:
        limit.spend(address, now, cost)
    except RateLimited as error:
        return error.retry_after_s
    return 0


def test_addresses_do_not_share():
    limit = AddressRateLimiter(per_minute(2))
    for address in ("a", "b", "a", "b"):
        limit.spend(address, 0.0)
    with pytest.raises(RateLimited, match="address") as caught:
        limit.spend("a", 0.0)
    assert caught.value.retry_after_s == pytest.approx(30)
    limit.spend("a", 30.001)
    assert refused(limit, "a", 30.001)


def test_address_without_limit():
    limit = AddressRateLimiter(per_minute(0))
    assert not any(refused(limit, "a", 0.0) for _ in range(1000))
    limit.book("a", 0.0, 1e9)
    limit.check("a", 0.0)


def test_addresses_remembered_are_bounded():
    """The one unused for longest is forgotten, not the one that just asked."""
    limit = AddressRateLimiter(per_minute(1), most=2)
    limit.spend("a", 0.0)
    limit.spend("b", 0.0)
    limit.book("a", 0.0, 0)
    limit.spend("c", 0.0)  # b goes
    assert refused(limit, "a", 0.0)
    limit.spend("b", 0.0)
    assert refused(limit, "b", 0.0)
    assert len(limit._paid_at) == 2


def test_every_window_holds():
    """Sixty a minute, but no more than a hundred an hour."""
    limit = AddressRateLimiter(Window(60, 60), Window(100, 3600))
    assert not any(refused(limit, "a", 0.0) for _ in range(60))
    assert refused(limit, "a", 0.0) == pytest.approx(1)
    assert not any(refused(limit, "a", 60.0) for _ in range(41))  # one and two thirds have come back to the hundred
    assert refused(limit, "a", 60.0) == pytest.approx(12)
    assert refused(limit, "a", 60.0) == pytest.approx(12)  # a refusal costs nothing


def test_a_site_may_do_sixteen_times_what_one_network_in_it_may():
    """Whoever has a /48 has 65,536 networks of /64."""
    limit = AddressRateLimiter(per_minute(10))
    addresses = [f"2001:db8:0:{number:x}::1" for number in range(1000)]
    assert sum(not refused(limit, address, 0.0) for address in addresses) == 160
    assert refused(limit, "2001:db8:0:ffff::1", 0.0)
    assert not refused(limit, "2001:db8:1::1", 0.0)
    assert sum(not refused(limit, f"2001:db8:2::{number:x}", 0.0) for number in range(100)) == 10


def test_costs_that_are_known_afterwards():
    """An address in debt is refused until it has something left; what it has spent is not forgotten by a refusal."""
    limit = AddressRateLimiter(Window(1000, 10))
    limit.check("a", 0.0)
    limit.book("a", 0.0, 3000)
    with pytest.raises(RateLimited) as caught:
        limit.check("a", 0.0)
    assert caught.value.retry_after_s == pytest.approx(20)
    limit.check("a", 20.0)
    limit.check("b", 0.0)


def test_other_windows_begin_anew_and_equal_ones_do_not():
    limit = AddressRateLimiter(per_minute(1))
    limit.spend("a", 0.0)
    limit.change(per_minute(1))
    assert refused(limit, "a", 0.0)
    limit.change(per_minute(1), Window(2, 3600))
    assert not refused(limit, "a", 0.0)


def full(limit, address):
    """Whether the address may open no more connections."""
    try:
        limit.check(address)
    except RateLimited as error:
        return error.retry_after_s is not None
    return False


def test_connections_of_an_address():
    """So many at a time; each that is closed makes room for another."""
    limit = ConnectionLimit(2)
    closes = [limit.add("192.0.2.1") for _ in range(2)]
    assert [full(limit, one) for one in ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2")] == [True, True, False]
    closes.pop()()
    assert not full(limit, "192.0.2.1")
    limit.most = 0
    assert not full(limit, "192.0.2.1")
    limit.most = 1
    assert full(limit, "192.0.2.1")


def test_connections_of_an_ipv6_site():
    """A /64 counts as one address, and the /48 around it as sixteen."""
    limit = ConnectionLimit(2)
    closes = [limit.add(f"2001:db8:1:{subnet}::{host}") for subnet in range(16) for host in range(2)]
    assert full(limit, "2001:db8:1:3::ffff")
    assert full(limit, "2001:db8:1:ffff::1")
    assert not full(limit, "2001:db8:2::1")
    closes.pop()()
    assert not full(limit, "2001:db8:1:ffff::1")


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans())))
def test_closed_connections_leave_nothing(steps):
    """Whatever the order in which they are opened and closed."""
    limit, opened = ConnectionLimit(1), []
    for number, opens in steps:
        if opens:
            opened.append(limit.add(f"2001:db8::{number}:0:0:0:1"))
        elif opened:
            opened.pop(number % len(opened))()
    for close in opened:
        close()
    assert limit._open == {}


@given(st.floats(0.3, 1000), st.floats(0.1, 100), STEPS)
def test_a_bucket_gives_no_more_than_its_window(amount, seconds, steps):
    """What is refused is spent after the wait that was told; in any stretch of time no more than rate and burst."""
    bucket, now, spent = TokenBucket(Window(amount, seconds)), 0.0, 0.0
    for pause, wanted in steps:
        now += pause
        cost = min(float(wanted), amount)
        try:
            bucket.spend(now, cost)
        except RateLimited as refused:
            now += refused.retry_after_s + 1e-6
            bucket.spend(now, cost)
        spent += cost
        assert spent <= amount * (1 + now / seconds) * (1 + 1e-6) + 1e-6


def test_a_bucket_that_owes():
    """What is booked afterwards may be more than is left; then it waits until no more than a burst is owed."""
    bucket = TokenBucket(Window(10, 5))
    bucket.book(0.0, 30)
    assert bucket.wait_s(0.0) == 10.0
    assert bucket.wait_s(10.0) == 0.0
    assert TokenBucket(Window(0, 5)).wait_s(0.0, 1e9) == 0.0


def test_an_address_as_networks():
    """The networks may stand for the address; of two, the second may do 16 times as much."""
    limiter = AddressRateLimiter(Window(10, 10))
    for number in range(16):
        limiter.spend((b"%d" % number, b"site"), 0.0, 10)
    with pytest.raises(RateLimited):
        limiter.spend((b"another", b"site"), 0.0, 10)
    limiter.spend((b"another", b"elsewhere"), 0.0, 10)


def test_a_refund():
    """What was booked and is not due after all may be spent again."""
    limiter = AddressRateLimiter(Window(10, 10))
    limiter.book("192.0.2.1", 100.0, 40)
    assert limiter.wait_s("192.0.2.1", 100.0) == 30.0
    limiter.refund("192.0.2.1", 25)
    assert limiter.wait_s("192.0.2.1", 100.0) == 5.0
