"""A removed message: everybody is told, whoever was away too, and nobody is sent it any more."""

from __future__ import annotations

import pytest
from test_chat_messages import pair, quiet
from test_moderators import does, staff


async def said(peer, id_: str, body: str = "hello") -> int:
    await peer.say(id_, body)
    return (await peer.until("message", id=id_))["seq"]


async def test_everybody_is_told(relay):
    """In the order: the event has a place of its own."""
    _, ann, bob, cem, _ = await staff(relay)
    seq = await said(cem, "1")
    assert await does(bob, "remove", seq=seq) == ""
    for peer in (ann, cem):
        event = await peer.until("room", event="removed")
        assert event == {"type": "room", "event": "removed", "seq": seq + 1, "message": seq, "by": bob.id}
    assert await said(cem, "2") == seq + 2


async def test_who_may(relay):
    """The owner and moderators, any message to all; a member none, not even an own one."""
    _, ann, bob, cem, _ = await staff(relay)
    seqs = [await said(peer, str(number)) for number, peer in enumerate((ann, bob, cem))]
    for seq in seqs:
        assert await does(cem, "remove", seq=seq) == "owner_only"
        assert await does(bob, "remove", seq=seq) == ""
        assert await does(ann, "remove", seq=seq) == ""


@pytest.mark.parametrize("seq", [0, -1, 1.5, "1", 2**53, None])
async def test_no_place(relay, seq):
    _, ann, _ = await pair(relay)
    assert await does(ann, "remove", seq=seq) == "protocol_error"


async def test_not_said_yet(relay):
    """What comes later cannot be removed beforehand; nobody is told anything."""
    _, ann, bob = await pair(relay)
    seq = await said(bob, "1")
    await quiet(bob)
    assert await does(ann, "remove", seq=seq + 1) == "no_such_message"
    assert await quiet(bob) == []


async def back(relay, room, peer, seq):
    return await relay.join(room, session=peer.session, since={"epoch": peer.joined["epoch"], "seq": seq})


async def test_who_was_away(relay):
    """Who had heard it is told. Who had not never gets it, and misses nothing."""
    room, ann, bob = await pair(relay)
    cem = await relay.join(room, "cem")
    first, second = await said(ann, "1", "keep this"), await said(ann, "2", "remove this")
    third = await said(ann, "3", "this, too")
    for peer in (bob, cem):
        await peer.until("message", id="3")
        await peer.socket.close()
    assert await does(ann, "remove", seq=second) == ""
    heard_all, heard_one = await back(relay, room, bob, third), await back(relay, room, cem, first)
    assert (heard_all.joined["recovered"], heard_one.joined["recovered"]) == (True, True)
    assert [(frame["event"], frame["message"]) for frame in await quiet(heard_all)] == [("removed", second)]
    missed = await quiet(heard_one)
    assert [frame["seq"] for frame in missed] == [second, third, third + 1]
    assert [frame["type"] for frame in missed] == ["room", "message", "room"]
    assert "remove this" not in str(missed)
    eve = await relay.join(room, "eve")
    assert await quiet(eve) == []


async def test_direct_messages_are_left_alone(relay):
    """They have no place, so what stands at the place they came after is removed, and nothing else."""
    room, ann, bob = await pair(relay)
    seq = await said(ann, "1", "public")
    await ann.say("2", "private", to=bob.id)
    await bob.until("message", id="2")
    await bob.socket.close()
    assert await does(ann, "remove", seq=seq) == ""
    heard = await quiet(await back(relay, room, bob, 0))
    assert [frame.get("body") for frame in heard if frame["type"] == "message"] == ["private"]


async def test_a_file(relay):
    """The offer ends with its message."""
    _, ann, bob = await pair(relay)
    fid = "AAECAwQFBgcICQoLDA0ODw"
    await bob.say("f", "a file", file={"fid": fid, "size": 10, "chunk": 10})
    seq = (await bob.until("message", id="f"))["seq"]
    assert await does(ann, "remove", seq=seq) == ""
    ended = await bob.until("file", event="ended")
    assert (ended["fid"], ended["reason"]) == (fid, "withdrawn")
    await ann.send("accept", id="a", fid=fid, upto=1)
    assert (await ann.until("error", id="a"))["code"] == "no_such_file"


async def test_the_author_is_gone(relay):
    room, ann, bob = await pair(relay)
    seq = await said(bob, "1")
    assert await does(ann, "kick", user=bob.id, ban=True) == ""
    assert await does(ann, "remove", seq=seq) == ""
    assert (await relay.details(room))["messages"] == 1
