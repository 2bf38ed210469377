"""A server that withholds new keys is noticed by the owner and by the member; honest ones raise no alarm."""

from __future__ import annotations

import asyncio
import gc
import types

import pytest
from cutter import cutter_before, heard
from fake_relay import fake_relay
from test_client_resume import quick

from relayd.client import (
    KeysConfirmed,
    Message,
    NewKeysMissed,
    OwnerUnconfirmed,
    Rekeyed,
    RekeyRefused,
    Signal,
    UserJoined,
    UsersUnconfirmed,
    create,
    join,
)
from relayd.client.clock import boot_clock
from relayd.client.key_monitor import KeyTimes
from relayd.client.sealing_errors import WrongEpoch

# As in earnest, but for the unit. What may not happen on a slow machine is tested in tests/unit.
QUICK = KeyTimes(check_s=0.05, confirm_s=0.4, again_s=0.4, owner_s=1.0, user_s=0.3)
WAIT_S = 30


@pytest.fixture
async def fake():
    async with fake_relay() as fake:
        yield fake


async def until(holds) -> None:
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await asyncio.sleep(0.01)


def withhold(fake, user, *, all_newer):
    """From now on that user is not told of new keys, nor of anything that is sealed with them."""

    def mangle(to, frame):
        sealed = frame.get("body") or frame.get("data") or {}
        is_newer = all_newer and (sealed.get("e", 0) > 0 or frame["type"] == "presence")
        return [] if to == user and (frame.get("event") == "rekeyed" or is_newer) else [frame]

    fake.mangle = mangle


async def test_withheld_new_keys_are_noticed_by_the_owner_and_by_the_member(fake):
    """Eve is removed, and Bob is not told: what he sends could still be read by her with the server's help."""
    made = await create(fake.base)
    async with (
        join(made.link, "ann", owner=made.owner, key_times=QUICK) as ann,
        join(made.link, "bob", key_times=QUICK) as bob,
        join(made.link, "eve") as eve,
    ):
        for _ in range(2):
            await heard(ann, UserJoined, WAIT_S)
        assert ann.unconfirmed == []
        withhold(fake, bob.me.id, all_newer=True)
        await ann.kick(eve.me)
        missing = await heard(ann, UsersUnconfirmed, WAIT_S)
        assert [user.nick for user in missing.users] == ["bob"]
        assert [user.nick for user in ann.unconfirmed] == ["bob"]
        await heard(bob, OwnerUnconfirmed, WAIT_S)
        assert bob._inside.voice.epoch == 0


async def test_something_sealed_with_newer_keys_is_noticed(fake):
    """A server that withholds the new keys alone is noticed by what comes after them."""
    made = await create(fake.base)
    async with (
        join(made.link, "ann", owner=made.owner) as ann,
        join(made.link, "bob", key_times=QUICK) as bob,
        join(made.link, "eve") as eve,
    ):
        for _ in range(2):
            await heard(ann, UserJoined, WAIT_S)
        withhold(fake, bob.me.id, all_newer=False)
        await ann.kick(eve.me)
        await ann.say("now that Eve is out")
        await heard(bob, NewKeysMissed, WAIT_S)


async def test_a_confirmation_that_comes_again_ends_the_warning(fake):
    """It is told, too; and confirmations are no signals for the person."""
    made = await create(fake.base)
    async with (
        join(made.link, "bob", key_times=QUICK) as bob,
        join(made.link, "ann", owner=made.owner, key_times=QUICK) as ann,
    ):
        fake.mangle = lambda to, frame: [] if frame["type"] == "signal" else [frame]
        await heard(bob, OwnerUnconfirmed, WAIT_S)
        fake.mangle = lambda to, frame: [frame]
        await heard(bob, KeysConfirmed, WAIT_S)
        assert ann.unconfirmed == bob.unconfirmed == []
        assert not any(isinstance(event, Signal) for event in bob._inside._events)


async def test_a_confirmation_is_believed_once_and_from_its_own_connection_only(fake):
    """A server that plays the last one again and again is noticed all the same."""
    made = await create(fake.base)
    last = []

    def replay(to, frame):
        if frame["type"] == "signal":
            last[:] = last or [frame]
            return [last[0]]
        return [frame, *last] if frame["type"] == "pong" else [frame]

    async with (
        join(made.link, "bob", key_times=QUICK) as bob,
        join(made.link, "ann", owner=made.owner, key_times=QUICK),
    ):
        fake.mangle = replay
        await heard(bob, OwnerUnconfirmed, WAIT_S)


async def test_an_owner_without_the_signing_key_beside_one_with_it(relay):
    """Of several devices of the owner, one that confirms is enough, and none confirms without the pair."""
    made = await create(relay.base)
    bare = type(made.owner)(made.owner.key)
    async with (
        join(made.link, "ann", owner=bare, key_times=QUICK) as other,
        join(made.link, "ann", owner=made.owner, key_times=QUICK),
        join(made.link, "bob", key_times=QUICK) as bob,
    ):
        for room in (bob, other):
            voice = room._inside.voice
            await until(lambda voice=voice: voice.owner_confirmed_at is not None)
            first = voice.owner_confirmed_at
            await until(lambda voice=voice, first=first: voice.owner_confirmed_at > first)
        assert not other.can_rekey


async def test_a_device_that_did_not_get_the_new_keys_confirms_the_old_ones_no_more(fake):
    """Else a server could show the confirmations of the owner's other device to a member."""
    made = await create(fake.base)
    async with (
        join(made.link, "ann", owner=made.owner, key_times=QUICK) as other,
        join(made.link, "ann", owner=made.owner) as ann,
        join(made.link, "eve") as eve,
    ):
        await heard(ann, UserJoined, WAIT_S)
        await until(lambda: [frame["type"] for _, frame in fake.heard].count("signal") > 1)
        await ann.kick(eve.me)
        await heard(other, RekeyRefused, WAIT_S)
        assert other.can_rekey
        voice = other._inside.voice
        confirmed_at = voice.owner_confirmed_at
        await asyncio.sleep(1)  # nothing happens
        assert voice.owner_confirmed_at == confirmed_at
        assert voice.epoch == 0


async def test_new_keys_are_confirmed_in_a_moment(relay):
    """On the real server: after a rekey each card comes, and the owner's confirmation of the new keys."""
    made = await create(relay.base)
    async with (
        join(made.link, "ann", owner=made.owner, key_times=QUICK) as ann,
        join(made.link, "bob") as bob,
        join(made.link, "eve") as eve,
    ):
        for _ in range(2):
            await heard(ann, UserJoined, WAIT_S)
        voice = bob._inside.voice
        await until(lambda: voice.owner_confirmed_at is not None)
        await ann.kick(eve.me)
        await heard(bob, Rekeyed, WAIT_S)
        await until(lambda: voice.owner_confirmed_at is not None)
        for room in (ann, bob):
            await until(lambda room=room: room.unconfirmed == [])
        async with join(ann.link, "cyd") as cyd:
            await until(lambda: cyd.unconfirmed == [] and len(cyd.users) == 3)


async def test_who_comes_is_sent_a_confirmation_soon(relay):
    """Signals are not kept: who comes, or comes back, would else wait for up to three minutes for one."""
    made = await create(relay.base)
    times = KeyTimes(check_s=0.05, again_s=0.1)
    async with (
        cutter_before(relay.base) as way,
        join(made.link, "ann", owner=made.owner, key_times=times) as ann,
        join(made.link.replace(relay.base, way.base), "bob", backoff=quick()) as bob,
    ):
        voice = bob._inside.voice
        await until(lambda: voice.owner_confirmed_at is not None)
        first = voice.owner_confirmed_at
        way.refusing = True
        way.cut()
        await until(lambda: not ann._inside.keys._confirmed_to)
        way.refusing = False
        await until(lambda: voice.owner_confirmed_at > first)


async def test_who_is_away_during_a_rekey_is_unconfirmed_until_back(relay):
    """The new keys wait for them."""
    made = await create(relay.base)
    async with (
        cutter_before(relay.base) as way,
        join(made.link, "ann", owner=made.owner) as ann,
        join(made.link.replace(relay.base, way.base), "bob", backoff=quick()) as bob,
        join(made.link, "eve") as eve,
    ):
        for _ in range(2):
            await heard(ann, UserJoined, WAIT_S)
        way.refusing = True
        way.cut()
        await until(lambda: ann.user(bob.me.id).away)
        await ann.kick(eve.me)
        await until(lambda: [user.nick for user in ann.unconfirmed] == ["bob"])
        way.refusing = False
        await until(lambda: ann.unconfirmed == [] and bob._inside.voice.epoch == 1)


async def test_old_keys_and_the_old_link_are_dropped_two_minutes_after_new_keys(relay):
    """What came before is read until then; afterwards nothing in the client derives the old keys."""
    made = await create(relay.base)
    old_secret = made.link.rpartition(".")[2]
    slept = [0.0]
    options = {"key_times": KeyTimes(check_s=0.05), "clock": lambda: boot_clock() + slept[0]}
    async with (
        join(made.link, "ann", owner=made.owner) as ann,
        join(made.link, "bob", **options) as bob,
        join(made.link, "eve") as eve,
    ):
        for _ in range(2):
            await heard(ann, UserJoined, WAIT_S)
        await ann.say("before")
        await ann.kick(eve.me)
        await heard(bob, Rekeyed, WAIT_S)
        keys = bob._inside.voice._keys
        assert keys.at(0, 0).epoch == 0
        slept[0] += 119
        await asyncio.sleep(0.2)  # nothing happens
        assert keys.at(0, 0).epoch == 0
        slept[0] += 1
        await until(lambda: is_dropped(keys))
        await ann.say("after")
        await heard(bob, Message, WAIT_S, text="after")
        assert old_secret not in texts_within(bob._inside)
        assert ann.link.rpartition(".")[2] != old_secret


def is_dropped(keys) -> bool:
    try:
        keys.at(0, 0)
    except WrongEpoch:
        return True
    return False


def texts_within(root) -> set[str]:
    """Every text, and every 16 bytes as base64url, that can be reached from an object."""
    from relayd.wire.sealing_text import encode_base64url

    skipped = (type, types.ModuleType, types.FunctionType, types.FrameType, asyncio.AbstractEventLoop)
    found, seen, waiting = set(), set(), [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, skipped):
            continue
        seen.add(id(one))
        if isinstance(one, str):
            found.add(one)
        elif isinstance(one, bytes):
            found.add(encode_base64url(one))
        waiting += gc.get_referents(one)
    return found
