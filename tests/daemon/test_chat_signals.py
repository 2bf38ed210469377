"""Signals, profiles, pings: what is of the moment."""

import pytest
from conftest import relay_with
from test_chat_messages import pair, quiet


async def test_signal(relay):
    """Others hear it with who, what kind and the data; it is counted and kept nowhere."""
    room, ann, bob = await pair(relay)
    await ann.send("signal", kind="typing", data={"on": True})
    assert await bob.until("signal") == {"type": "signal", "from": ann.id, "kind": "typing", "data": {"on": True}}
    details = await relay.details(room)
    assert (details["messages"], details["data_volume"]) == (0, 0)
    late = await relay.join(room)
    assert late.joined["seq"] == 0
    assert await quiet(late) == []


async def test_signal_to_one(relay):
    """Only that user hears it, at every tab."""
    room, ann, bob = await pair(relay)
    tab, cem = await relay.join(room, session=bob.session), await relay.join(room, "cem")
    await ann.send("signal", kind="read", data=7, to=bob.id)
    for peer in (bob, tab):
        assert await peer.until("signal") == {"type": "signal", "from": ann.id, "kind": "read", "data": 7, "to": bob.id}
    assert await quiet(cem) == []


@pytest.mark.parametrize("size", [1024, 1025])
async def test_signal_size(relay, size):
    """1 KiB of data is the most."""
    _, ann, bob = await pair(relay)
    await ann.send("signal", kind="x", data="x" * (size - 2))
    if size == 1024:
        assert len((await bob.until("signal"))["data"]) == 1022
    else:
        assert (await ann.until("error"))["code"] == "protocol_error"
        assert await quiet(bob) == []


async def test_signal_to_nobody(relay):
    """Like all signals it may be lost: the connection stays, and nobody else hears it."""
    _, ann, bob = await pair(relay)
    await ann.send("signal", kind="x", data=1, to="u_0000000000000000")
    assert all(frame["type"] == "error" for frame in await quiet(ann))
    assert await quiet(bob) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"data": 1},
        {"kind": 5, "data": 1},
        {"kind": "", "data": 1},
        {"kind": "x", "data": 1, "id": 3},
        {"kind": "x" * 2000},
    ],
)
async def test_wrong_signals(relay, fields):
    """A kind is some text; a signal has no other fields."""
    _, ann, bob = await pair(relay)
    await ann.send("signal", **fields)
    assert (await ann.until("error"))["code"] == "protocol_error"
    assert await quiet(bob) == []


async def test_profile(relay):
    """The others are told by presence; newcomers and REST see the new one."""
    room, ann, bob = await pair(relay)
    await ann.until("presence")
    await ann.send("profile", profile={"nick": "anna", "colour": "red"})
    told = await bob.until("presence", joined=[])
    assert [(user["id"], user["profile"]) for user in told["changed"]] == [(ann.id, {"nick": "anna", "colour": "red"})]
    assert (told["joined"], told["left"], told["users"]) == ([], [], 2)
    late = await relay.join(room, "cem")
    assert {"nick": "anna", "colour": "red"} in [user["profile"] for user in late.joined["users"]]


@pytest.mark.parametrize("profile", ["ann", None, [], 5, {"nick": "x" * 1024}])
async def test_wrong_profile(relay, profile):
    """No object, or too large a one: refused, and the old one stays."""
    room, ann, _ = await pair(relay)
    await ann.send("profile", profile=profile)
    assert (await ann.until("error"))["code"] == "protocol_error"
    late = await relay.join(room, "cem")
    assert {"nick": "ann"} in [user["profile"] for user in late.joined["users"]]


async def test_ping(relay):
    """Answered with its id, or without one."""
    _, ann, _ = await pair(relay)
    await ann.send("ping", id="1")
    assert await ann.until("pong") == {"type": "pong", "id": "1"}
    await ann.send("ping")
    assert await ann.until("pong") == {"type": "pong"}


async def test_too_many_messages():
    """Past the rate a message is refused with how long to wait; after that it is taken."""
    async with relay_with(limits__message_rate__user_messages=1) as relay:
        _, ann, bob = await pair(relay)
        for n in range(6):
            await ann.say(str(n))
        refusal = await ann.until("error")
        assert (refusal["id"], refusal["code"]) == ("5", "rate_limited")
        assert 0 < refusal["retry_after_ms"] <= 1100
        assert [frame["id"] for frame in await quiet(bob) if frame["type"] == "message"] == list("01234")
        await bob.say("x")
        await ann.until("message", id="x")


@pytest.mark.slow
async def test_flood_is_sent_away():
    """Who goes on regardless is closed with 4529; the others are not."""
    async with relay_with(limits__message_rate__user_messages=1) as relay:
        _, ann, bob = await pair(relay)
        await bob.send("ping", id="1")
        for n in range(40):
            await ann.say(str(n))
        assert await ann.closed(30) == (4529, "rate_limited")
        await bob.send("ping", id="2")
        await bob.until("pong", id="2")
