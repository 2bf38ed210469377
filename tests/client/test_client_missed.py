"""What a client cannot read, or never gets, is told as missed: nothing is passed over in silence."""

from __future__ import annotations

import asyncio

import pytest
from cutter import heard
from fake_relay import fake_relay
from test_client_resume import quick

from relayd.client import Message, Missed, Reconnected, create, join

INFINITE = '{"type":"message","seq":%d,"at":0,"from":"u_1","id":"p","body":{"n":' + "1" * 250 + "e99}}"


@pytest.fixture
async def fake():
    async with fake_relay() as relay:
        yield relay


def write(fake, text: str) -> None:
    for socket in list(fake.sockets):
        socket.write_message(text)


async def missed_before(room, text: str) -> int:
    """How many are told as missed before that message comes."""
    count = 0
    async with asyncio.timeout(10):
        async for event in room:
            if isinstance(event, Missed):
                count += event.count
            elif isinstance(event, Message) and event.text == text:
                return count
    raise AssertionError("the room has ended")


@pytest.mark.parametrize(
    ("frame", "count"),
    [
        (INFINITE, 1),
        ('{"type":"message","seq":%d,"at":"now","from":"u_1","id":"p"}', 1),
        ('{"type":"presence","joined":[{"id":"u_1","profile":1e999}],"left":[],"changed":[],"users":2}', 1),
        ('{"type":"message","after":1,"at":0,"from":"u_1","to":"u_2","id":"p","body":1e400}', 1),
        ('{"type":"message",', 1),
        ("[" * 100_000, 1),
        ('{"type":"of tomorrow","n":1e999}', 0),
        ('{"type":"room","event":"of tomorrow"}', 0),
    ],
    ids=["infinite", "shape", "presence", "direct", "half", "deep", "unknown type", "unknown event"],
)
async def test_frames_that_cannot_be_read(fake, frame, count):
    """Each is told once, whether or not it has a place; frames of later versions are passed over."""
    made = await create(fake.base, sealed=False)
    async with join(made.link, "ann") as ann:
        await ann.say("before")
        if "%d" in frame:
            fake.seq += 1
            frame %= fake.seq
        write(fake, frame)
        await ann.say("after")
        assert await missed_before(ann, "after") == count
        await ann.say("later")
        assert await missed_before(ann, "later") == 0


async def test_a_place_that_is_left_out(fake):
    """The next message shows that three are missing."""
    made = await create(fake.base, sealed=False)
    async with join(made.link, "ann") as ann:
        await ann.say("before")
        fake.seq += 3
        await ann.say("after")
        assert await missed_before(ann, "after") == 3


async def test_what_was_missed_while_away_is_told_by_the_server(fake):
    """Places that are no longer kept are in `Reconnected`, and not told again."""
    made = await create(fake.base, sealed=False)
    async with join(made.link, "ann", backoff=quick()) as ann:
        await ann.say("before")
        fake.seq += 5
        for socket in list(fake.sockets):
            socket.close(4500, "restarting")
        assert (await heard(ann, Reconnected)).missed == 5
        await ann.say("after")
        assert await missed_before(ann, "after") == 0


async def test_new_keys_are_no_gap(relay):
    """They have a place in the order, like a message."""
    made = await create(relay.base)
    async with join(made.link, "ann", owner=made.owner) as ann, join(made.link, "bob") as bob:
        await ann.say("before")
        async with join(made.link, "eve") as eve:
            await ann.kick(eve.me)
        await ann.say("after")
        assert await missed_before(bob, "after") == 0
        assert await missed_before(ann, "after") == 0
