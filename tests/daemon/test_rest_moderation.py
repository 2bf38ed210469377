"""DELETE of a room and of its users, pages of users, fresh invite keys."""

import asyncio
import json

import pytest
from conftest import problem, relay_with


async def test_terminate(relay):
    """Everyone inside is told and disconnected; nothing answers at its address any more."""
    room = await relay.create(name="tea")
    peers = [await relay.join(room, "ann", owner=True), await relay.join(room, "bob")]
    response = await relay.request("DELETE", f"/api/v1/{room['id']}", room["owner_key"])
    assert (response.code, response.body) == (204, b"")
    for peer in peers:
        assert (await peer.until("room", event="closed"))["reason"] == "terminated"
        assert await peer.closed() == (4010, "room_closed")
    for address in (room["id"], "tea"):
        problem(await relay.request("GET", f"/api/v1/{address}", room["invite_key"]), 404)
        problem(await relay.request("DELETE", f"/api/v1/{address}", room["owner_key"]), 404)
    late = await relay.connect(room["id"])
    await late.send("join", session=peers[0].session)
    assert await late.closed() == (4004, "no_such_room")


async def test_other_rooms_stay(relay):
    """A room's end is nobody else's."""
    room, other = await relay.create(), await relay.create()
    ann = await relay.join(other)
    await relay.request("DELETE", f"/api/v1/{room['id']}", room["owner_key"])
    await ann.say("1")
    await ann.until("message", id="1")


async def test_users(relay):
    """Each user once, as others see them, however many tabs."""
    room = await relay.create()
    ann, bob = await relay.join(room, "ann", owner=True), await relay.join(room, "bob")
    await relay.join(room, session=bob.session)
    for key in (room["invite_key"], room["owner_key"]):
        response = await relay.request("GET", f"/api/v1/{room['id']}/users", key)
        page = json.loads(response.body)
        assert set(page) == {"users"}
        assert [(user["id"], user["role"], user["profile"]) for user in page["users"]] == [
            (ann.id, "owner", {"nick": "ann"}),
            (bob.id, "member", {"nick": "bob"}),
        ]


async def test_pages_of_users():
    """200 a page, after the user named; `joined` holds a page too."""
    async with relay_with() as relay:
        room = await relay.create(max=300)
        for _ in range(41):
            await asyncio.gather(*(relay.join(room) for _ in range(5)))
        last = await relay.join(room)
        assert len(last.joined["users"]) == 200
        assert last.joined["room"]["users"] == 206
        seen, after, sizes = [], "", []
        while True:
            query = f"?after={after}" if after else ""
            response = await relay.request("GET", f"/api/v1/{room['id']}/users{query}", room["invite_key"])
            page = json.loads(response.body)["users"]
            if not page:
                break
            sizes.append(len(page))
            seen += [user["id"] for user in page]
            after = seen[-1]
        assert sizes == [200, 6]
        assert len(set(seen)) == 206


@pytest.mark.parametrize("after", ["u_0000000000000000", "", "%00", "x" * 500, "%F0%9F%8D%B5"])
async def test_users_after_nobody(relay, after):
    """An `after` that is no user of the room is no failure."""
    room = await relay.create()
    response = await relay.request("GET", f"/api/v1/{room['id']}/users?after={after}", room["invite_key"])
    assert response.code in (200, 404, 422)


async def test_kick(relay):
    """All tabs of the user are closed with 4011, the others are told; the invite key still opens the door."""
    room = await relay.create()
    ann, bob = await relay.join(room, "ann", owner=True), await relay.join(room, "bob")
    tab = await relay.join(room, session=bob.session)
    await ann.until("presence")
    response = await relay.request("DELETE", f"/api/v1/{room['id']}/users/{bob.id}", room["owner_key"])
    assert (response.code, response.body) == (204, b"")
    assert [await peer.closed() for peer in (bob, tab)] == [(4011, "kicked")] * 2
    await ann.until("presence", left=[bob.id], users=1)
    again = await relay.join(room, "bob")
    assert again.id != bob.id


@pytest.mark.parametrize("ban", ["", "?ban=false"])
async def test_kicked_session_is_over(relay, ban):
    """A kicked user does not come back as the same one."""
    room = await relay.create()
    bob = await relay.join(room, "bob")
    await relay.request("DELETE", f"/api/v1/{room['id']}/users/{bob.id}{ban}", room["owner_key"])
    await bob.closed()
    back = await relay.connect(room["id"])
    await back.send("join", session=bob.session)
    assert (await back.closed())[0] in (4004, 4011)


async def test_ban():
    """The session and the address that it came from find no room any more; other addresses do."""
    async with relay_with(trusted_proxies=["127.0.0.1"]) as relay:
        room, other = await relay.create(), await relay.create()

        async def from_address(address, to, **fields):
            peer = await relay.connect(to["id"], additional_headers={"X-Forwarded-For": address})
            await peer.send("join", **fields)
            return peer

        bob = await from_address("192.0.2.7", room, key=room["invite_key"], profile={})
        bob.joined = await bob.recv()
        response = await relay.request("DELETE", f"/api/v1/{room['id']}/users/{bob.id}?ban=true", room["owner_key"])
        assert response.code == 204
        assert await bob.closed() == (4011, "kicked")
        refused = [
            await from_address("192.0.2.7", room, key=room["invite_key"], profile={}),
            await from_address("192.0.2.7", room, session=bob.session),
            await from_address("192.0.2.99", room, session=bob.session),
        ]
        for peer in refused:
            assert await peer.closed() == (4004, "no_such_room")
        for address, to in (("192.0.2.8", room), ("192.0.2.7", other)):
            peer = await from_address(address, to, key=to["invite_key"], profile={})
            assert (await peer.recv())["type"] == "joined"


@pytest.mark.parametrize("user", ["u_0000000000000000", "nobody", "%00", "x" * 500, "%F0%9F%8D%B5"])
async def test_kick_of_nobody(relay, user):
    """A user who is not there cannot be kicked."""
    room = await relay.create()
    problem(await relay.request("DELETE", f"/api/v1/{room['id']}/users/{user}", room["owner_key"]), 404, "no_such_user")


async def test_ban_that_is_neither(relay):
    """`ban` is true or false."""
    room = await relay.create()
    bob = await relay.join(room)
    path = f"/api/v1/{room['id']}/users/{bob.id}?ban=maybe"
    problem(await relay.request("DELETE", path, room["owner_key"]), 422)


async def test_fresh_invite(relay):
    """The old key stops working for newcomers, everywhere; those inside and their sessions stay."""
    room = await relay.create()
    bob = await relay.join(room, "bob")
    response = await relay.request("POST", f"/api/v1/{room['id']}/invite", room["owner_key"], "")
    assert response.code == 200, response.body
    fresh = json.loads(response.body)
    assert set(fresh) == {"invite_key"}
    assert fresh["invite_key"].startswith("ri_")
    assert fresh["invite_key"] != room["invite_key"]
    problem(await relay.request("GET", f"/api/v1/{room['id']}", room["invite_key"]), 404)
    late = await relay.connect(room["id"])
    await late.send("join", key=room["invite_key"], profile={})
    assert await late.closed() == (4004, "no_such_room")
    await bob.say("1")
    await bob.until("message", id="1")
    assert (await relay.join(room, session=bob.session)).id == bob.id
    await relay.join({**room, **fresh})
    assert (await relay.request("GET", f"/api/v1/{room['id']}", fresh["invite_key"])).code == 200
    assert (await relay.request("GET", f"/api/v1/{room['id']}", room["owner_key"])).code == 200
