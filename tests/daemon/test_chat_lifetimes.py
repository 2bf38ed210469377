"""How long rooms live, and what their people are told of it."""

import asyncio
import time
from datetime import UTC, datetime

import pytest
from conftest import problem, relay_with
from test_chat_connections import alive
from test_chat_messages import pair

SECOND = 1 / 3600  # in hours


async def gone(relay, room, timeout=20):
    """Waits until nothing answers at the room's address."""
    async with asyncio.timeout(timeout):
        while (await relay.request("GET", f"/api/v1/{room['id']}", room["invite_key"])).code == 200:
            await asyncio.sleep(0.01)  # nobody is inside who could be told


async def test_expired(relay):
    """At the time that was told, not before and not long after, everyone is told and disconnected."""
    room = await relay.create(expiration_date=0.7 * SECOND)
    ends = datetime.fromisoformat(room["expiration_date"])
    ann, bob = await relay.join(room), await relay.join(room)
    for peer in (ann, bob):
        assert await peer.until("room", event="closed") == {"type": "room", "event": "closed", "reason": "expired"}
        assert datetime.now(UTC) >= ends
        assert await peer.closed() == (4010, "room_closed")
    problem(await relay.request("GET", f"/api/v1/{room['id']}", room["invite_key"]), 404)


async def test_expired_is_as_if_never(relay):
    """An ended room's name is free, and its keys open nothing."""
    room = await relay.create(name="tea", expiration_date=0.2 * SECOND)
    await gone(relay, room)
    await relay.create(name="tea")
    peer = await relay.connect(room["id"])
    await peer.send("join", key=room["owner_key"])
    assert await peer.closed() == (4004, "no_such_room")


async def test_warnings(relay):
    """Five minutes and one minute before the end everyone inside is told in how many seconds it comes."""
    hour = await relay.create(expiration_date=300.5 * SECOND)
    minute = await relay.create(expiration_date=60.5 * SECOND)
    peers = [(await relay.join(room), seconds) for room, seconds in ((hour, 300), (minute, 60)) for _ in range(2)]
    for peer, seconds in peers:
        told = await peer.until("room", event="expiring")
        assert set(told) == {"type", "event", "in"}
        assert abs(told["in"] - seconds) <= 1


async def test_warning_after_an_edit(relay):
    """The warnings follow the end when it is moved."""
    room, ann, _ = await pair(relay, expiration_date=10)
    age = (await relay.details(room))["time_alive"]
    await ann.send("edit", id="1", expiration_date=(60.5 + age) * SECOND)
    await ann.until("ok", id="1")
    assert abs((await ann.until("room", event="expiring"))["in"] - 60) <= 1


async def test_prolonged(relay):
    """A room whose end is moved away in time lives on."""
    _, ann, _ = await pair(relay, expiration_date=0.5 * SECOND)
    await ann.send("edit", id="1", expiration_date=1)
    await ann.until("ok", id="1")
    assert not [frame for frame in await ann.frames(0.7) if frame.get("event") == "closed"]
    await alive(ann)


async def test_nobody_came():
    """A `usersLeave` room waits `join_grace` for its first user."""
    async with relay_with(rooms__join_grace=0.3, rooms__leave_grace=30) as relay:
        room, visited = await relay.create(), await relay.create()
        started = time.monotonic()
        ann = await relay.join(visited)
        await gone(relay, room)
        assert time.monotonic() - started > 0.2
        await alive(ann)
        await relay.details(visited)


async def test_hours_need_nobody():
    """A room of hours lives though nobody is in it."""
    async with relay_with(rooms__join_grace=0.1, rooms__leave_grace=0.1) as relay:
        room, other = await relay.create(expiration_date=1), await relay.create()
        ann = await relay.join(room)
        await ann.send("leave")
        await ann.closed()
        await gone(relay, other)
        await asyncio.sleep(0.2)
        await relay.details(room)


async def test_all_left():
    """A `usersLeave` room ends `leave_grace` after its last user left; whoever comes before keeps it alive."""
    async with relay_with(rooms__leave_grace=1) as relay:

        async def left() -> dict:
            room = await relay.create()
            for peer in (await relay.join(room, "ann"), await relay.join(room, "bob")):
                await peer.send("leave")
                await peer.closed()
            await relay.details(room)
            return room

        kept = await left()
        back = await relay.join(kept)
        ended = await left()
        await gone(relay, ended)
        await asyncio.sleep(1)
        await alive(back)
        await back.send("leave")
        await back.closed()
        await gone(relay, kept)


async def test_session_keeps_a_room_in_its_grace():
    """A user who left may come again as the same one while the room waits, and it lives on."""
    async with relay_with(rooms__leave_grace=1) as relay:
        room = await relay.create()
        ann = await relay.join(room, "ann", owner=True)
        await ann.send("leave")
        await ann.closed()
        back = await relay.join(room, owner=True)
        assert back.id == ann.id
        await asyncio.sleep(1.2)
        await alive(back)


async def test_kicking_the_last_user():
    """A user put out has left as well."""
    async with relay_with(rooms__leave_grace=0.1) as relay:
        room = await relay.create()
        bob = await relay.join(room)
        await relay.request("DELETE", f"/api/v1/{room['id']}/users/{bob.id}", room["owner_key"])
        await bob.closed()
        await gone(relay, room)


@pytest.mark.slow
async def test_away_then_left():
    """A lost connection's place is kept for 10 s at least; then `left` is told, and then the room's grace runs."""
    async with relay_with(rooms__leave_grace=0.3, timing__presence_interval=0.05) as relay:
        room = await relay.create(max=2, settings={"resume": 0})
        alone = await relay.create(settings={"resume": 10})
        ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
        cem = await relay.join(alone, "cem")
        await ann.until("presence")
        for peer in (bob, cem):
            peer.socket.transport.abort()
        lost = time.monotonic()
        told = await ann.until("presence")
        assert [(user["id"], user["away"]) for user in told["changed"]] == [(bob.id, True)]
        assert (told["left"], told["users"]) == ([], 2)
        assert (await relay.details(alone))["users"] == 1
        told = await ann.until("presence", 15)
        assert time.monotonic() - lost >= 9.9
        assert (told["left"], told["users"]) == ([bob.id], 1)
        await relay.join(room, "dan")
        await gone(relay, alone)
        assert (await relay.details(room))["users"] == 2


async def test_reload_kills_no_room():
    """Who closes the only tab and comes back finds the room, and is the same."""
    async with relay_with(rooms__leave_grace=0.1) as relay:
        room = await relay.create()
        ann = await relay.join(room)
        await ann.socket.close()
        await asyncio.sleep(0.4)
        back = await relay.join(room, session=ann.session)
        assert back.id == ann.id


async def test_shutdown():
    """A server that ends sends everyone away with a code that says come back."""
    async with relay_with() as relay:
        room = await relay.create()
        ann, lurker = await relay.join(room), await relay.connect(room["id"])
        ends = [asyncio.create_task(peer.closed()) for peer in (ann, lurker)]
        relay._peers.clear()  # else they would close first
    for end in ends:
        code, _ = await end
        assert code in (1012, 4010, 4500)
