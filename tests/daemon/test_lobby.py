"""Lobbies: newcomers wait until somebody inside admits them."""

from __future__ import annotations

import asyncio
import json

import pytest
from conftest import problem, relay_with

from relayd.hub import lobby

BEHIND_PROXY = {"trusted_proxies": ["127.0.0.1"]}


async def made(relay, **fields):
    """A room with a lobby, and its owner."""
    room = await relay.create(settings={"lobby": True}, **fields)
    return room, await relay.join(room, owner=True)


async def knock(relay, room, nick="bob", address="", **fields):
    """Somebody who waits."""
    headers = {"additional_headers": {"X-Forwarded-For": address}} if address else {}
    peer = await relay.connect(room["id"], **headers)
    await peer.send("join", **{"key": room["invite_key"], "profile": {"nick": nick}, **fields})
    waiting = await peer.recv()
    assert waiting["type"] == "waiting", waiting
    assert waiting["room"]["id"] == room["id"]
    return peer


async def refused(relay, room, address="", **fields):
    """How the connection of somebody ends who tries to join."""
    headers = {"additional_headers": {"X-Forwarded-For": address}} if address else {}
    peer = await relay.connect(room["id"], **headers)
    await peer.send("join", **{"key": room["invite_key"], **fields})
    return await peer.closed()


async def knocking(owner, *nicks):
    """The user ids of those who wait, once they are these."""
    while True:
        users = (await owner.until("room", event="knocking"))["users"]
        if [user["profile"].get("nick") for user in users] == list(nicks):
            return [user["id"] for user in users]


async def command(peer, type_, **fields):
    await peer.send(type_, id="c", **fields)
    while True:
        answer = await peer.recv()
        if answer.get("id") == "c" and answer["type"] in ("ok", "error"):
            return answer.get("code", "ok")


async def admitted(peer):
    peer.joined = await peer.until("joined")
    return peer


async def test_a_newcomer_waits_and_is_admitted(relay):
    """The owner sees who it is; nobody else does, until then; then it is a join like any other."""
    room, ann = await made(relay)
    bob = await knock(relay, room)
    (bob_id,) = await knocking(ann, "bob")
    assert (await relay.details(room))["users"] == 1
    assert (await relay.details(room))["connections"] == 1
    assert await command(ann, "admit", user=bob_id) == "ok"
    await admitted(bob)
    assert (bob.id, bob.joined["you"]["role"]) == (bob_id, "member")
    assert [user["profile"] for user in bob.joined["users"]] == [{"nick": "ann"}, {"nick": "bob"}]
    await bob.say("m1")
    await ann.until("message", id="m1")
    cem = await knock(relay, room, "cem")
    await ann.until("room", event="knocking")
    await ann.say("m2")
    await bob.until("message", id="m2")
    assert [frame["type"] for frame in await cem.frames(0.5)] == [], "who waits hears nothing"


async def test_denied(relay):
    """With 4018; the person may try again."""
    room, ann = await made(relay)
    bob = await knock(relay, room)
    (bob_id,) = await knocking(ann, "bob")
    assert await command(ann, "deny", user=bob_id) == "ok"
    assert await bob.closed() == (4018, "denied")
    assert await knocking(ann) == []
    assert await command(ann, "admit", user=bob_id) == "no_such_user"
    assert await command(ann, "deny", user=bob_id) == "no_such_user"
    await knock(relay, room)


async def test_denied_and_banned():
    """The address is refused from then on, and so are the others who wait there."""
    async with relay_with(**BEHIND_PROXY) as relay:
        room, ann = await made(relay)
        bob, ben = [await knock(relay, room, nick, "192.0.2.1") for nick in ("bob", "ben")]
        cem = await knock(relay, room, "cem", "192.0.2.2")
        bob_id, _, cem_id = await knocking(ann, "bob", "ben", "cem")
        assert await command(ann, "deny", user=bob_id, ban=True) == "ok"
        assert await bob.closed() == (4018, "denied")
        assert await ben.closed() == (4004, "no_such_room")
        assert await refused(relay, room, "192.0.2.1") == (4004, "no_such_room")
        assert await command(ann, "admit", user=cem_id) == "ok"
        await admitted(cem)


async def test_who_does_not_wait(relay):
    """The owner, and users who come back by session, whether they have left or lost the connection."""
    room, ann = await made(relay)
    bob = await knock(relay, room)
    (bob_id,) = await knocking(ann, "bob")
    await command(ann, "admit", user=bob_id)
    await admitted(bob)
    assert (await relay.join(room, session=bob.session)).id == bob.id
    await bob.send("leave")
    assert (await bob.closed())[1] == "left"
    assert (await relay.join(room, session=bob.session)).id == bob.id
    assert (await relay.join(room, owner=True)).id == ann.id
    await command(ann, "kick", user=bob.id)
    await knock(relay, room, session=bob.session)


async def test_only_the_owner_admits(relay):
    """A member is refused, and is told nothing of who waits."""
    room = await relay.create()
    ann, bob = await relay.join(room, owner=True), await relay.join(room, "bob")
    await command(ann, "edit", settings={"lobby": True})
    await knock(relay, room, "cem")
    (cem_id,) = await knocking(ann, "cem")
    assert [frame for frame in await bob.frames(0.5) if frame.get("event") == "knocking"] == []
    for type_ in ("admit", "deny"):
        assert await command(bob, type_, user=cem_id) == "owner_only"
    tab = await relay.join(room, session=bob.session)
    assert [frame for frame in await tab.frames(0.5) if frame.get("event") == "knocking"] == []


async def test_an_owner_who_joins_is_told_who_waits(relay):
    """Right after the join, by every connection; also that nobody does."""
    room, ann = await made(relay)
    assert await knocking(ann) == []
    await knock(relay, room)
    await knocking(ann, "bob")
    tab = await relay.join(room, owner=True)
    await knocking(tab, "bob")


async def test_who_comes_before_the_owner_waits(relay):
    """Being early is no way around the lobby."""
    room = await relay.create(settings={"lobby": True})
    bob = await knock(relay, room)
    ann = await relay.join(room, owner=True)
    (bob_id,) = await knocking(ann, "bob")
    assert await bob.frames(0.5) == []
    assert await command(ann, "admit", user=bob_id) == "ok"
    await admitted(bob)


async def test_what_somebody_who_waits_may_send(relay):
    """A profile, which the owner sees; a ping; `leave`. Nothing else."""
    room, ann = await made(relay)
    bob = await knock(relay, room)
    (bob_id,) = await knocking(ann, "bob")
    for type_, fields in {
        "message": {"id": "c", "body": 1},
        "admit": {"id": "c", "user": bob_id},
        "kick": {"id": "c", "user": ann.id},
        "close": {"id": "c"},
        "signal": {"kind": "typing"},
        "join": {"key": room["invite_key"]},
    }.items():
        await bob.send(type_, **fields)
        assert (await bob.until("error"))["code"] == "not_admitted", type_
    await bob.send("ping", id="p")
    await bob.until("pong", id="p")
    await bob.send("profile", id="c", profile={"nick": "bobby"})
    await bob.until("ok", id="c")
    await knocking(ann, "bobby")
    await bob.send("profile", id="c", profile={"nick": "x" * 1024})
    assert (await bob.until("error"))["code"] == "protocol_error"
    await bob.send("leave")
    assert await bob.closed() == (4014, "left")
    await knocking(ann)


async def test_profiles_of_somebody_who_waits_are_limited(relay):
    """As those of members: by the rate of signals."""
    room, _ = await made(relay)
    bob = await knock(relay, room)
    for number in range(400):
        await bob.send("profile", profile={"nick": str(number)})
    assert (await bob.until("error"))["code"] == "rate_limited"


async def test_a_lost_connection_waits_no_more(relay):
    room, ann = await made(relay)
    bob = await knock(relay, room)
    await knocking(ann, "bob")
    bob.socket.transport.abort()
    await knocking(ann)


async def test_without_a_lobby_all_join(relay):
    """Everyone who waits, when it is turned off by an edit or over REST, unless the room is full."""
    room, ann = await made(relay, max=2)
    bob = await knock(relay, room)
    cem = await knock(relay, room, "cem")
    await knocking(ann, "bob", "cem")
    path = f"/api/v1/{room['id']}"
    response = await relay.request("PATCH", path, room["owner_key"], {"settings": {"lobby": False}})
    assert json.loads(response.body)["settings"]["lobby"] is False
    await admitted(bob)
    assert await cem.closed() == (4009, "room_full")
    problem(await relay.request("PATCH", path, room["owner_key"], {"settings": {"lobby": 1}}), 422, "invalid_fields")


async def test_the_end_of_the_room_ends_the_wait(relay):
    """They are told why, as everyone is."""
    room, ann = await made(relay)
    bob = await knock(relay, room)
    await ann.send("close", id="c")
    assert (await bob.until("room"))["reason"] == "terminated"
    assert await bob.closed() == (4010, "room_closed")


async def test_a_full_room_admits_when_there_is_a_place(relay):
    """The owner is told that it is full; the newcomer goes on waiting."""
    room, ann = await made(relay, max=1)
    bob = await knock(relay, room)
    (bob_id,) = await knocking(ann, "bob")
    assert await command(ann, "admit", user=bob_id) == "room_full"
    assert await command(ann, "edit", max=2) == "ok"
    assert await command(ann, "admit", user=bob_id) == "ok"
    await admitted(bob)


async def test_a_lock_keeps_out_those_who_wait(relay):
    """Newcomers do not even wait; who waits goes on waiting, and is admitted when the room is unlocked."""
    room, ann = await made(relay)
    bob = await knock(relay, room)
    (bob_id,) = await knocking(ann, "bob")
    assert await command(ann, "edit", locked=True) == "ok"
    assert await refused(relay, room) == (4013, "locked")
    assert await command(ann, "admit", user=bob_id) == "locked"
    assert await command(ann, "edit", locked=False) == "ok"
    assert await command(ann, "admit", user=bob_id) == "ok"
    await admitted(bob)


async def test_a_key_that_is_renewed_ends_the_wait(relay):
    """Who came by the old one could not come now."""
    room, _ = await made(relay)
    bob = await knock(relay, room)
    await relay.request("POST", f"/api/v1/{room['id']}/invite", room["owner_key"], {})
    assert await bob.closed() == (4004, "no_such_room")


async def invited(relay, room, **limits):
    """Another invite of the room, as the room with that invite's key."""
    answer = await relay.request("POST", f"/api/v1/{room['id']}/invites", room["owner_key"], limits)
    return json.loads(answer.body)


async def test_an_invite_is_used_by_being_admitted(relay):
    """Not by waiting. Those who wait with one that is used up could not come now."""
    room, ann = await made(relay)
    invite = await invited(relay, room, uses=2)
    await refused(relay, room, key="ri_AAAAAAAAAAAAAAAAAAAAAA")
    waiting = [await knock(relay, room, nick, key=invite["invite_key"]) for nick in ("bob", "cem", "dan")]
    eve = await knock(relay, room, "eve")
    bob_id, cem_id, *_ = await knocking(ann, "bob", "cem", "dan", "eve")
    path = f"/api/v1/{room['id']}/invites"
    shown = json.loads((await relay.request("GET", path, room["owner_key"])).body)["invites"]
    assert [one["uses_left"] for one in shown] == [2]
    assert await command(ann, "admit", user=bob_id) == "ok"
    assert await command(ann, "admit", user=cem_id) == "ok"
    for peer in waiting[:2]:
        await admitted(peer)
    assert await waiting[2].closed() == (4004, "no_such_room")
    (eve_id,) = await knocking(ann, "eve")
    assert await command(ann, "admit", user=eve_id) == "ok"
    await admitted(eve)


async def test_without_a_lobby_no_more_join_than_an_invite_lets_in(relay):
    room, ann = await made(relay)
    invite = await invited(relay, room, uses=1)
    bob, cem = [await knock(relay, room, nick, key=invite["invite_key"]) for nick in ("bob", "cem")]
    assert await command(ann, "edit", settings={"lobby": False}) == "ok"
    await admitted(bob)
    assert await cem.closed() == (4004, "no_such_room")


async def test_revoking_an_invite_ends_the_wait_of_those_who_came_by_it(relay):
    room, ann = await made(relay)
    invite = await invited(relay, room)
    bob = await knock(relay, room, key=invite["invite_key"])
    await knock(relay, room, "cem")
    await knocking(ann, "bob", "cem")
    path = f"/api/v1/{room['id']}/invites/{invite['id']}"
    assert (await relay.request("DELETE", path, room["owner_key"])).code == 204
    assert await bob.closed() == (4004, "no_such_room")
    await knocking(ann, "cem")


async def test_who_waits_while_an_invite_expires_is_not_admitted(relay):
    """To be admitted is to join at that moment."""
    room, ann = await made(relay)
    invite = await invited(relay, room, expires=1)
    bob = await knock(relay, room, key=invite["invite_key"])
    (bob_id,) = await knocking(ann, "bob")
    await asyncio.sleep(1.1)
    assert await command(ann, "admit", user=bob_id) == "no_such_user"
    assert await bob.closed() == (4004, "no_such_room")


async def test_a_ban_ends_the_wait_of_those_at_that_address():
    async with relay_with(**BEHIND_PROXY) as relay:
        room, ann = await made(relay)
        await knock(relay, room, "bob", "192.0.2.1")
        (bob_id,) = await knocking(ann, "bob")
        await command(ann, "admit", user=bob_id)
        again = await knock(relay, room, "bob", "192.0.2.1")
        assert await command(ann, "kick", user=bob_id, ban=True) == "ok"
        assert await again.closed() == (4004, "no_such_room")


async def test_how_many_wait(relay):
    """32 in a room; one more is refused with a reason; who was admitted or denied makes room."""
    room, ann = await made(relay)
    waiting = [await knock(relay, room, str(number)) for number in range(32)]
    assert await refused(relay, room) == (4009, "lobby_full")
    users = await knocking(ann, *map(str, range(32)))
    assert await command(ann, "deny", user=users[0]) == "ok"
    assert await waiting[0].closed() == (4018, "denied")
    await knock(relay, room)


async def test_how_many_wait_on_a_server():
    """Of all, and of one address; each refusal has a time to come back."""
    async with relay_with(**BEHIND_PROXY, limits__max_waiting=80, limits__address_share=0.4) as relay:
        rooms = [(await made(relay))[0] for _ in range(4)]
        waiting = [await knock(relay, rooms[number % 3], address="192.0.2.1") for number in range(32)]
        assert await refused(relay, rooms[3], "192.0.2.1") == (4529, "rate_limited")
        await waiting[0].send("leave")
        assert await waiting[0].closed() == (4014, "left")
        await knock(relay, rooms[3], address="192.0.2.1")
        assert await refused(relay, rooms[3], "192.0.2.1") == (4529, "rate_limited")
        for number in range(48):
            await knock(relay, rooms[number % 4], address=f"192.0.2.{number // 20 + 2}")
        assert await refused(relay, rooms[3], "192.0.2.9") == (1013, "overloaded")


async def test_how_long_one_waits(relay, monkeypatch):
    monkeypatch.setattr(lobby, "MAX_WAIT_S", 0.5)
    room, ann = await made(relay)
    bob = await knock(relay, room)
    assert await bob.closed() == (4018, "not_admitted")
    await knocking(ann)


async def test_waiting_is_no_timeout_of_the_join():
    """Whoever waits is pinged like those inside."""
    async with relay_with(timing__join_timeout=0.3, timing__ping_interval=0.5) as relay:
        room, ann = await made(relay)
        bob = await knock(relay, room)
        (bob_id,) = await knocking(ann, "bob")
        assert await bob.frames(1.5) == []
        assert await command(ann, "admit", user=bob_id) == "ok"
        await admitted(bob)


async def test_those_who_wait_take_no_seats(relay):
    """And keep no room alive."""
    async with relay_with(rooms__leave_grace=0.2, rooms__resume=0) as relay:
        room, ann = await made(relay)
        bob = await knock(relay, room)
        await ann.send("leave")
        assert await bob.closed() == (4010, "room_closed")


@pytest.mark.parametrize("lobby_on", [True, False])
async def test_the_setting_is_told(relay, lobby_on):
    room = await relay.create(settings={"lobby": lobby_on})
    assert (await relay.details(room))["settings"]["lobby"] is lobby_on
