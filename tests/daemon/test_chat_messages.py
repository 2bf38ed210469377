"""Messages: to all, to one, their order, and those said again."""

import asyncio
import json
import time

import pytest
from conftest import relay_with


async def pair(relay, **fields):
    """A room with its owner and a member in it."""
    room = await relay.create(**fields)
    return room, await relay.join(room, "ann", owner=True), await relay.join(room, "bob")


async def quiet(peer, mark="mark"):
    """What a peer has been sent up to now, presence left out: everything before the answer to a ping."""
    await peer.send("ping", id=mark)
    got = []
    while (frame := await peer.recv())["type"] != "pong":
        got.append(frame)
    return [frame for frame in got if frame["type"] != "presence"]


async def test_to_all(relay):
    """Everyone hears it, the sender's other tabs too; for the sender it is the acknowledgement."""
    room, ann, bob = await pair(relay)
    tab = await relay.join(room, session=ann.session)
    before = time.time() * 1000
    await ann.say("m1", {"kind": "text", "text": "hi"})
    heard = [await peer.until("message") for peer in (ann, tab, bob)]
    assert heard[0] == heard[1] == heard[2]
    assert set(heard[0]) == {"type", "seq", "at", "from", "id", "body"}
    assert (heard[0]["seq"], heard[0]["from"], heard[0]["id"]) == (1, ann.id, "m1")
    assert heard[0]["body"] == {"kind": "text", "text": "hi"}
    assert isinstance(heard[0]["at"], int)
    assert before - 1000 <= heard[0]["at"] <= time.time() * 1000 + 1000


async def test_to_one(relay):
    """All tabs of both hear it, with `after` in place of `seq`; nobody else does."""
    room, ann, bob = await pair(relay)
    ann2, bob2 = await relay.join(room, session=ann.session), await relay.join(room, session=bob.session)
    cem = await relay.join(room, "cem")
    await cem.say("1")
    for peer in (ann, bob, ann2, bob2, cem):
        await peer.until("message", id="1")
    await ann.say("2", "psst", to=bob.id)
    heard = [await peer.until("message") for peer in (ann, bob, ann2, bob2)]
    assert all(frame == heard[0] for frame in heard)
    assert set(heard[0]) == {"type", "after", "at", "from", "to", "id", "body"}
    assert (heard[0]["after"], heard[0]["from"], heard[0]["to"], heard[0]["body"]) == (1, ann.id, bob.id, "psst")
    assert await quiet(cem) == []
    await ann.say("3")
    assert (await cem.until("message"))["seq"] == 2


async def test_to_oneself(relay):
    """A message to oneself comes once to each of one's tabs."""
    room, ann, bob = await pair(relay)
    tab = await relay.join(room, session=ann.session)
    await ann.say("1", "note", to=ann.id)
    for peer in (ann, tab):
        assert (await peer.until("message"))["to"] == ann.id
        assert await quiet(peer) == []
    assert await quiet(bob) == []


@pytest.mark.parametrize("to", ["u_0000000000000000", "nobody", "", "\x00"])
async def test_to_nobody(relay, to):
    """There is an error with the message's id, and nobody hears anything."""
    _, ann, bob = await pair(relay)
    await ann.say("1", to=to)
    refusal = await ann.until("error")
    assert (refusal["id"], refusal["code"]) == ("1", "no_such_user")
    assert await quiet(bob) == []


async def test_to_one_of_another_room(relay):
    """User ids mean nothing outside their room."""
    _, ann, _ = await pair(relay)
    _, _, stranger = await pair(relay)
    await ann.say("1", to=stranger.id)
    assert (await ann.until("error"))["code"] == "no_such_user"
    assert await quiet(stranger) == []


async def test_to_one_who_left(relay):
    """Who has left is nobody."""
    _, ann, bob = await pair(relay)
    await bob.send("leave")
    await bob.closed()
    await ann.say("1", to=bob.id)
    assert (await ann.until("error", id="1"))["code"] == "no_such_user"


@pytest.mark.parametrize(
    "body",
    [
        "null",
        "0",
        "-0.0",
        "1e308",
        "123456789012345678901234567890.123456789012345678901234567890",
        '"\\u0000\\ud83d\\ude00 \\u202e"',
        '{"a":1,"a":2}',
        '[ 1 , {"x" : [ ] } ]',
        '"' + "é" * 20_000 + '"',
        "[" * 30 + "]" * 30,
    ],
    ids=lambda body: body[:24],
)
async def test_body_is_passed_on_as_it_is(relay, body):
    """Any JSON, unread: not a digit, space or repeated name is lost."""
    _, ann, bob = await pair(relay)
    await ann.socket.send('{"type":"message","id":"1","body":' + body + "}")
    while "message" not in (text := await asyncio.wait_for(bob.socket.recv(), 5)):
        pass
    assert f'"body":{body}' in text


async def test_said_again(relay):
    """The same id of the same user is not said twice: its sender gets `ok` with the first one's `seq`."""
    room, ann, bob = await pair(relay)
    await bob.say("other")
    await ann.say("1", "first")
    assert (await ann.until("message", id="1"))["seq"] == 2
    await ann.say("1", "again")
    assert await ann.until("ok") == {"type": "ok", "id": "1", "seq": 2}
    tab = await relay.join(room, session=ann.session)
    await tab.say("1", "from a tab")
    assert await tab.until("ok") == {"type": "ok", "id": "1", "seq": 2}
    heard = [frame for frame in await quiet(bob) if frame["type"] == "message"]
    assert [(frame["id"], frame["body"]) for frame in heard] == [("other", "hello"), ("1", "first")]
    assert (await relay.details(room))["messages"] == 2


async def test_direct_said_again(relay):
    """Direct messages too."""
    _, ann, bob = await pair(relay)
    for _ in range(2):
        await ann.say("1", "psst", to=bob.id)
    await ann.until("message", id="1")
    assert (await ann.until("ok"))["id"] == "1"
    assert len(await quiet(bob)) == 1


async def test_ids_are_each_users_own(relay):
    """Two users may choose the same id."""
    _, ann, bob = await pair(relay)
    for peer in (ann, bob):
        await peer.say("1", peer.id)
    heard = [await ann.until("message"), await ann.until("message")]
    assert {(frame["from"], frame["body"]) for frame in heard} == {(ann.id, ann.id), (bob.id, bob.id)}


async def test_said_again_after_coming_back(relay):
    """A client that lost its connection before the acknowledgement may say it again safely."""
    room, ann, bob = await pair(relay)
    await ann.say("1", "once")
    await bob.until("message", id="1")
    ann.socket.transport.abort()
    back = await relay.join(room, session=ann.session)
    await back.say("1", "once")
    assert (await back.until("ok", id="1"))["seq"] == 1
    assert await quiet(bob) == []


async def test_refused_message_may_be_said_again(relay):
    """An id counts only once its message was accepted."""
    _, ann, bob = await pair(relay)
    await ann.say("1", to="u_0000000000000000")
    await ann.until("error", id="1")
    await ann.say("1", to=bob.id)
    await bob.until("message", id="1")


@pytest.mark.parametrize("size", [65_536])
async def test_largest_frame(relay, size):
    """A frame of exactly 64 KiB is heard."""
    _, ann, bob = await pair(relay)
    empty = len(json.dumps({"type": "message", "id": "1", "body": ""}))
    await ann.say("1", "x" * (size - empty))
    assert len((await bob.until("message"))["body"]) == size - empty


async def test_one_order():
    """With ten who write at once, everyone hears every message once, in the same order, `seq` without a gap."""
    async with relay_with(limits__message_rate=0) as relay:
        room = await relay.create()
        peers = [await relay.join(room, str(n)) for n in range(10)]

        async def write(peer):
            for n in range(50):
                await peer.say(str(n), n)

        async def hear(peer):
            return [await peer.until("message", 20) for _ in range(500)]

        _, heard = await asyncio.gather(asyncio.gather(*map(write, peers)), asyncio.gather(*map(hear, peers)))
        assert [frame["seq"] for frame in heard[0]] == list(range(1, 501))
        assert all(frames == heard[0] for frames in heard)
        for peer in peers:
            assert [frame["body"] for frame in heard[0] if frame["from"] == peer.id] == list(range(50))
        late = await relay.join(room)
        assert late.joined["seq"] == 500


async def test_no_transcript(relay):
    """A newcomer gets nothing that was said before; what `seq` stood at, yes."""
    room, ann, _ = await pair(relay)
    await ann.say("1")
    await ann.until("message")
    late = await relay.join(room)
    assert late.joined["seq"] == 1
    assert await quiet(late) == []


async def test_rooms_hear_nothing_of_each_other(relay):
    """Each room counts and talks for itself."""
    _, ann, _ = await pair(relay)
    _, cem, dan = await pair(relay)
    await ann.say("1")
    await ann.until("message")
    assert await quiet(dan) == []
    await cem.say("1")
    assert (await dan.until("message"))["seq"] == 1
