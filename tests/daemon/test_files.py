"""Files: offered, accepted, sent through the room, and what ends them."""

from __future__ import annotations

import os

import pytest
from conftest import Relay
from file_people import Client, File, new_fid

from relayd.wire.chunks import read_head


async def client(relay: Relay, room, nick: str = "ann", **fields) -> Client:
    return Client(await relay.join(room, nick, **fields))


async def pair(relay: Relay, **settings) -> tuple[dict, Client, Client]:
    room = await relay.create(settings=settings)
    return room, await client(relay, room, "ann"), await client(relay, room, "bob")


# What works. ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 4_999, 5_000, 5_001, 502_500])
async def test_a_file_is_sent(relay, size):
    """Every byte, in order, whatever is left for the final chunk; and the sender hears that it was."""
    room, ann, bob = await pair(relay)
    file = File(os.urandom(size))
    said = await ann.offer(file)
    assert said["body"] == {"kind": "file", "fid": file.fid}
    assert "file" not in await bob.hear("message", id="f1")
    before = (await relay.details(room))["data_volume"]
    await bob.accept(file)
    assert await bob.has(file) == file.data
    assert (await ann.hear("file", event="accepted"))["user"] == bob.peer.id
    await bob.peer.send("done", fid=file.fid, ok=True, id="d")
    await bob.hear("ok", id="d")
    received = await ann.hear("file", event="received")
    assert (received["user"], received["ok"]) == (bob.peer.id, True)
    assert (await relay.details(room))["data_volume"] == before + size


async def test_one_upload_serves_many(relay):
    """Those who accept at about the same time get the same chunks; they are counted once."""
    room, ann, bob = await pair(relay)
    others = [bob, *[await client(relay, room, f"p{number}") for number in range(4)]]
    file = File(os.urandom(250_000))
    await ann.offer(file)
    before = (await relay.details(room))["data_volume"]
    for other in others:
        await other.accept(file)
    for other in others:
        assert await other.has(file) == file.data
    assert (await relay.details(room))["data_volume"] == before + 250_000
    assert {read_head(chunk).stream for other in others for chunk in other.chunks} == {1}


async def test_a_file_for_one(relay):
    """A direct offer does not exist for others; the sender's own tabs may have it."""
    room, ann, bob = await pair(relay)
    carol, tab = await client(relay, room, "carol"), await client(relay, room, session=ann.peer.session)
    file = File(os.urandom(25_000))
    await ann.offer(file, to=bob.peer.id)
    for command in ("accept", "cancel", "done"):
        fields = {"accept": {"upto": 5}, "cancel": {}, "done": {"ok": True}}[command]
        await carol.peer.send(command, fid=file.fid, id=command, **fields)
        error = await carol.hear("error", id=command)
        assert (error["code"], error["fid"]) == ("no_such_file", file.fid)
    for receiver in (bob, tab):
        await receiver.accept(file)
        assert await receiver.has(file) == file.data
    assert carol.chunks == []


async def test_several_files_at_once(relay):
    """Four at once to a connection; a fifth waits until one of them is there."""
    _, ann, bob = await pair(relay)
    files = [File(os.urandom(100_000), fid=new_fid()) for _ in range(5)]
    for number, file in enumerate(files):
        await ann.offer(file, id_=f"f{number}")
    for file in files[:4]:
        await bob.accept(file, window=0)
    await bob.peer.send("accept", fid=files[4].fid, upto=8, id="a")
    assert (await bob.hear("error", id="a"))["code"] == "too_many_files"
    for file in files[:4]:
        await bob.peer.send("grant", fid=file.fid, upto=2**53 - 1)
    for file in files[:4]:
        assert await bob.has(file) == file.data
    await bob.accept(files[4])
    assert await bob.has(files[4]) == files[4].data


async def test_who_grants_all_at_once(relay):
    """A receiver may have room for everything from the start."""
    _, ann, bob = await pair(relay)
    file = File(os.urandom(3_000_000), chunk=60_000)
    await ann.offer(file)
    await bob.accept(file, window=0)
    await bob.peer.send("grant", fid=file.fid, upto=file.shape.chunks)
    assert await bob.has(file) == file.data


# Going on. ------------------------------------------------------------------------------------------------------


async def test_a_receiver_comes_back(relay):
    """After a lost connection it goes on from where it was."""
    room, ann, bob = await pair(relay)
    file = File(os.urandom(500_000))
    await ann.offer(file)
    await bob.accept(file, window=0)
    await bob.peer.send("grant", fid=file.fid, upto=40)
    await bob.until(lambda: len(bob.chunks) == 40)
    first = bob.got(file)
    await bob.cut()
    bob = await client(relay, room, session=bob.peer.session)
    await bob.accept(file, first=40)
    assert first + await bob.has(file, first=40) == file.data


async def test_a_sender_comes_back(relay):
    """Receivers are told that it pauses, wait, and go on by themselves."""
    room, ann, bob = await pair(relay)
    file = File(os.urandom(500_000))
    await ann.offer(file)
    await bob.accept(file, window=0)
    await bob.peer.send("grant", fid=file.fid, upto=40)
    await bob.until(lambda: len(bob.chunks) == 40)
    await ann.cut()
    await bob.hear("file", event="paused", fid=file.fid)
    ann = await client(relay, room, session=ann.peer.session)
    ann.serve(file)
    await ann.peer.send("serve", id="s", **file.offered)
    await ann.hear("ok", id="s")
    await bob.peer.send("grant", fid=file.fid, upto=100)
    assert await bob.has(file) == file.data


async def test_a_sender_who_was_away_hears_what_became_of_it(relay):
    """Who has it, who has something else, who gave up and who is at it: none of that may be lost with a connection."""
    room, ann, bob = await pair(relay)
    carol, dan, eve = [await client(relay, room, nick) for nick in ("carol", "dan", "eve")]
    file = File(os.urandom(25_000))
    await ann.offer(file)
    for other in (bob, carol, dan):
        await other.accept(file)
        await other.has(file)
    await eve.accept(file, window=1)
    await ann.cut()
    await eve.hear("file", event="paused", fid=file.fid)
    for other, command, fields in (
        (bob, "done", {"ok": True}),
        (carol, "done", {"ok": False}),
        (dan, "cancel", {}),
    ):
        await other.peer.send(command, id="d", fid=file.fid, **fields)
        await other.hear("ok", id="d")
    ann = await client(relay, room, session=ann.peer.session)
    await ann.peer.send("serve", id="s", **file.offered)
    told = await ann.hear("file", event="deliveries")
    assert told == {
        "type": "file",
        "event": "deliveries",
        "fid": file.fid,
        "deliveries": {
            bob.peer.id: "received",
            carol.peer.id: "damaged",
            dan.peer.id: "cancelled",
            eve.peer.id: "accepted",
        },
    }
    await ann.peer.send("serve", id="s2", **file.offered)
    await ann.hear("ok", id="s2")
    assert not any(frame.get("event") == "deliveries" for frame in ann.frames)  # once


async def test_nobody_has_accepted_it_yet(relay):
    """A sender who comes back hears nothing of nobody."""
    room, ann, _ = await pair(relay)
    file = File(b"x")
    await ann.offer(file)
    await ann.cut()
    ann = await client(relay, room, session=ann.peer.session)
    await ann.peer.send("serve", id="s", **file.offered)
    await ann.hear("ok", id="s")
    assert ann.frames == []


async def test_another_tab_serves(relay):
    """The one that served before is told to stop, and receivers notice nothing."""
    room, ann, bob = await pair(relay)
    tab = await client(relay, room, session=ann.peer.session)
    file = File(os.urandom(500_000))
    await ann.offer(file)
    await bob.accept(file, window=0)
    await bob.peer.send("grant", fid=file.fid, upto=40)
    await bob.until(lambda: len(bob.chunks) == 40)
    tab.serve(file)
    await tab.peer.send("serve", **file.offered)
    await ann.hear("file", event="stop", fid=file.fid)
    await bob.peer.send("grant", fid=file.fid, upto=100)
    assert await bob.has(file) == file.data
    await tab.hear("file", event="send")


async def test_accepted_while_nobody_serves(relay):
    """The receiver is told at once, and gets it when somebody does."""
    room, ann, bob = await pair(relay)
    file = File(os.urandom(25_000))
    await ann.offer(file)
    await ann.cut()
    await bob.hear("presence")
    await bob.accept(file)
    await bob.hear("file", event="paused")
    ann = await client(relay, room, session=ann.peer.session)
    ann.serve(file)
    await ann.peer.send("serve", **file.offered)
    assert await bob.has(file) == file.data


async def test_a_forgotten_offer_is_served_again(relay):
    """`serve` tells a server that knows nothing of it (any more)."""
    _, ann, bob = await pair(relay)
    file = File(os.urandom(25_000))
    ann.serve(file)
    await ann.peer.send("serve", id="s", **file.offered)
    await ann.hear("ok", id="s")
    await bob.accept(file)
    assert await bob.has(file) == file.data


async def test_an_offer_said_again(relay):
    """The same message from another tab is not said twice, and makes that tab the one that serves."""
    room, ann, bob = await pair(relay)
    file = File(os.urandom(25_000))
    await ann.offer(file)
    tab = await client(relay, room, session=ann.peer.session)
    tab.serve(file)
    await tab.peer.send("message", id="f1", body={"kind": "file"}, file=file.offered)
    await tab.hear("ok", id="f1")
    await ann.close()
    await bob.accept(file)
    assert await bob.has(file) == file.data


# The end. -------------------------------------------------------------------------------------------------------


async def under_way(relay: Relay, **settings) -> tuple[dict, Client, Client, File]:
    room, ann, bob = await pair(relay, **settings)
    file = File(os.urandom(500_000))
    await ann.offer(file)
    await bob.accept(file, window=0)
    await bob.peer.send("grant", fid=file.fid, upto=10)
    await bob.until(lambda: len(bob.chunks) == 10)
    return room, ann, bob, file


async def is_over(bob: Client, file: File, reason: str) -> None:
    assert (await bob.hear("file", event="ended", fid=file.fid))["reason"] == reason
    await bob.peer.send("grant", fid=file.fid, upto=20, id="g")
    assert (await bob.hear("error", id="g"))["code"] == "no_such_file"
    await bob.peer.send("accept", fid=file.fid, upto=20, id="a")
    assert (await bob.hear("error", id="a"))["code"] in ("no_such_file", "files_off")
    assert len(bob.chunks) == 10


async def test_withdrawn(relay):
    _, ann, bob, file = await under_way(relay)
    await ann.peer.send("cancel", fid=file.fid, id="c")
    await ann.hear("file", event="ended")
    await ann.hear("ok", id="c")
    await is_over(bob, file, "withdrawn")


async def test_the_sender_leaves(relay):
    _, ann, bob, file = await under_way(relay)
    await ann.peer.send("leave")
    await is_over(bob, file, "left")


async def test_the_sender_is_put_out(relay):
    room, _, bob, file = await under_way(relay)
    owner = await client(relay, room, "owner", owner=True)
    ann = next(user for user in owner.peer.joined["users"] if user["profile"]["nick"] == "ann")
    await owner.peer.send("kick", id="k", user=ann["id"])
    await is_over(bob, file, "left")


async def test_the_sender_is_muted(relay):
    """Who may not speak offers nothing, and may not serve."""
    room, ann, bob, file = await under_way(relay)
    owner = await client(relay, room, "owner", owner=True)
    await owner.peer.send("mute", id="m", user=ann.peer.id)
    await is_over(bob, file, "withdrawn")
    await ann.peer.send("serve", id="s", **file.offered)
    assert (await ann.hear("error", id="s"))["code"] == "muted"


async def test_files_are_turned_off(relay):
    room, ann, bob, file = await under_way(relay)
    await relay.request("PATCH", f"/api/v1/{room['id']}", room["owner_key"], {"settings": {"files": False}})
    await is_over(bob, file, "off")
    assert (await ann.hear("file", event="ended"))["reason"] == "off"
    await ann.peer.send("message", id="f2", body=1, file=file.offered)
    assert (await ann.hear("error", id="f2"))["code"] == "files_off"


async def test_a_receiver_gives_up(relay):
    """The sender is told, and asked for nothing more; the receiver may change its mind."""
    _, ann, bob, file = await under_way(relay)
    await bob.peer.send("cancel", fid=file.fid, id="c")
    await bob.hear("ok", id="c")
    assert (await ann.hear("file", event="cancelled"))["user"] == bob.peer.id
    await ann.hear("file", event="stop")
    await bob.accept(file, first=10)
    await bob.has(file, first=10)
    assert b"".join(chunk[46:] for chunk in bob.chunks) == file.data
    await ann.hear("file", event="accepted")


async def test_the_senders_own_tab_gives_up(relay):
    """It ends what that tab receives, not the offer."""
    room, ann, bob = await pair(relay)
    tab = await client(relay, room, session=ann.peer.session)
    file = File(os.urandom(500_000))
    await ann.offer(file)
    await tab.accept(file, window=0)
    await tab.peer.send("cancel", fid=file.fid, id="c")
    await tab.hear("ok", id="c")
    await bob.accept(file)
    assert await bob.has(file) == file.data
