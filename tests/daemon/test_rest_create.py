"""POST /api/v1/room: every field, its default and its bounds, in JSON and as a form."""

import asyncio
import base64
import json
import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from conftest import problem, relay_with

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


def when(text):
    """A time of the protocol: RFC 3339, UTC."""
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


def bytes_in(key, prefix):
    """How many bytes a key carries, after its prefix."""
    assert key.startswith(prefix)
    text = key.removeprefix(prefix)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)
    return len(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


async def test_created_answer(relay):
    """The answer has exactly the fields of the protocol, in their forms."""
    response = await relay.request("POST", "/api/v1/room", body={})
    assert response.code == 201
    assert response.headers["Content-Type"] == "application/json"
    room = json.loads(response.body)
    assert set(room) == set("name id expiration expiration_date owner_id owner_key invite_key chat link".split())
    assert uuid.UUID(room["id"]).version == 4
    assert str(uuid.UUID(room["id"])) == room["id"]
    assert re.fullmatch(r"u_[0-9a-f]{16}", room["owner_id"])
    assert bytes_in(room["invite_key"], "ri_") == 16
    assert bytes_in(room["owner_key"], "ro_") == 32
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d+", room["name"])


async def test_two_rooms_share_nothing(relay):
    """Ids, keys and generated names are fresh for each room."""
    first, second = await relay.create(), await relay.create()
    assert not set(first.values()) - {"usersLeave"} & set(second.values())


async def test_defaults(relay):
    """Without fields: 50 users, until they leave, 24 h at most, the server's settings."""
    room = await relay.create()
    details = await relay.details(room)
    assert details["max"] == 50
    assert room["expiration"] == details["expiration"] == "usersLeave"
    assert room["expiration_date"] == details["expiration_date"]
    assert when(details["expiration_date"]) - when(details["date"]) == timedelta(hours=24)
    assert abs(when(details["date"]) - datetime.now(UTC)) < timedelta(seconds=5)
    assert details["settings"]["files"] is True
    assert details["settings"]["resume"] == 60
    assert details["settings"]["idle_timeout"] == 900


async def test_defaults_are_the_servers(relay):
    """What a creator leaves out is as the server was set."""
    async with relay_with(rooms__max=7, rooms__files=False, rooms__resume=0, rooms__idle_timeout=60) as relay:
        room = await relay.create(settings={"idle_timeout": 61})
        details = await relay.details(room)
    assert details["max"] == 7
    assert {name: details["settings"][name] for name in ("files", "resume", "idle_timeout")} == {
        "files": False,
        "resume": 0,
        "idle_timeout": 61,
    }


async def test_no_body_is_all_defaults(relay):
    """`curl -X POST` alone opens a room."""
    response = await relay.request("POST", "/api/v1/room", body="")
    assert response.code == 201


async def test_all_fields_in_json(relay):
    """What was asked for is what the room is."""
    room = await relay.create(name="Tea time", max=18, expiration_date=1.5, settings={"files": False, "resume": 5})
    details = await relay.details(room)
    assert room["name"] == details["name"] == "Tea time"
    assert details["max"] == 18
    assert details["settings"]["files"] is False
    assert details["settings"]["resume"] == 5
    assert room["expiration"] == room["expiration_date"] == details["expiration"] == details["expiration_date"]
    assert when(room["expiration"]) - when(details["date"]) == timedelta(hours=1.5)


async def test_all_fields_in_a_form(relay):
    """A form says the same as JSON; numbers are written as text there, settings with a dot."""
    form = "name=Tea+time%21".replace("%21", "") + "&max=18&expiration_date=1.5&settings.resume=5&settings.files=false"
    response = await relay.request("POST", "/api/v1/room", body=form, headers=FORM)
    assert response.code == 201, response.body
    room = json.loads(response.body)
    details = await relay.details(room)
    assert (room["name"], details["max"]) == ("Tea time", 18)
    assert when(room["expiration"]) - when(details["date"]) == timedelta(hours=1.5)
    assert (details["settings"]["resume"], details["settings"]["files"]) == (5, False)


async def test_form_users_leave(relay):
    """`usersLeave` can be asked for by its word."""
    response = await relay.request("POST", "/api/v1/room", body="expiration_date=usersLeave", headers=FORM)
    assert json.loads(response.body)["expiration"] == "usersLeave"


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_content_type_with_parameters(relay, content_type):
    """A content type is what it is in any case and with parameters."""
    response = await relay.request("POST", "/api/v1/room", body=b'{"max": 3}', headers={"Content-Type": content_type})
    assert response.code == 201


@pytest.mark.parametrize("value", [1, 10_000, 18.0])
async def test_max_within_bounds(relay, value):
    """1 and the server's limit are allowed; in JSON 18.0 is 18."""
    assert (await relay.details(await relay.create(max=value)))["max"] == value


@pytest.mark.parametrize("value", [0, -1, 10_001, 2**31, 2**63, 2**64, 10**30, 1.5, "5", "", True, [5], {}])
async def test_max_out_of_bounds(relay, value):
    """Anything but a number from 1 to the server's limit is refused, naming the field."""
    told = problem(await relay.request("POST", "/api/v1/room", body={"max": value}), 422, "invalid_fields")
    assert [wrong["field"] for wrong in told["errors"]] == ["max"]


async def test_max_is_bounded_by_the_setting(relay):
    """The server's limit on `max` is a setting."""
    async with relay_with(limits__max_members=60) as relay:
        assert (await relay.details(await relay.create(max=60)))["max"] == 60
        problem(await relay.request("POST", "/api/v1/room", body={"max": 61}), 422)


@pytest.mark.parametrize("hours", [24, 24.0, 0.5, 1, 0.001])
async def test_hours_within_bounds(relay, hours):
    """Any number of hours up to 24, whole or not."""
    room = await relay.create(expiration_date=hours)
    details = await relay.details(room)
    lives = when(room["expiration_date"]) - when(details["date"])
    assert abs(lives - timedelta(hours=hours)) <= timedelta(milliseconds=2)


@pytest.mark.parametrize(
    "value", [0, -1, -0.0, 24.0001, 25, 1e300, 10**30, "24", "usersleave", "", "2026-11-23T09:30:00Z", True, [1], {}]
)
async def test_hours_out_of_bounds(relay, value):
    """Neither hours nor `usersLeave`: refused, naming the field."""
    told = problem(await relay.request("POST", "/api/v1/room", body={"expiration_date": value}), 422)
    assert [wrong["field"] for wrong in told["errors"]] == ["expiration_date"]


@pytest.mark.parametrize("field", ["max", "expiration_date"])
@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "0x10", "1_000", "9" * 5000])
async def test_numbers_that_json_or_doubles_lack(relay, field, number):
    """Numbers past a double's range and words that are no JSON are the client's mistake, not the server's."""
    response = await relay.request("POST", "/api/v1/room", body=f'{{"{field}": {number}}}', headers=JSON)
    assert response.code in (400, 422), response.body
    problem(response, response.code)


@pytest.mark.parametrize("field", ["max", "expiration_date"])
@pytest.mark.parametrize("text", ["", "nan", "inf", "1e400", "-1", "true", "five", "0", "%00", "1" * 400])
async def test_numbers_that_a_form_may_hold(relay, field, text):
    """Text that is no number in bounds is refused in a form too."""
    response = await relay.request("POST", "/api/v1/room", body=f"{field}={text}", headers=FORM)
    told = problem(response, 422)
    assert [wrong["field"] for wrong in told["errors"]] == [field]


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"colour": "red"}, "settings.colour"),
        ({"resume": -1}, "settings.resume"),
        ({"resume": 61}, "settings.resume"),
        ({"resume": "60"}, "settings.resume"),
        ({"files": 1}, "settings.files"),
        ({"files": "yes"}, "settings.files"),
        ({"idle_timeout": -1}, "settings.idle_timeout"),
        ({"idle_timeout": 10**12}, "settings.idle_timeout"),
        ({"idle_timeout": None}, "settings.idle_timeout"),
        ({"resume": 10**30}, "settings"),
        ({"resume": -(2**64)}, "settings"),
        ({"resume": [1]}, "settings"),
        ([], "settings"),
        ("files", "settings"),
    ],
)
async def test_settings_refused(relay, settings, field):
    """Unknown settings and values out of bounds are refused by their path."""
    told = problem(await relay.request("POST", "/api/v1/room", body={"settings": settings}), 422)
    assert [wrong["field"] for wrong in told["errors"]] == [field]


async def test_every_mistake_is_named(relay):
    """All wrong and unknown fields are told at once."""
    body = {"max": 0, "expiration_date": 99, "nmae": "x", "settings": 1}
    told = problem(await relay.request("POST", "/api/v1/room", body=body), 422, "invalid_fields")
    assert {wrong["field"] for wrong in told["errors"]} == {"max", "expiration_date", "nmae", "settings"}


@pytest.mark.parametrize("body", ["max=1&max=2", "settings.resume=1&settings.resume=2", "settings=1&settings.resume=2"])
async def test_form_fields_given_twice(relay, body):
    """A form that says two things is refused."""
    problem(await relay.request("POST", "/api/v1/room", body=body, headers=FORM), 422)


@pytest.mark.parametrize("body", [b"name=%ff%fe", b"name=\xff\xfe"])
async def test_form_that_is_no_utf8(relay, body):
    """Bytes that are no UTF-8 are a malformed body."""
    problem(await relay.request("POST", "/api/v1/room", body=body, headers=FORM), 400, "malformed")


async def test_location(relay):
    """`Location` is the REST address of the room, and works."""
    response = await relay.request("POST", "/api/v1/room", body={})
    room = json.loads(response.body)
    assert response.headers["Location"] == f"/api/v1/{room['id']}"
    assert (await relay.request("GET", response.headers["Location"], room["invite_key"])).code == 200


async def test_race_for_one_name(relay):
    """Of requests that race for one name, in whatever case, exactly one wins; the others get 409."""
    names = ["Grand Hall", "grand hall", "GRAND HALL", " grand hall "] * 3
    answers = await asyncio.gather(*(relay.request("POST", "/api/v1/room", body={"name": name}) for name in names))
    assert sorted(answer.code for answer in answers) == [201] + [409] * 11
    for answer in answers:
        if answer.code != 201:
            problem(answer, 409, "name_taken")
