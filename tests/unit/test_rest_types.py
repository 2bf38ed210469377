"""What REST takes and gives: bounds, times, and that no key shows in a repr."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import InvalidFields
from relayd.fields import check
from relayd.settings import Rooms
from relayd.wire.links import links
from relayd.wire.rest import (
    Created,
    CreateRoom,
    EditRoom,
    Invite,
    RoomSettings,
    rfc3339,
    seconds_of,
)

FIELDS = {"name": "n", "max": 3, "expiration_date": 1.5, "settings": {"resume": 3}}


def test_create_takes_nothing_or_all():
    assert check(CreateRoom, {}) == CreateRoom(name=None, max=None, expiration_date="usersLeave", settings={})
    assert check(CreateRoom, FIELDS) == CreateRoom(name="n", max=3, expiration_date=1.5, settings={"resume": 3})


def test_edit_tells_left_out_from_given():
    assert check(EditRoom, {}) == EditRoom(*[msgspec.UNSET] * 5)
    assert check(EditRoom, {**FIELDS, "locked": False}) == EditRoom("n", 3, 1.5, False, {"resume": 3})


@pytest.mark.parametrize("kind", [CreateRoom, EditRoom])
@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("max", 0),
        ("max", -1),
        ("max", 2**31),
        ("max", 1.5),
        ("max", "3"),
        ("max", True),
        ("name", 1),
        ("expiration_date", 0),
        ("expiration_date", -1),
        ("expiration_date", 24.01),
        ("expiration_date", "1"),
        ("expiration_date", "usersleave"),
        ("expiration_date", True),
        ("settings", []),
        ("owner_key", "ro_x"),
    ],
)
def test_bounds(kind, field, wrong):
    with pytest.raises(InvalidFields) as caught:
        check(kind, {field: wrong})
    assert [problem.field for problem in caught.value.problems] == [field]


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [("resume", 0, 60), ("idle_timeout", 0, 86_400), ("max_file", 0, 2**40), ("slow", 0, 3_600)],
)
def test_settings_of_a_room(field, low, high):
    for value in (low, high):
        assert getattr(check(RoomSettings, {field: value}), field) == value
    for value in (low - 1, high + 1, 0.5, "1"):
        with pytest.raises(InvalidFields):
            check(RoomSettings, {field: value})


def test_defaults_are_those_of_the_server():
    """Written in two places, for two layers: they must agree. Slow mode and lobby are for owners to turn on."""
    made, rooms = RoomSettings(), Rooms()
    fields = [field for field in made.__struct_fields__ if field not in ("slow", "lobby")]
    of_server = {field: getattr(rooms, field) for field in fields}
    assert {**of_server, "slow": 0, "lobby": False} == msgspec.to_builtins(made)


@given(st.floats(0, 24, exclude_min=True))
def test_hours(hours):
    assert seconds_of(hours) == (hours * 3600, False)


def test_users_leave_is_a_day_at_most():
    assert seconds_of("usersLeave") == (86_400.0, True)


@pytest.mark.parametrize("wrong", [0, -1, 24.1, float("inf"), float("nan"), "x", ""])
def test_wrong_hours(wrong):
    with pytest.raises(ValueError):
        seconds_of(wrong)


@given(st.floats(0, 2**33))
def test_times_are_rfc3339_in_utc(when):
    text = rfc3339(when)
    assert text.endswith("Z")
    assert len(text) == len("2026-11-23T09:30:00.000Z")
    assert abs(datetime.fromisoformat(text).astimezone(UTC).timestamp() - when) < 0.0011


def test_time_to_the_letter():
    assert rfc3339(1_795_426_200.5) == "2026-11-23T09:30:00.500Z"


def test_keys_do_not_show():
    """A repr ends up in logs."""
    created = Created("secret-name", "id", "e", "d", "u_1", "ro_secret", "ri_secret", "ws://x", "http://x#ri_secret")
    assert "secret" not in repr(created)
    assert "secret" not in repr(Invite("ri_secret"))


def test_links():
    assert links(("https", "h.example"), "id", "ri_k") == ("wss://h.example/id", "https://h.example/id#ri_k")
    assert links(("http", "h:8080"), "id", "ri_k") == ("ws://h:8080/id", "http://h:8080/id#ri_k")
