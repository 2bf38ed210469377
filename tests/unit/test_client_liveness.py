"""When a client asks whether its server is there, and when it gives up: by the numbers, in no time."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relayd.client.clock import boot_clock, boot_clock_of
from relayd.client.liveness import LATE_S, Action, Liveness, Patience, SleepDetector
from relayd.client.socket import ASK_AFTER_S, DEAD_AFTER_S, TICK_S

PATIENCE = Patience(TICK_S, ASK_AFTER_S, DEAD_AFTER_S)
SERVER_PINGS_S = 30.0  # at most, between two of a server's pings
FOREVER_S = 600.0


class Line:
    """A connection as its client sees it, second by second.

    Args:
        rtt_s: from a question to its answer; None if the line is dead.
        rate: bytes a second that the line carries to the server.
        server_pings: whether the server's own pings come.
    """

    def __init__(self, rtt_s: float | None, rate: float = 1e9, *, server_pings: bool = False) -> None:
        self.now = 1000.0
        self.liveness = Liveness(PATIENCE, self.now)
        self.rtt_s = rtt_s
        self.rate = rate
        self.awaiting = False
        self.asked: list[float] = []
        self._carried_at = self.now
        # When something comes, and what it answers.
        self._arrivals: list[tuple[float, bytes]] = [(self.now + SERVER_PINGS_S, b"")] if server_pings else []
        self._server_pings = server_pings

    def write(self, size: int) -> None:
        self.liveness.sent(size, self.now)
        self._carried_at = max(self._carried_at, self.now) + size / self.rate

    def sleep(self, seconds: float) -> None:
        """The machine sleeps: nothing is carried meanwhile, and all that comes later comes later by that."""
        self.now += seconds
        self._carried_at += seconds
        self._arrivals = [(at + seconds, answer) for at, answer in self._arrivals]

    def run(self, seconds: float) -> float | None:
        """When the connection was given up, after so many seconds; None if it was not."""
        began, ends_at = self.now, self.now + seconds
        while self.now < ends_at:
            action = self.liveness.check(self.now, awaiting=self.awaiting)
            if action is Action.ABORT:
                return self.now - began
            if action is Action.PING:
                self.asked.append(self.now - began)
                self.write(6)
                if self.rtt_s is not None:
                    self._arrivals.append((max(self.now, self._carried_at) + self.rtt_s, self.liveness.ping_payload))
            self.now += self.liveness.next_check_s(self.now, awaiting=self.awaiting) or 1e-3
            self._hear()
        return None

    def _hear(self) -> None:
        for arrival in sorted(one for one in self._arrivals if one[0] <= self.now):
            self._arrivals.remove(arrival)
            at, answer = arrival
            self.liveness.received(at)
            if answer:
                self.liveness.pong_received(answer, at)
            elif self._server_pings:
                self._arrivals.append((at + SERVER_PINGS_S, b""))


def test_a_dead_line_on_which_nobody_waits():
    assert Line(None).run(FOREVER_S) == pytest.approx(DEAD_AFTER_S, abs=2)


@pytest.mark.parametrize("silent_s", [0, 1, 2.5, 5, 20, 31])
def test_a_dead_line_while_a_message_waits_for_its_echo(silent_s):
    """Within 10 s of sending it, however long nothing was heard before."""
    line = Line(None)
    assert line.run(silent_s) is None
    line.awaiting = True
    line.write(300)
    assert line.run(FOREVER_S) < 10


def test_a_message_that_waits_after_the_server_was_asked():
    """A question that went unanswered for as long is as good as one that is asked now."""
    line = Line(None)
    assert line.run(ASK_AFTER_S + 7) is None
    line.awaiting = True
    assert line.run(FOREVER_S) < 1


@pytest.mark.parametrize("awaiting", [True, False])
@pytest.mark.parametrize("slept_s", [LATE_S + TICK_S + 0.1, 60, 86_400])
@pytest.mark.parametrize("before_s", [0, 3.5, 10, 33])
def test_a_dead_line_after_a_sleep(awaiting, slept_s, before_s):
    """Within 4 s of waking, also where the server had been asked before."""
    line = Line(None)
    line.awaiting = awaiting
    if line.run(before_s) is not None:
        return
    line.sleep(slept_s)
    assert line.run(FOREVER_S) <= 4.1


@pytest.mark.parametrize("read_first", [True, False])
def test_what_came_before_a_sleep_is_no_sign_of_life(read_first):
    """It lay unread in the kernel, and is read on waking, before the clock is looked at or after."""
    line = Line(None)
    line.run(10)
    heard_at = line.liveness.heard_at
    line.sleep(60)
    if read_first:
        line.liveness.received(line.now)
    assert line.liveness.check(line.now, awaiting=False) is Action.PING
    line.liveness.received(line.now + 0.01)
    line.liveness.pong_received(b"another question", line.now + 0.01)
    assert line.liveness.heard_at == heard_at
    assert line.run(FOREVER_S) <= 4.1


def test_what_comes_later_after_a_sleep_is_one():
    """A server that sends so much that its answer comes late is there; so is one that answers in no time."""
    signs = (
        lambda one, now: one.received(now + 1),
        lambda one, now: one.pong_received(one.ping_payload, now + 0.001),
    )
    for say in signs:
        line = Line(None)
        line.run(10)
        line.sleep(60)
        assert line.liveness.check(line.now, awaiting=False) is Action.PING
        say(line.liveness, line.now)
        assert line.run(20) is None


def test_a_live_line_after_a_sleep():
    line = Line(2.0)
    line.run(10)
    line.sleep(60)
    assert line.run(FOREVER_S) is None
    assert len(line.asked) <= 1 + FOREVER_S / ASK_AFTER_S, "once about the sleep, then as ever"


@example(2.0, 4 * 1024, [(0, 200_000, True, 0)])
@example(2.5, 4 * 1024, [(0, 2043, False, 4)])
@given(
    st.floats(0, 2.5),
    st.floats(4 * 1024, 1e6),
    st.lists(
        st.tuples(st.floats(0, 20), st.integers(0, 200_000), st.booleans(), st.sampled_from([0, 0, 4, 60])), max_size=8
    ),
)
def test_a_slow_line_is_not_a_dead_one(rtt_s, rate, events):
    """Whatever is queued on it, whoever waits, and however often the machine sleeps."""
    line = Line(rtt_s, rate, server_pings=True)
    for pause_s, size, awaiting, slept_s in events:
        assert line.run(pause_s) is None
        line.write(size)
        line.awaiting = awaiting
        if slept_s:
            line.sleep(slept_s)
    assert line.run(FOREVER_S) is None


def test_a_fast_upload_does_not_hide_a_dead_line():
    """However much was written, it is given up after as long as a silent one."""
    for awaiting in (True, False):
        line = Line(None)
        line.write(2**30)
        line.awaiting = awaiting
        assert line.run(FOREVER_S) == pytest.approx(DEAD_AFTER_S, abs=2)


def test_a_server_that_reads_nothing_for_a_while():
    """As announced: it does not answer what it does not read."""
    line = Line(None)
    line.awaiting = True
    line.liveness.expect_pause(20, line.now)
    assert 25 <= line.run(FOREVER_S) < 30


def test_a_quiet_line_is_asked_seldom():
    line = Line(0.1)
    line.run(FOREVER_S)
    assert len(line.asked) <= FOREVER_S / ASK_AFTER_S


def test_a_late_look_is_no_sleep():
    """A process that is busy for a moment has not slept."""
    detector = SleepDetector(0.0, 1.0)
    assert [detector.slept_s(now) for now in (1.0, 1.2, 4.1, 5.1, 15.1)] == [0, 0, 0, 0, pytest.approx(9.0)]


def test_the_clock_goes_on_while_the_machine_sleeps():
    """It is CLOCK_BOOTTIME where there is one; the next best elsewhere."""
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= boot_clock() <= time.clock_gettime(time.CLOCK_BOOTTIME)
    mac = SimpleNamespace(CLOCK_MONOTONIC=6, clock_gettime=lambda number: number * 10, monotonic=lambda: 1)
    assert boot_clock_of(mac)() == 60
    windows = SimpleNamespace(monotonic=lambda: 7)
    assert boot_clock_of(windows)() == 7
