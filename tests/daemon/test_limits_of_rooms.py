"""Seats, rooms and names that strangers cannot use up, by real requests; `tests/rules` has how they are counted."""

from __future__ import annotations

import json

import pytest
from conftest import problem, relay_with

BEHIND_PROXY = {"trusted_proxies": ["127.0.0.1"], "limits__create_rate": 0, "limits__create_rate_per_hour": 0}


def from_(address: str) -> dict[str, str]:
    """Headers of a request that the proxy passed on for that address."""
    return {"X-Forwarded-For": address}


async def post(relay, address: str, **fields):
    return await relay.request("POST", "/api/v1/room", body=fields, headers=from_(address))


async def edit(relay, room, **fields):
    return await relay.request("PATCH", f"/api/v1/{room['id']}", room["owner_key"], fields)


async def refused(relay, room) -> tuple[dict, tuple[int, str]]:
    """The error that somebody gets who tries to join, and how their connection is closed."""
    peer = await relay.connect(room["id"])
    await peer.send("join", key=room["invite_key"])
    return await peer.until("error"), await peer.closed()


async def test_twenty_rooms_for_ten_thousand_close_the_server_to_nobody(relay):
    """Nobody is in them; what others are invited to has its seats."""
    for _ in range(20):
        await relay.create(max=10_000, expiration_date=24)
    room = await relay.create(max=50)
    await relay.join(room)


async def test_one_address_does_not_fill_the_server():
    """In rooms or in seats, of IPv4, of a /64 and of a /48; the refusal says what is full and what to do."""
    async with relay_with(**BEHIND_PROXY, limits__max_rooms=40, limits__max_places=4_000) as relay:
        answers = [await post(relay, "192.0.2.1", max=1) for _ in range(3)]
        assert [answer.code for answer in answers] == [201, 201, 429]
        told = problem(answers[-1], 429, "rate_limited")
        assert "limits.address_share" in told["detail"]
        assert int(answers[-1].headers["Retry-After"]) >= 1
        # A whole /48, from which anybody can draw as many /64s as they like.
        answers = [await post(relay, f"2001:db8:0:{number:x}::1", max=1) for number in range(40)]
        assert [answer.code for answer in answers] == [201] * 8 + [429] * 32
        answers = [await post(relay, "192.0.2.2", max=400) for _ in range(3)]
        assert [answer.code for answer in answers] == [201, 201, 429]
        room = json.loads(answers[0].body)
        await relay.request("DELETE", f"/api/v1/{room['id']}", room["owner_key"])
        assert (await post(relay, "192.0.2.2")).code == 201


async def test_seats_past_the_guaranteed_ones():
    """They count as people join, for the server and for the address that made the room; those inside stay."""
    async with relay_with(**BEHIND_PROXY, limits__max_places=110, limits__address_share=0.5) as relay:
        room = json.loads((await post(relay, "192.0.2.1", max=200)).body)
        people = [await relay.join(room) for _ in range(55)]
        error, closed = await refused(relay, room)
        assert (error["code"], closed) == ("no_places", (1013, "no_places"))
        assert "limits.address_share" in error["detail"]
        assert error["retry_after_ms"] > 0
        other = json.loads((await post(relay, "192.0.2.2", max=60)).body)
        for _ in range(50):
            await relay.join(other)
        assert (await relay.join(room, session=people[0].session)).id == people[0].id  # has a seat
        await people[1].send("leave")
        await people[0].until("presence", left=[people[1].id])
        await relay.join(room)
        problem(await post(relay, "192.0.2.3", max=6), 503, "no_places")
        await post(relay, "192.0.2.3", max=5)
        error, closed = await refused(relay, other)
        assert (error["code"], closed) == ("no_places", (1013, "no_places"))
        assert "limits.max_places" in error["detail"]


async def test_a_join_without_a_seat_does_not_use_an_invite():
    async with relay_with(limits__max_places=60, limits__address_share=0) as relay:
        room = await relay.create(max=200)
        path = f"/api/v1/{room['id']}/invites"
        invite = json.loads((await relay.request("POST", path, room["owner_key"], {"uses": 1})).body)
        people = [await relay.join(room) for _ in range(60)]
        assert (await refused(relay, {**room, "invite_key": invite["invite_key"]}))[0]["code"] == "no_places"
        await people[1].send("leave")
        await people[0].until("presence", left=[people[1].id])
        await relay.join({**room, "invite_key": invite["invite_key"]})
        assert json.loads((await relay.request("GET", path, room["owner_key"])).body) == {"invites": []}


async def test_a_full_room_is_full_whatever_the_server_has():
    """The answer is that of the room: another server would not help."""
    async with relay_with(limits__max_places=52, limits__address_share=0) as relay:
        room = await relay.create(max=51)
        await relay.create(max=1)
        for _ in range(51):
            await relay.join(room)
        peer = await relay.connect(room["id"])
        await peer.send("join", key=room["invite_key"])
        assert await peer.closed() == (4009, "room_full")


async def test_a_room_that_nobody_joins_ends(relay):
    """After `join_grace`, whatever hours were asked for; one that was joined keeps them."""
    async with relay_with(rooms__join_grace=0.4, rooms__leave_grace=0.1, rooms__resume=0) as relay:
        unused, used = await relay.create(expiration_date=24), await relay.create(expiration_date=24)
        ann = await relay.join(used)
        await ann.send("leave")
        assert (await ann.closed())[1] == "left"
        kept = await relay.join(await relay.create(name="later"), "bob")
        assert len(await kept.frames(0.8)) < 3
        response = await relay.request("GET", f"/api/v1/{unused['id']}", unused["invite_key"])
        problem(response, 404, "no_such_room")
        assert (await relay.details(used))["users"] == 0


async def test_rates_of_creating():
    """A minute's worth at once, and no more than an hour's worth in all."""
    async with relay_with(limits__create_rate=3, limits__create_rate_per_hour=4, limits__address_share=0) as relay:
        codes = [(await relay.request("POST", "/api/v1/room", body={})).code for _ in range(4)]
        assert codes == [201] * 3 + [429]
    async with relay_with(limits__create_rate=0, limits__create_rate_per_hour=2) as relay:
        answers = [await relay.request("POST", "/api/v1/room", body={}) for _ in range(3)]
        assert [answer.code for answer in answers] == [201, 201, 429]
        assert int(answers[-1].headers["Retry-After"]) > 60


async def test_a_class_joins_in_one_moment(relay):
    """300 people behind one address, with the limits as they come."""
    room = await relay.create(max=400)
    for _ in range(300):
        await relay.join(room)
    assert (await relay.details(room))["users"] == 300


@pytest.mark.parametrize(
    "name",
    [
        "support",
        "Support",
        " SUPPORT ",
        "sup-port",
        "supp0rt",
        "\u0455upport",
        "s\u00fapport",
        "\uff33upport",
        "L\u043ebby",
    ],
)
async def test_reserved_names(relay, name):
    """However they are written, made or renamed, over REST or a socket."""
    problem(await relay.request("POST", "/api/v1/room", body={"name": name}), 409, "name_reserved")
    room = await relay.create(name="tea")
    told = problem(await edit(relay, room, name=name), 409, "name_reserved")
    assert "admins" in told["detail"]
    ann = await relay.join(room, owner=True)
    await ann.send("edit", id="e", name=name)
    assert (await ann.until("error", id="e"))["code"] == "name_reserved"
    assert (await relay.details(room))["name"] == "tea"


async def test_reserved_names_are_a_setting():
    """Other names, with `*`, or none."""
    async with relay_with(rooms__reserved_names=["ACME *"]) as relay:
        await relay.create(name="support")
        problem(await relay.request("POST", "/api/v1/room", body={"name": "acme sales"}), 409, "name_reserved")
        await relay.create(name="my acme")
    async with relay_with(rooms__reserved_names=[]) as relay:
        await relay.create(name="support")
        await relay.create(name="acme sales")
