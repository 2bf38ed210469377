"""One timer for all sockets: each is woken once, on time, and not at a time it has given up."""

from __future__ import annotations

import asyncio
import time
import weakref

import pytest

from relayd.gateway.wheel import TICK_S, Wheel

pytestmark = pytest.mark.alone


class Entry:
    def __init__(self, wheel: Wheel, again: float = 0.0) -> None:
        self.due_tick = 0
        self.woken: list[float] = []
        self._wheel, self._again = wheel, again

    def on_due(self) -> None:
        self.woken.append(asyncio.get_running_loop().time())
        if self._again:
            self._wheel.set(self, self._again)


@pytest.fixture
async def wheel():
    one = Wheel()
    yield one
    one.close()


async def test_each_is_woken_once_and_on_time(wheel):
    """At most one tick early or late, half a tick for rounding, and never again by itself."""
    start, entries = asyncio.get_running_loop().time(), {}
    for delay in (0.0, 0.1, 0.25, 0.4):
        entries[delay] = Entry(wheel)
        wheel.set(entries[delay], delay)
    await asyncio.sleep(0.75)
    for delay, entry in entries.items():
        (woken,) = entry.woken
        assert -1.5 * TICK_S - 0.01 <= woken - start - max(delay, TICK_S) <= TICK_S + 0.25


async def test_set_anew_moves(wheel):
    """Later, earlier, and back to the first time: woken once, at the last one."""
    start, later, sooner, back = asyncio.get_running_loop().time(), Entry(wheel), Entry(wheel), Entry(wheel)
    wheel.set(later, 0.1)
    wheel.set(later, 0.4)
    wheel.set(sooner, 0.4)
    wheel.set(sooner, 0.1)
    for delay in (0.2, 0.4, 0.2):
        wheel.set(back, delay)
    await asyncio.sleep(0.7)
    assert [len(entry.woken) for entry in (later, sooner, back)] == [1, 1, 1]
    assert later.woken[0] - start > 0.25
    assert sooner.woken[0] - start < 0.39
    assert wheel._slots == {}


async def test_cancelled_is_not_woken(wheel):
    entry = Entry(wheel)
    wheel.set(entry, 0.1)
    wheel.cancel(entry)
    await asyncio.sleep(0.3)
    assert entry.woken == []
    wheel.set(entry, 0.1)
    await asyncio.sleep(0.3)
    assert len(entry.woken) == 1


async def test_entries_may_set_and_cancel_others_when_woken(wheel):
    first, other = Entry(wheel), Entry(wheel)
    first.on_due = lambda: wheel.cancel(other)
    wheel.set(first, 0.1)
    wheel.set(other, 0.1)
    again, before = Entry(wheel, again=0.1), wheel.tick
    wheel.set(again, 0.1)
    await asyncio.sleep(0.55)
    assert other.woken == []
    # Once a tick; it sees five or six of them, as it begins between two.
    assert 3 <= len(again.woken) <= wheel.tick - before


async def test_time_is_the_loops_at_the_last_tick(wheel):
    before, start = wheel.now, asyncio.get_running_loop().time()
    await asyncio.sleep(0.25)
    assert 0.1 <= wheel.now - before <= asyncio.get_running_loop().time() - start + TICK_S
    assert wheel.tick == pytest.approx((wheel.now - before) / TICK_S, abs=1)


async def test_blocked_loop_is_caught_up_with(wheel):
    """What fell due meanwhile is woken, all of it, once."""
    entries = [Entry(wheel) for _ in range(5)]
    for number, entry in enumerate(entries, 1):
        wheel.set(entry, number * 0.1)
    time.sleep(0.55)
    await asyncio.sleep(0.05)
    assert [len(entry.woken) for entry in entries] == [1] * 5


async def test_what_is_set_while_catching_up_waits_its_whole_time(wheel):
    """Else a stall of a minute sends each socket two pings at once, and cuts off all that did not answer between."""
    entry = Entry(wheel, again=0.2)
    wheel.set(entry, 0.1)
    time.sleep(0.85)
    await asyncio.sleep(0.05)
    assert len(entry.woken) == 1


async def test_closed_wheel_wakes_nobody(wheel):
    entry = Entry(wheel)
    wheel.set(entry, 0.1)
    wheel.close()
    await asyncio.sleep(0.25)
    assert entry.woken == []


async def test_what_is_cancelled_is_not_kept(wheel):
    """Sockets that come and go in a storm are gone when they are closed, not when their next ping is due."""
    entry = Entry(wheel)
    wheel.set(entry, 10)
    wheel.set(entry, 25)
    wheel.cancel(entry)
    wheel.cancel(entry)
    known = weakref.ref(entry)
    del entry
    assert known() is None


async def test_cancelled_among_those_that_are_due(wheel):
    """By one that is woken before it, in the same tick or while catching up."""

    class Canceller(Entry):
        def on_due(self) -> None:
            super().on_due()
            for other in others:
                wheel.cancel(other)

    others = [Entry(wheel), Entry(wheel)]
    first = Canceller(wheel)
    wheel.set(first, 0.1)
    for number, other in enumerate(others, 1):
        wheel.set(other, number * 0.1)
    time.sleep(0.35)
    await asyncio.sleep(0.25)
    assert (len(first.woken), [other.woken for other in others]) == (1, [[], []])
