"""Ways around what the owner has decided: to speak while muted, to be gone when kicked, to come through a lock."""

import json

import pytest
from conftest import problem, relay_with
from test_chat_messages import pair

SPAM = {"nick": "buy this"}


async def owner_does(owner, command, **fields):
    await owner.send(command, id=command, **fields)
    return await owner.until("ok", id=command)


async def profiles(relay, room, user_id):
    response = await relay.request("GET", f"/api/v1/{room['id']}/users", room["owner_key"])
    return [user["profile"] for user in json.loads(response.body)["users"] if user["id"] == user_id]


async def refusal(relay, room, **fields):
    peer = await relay.connect(room["id"])
    await peer.send("join", **fields)
    return await peer.closed()


async def left(relay, room, nick="eve", **fields):
    """Somebody who came, said something and left, all in one write."""
    peer = await relay.join(room, nick, **fields)
    await peer.say("spam")
    await peer.send("leave")
    assert await peer.closed() == (4014, "left")
    return peer


async def is_away(owner, peer):
    """The peer's connection is lost, and the owner knows it."""
    await owner.until("presence")
    peer.socket.transport.abort()
    assert [user["away"] for user in (await owner.until("presence", joined=[], left=[]))["changed"]] == [True]


# Muted. ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["tab", "lost", "left", "profile"])
async def test_a_muted_user_says_nothing_by_a_profile(relay, way):
    """By another tab, after a lost connection, after leaving, by the command: others see the profile of before."""
    room, ann, bob = await pair(relay)
    await ann.until("presence")
    await owner_does(ann, "mute", user=bob.id)
    if way == "lost":
        bob.socket.transport.abort()
    elif way == "left":
        await bob.send("leave")
        await bob.closed()
        await ann.until("presence", left=[bob.id])
    if way == "profile":
        await bob.send("profile", id="p", profile=SPAM)
        assert (await bob.until("error", id="p"))["code"] == "muted"
    else:
        tab = await relay.join(room, session=bob.session, profile=SPAM)
        assert [user["profile"] for user in tab.joined["users"] if user["id"] == bob.id] == [{"nick": "bob"}]
    assert await profiles(relay, room, bob.id) == [{"nick": "bob"}]
    await owner_does(ann, "unmute", user=bob.id)
    again = await relay.join(room, session=bob.session, profile={"nick": "bobby"})
    assert again.id == bob.id
    assert await profiles(relay, room, bob.id) == [{"nick": "bobby"}]


async def test_somebody_who_has_left_is_muted(relay):
    """And comes back muted, until that is taken back."""
    room, ann, _ = await pair(relay)
    eve = await left(relay, room)
    await owner_does(ann, "mute", user=eve.id)
    back = await relay.join(room, session=eve.session, profile=SPAM)
    assert await profiles(relay, room, eve.id) == [{}]
    await back.say("1")
    assert (await back.until("error", id="1"))["code"] == "muted"
    await back.send("leave")
    await back.closed()
    await owner_does(ann, "unmute", user=eve.id)
    back = await relay.join(room, session=eve.session)
    await back.say("2")
    await back.until("message", id="2")


async def test_profiles_of_joins_are_counted():
    """Where a join changes how somebody inside looks, it counts as a signal does: also what is refused at last."""
    async with relay_with(limits__message_rate={"user_signals": 1}) as relay:
        room, _, bob = await pair(relay)
        for number in range(5):
            await relay.join(room, session=bob.session, profile={"nick": f"bob {number}"})
        peer = await relay.connect(room["id"])
        await peer.send("join", session=bob.session, profile=SPAM)
        told = await peer.recv()
        assert (told["type"], told["code"]) == ("error", "rate_limited")
        assert 0 < told["retry_after_ms"] <= 1001
        assert await peer.closed() == (4529, "rate_limited")
        await relay.join(room, session=bob.session)
        await relay.join(room, session=bob.session, profile={"nick": "bob 4"})
        assert await profiles(relay, room, bob.id) == [{"nick": "bob 4"}]


# Gone. ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", ["chat", "rest"])
@pytest.mark.parametrize("ban", [False, True])
async def test_somebody_who_has_left_is_kicked(door, ban):
    """The session is worth nothing then; with a ban, the address neither. Others from there keep their sessions."""
    async with relay_with(trusted_proxies=["127.0.0.1"]) as relay:
        room = await relay.create()
        ann = await relay.join(room, "ann", owner=True)

        async def come(address, **fields):
            peer = await relay.connect(room["id"], additional_headers={"X-Forwarded-For": address})
            await peer.send("join", **fields)
            return peer

        eve = await come("192.0.2.7", key=room["invite_key"], profile={"nick": "eve"})
        eve.joined = await eve.recv()
        neighbour = await come("192.0.2.7", key=room["invite_key"])
        neighbour.joined = await neighbour.recv()
        await eve.say("spam")
        await eve.send("leave")
        await eve.closed()
        if door == "chat":
            await owner_does(ann, "kick", user=eve.id, ban=ban)
        else:
            path = f"/api/v1/{room['id']}/users/{eve.id}?ban={str(ban).lower()}"
            assert (await relay.request("DELETE", path, room["owner_key"])).code == 204
            problem(await relay.request("DELETE", path, room["owner_key"]), 404, "no_such_user")
        back = await come("192.0.2.99", session=eve.session)
        assert await back.closed() == (4004, "no_such_room")
        newcomer = await come("192.0.2.7", key=room["invite_key"])
        if ban:
            assert await newcomer.closed() == (4004, "no_such_room")
        else:
            assert (await newcomer.recv())["you"]["id"] != eve.id
        assert (await come("192.0.2.8", key=room["invite_key"])) is not None
        tab = await come("192.0.2.7", session=neighbour.session)
        assert (await tab.recv())["you"]["id"] == neighbour.id


async def test_who_said_something_and_was_kicked_is_still_named(relay):
    """Those who come back later learn whose words they missed."""
    room, ann, bob = await pair(relay)
    await is_away(ann, bob)
    eve = await left(relay, room)
    await owner_does(ann, "kick", user=eve.id, ban=True)
    back = await relay.join(room, session=bob.session, since={"epoch": bob.joined["epoch"], "seq": 0})
    assert [user["profile"] for user in (await back.until("presence"))["joined"]] == [{"nick": "eve"}]
    assert (await back.until("message"))["from"] == eve.id


@pytest.mark.parametrize("command", ["kick", "mute", "unmute"])
async def test_a_user_who_never_was_here(relay, command):
    """Or is forgotten: there is nobody to do it to."""
    room, ann, _ = await pair(relay)
    eve = await left(relay, room)
    await owner_does(ann, "kick", user=eve.id)
    await ann.send(command, id="c", user=eve.id)
    assert (await ann.until("error", id="c"))["code"] == "no_such_user"


async def test_an_owner_who_has_left_cannot_be_kicked(relay):
    """As while inside; and the way back is open, through a lock, too."""
    room, ann, _ = await pair(relay)
    await ann.send("leave")
    await ann.closed()
    path = f"/api/v1/{room['id']}/users/{ann.id}?ban=true"
    problem(await relay.request("DELETE", path, room["owner_key"]), 422, "invalid_fields")
    response = await relay.request("PATCH", f"/api/v1/{room['id']}", room["owner_key"], body={"locked": True})
    assert response.code == 200
    assert (await relay.join(room, session=ann.session)).id == ann.id


# Locked. --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_key", [False, True])
async def test_a_lock_keeps_out_those_who_had_left(relay, with_key):
    """By session too; when it is unlocked they are who they were."""
    room, ann, _ = await pair(relay)
    eve = await left(relay, room)
    await owner_does(ann, "edit", locked=True)
    fields = {"session": eve.session} | ({"key": room["invite_key"]} if with_key else {})
    assert await refusal(relay, room, **fields) == (4013, "locked")
    await owner_does(ann, "edit", locked=False)
    assert (await relay.join(room, session=eve.session)).id == eve.id


async def test_a_lock_keeps_out_those_who_leave_later(relay):
    """Who leaves a locked room has left it."""
    room, ann, bob = await pair(relay)
    await owner_does(ann, "edit", locked=True)
    await bob.send("leave")
    await bob.closed()
    assert await refusal(relay, room, session=bob.session) == (4013, "locked")


async def test_a_lock_lets_those_back_who_lost_the_connection(relay):
    """A reload, a tunnel: the place is kept."""
    room, ann, bob = await pair(relay)
    await is_away(ann, bob)
    await owner_does(ann, "edit", locked=True)
    assert (await relay.join(room, session=bob.session)).id == bob.id


@pytest.mark.slow
@pytest.mark.parametrize("locked_first", [True, False])
async def test_a_lock_and_those_whose_place_is_gone(locked_first):
    """A telephone that slept comes back if its owner was in the room when it was locked."""
    async with relay_with(rooms__resume=0) as relay:
        room, ann, bob = await pair(relay)
        await ann.until("presence")
        if locked_first:
            await owner_does(ann, "edit", locked=True)
        bob.socket.transport.abort()
        await ann.until("presence", timeout=30, left=[bob.id])
        await owner_does(ann, "edit", locked=True)
        if locked_first:
            assert (await relay.join(room, session=bob.session)).id == bob.id
        else:
            assert await refusal(relay, room, session=bob.session) == (4013, "locked")
