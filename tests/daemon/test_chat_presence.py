"""Presence: who came, went and changed, collected for a moment."""

import asyncio
import time

import pytest
from conftest import relay_with
from test_chat_messages import pair


async def seen(peer, seconds):
    """The presence frames of that time."""
    return [frame for frame in await peer.frames(seconds) if frame["type"] == "presence"]


async def test_joining(relay):
    """Those inside are told of a newcomer with profile and role, and how many are here now."""
    room = await relay.create()
    ann = await relay.join(room, "ann", owner=True)
    bob = await relay.join(room, "bob")
    told = await ann.until("presence")
    assert set(told) == {"type", "joined", "left", "changed", "users"}
    assert [(user["id"], user["role"], user["profile"], user["away"]) for user in told["joined"]] == [
        (bob.id, "member", {"nick": "bob"}, False)
    ]
    assert (told["left"], told["changed"], told["users"]) == ([], [], 2)


async def test_nobody_is_told_of_their_own_join():
    """Neither who came first, nor who came last, nor anyone of a crowd."""
    async with relay_with(timing__presence_interval=0.1) as relay:
        room = await relay.create()
        peers = await asyncio.gather(*(relay.join(room, str(n)) for n in range(10)))
        for peer, frames in zip(peers, await asyncio.gather(*(seen(peer, 0.3) for peer in peers)), strict=True):
            for frame in frames:
                assert peer.id not in [user["id"] for user in frame["joined"]]


async def test_newcomers_know_everyone():
    """`joined` and the presence after it together name every user; clients keep them by id."""
    async with relay_with(timing__presence_interval=0.1) as relay:
        room = await relay.create()
        peers = await asyncio.gather(*(relay.join(room, str(n)) for n in range(10)))
        for peer, frames in zip(peers, await asyncio.gather(*(seen(peer, 0.3) for peer in peers)), strict=True):
            known = {user["id"] for user in peer.joined["users"]}
            for frame in frames:
                known |= {user["id"] for user in frame["joined"]}
            assert known == {other.id for other in peers}


async def test_storm_of_joins(relay):
    """A hundred who come within a second cost each connection a few frames, not a hundred."""
    room = await relay.create(max=200)
    ann = await relay.join(room)
    started = time.monotonic()
    peers = []
    for _ in range(10):
        peers += await asyncio.gather(*(relay.join(room) for _ in range(10)))
    frames, came = [], set()
    while len(came) < 100:
        frames.append(await ann.until("presence"))
        came |= {user["id"] for user in frames[-1]["joined"]}
    took = time.monotonic() - started
    assert came == {peer.id for peer in peers}
    assert frames[-1]["users"] == 101
    assert len(frames) <= took / 0.25 + 2
    assert sum(len(frame["joined"]) for frame in frames) == 100


async def test_leaving(relay):
    """Who leaves is told by id, at once after the collecting."""
    _, ann, bob = await pair(relay)
    await ann.until("presence")
    await bob.send("leave")
    told = await ann.until("presence")
    assert (told["joined"], told["left"], told["changed"], told["users"]) == ([], [bob.id], [], 1)


async def test_leaving_in_the_moment_of_a_join(relay):
    """Who was on a newcomer's list and leaves before anyone was told of coming, is told to have left."""
    room = await relay.create()
    ann = await relay.join(room, "ann")
    bob = await relay.join(room, "bob")
    assert ann.id in [user["id"] for user in bob.joined["users"]]
    await ann.send("leave")
    await bob.until("presence", left=[ann.id], users=1)


async def test_coming_and_going_in_one_moment():
    """Who is gone again before anyone was told need not be mentioned; the number is right all the same."""
    async with relay_with(timing__presence_interval=0.3) as relay:
        room = await relay.create()
        ann = await relay.join(room)
        bob = await relay.join(room)
        await bob.send("leave")
        await bob.closed()
        cem = await relay.join(room)
        frames = await seen(ann, 0.7)
        assert [user["id"] for frame in frames for user in frame["joined"]] in ([cem.id], [bob.id, cem.id])
        assert frames[-1]["users"] == 2


@pytest.mark.parametrize("goes", ["leaves", "kicked", "leaves after a change"])
async def test_nobodys_words(goes):
    """Who says something and is gone in the same moment is told of first, as they looked: else it were nobody's."""
    async with relay_with(timing__presence_interval=0.5) as relay:
        room = await relay.create()
        ann = await relay.join(room, "ann", owner=True)
        bob = await relay.join(room, "bob")
        if goes == "leaves after a change":
            await ann.until("presence")
            await bob.send("profile", profile={"nick": "bobby"})
        await bob.say("1")
        await bob.until("message", id="1")
        if goes == "kicked":
            await ann.send("kick", id="k", user=bob.id)
        else:
            await bob.send("leave")
        await bob.closed()
        shown, gone = await seen(ann, 1.2)
        (user,) = shown["changed"] if goes == "leaves after a change" else shown["joined"]
        assert (user["id"], user["profile"]["nick"]) == (bob.id, "bobby" if shown["changed"] else "bob")
        assert (shown["left"], gone["left"], gone["users"]) == ([], [bob.id], 1)


async def test_who_says_nothing_costs_no_frame():
    """A crowd that comes and goes is told in the same few frames, also beside somebody who talks."""
    async with relay_with(timing__presence_interval=0.5) as relay:
        room = await relay.create()
        ann, bob = await relay.join(room), await relay.join(room)
        started = time.monotonic()
        for _ in range(10):
            crowd = await relay.join(room)
            await bob.say(crowd.id)
            await crowd.send("leave")
            await crowd.closed()
        took = time.monotonic() - started
        assert len(await seen(ann, 1.2)) <= took / 0.5 + 2


async def test_tabs_are_no_news():
    """Another tab of a user, or one tab less, changes nothing for others."""
    async with relay_with(timing__presence_interval=0.05) as relay:
        room, ann, bob = await pair(relay)
        await ann.until("presence")
        tab = await relay.join(room, session=bob.session)
        await tab.socket.close()
        assert await seen(ann, 0.3) == []


async def test_away_and_back():
    """Who lost the last connection is shown away, and back when the session comes again; the place is kept."""
    async with relay_with(timing__presence_interval=0.05) as relay:
        room = await relay.create(max=2)
        ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
        await ann.until("presence")
        bob.socket.transport.abort()
        told = await ann.until("presence")
        assert [(user["id"], user["away"], user["profile"]) for user in told["changed"]] == [
            (bob.id, True, {"nick": "bob"})
        ]
        assert (told["left"], told["users"]) == ([], 2)
        details = await relay.details(room)
        assert (details["users"], details["connections"]) == (2, 1)
        late = await relay.connect(room["id"])
        await late.send("join", key=room["invite_key"])
        assert await late.closed() == (4009, "room_full")
        back = await relay.join(room, session=bob.session)
        assert back.id == bob.id
        told = await ann.until("presence")
        assert [(user["id"], user["away"]) for user in told["changed"]] == [(bob.id, False)]
        assert told["joined"] == []


@pytest.mark.parametrize("code", [1000, 1001, 3000])
async def test_closing_a_tab_is_no_leaving(code):
    """However the last connection ends, only `leave` leaves: a reload of the page is no farewell."""
    async with relay_with(timing__presence_interval=0.05) as relay:
        _, ann, bob = await pair(relay)
        await ann.until("presence")
        await bob.socket.close(code)
        told = await ann.until("presence")
        assert (told["left"], [user["away"] for user in told["changed"]]) == ([], [True])


async def test_users_are_exact_after_a_crowd_has_gone():
    """Fifty come, half of them leave: everyone agrees on who is left."""
    async with relay_with(timing__presence_interval=0.05) as relay:
        room = await relay.create()
        ann = await relay.join(room)
        peers = [await relay.join(room, str(n)) for n in range(40)]
        for peer in peers[::2]:
            await peer.send("leave")
        here = {ann.id}
        while here != {ann.id} | {peer.id for peer in peers[1::2]}:
            told = await ann.until("presence")
            here |= {user["id"] for user in told["joined"]}
            here -= set(told["left"])
        assert (await relay.details(room))["users"] == 21
