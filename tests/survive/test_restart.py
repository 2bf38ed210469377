"""Rooms go on where they were after a restart, a crash and kill -9, and are forgotten when the service is stopped."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest
from faults.world import chatter, everyone_heard, talkers

from survive.keeper import Keeper, until
from tests.conftest import Relay, problem
from tests.sealed.sealed_people import kicked_out, people


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_room_goes_on(keeper, number):
    """Somebody comes back as who they were, hears what they missed, is in the same order and on the same list."""
    await keeper.start()
    relay = Relay(keeper.base)
    room = await relay.create(name="tea", max=4, settings={"idle_timeout": 33})
    ann, bob = await relay.join(room, "ann", owner=True), await relay.join(room, "bob")
    await ann.say("1", "one")
    await ann.until("message", id="1")
    await bob.until("message", id="1")
    await bob.send("leave")
    await ann.until("presence", left=[bob.id])
    carol = await relay.join(room, "carol")
    await ann.send("mute", id="m", user=carol.id)
    await ann.until("ok", id="m")
    await ann.say("2", "two")
    seen = await ann.until("message", id="2")
    await ann.send("promote", id="p", user=carol.id)
    await ann.until("ok", id="p")
    before = await relay.details(room)
    await keeper.restart(number)
    assert keeper.logged("going on with 1 rooms")
    after = await relay.details(room)
    assert after["connections"] == 0
    assert {**after, "time_alive": 0, "connections": 2} == {**before, "time_alive": 0}
    since = {"epoch": carol.joined["epoch"], "seq": 1}
    again = await relay.join(room, session=carol.session, since=since)
    assert (again.id, again.joined["recovered"], again.joined["missed"]) == (carol.id, True, 0)
    assert [(user["id"], user["role"], user["away"], user["muted"]) for user in again.joined["users"]] == [
        (ann.id, "owner", True, False),
        (carol.id, "moderator", False, True),
    ]
    assert (await again.until("message"))["body"] == "two"
    ann_again = await relay.join(room, session=ann.session, since={"epoch": seen["seq"] and since["epoch"], "seq": 2})
    await ann_again.say("2", "two, sent again")
    assert (await ann_again.until("ok", id="2"))["seq"] == 2
    await ann_again.say("3", "three")
    assert (await again.until("message"))["seq"] == 3
    assert (await relay.join(room, session=bob.session)).id == bob.id
    await relay.close()


async def test_a_removed_message_is_removed(keeper):
    """Written down before, it is not sent after the restart to somebody who comes back for it."""
    await keeper.start()
    relay = Relay(keeper.base)
    room = await relay.create()
    ann, bob = await relay.join(room, "ann", owner=True), await relay.join(room, "bob")
    for id_ in ("1", "2"):
        await ann.say(id_, f"text {id_}")
        await bob.until("message", id=id_)
    await ann.send("remove", id="r", seq=1)
    await ann.until("ok", id="r")
    await keeper.restart(signal.SIGKILL)
    again = await relay.join(room, session=bob.session, since={"epoch": bob.joined["epoch"], "seq": 0})
    assert again.joined["recovered"] is True
    missed = [await again.recv() for _ in range(3)]
    assert [frame["seq"] for frame in missed if frame["type"] != "presence"] == [1, 2, 3]
    assert "text 1" not in str(missed)
    await relay.close()


async def test_invites_go_on(keeper):
    """With the uses that are left; those used up or revoked are not good again."""
    await keeper.start()
    relay = Relay(keeper.base)
    room = await relay.create()
    path = f"/api/v1/{room['id']}/invites"
    invites = [
        json.loads((await relay.request("POST", path, room["owner_key"], {"uses": uses})).body) for uses in (1, 2, None)
    ]
    for invite in invites[:2]:
        await relay.join({**room, "invite_key": invite["invite_key"]})
    await relay.request("DELETE", f"{path}/{invites[2]['id']}", room["owner_key"])
    await keeper.restart(signal.SIGKILL)
    left = json.loads((await relay.request("GET", path, room["owner_key"])).body)["invites"]
    assert [(one["id"], one["uses_left"]) for one in left] == [(invites[1]["id"], 1)]
    for invite, status in zip(invites, (404, 200, 404), strict=True):
        assert (await relay.request("GET", f"/api/v1/{room['id']}", invite["invite_key"])).code == status
    await relay.close()


async def test_what_the_owner_decided_holds(keeper):
    """A ban by session, a renewed invite; ended rooms stay ended and free their names."""
    await keeper.start()
    relay = Relay(keeper.base)
    room, other = await relay.create(name="one"), await relay.create(name="other")
    owner, eve = await relay.join(room, owner=True), await relay.join(room, "eve")
    await owner.send("kick", id="k", user=eve.id, ban=True)
    await owner.until("ok", id="k")
    fresh = await relay.request("POST", f"/api/v1/{room['id']}/invite", room["owner_key"], body={})
    assert fresh.code == 200
    assert (await relay.request("DELETE", f"/api/v1/{other['id']}", other["owner_key"])).code == 204
    await keeper.restart(signal.SIGKILL)
    assert keeper.logged("going on with 1 rooms")
    problem(await relay.request("GET", f"/api/v1/{room['id']}", room["invite_key"]), 404)
    problem(await relay.request("POST", "/api/v1/room", body={"name": "One"}), 409, "name_taken")
    await relay.create(name="other")
    peer = await relay.connect(room["id"])
    await peer.send("join", profile={}, session=eve.session)
    assert await peer.closed() == (4004, "no_such_room")
    await keeper.restart()
    assert keeper.logged("going on with 2 rooms")
    await relay.close()


async def test_a_ban_by_address_holds(keeper):
    """The salt of the digests goes with the rooms."""
    await keeper.start()
    relay = Relay(keeper.base)
    room = await relay.create()
    owner, eve = await relay.join(room, owner=True), await relay.join(room, "eve")
    await owner.send("kick", id="k", user=eve.id, ban=True)
    await owner.until("ok", id="k")
    await keeper.restart(signal.SIGKILL)
    peer = await relay.connect(room["id"])
    await peer.send("join", key=room["invite_key"], profile={})
    assert await peer.closed() == (4004, "no_such_room")
    await relay.close()


async def test_sealed_rooms_go_on(keeper):
    """With their epoch, and with the boxes of those who were away when it began."""
    await keeper.start()
    relay = Relay(keeper.base)
    _, (owner, ann, eve) = await people(relay, "owner", "ann", "eve")
    first = await owner.said("1", "one")
    await ann.peer.socket.close()
    rekey = await kicked_out(owner, ann, kick=eve)
    await owner.said("2", "two")
    await keeper.restart(signal.SIGKILL)
    since = {"epoch": ann.peer.joined["epoch"], "seq": first["seq"]}
    await ann.join(since=since, card=False)
    assert ann.peer.joined["rekey"]["box"] == rekey.part.boxes[ann.id]
    assert (ann.peer.joined["recovered"], ann.peer.joined["missed"]) == (True, 0)
    assert (await ann.peer.until("room", event="rekeyed"))["box"] == rekey.part.boxes[ann.id]
    assert ann.open(await ann.peer.until("message", id="2"), card_of=owner) == "two"
    await owner.join(card=False)
    await owner.said("3", "three")
    assert ann.open(await ann.peer.until("message", id="3"), card_of=owner) == "three"
    await relay.close()


async def test_time_goes_on_while_it_is_down(keeper):
    """A room whose grace is over by then is not there; one that still has time is."""
    await keeper.start(RELAYD_ROOMS_LEAVE_GRACE="1")
    relay = Relay(keeper.base)
    short, long = await relay.create(), await relay.create(expiration_date=1)
    for room in (short, long):
        ann = await relay.join(room)
        await ann.send("leave")
        await ann.closed()
    await keeper.end(signal.SIGKILL)
    await asyncio.sleep(1.2)
    await keeper.start()
    problem(await relay.request("GET", f"/api/v1/{short['id']}", short["invite_key"]), 404)
    assert (await relay.details(long))["users"] == 0
    await relay.close()


@pytest.mark.parametrize("number", [0, signal.SIGTERM, signal.SIGKILL])
async def test_nothing_of_an_ended_room_is_in_what_is_kept(keeper, number):
    """Neither text nor names, profiles or ids, though nothing else happens on the server; also after a restart."""
    await keeper.start()
    relay = Relay(keeper.base)
    room = await relay.create(name="canary room")
    ann, bob = await relay.join(room, "canary nick", owner=True), await relay.join(room)
    await ann.say("canary id", "canary text")
    await bob.until("message")
    await ann.send("signal", kind="canary kind", data="canary data")
    await bob.until("signal")
    await ann.send("profile", profile={"nick": "canary other"})
    await bob.until("presence")
    assert kept_text(keeper).count(b"canary") >= 4
    if number:
        await keeper.restart(number)
    assert (await relay.request("DELETE", f"/api/v1/{room['id']}", room["owner_key"])).code == 204
    await until(lambda: b"canary" not in kept_text(keeper))
    assert room["id"].encode() not in kept_text(keeper)
    await relay.close()


def kept_text(keeper):
    """All bytes of what the service manager keeps."""
    return b"".join(os.pread(fd, os.fstat(fd).st_size, 0) for _, fd in keeper.kept)


async def test_stopped_is_forgotten(keeper):
    """systemd closes what it keeps when a service is stopped; and then a start is an empty one."""
    await keeper.start()
    relay = Relay(keeper.base)
    await relay.create()
    await keeper.end()
    keeper.forget("rooms")
    keeper.forget("settings")
    await keeper.start()
    assert not keeper.logged("going on")
    assert sorted(name for name, _ in keeper.kept) == ["rooms", "settings"]
    await relay.close()


async def test_damaged_is_an_empty_start_that_says_so(keeper):
    """And from then on it keeps its rooms as ever."""
    await keeper.start()
    relay = Relay(keeper.base)
    room = await relay.create(name="tea")
    await keeper.end(signal.SIGKILL)
    os.pwrite(dict(keeper.kept)["rooms"], b"XXXX", 4096 + 20)
    await keeper.start()
    assert keeper.logged("ERROR relayd the rooms of before cannot be read, so this is an empty start: it is damaged")
    problem(await relay.request("GET", f"/api/v1/{room['id']}", room["invite_key"]), 404)
    await relay.create(name="tea")
    await keeper.restart(signal.SIGKILL)
    assert keeper.logged("going on with 1 rooms")
    assert sorted(name for name, _ in keeper.kept) == ["rooms", "settings"]
    await relay.close()


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_killed_under_load(keeper: Keeper, workers):
    """Twice in the middle of a lively talk: nobody misses anything, hears anything twice or in another order."""
    await keeper.start("--workers", workers)
    relay = Relay(keeper.base)
    room = await relay.create()
    async with talkers(keeper.base, room, 20) as inside:
        talk = asyncio.create_task(chatter(inside, 5.0, rate=10))
        for _ in range(2):
            await until(lambda heard=inside[0].seq: inside[0].seq > heard + 100)
            await keeper.restart(signal.SIGKILL, "--workers", workers)
        await everyone_heard(inside, await talk)
        assert all(person.resumes >= 1 for person in inside)
    await relay.close()


async def test_who_had_left_stays_within_reach(keeper):
    """A ban by address of somebody who left before the restart; a mute and its profile; a lock and since when."""
    await keeper.start()
    relay = Relay(keeper.base)
    room = await relay.create()
    owner, bob = await relay.join(room, owner=True), await relay.join(room, "bob")
    eve, cyd = await relay.join(room, "eve"), await relay.join(room, "cyd")
    await owner.send("mute", id="m", user=bob.id)
    await owner.until("ok", id="m")
    for peer in (bob, eve, cyd):
        await peer.send("leave")
        await peer.closed()
    await owner.send("edit", id="e", locked=True)
    await owner.until("ok", id="e")
    await keeper.restart(signal.SIGKILL)
    owner = await relay.join(room, owner=True)
    peer = await relay.connect(room["id"])
    await peer.send("join", session=cyd.session)
    assert await peer.closed() == (4013, "locked")
    await owner.send("edit", id="e", locked=False)
    await owner.until("ok", id="e")
    back = await relay.join(room, session=bob.session, profile={"nick": "spam"})
    assert [user["profile"] for user in back.joined["users"] if user["id"] == bob.id] == [{"nick": "bob"}]
    await owner.send("kick", id="k", user=eve.id, ban=True)
    await owner.until("ok", id="k")
    peer = await relay.connect(room["id"])
    await peer.send("join", key=room["invite_key"], profile={})
    assert await peer.closed() == (4004, "no_such_room")
    await relay.close()


async def test_what_an_address_has_counts_after_a_restart(keeper):
    """Else one restart a day would give it the whole server in three weeks."""
    await keeper.start(RELAYD_LIMITS_MAX_ROOMS="40", RELAYD_LIMITS_MAX_PLACES="0")
    relay = Relay(keeper.base)
    rooms = [await relay.create(expiration_date=1) for _ in range(2)]
    assert (await relay.request("POST", "/api/v1/room", body={})).code == 429
    for number in (signal.SIGTERM, signal.SIGKILL):
        await keeper.restart(number, RELAYD_LIMITS_MAX_ROOMS="40", RELAYD_LIMITS_MAX_PLACES="0")
        problem(await relay.request("POST", "/api/v1/room", body={}), 429, "rate_limited")
    await relay.request("DELETE", f"/api/v1/{rooms[0]['id']}", rooms[0]["owner_key"])
    await relay.create()
    await relay.close()
