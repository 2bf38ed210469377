"""PATCH /api/v1/<room>: everything that can be changed, and that everyone inside hears of it."""

import json
from datetime import datetime, timedelta

import pytest
from conftest import problem, relay_with


async def edit(relay, room, **fields):
    """The answer to an edit by the owner."""
    return await relay.request("PATCH", f"/api/v1/{room['id']}", room["owner_key"], fields)


async def edited(relay, room, **fields):
    """The details after an edit that works; they are the answer."""
    response = await edit(relay, room, **fields)
    assert response.code == 200, response.body
    told = json.loads(response.body)
    details = await relay.details(room)
    assert {**told, "time_alive": 0} == {**details, "time_alive": 0}
    return told


async def test_each_field(relay):
    """Any of the fields, alone or together; the others stay."""
    room = await relay.create(name="tea", max=10)
    assert (await edited(relay, room, name="Coffee"))["name"] == "Coffee"
    assert (await edited(relay, room, max=11))["max"] == 11
    assert (await edited(relay, room, locked=True))["locked"] is True
    assert (await edited(relay, room, settings={"resume": 7}))["settings"]["resume"] == 7
    last = await edited(relay, room, name="milk", locked=False, settings={"files": False})
    assert (last["name"], last["max"], last["locked"]) == ("milk", 11, False)
    assert (last["settings"]["files"], last["settings"]["resume"]) == (False, 7)
    assert last["expiration"] == "usersLeave"


async def test_nothing(relay):
    """An edit of nothing answers the details."""
    room = await relay.create(max=9)
    assert (await edited(relay, room))["max"] == 9


async def test_as_a_form(relay):
    """Forms work here too."""
    room = await relay.create()
    response = await relay.request(
        "PATCH",
        f"/api/v1/{room['id']}",
        room["owner_key"],
        "max=4&locked=true&expiration_date=2&settings.resume=0",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    details = json.loads(response.body)
    assert (response.code, details["max"], details["locked"], details["settings"]["resume"]) == (200, 4, True, 0)


async def test_everyone_inside_is_told(relay):
    """Each connection hears `updated` with the new details."""
    room = await relay.create()
    peers = [await relay.join(room, "ann", owner=True), await relay.join(room, "bob")]
    peers.append(await relay.join(room, session=peers[1].session))
    told = await edited(relay, room, name="new name", max=5)
    for peer in peers:
        heard = (await peer.until("room", event="updated"))["room"]
        assert {**heard, "time_alive": 0} == {**told, "time_alive": 0}


async def test_expiry_counts_from_creation(relay):
    """Hours are counted from the room's creation, not from the edit; `usersLeave` means 24 h from it."""
    room = await relay.create()
    born = datetime.fromisoformat((await relay.details(room))["date"])
    for hours in (1, 24, 0.25):
        told = await edited(relay, room, expiration_date=hours)
        assert told["expiration"] == told["expiration_date"]
        assert datetime.fromisoformat(told["expiration_date"]) - born == timedelta(hours=hours)
    told = await edited(relay, room, expiration_date="usersLeave")
    assert told["expiration"] == "usersLeave"
    assert datetime.fromisoformat(told["expiration_date"]) - born == timedelta(hours=24)


async def test_expiry_in_the_past(relay):
    """A lifetime that is over already is refused: it is a mistake more often than a wish to end the room."""
    room = await relay.create(expiration_date=1)
    told = problem(await edit(relay, room, expiration_date=0.000_000_1), 422, "invalid_fields")
    assert [wrong["field"] for wrong in told["errors"]] == ["expiration_date"]
    assert (await relay.details(room))["expiration"] == room["expiration"]


async def test_max_below_users(relay):
    """It throws nobody out; newcomers find the room full until there are fewer."""
    room = await relay.create(max=3)
    peers = [await relay.join(room, nick) for nick in ("ann", "bob", "cem")]
    assert (await edited(relay, room, max=1))["users"] == 3
    newcomer = await relay.connect(room["id"])
    await newcomer.send("join", key=room["invite_key"], profile={})
    assert await newcomer.closed() == (4009, "room_full")
    for peer in peers:
        await peer.send("ping", id="here")
        await peer.until("pong", id="here")


async def test_name_clash(relay):
    """Another room's name is refused and nothing changes; one's own in another case is fine."""
    await relay.create(name="tea")
    room = await relay.create(name="coffee")
    problem(await edit(relay, room, name="TEA", max=3), 409, "name_taken")
    details = await relay.details(room)
    assert (details["name"], details["max"]) == ("coffee", 50)
    assert (await edited(relay, room, name="COFFEE"))["name"] == "COFFEE"


async def test_old_name_is_free(relay):
    """A renamed room is found by its new name, and the old one can be taken."""
    room = await relay.create(name="tea")
    await edited(relay, room, name="coffee")
    problem(await relay.request("GET", "/api/v1/tea", room["invite_key"]), 404)
    assert (await relay.request("GET", "/api/v1/coffee", room["invite_key"])).code == 200
    await relay.create(name="tea")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": None}, "name"),
        ({"name": "room"}, "name"),
        ({"max": 0}, "max"),
        ({"max": 10_001}, "max"),
        ({"max": None}, "max"),
        ({"max": "5"}, "max"),
        ({"expiration_date": 24.5}, "expiration_date"),
        ({"expiration_date": None}, "expiration_date"),
        ({"locked": 1}, "locked"),
        ({"locked": "true"}, "locked"),
        ({"settings": {"colour": 1}}, "settings.colour"),
        ({"settings": {"resume": 61}}, "settings.resume"),
        ({"settings": None}, "settings"),
        ({"password": "x"}, "password"),
        ({"access": {}}, "access"),
        ({"id": "x"}, "id"),
    ],
    ids=repr,
)
async def test_refused(relay, fields, field):
    """What cannot be is refused by its name, and nothing else of the edit happens."""
    room = await relay.create(name="tea")
    told = problem(await edit(relay, room, **{"max": 7, "name": "coffee", **fields}), 422, "invalid_fields")
    assert [wrong["field"] for wrong in told["errors"]] == [field]
    details = await relay.details(room)
    assert (details["name"], details["max"]) == ("tea", 50)


async def test_places_are_reserved():
    """A `max` whose guaranteed places the server has not is refused; places given back are there for others."""
    async with relay_with(limits__max_places=80, limits__address_share=0) as relay:
        room, other = await relay.create(max=30), await relay.create(max=50)
        problem(await edit(relay, room, max=31), 503, "no_places")
        problem(await edit(relay, room, max=10_000), 503, "no_places")
        await edited(relay, other, max=40)
        await edited(relay, room, max=40)
        problem(await relay.request("POST", "/api/v1/room", body={"max": 1}), 503, "no_places")
