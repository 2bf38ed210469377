"""When a member is warned that keys are not confirmed, hours in no time."""

import json
from pathlib import Path

import pytest

from relayd.client.key_monitor import KeyMonitor, KeyTimes

VECTORS = json.loads(Path(__file__).parents[1].joinpath("vectors", "key-monitor-vectors.json").read_text("utf-8"))
TIMES = KeyTimes()
SID, OTHER = b"s" * 16, b"o" * 16


class World:
    """A monitor, and the owner's client, seen in steps of one check."""

    def __init__(self):
        self.now = 5_000.0
        self.monitor = KeyMonitor(TIMES, self.now)
        self.warnings: list[float] = []  # when the owner was missed
        self.users: list[str] = []  # who was missed

    def step(self, *, connected=True, owner=True, unconfirmed=()):
        self.now += TIMES.check_s
        found = self.monitor.check(self.now, connected=connected, owner_present=owner, unconfirmed=unconfirmed)
        if found.owner_missing_s is not None:
            self.warnings.append(self.now)
        self.users += found.users

    def run(self, seconds, **how):
        for _ in range(round(seconds / TIMES.check_s)):
            self.step(**how)

    def confirm(self, sid=SID, *, clock_s=0.0, late_s=0.0):
        """A confirmation comes from an owner whose clock is that much ahead, that late."""
        return self.monitor.on_confirmation(sid, round((self.now + clock_s - late_s) * 1000), self.now)


@pytest.fixture
def world():
    return World()


def test_two_missing_confirmations_are_a_warning(world):
    """Once, between 6 and 7 minutes after the last one; the next confirmation ends it."""
    began = world.now
    world.confirm()
    world.run(3600)
    assert len(world.warnings) == 1
    assert 360 < world.warnings[0] - began < 420
    assert world.confirm() is True
    world.run(390 - TIMES.check_s)
    assert len(world.warnings) == 1
    world.run(TIMES.check_s)
    assert len(world.warnings) == 2


def test_one_that_never_came_counts_as_well(world):
    """A server that withholds them from the first one on is noticed too."""
    world.run(400)
    assert len(world.warnings) == 1


def test_no_warning_while_confirmations_come(world):
    """Every 3 minutes, or one missing in between."""
    for n in range(100):
        world.run(180)
        if n % 2:
            assert world.confirm() is False
    assert world.warnings == []


def test_an_owner_who_is_not_there_is_not_missed(world):
    """Whether away or gone; the time with the owner adds up."""
    world.run(300)
    world.run(36_000, owner=False)
    assert world.warnings == []
    world.run(100)
    assert len(world.warnings) == 1


def test_time_without_a_connection_does_not_count_and_a_cut_resets_nothing(world):
    """A server that cuts the connection every minute gains nothing."""
    world.run(36_000, connected=False)
    assert world.warnings == []
    for _ in range(7):
        world.run(60)
        world.step(connected=False)
    assert len(world.warnings) == 1


def test_a_sleep_of_the_machine_does_not_count(world):
    """Whether the clock counts the sleep or not."""
    for _ in range(5):
        world.run(50)
        world.now += 8 * 3600
    assert world.warnings == []


@pytest.mark.parametrize("clock_s", [-4_000.0, -1.0, 86_400.0 * 365])
def test_the_owners_clock_may_show_anything(world, clock_s):
    """Only its intervals are compared."""
    for _ in range(50):
        world.run(180)
        world.confirm(clock_s=clock_s)
    assert world.warnings == []


def test_several_devices_of_the_owner_with_clocks_of_their_own(world):
    """One that confirms is enough, and each has its own clock."""
    for n in range(50):
        world.run(180)
        world.confirm((SID, OTHER)[n % 2], clock_s=(0, 77_777)[n % 2])
    assert world.warnings == []


def test_confirmations_that_are_held_back_count_as_missing(world):
    """A server cannot lay up confirmations to use them after a rekey."""
    for n in range(10):
        world.confirm(late_s=60.0 * n)  # each a minute later than the one before
        world.run(180)
    assert len(world.warnings) == 1


def test_a_slow_network_is_no_holding_back(world):
    """Some are late by as much as two minutes."""
    for n in range(50):
        world.confirm(late_s=(0.0, 120.0, 5.0)[n % 3])
        world.run(180)
    assert world.warnings == []


def test_a_slow_clock_of_a_device_that_sleeps_for_moments(world):
    """A new connection starts its clock again, so what a clock loses by sleeping adds up within one only."""
    for n in range(50):
        world.confirm(bytes([n // 2]) * 16, late_s=100.0 * n)
        world.run(180)
    assert world.warnings == []


def test_new_keys_start_again(world):
    """The minutes before a rekey are nothing that the new keys lack."""
    world.run(380)
    world.monitor.on_epoch()
    world.run(380)
    assert world.warnings == []


def test_a_user_who_does_not_confirm_new_keys_is_told_once(world):
    """After half a minute; who confirms before is not."""
    world.step(unconfirmed=["u_bob", "u_cyd"])
    world.run(3600, unconfirmed=["u_bob"])
    assert world.users == ["u_bob"]


def test_a_user_who_is_away_is_told_when_they_are_back_and_do_not_confirm(world):
    """Being away counts for nothing, coming and going does not reset the time, and new keys do."""
    world.run(20, unconfirmed=["u_bob"])
    world.run(3600)
    assert world.users == []
    world.run(20, unconfirmed=["u_bob"])
    world.run(60)
    world.run(60, unconfirmed=["u_bob"])
    assert world.users == ["u_bob"]
    world.monitor.on_epoch()
    world.run(60, unconfirmed=["u_bob"])
    assert world.users == ["u_bob", "u_bob"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["case"])
def test_vectors(vector):
    """The page finds the same, step by step."""
    monitor = KeyMonitor(TIMES, vector["start"] / 1000)
    for step in vector["steps"]:
        if "confirm" in step:
            sid, t_ms, now_ms = step["confirm"]
            assert monitor.on_confirmation(sid.encode(), t_ms, now_ms / 1000) == step["found"]
        elif "check" in step:
            now_ms, connected, owner, users = step["check"]
            found = monitor.check(now_ms / 1000, connected=connected, owner_present=owner, unconfirmed=users)
            missing_ms = None if found.owner_missing_s is None else round(found.owner_missing_s * 1000)
            assert {"ownerMissingMs": missing_ms, "users": found.users} == step["found"]
        else:
            monitor.on_epoch()
