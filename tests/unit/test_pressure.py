"""The bound over all slow readers: one pass, and a few closes each turn of the loop."""

from __future__ import annotations

from collections.abc import Callable

from relayd.gateway.pressure import CLOSED_PER_TURN, Pressure

LIMIT = 256 * 2**20


class Reader:
    """A slow reader; it counts how often its queue is measured."""

    def __init__(self, number: int, size: int) -> None:
        self.number, self.size = number, size
        self.measured = 0
        self.is_cut_off = False

    @property
    def waiting_bytes(self) -> int:
        self.measured += 1
        return self.size

    def cut_off(self) -> None:
        self.is_cut_off = True


class Loop:
    """What is to be called in the next turn."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def turn(self) -> None:
        calls, self.soon = self.soon, []
        for call in calls:
            call()

    def call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)


def _readers(pressure: Pressure, count: int, size: int) -> list[Reader]:
    readers = [Reader(number, size) for number in range(count)]
    for one in readers:
        pressure.add(one)
        one.measured = 0
    return readers


def _fill(pressure: Pressure, readers: list[Reader], size: int) -> None:
    """One message for all of them."""
    for one in readers:
        if not one.is_cut_off:
            one.size += size
            pressure.grow(size)


def test_one_pass_brings_the_queues_down_to_seven_eighths():
    """10,000 readers of 20 KB, and one message more than the bound has room for."""
    loop = Loop()
    pressure = Pressure(LIMIT, loop.call_soon)
    readers = _readers(pressure, 10_000, 20_000)
    _fill(pressure, readers, LIMIT // 10_000 - 20_000 + 1)
    assert sum(one.measured for one in readers) <= 10_000, "each queue is measured once"
    for _ in range(100):
        loop.turn()
    kept = sum(one.size for one in readers if not one.is_cut_off)
    assert 0.87 * LIMIT < kept <= 7 / 8 * LIMIT


def test_the_longest_queues_go_first():
    """And no more of them than necessary."""
    loop = Loop()
    pressure = Pressure(1_000, loop.call_soon)
    sizes = [100, 400, 50, 300, 151]
    readers = [Reader(number, size) for number, size in enumerate(sizes)]
    for one in readers:
        pressure.add(one)
    assert [one.size for one in readers if one.is_cut_off] == [400]
    assert pressure.waiting_bytes == 601


def test_few_are_closed_in_one_turn():
    """The others in the next ones, unless they have caught up until then."""
    loop = Loop()
    pressure = Pressure(LIMIT, loop.call_soon)
    readers = _readers(pressure, 10_000, LIMIT // 10_000)
    _fill(pressure, readers, 1_000)
    closed = [sum(one.is_cut_off for one in readers)]
    spared = next(one for one in readers if one in pressure._to_close)
    pressure.remove(spared)
    while loop.soon:
        loop.turn()
        closed.append(sum(one.is_cut_off for one in readers))
    assert all(after - before <= CLOSED_PER_TURN for before, after in zip([0, *closed], closed, strict=False))
    assert closed[-1] > 1_000
    assert not spared.is_cut_off


def test_queues_near_the_bound_are_not_measured_for_every_frame():
    """Where readers take what they are sent, but their queues stay long."""
    loop = Loop()
    pressure = Pressure(LIMIT, loop.call_soon)
    readers = _readers(pressure, 1_000, LIMIT // 1_000 - 1)
    for _ in range(20_000):  # each frame is taken again before the next one
        pressure.grow(1_000)
    assert not any(one.is_cut_off for one in readers)
    assert sum(one.measured for one in readers) <= 1_000 * (20_000 * 1_000 / (LIMIT / 64) + 2)


def test_no_bound():
    """0 means none."""
    pressure = Pressure(0, Loop().call_soon)
    readers = _readers(pressure, 10, 2**40)
    pressure.relieve()
    assert not any(one.is_cut_off for one in readers)
