"""GET /api/v1/<room>: what is said of a room, exactly and at any moment."""

import json
import re
from datetime import datetime

FIELDS = set(
    "name id owner_id connections users max data_volume messages date time_alive expiration expiration_date "
    "protected sealed access locked settings".split()
)


async def test_all_fields(relay):
    """Exactly the fields of the protocol, with either key."""
    room = await relay.create(name="tea")
    for key in (room["invite_key"], room["owner_key"]):
        response = await relay.request("GET", f"/api/v1/{room['id']}", key)
        assert response.code == 200
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        details = json.loads(response.body)
        assert set(details) == FIELDS
        assert [details[name] for name in ("name", "id", "owner_id")] == [
            room[name] for name in ("name", "id", "owner_id")
        ]
        assert [details[name] for name in ("connections", "users", "data_volume", "messages")] == [0, 0, 0, 0]
        assert [details[name] for name in ("protected", "sealed", "locked")] == [False, False, False]


async def test_times(relay):
    """Times are RFC 3339 in UTC; `time_alive` is seconds and grows."""
    room = await relay.create()
    first = await relay.details(room)
    for name in ("date", "expiration_date"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", first[name])
        datetime.fromisoformat(first[name])
    second = await relay.details(room)
    assert 0 <= first["time_alive"] < second["time_alive"] < 60
    assert first["date"] == second["date"]


async def test_connections_and_users(relay):
    """One user with four tabs is 4 connections and 1 user; the numbers are exact at once."""
    room = await relay.create()
    ann = await relay.join(room, "ann")
    for _ in range(3):
        tab = await relay.join(room, session=ann.session)
    details = await relay.details(room)
    assert (details["connections"], details["users"]) == (4, 1)
    bob = await relay.join(room, "bob")
    assert bob.joined["room"]["connections"] == 5
    assert bob.joined["room"]["users"] == 2
    await bob.send("leave")
    await bob.closed()
    details = await relay.details(room)
    assert (details["connections"], details["users"]) == (4, 1)
    await ann.send("ping", id="1")
    await ann.until("pong")
    await tab.socket.close()
    await ann.send("ping", id="2")
    await ann.until("pong")
    details = await relay.details(room)
    assert (details["connections"], details["users"]) == (3, 1)


async def test_messages_and_volume(relay):
    """`messages` and `data_volume` count what was accepted, once for each message."""
    room = await relay.create()
    ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
    await ann.say("1", "x" * 1000)
    await bob.until("message", id="1")
    details = await relay.details(room)
    assert details["messages"] == 1
    assert 1000 <= details["data_volume"] <= 1002
    await ann.say("1", "x" * 1000)  # said again
    await ann.until("ok", id="1")
    await ann.say("", "refused")
    await ann.until("error")
    assert (await relay.details(room))["data_volume"] == details["data_volume"]
    await ann.say("2", "é" * 10)
    await bob.until("message", id="2")
    after = await relay.details(room)
    assert after["messages"] == 2
    assert after["data_volume"] > details["data_volume"]


async def test_by_name(relay):
    """A name stands for the id in every address."""
    room = await relay.create(name="Grüner Tee")
    response = await relay.request("GET", "/api/v1/Gr%C3%BCner%20Tee", room["invite_key"])
    assert json.loads(response.body)["id"] == room["id"]
    response = await relay.request("GET", "/api/v1/gr%c3%bcner%20tee/users", room["invite_key"])
    assert response.code == 200
    response = await relay.request("PATCH", "/api/v1/Gr%C3%BCner%20Tee", room["owner_key"], {"max": 3})
    assert json.loads(response.body)["max"] == 3
    assert (await relay.request("DELETE", "/api/v1/Gr%C3%BCner%20Tee", room["owner_key"])).code == 204


async def test_head(relay):
    """HEAD answers as GET does, without the body."""
    room = await relay.create()
    path = f"/api/v1/{room['id']}"
    response = await relay.request("HEAD", path, room["invite_key"])
    assert (response.code, response.body) == (200, b"")
    assert response.headers["Content-Type"] == "application/json"
    assert int(response.headers["Content-Length"]) > 100
    assert (await relay.request("HEAD", path)).code == 401
    assert (await relay.request("HEAD", path, "ri_AAAAAAAAAAAAAAAAAAAAAA")).code == 404
