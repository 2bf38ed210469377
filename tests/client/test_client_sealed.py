"""Sealed rooms against a real daemon: the caller passes link and password, and sees plaintext; the server sees none."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import re
from collections import Counter

import msgspec
import pytest
from cutter import cutter_before, heard
from fake_relay import fake_relay
from test_client_resume import quick

from relayd.client import (
    Disconnected,
    Message,
    Reconnected,
    Rekeyed,
    RekeyRefused,
    Rest,
    Signal,
    UserChanged,
    UserJoined,
    UserLeft,
    create,
    join,
)
from relayd.client.sealing import Sealer, UserKey, parse_link, unlock
from relayd.client.sealing_errors import LinkError, PasswordNeeded, RekeyError
from relayd.client.shapes import RoomDetails, read_access
from relayd.client.socket import ClientSocket
from relayd.errors import Forbidden, Kicked, NoSuchRoom, OwnerOnly
from relayd.wire.sealing_text import SealingError

CANARY = "canary-" + os.urandom(8).hex()


async def test_what_is_said_is_heard_and_the_server_has_only_ciphertext(relay, monkeypatch):
    written = []
    send = ClientSocket.send
    monkeypatch.setattr(ClientSocket, "send", lambda self, op, data: (written.append(data), send(self, op, data))[1])
    made = await create(relay.base, password="päss wörd")
    async with (
        join(made.link, CANARY, password="päss wörd", owner=made.owner) as ann,
        join(made.link, "bob", password="päss wörd") as bob,
    ):
        assert ann.sealed
        assert bob.details.protected
        await ann.say(CANARY)
        message = await heard(bob, Message)
        assert (message.text, message.user.nick, message.epoch) == (CANARY, CANARY, 0)
        ann.signal("typing", CANARY)
        signal = await heard(bob, Signal)
        assert (signal.kind, signal.data) == ("typing", CANARY)
        await bob.say(CANARY, to=ann.me.id)
        assert (await heard(ann, Message, mine=False)).text == CANARY
        await heard(bob, Message, mine=True)
        assert await ann.room_code() == await bob.room_code()
        assert await ann.person_code(bob.me) == await bob.person_code()
        assert len((await ann.room_code()).split()) == 6
    assert written
    assert all(CANARY.encode() not in data for data in written)


async def test_who_says_something_and_leaves_is_heard(relay):
    """At once, and again and again: each is told of by name, and what they said can be opened."""
    made = await create(relay.base)
    async with join(made.link, "ann", owner=made.owner) as ann:
        for number in range(20):
            async with join(made.link, f"bob {number}") as bob:
                await bob.say("I was here")
            message = await heard(ann, Message)
            assert (message.text, message.user.nick) == ("I was here", f"bob {number}")


async def test_who_says_something_and_leaves_is_heard_by_those_who_are_away(relay):
    """They come back, are told who that was, and can open what was said."""
    made = await create(relay.base)
    async with (
        cutter_before(relay.base) as way,
        join(made.link.replace(relay.base, way.base), "ann", owner=made.owner, backoff=quick()) as ann,
    ):
        await ann.say("before")
        await heard(ann, Message)
        way.refusing = True
        way.cut()
        await heard(ann, Disconnected)
        for number in range(3):
            async with join(made.link, f"bob {number}") as bob:
                await bob.say("I was here")
        way.refusing = False
        said = [await heard(ann, Message) for _ in range(3)]
        assert [(one.text, one.user.nick) for one in said] == [("I was here", f"bob {n}") for n in range(3)]
        assert ann.user_count == 1
        assert [user.nick for user in ann.users] == ["ann"]


async def test_getting_in_needs_all_of_it(relay):
    made = await create(relay.base, password="right")
    with pytest.raises(PasswordNeeded):
        await join(made.link, "eve").__aenter__()
    with pytest.raises(Forbidden):
        await join(made.link, "eve", password="wrong").__aenter__()
    other = await create(relay.base, password="right")
    swapped = made.link.rpartition(".")[0] + "." + other.link.rpartition(".")[2]
    with pytest.raises(Forbidden):
        await join(swapped, "eve", password="right").__aenter__()
    key_only = made.link.partition(".1p")[0]
    with pytest.raises((Forbidden, SealingError)):
        await join(key_only, "eve", password="right").__aenter__()


async def test_a_room_that_a_script_made_with_a_password(relay):
    """Made by plain REST, it is sealed by the password and a secret in its link."""
    room = await relay.create(password="pläin")
    async with join(room["link"], "ann", password="pläin") as ann:
        assert ann.sealed
        await ann.say("hello")
    owner = await Rest(relay.base).details(room["id"], room["owner_key"])
    assert owner.sealed


@pytest.mark.parametrize("cut_off", [r"\.[^.]*$", r"\.1p.*$"])
async def test_a_link_that_was_cut_off_is_said_to_be_incomplete(relay, cut_off):
    """No proof is made of the password alone, which would let the server try passwords."""
    room = await relay.create(password="pläin")
    link = re.sub(cut_off, "", room["link"])
    for password in ("pläin", None):
        with pytest.raises(LinkError, match="whole link"):
            await join(link, "ann", password=password).__aenter__()


async def test_who_is_thrown_out_reads_nothing_new_and_who_is_away_reads_on(relay):
    made = await create(relay.base)
    async with cutter_before(relay.base) as way:
        away_link = made.link.replace(relay.base, way.base)
        async with (
            join(made.link, "ann", owner=made.owner) as ann,
            join(made.link, "bob") as bob,
            join(away_link, "cyd", backoff=quick()) as cyd,
        ):
            for _ in range(2):
                await heard(ann, UserJoined)
            await ann.say("before")
            await heard(cyd, Message, mine=False)
            way.refusing = True
            way.cut()
            await ann.say("missed, in the old epoch")
            link = await ann.kick(bob.me)
            assert link == ann.link
            assert link != made.link
            with pytest.raises(Kicked):
                await heard(bob, Rekeyed)
            await ann.say("missed, in the new epoch")
            way.refusing = False
            await heard(cyd, Reconnected)
            said = [await heard(cyd, Message) for _ in range(2)]
            assert [(one.text, one.epoch) for one in said] == [
                ("missed, in the old epoch", 0),
                ("missed, in the new epoch", 1),
            ]
            assert cyd.link == "", "the new invite key is the owner's alone"
            await cyd.say("still here")
            assert (await heard(ann, Message, mine=False)).text == "still here"
            with pytest.raises(NoSuchRoom):
                await join(made.link, "bob").__aenter__()
            assert parse_link(link).link.invite_key != parse_link(made.link).link.invite_key
            async with join(link, "dee") as dee:
                await dee.say("invited anew")
                assert (await heard(cyd, Message, mine=False)).user.nick in ("ann", "dee")


async def test_a_ban_gives_new_keys_too(relay):
    made = await create(relay.base)
    async with join(made.link, "ann", owner=made.owner) as ann, join(made.link, "bob") as bob:
        await heard(ann, UserJoined)
        assert await ann.kick(bob.me, ban=True) != made.link
        await ann.say("among us")
        with pytest.raises(NoSuchRoom):
            await Rest(relay.base).details(made.id, parse_link(made.link).link.invite_key)


@pytest.mark.parametrize("ban", [False, True])
@pytest.mark.parametrize("sealed", [True, False])
async def test_somebody_who_has_left_is_thrown_out(relay, sealed, ban):
    """With new keys and another link, or with a ban: the way back is closed either way where the room is sealed."""
    made = await create(relay.base, sealed=sealed)
    async with join(made.link, "ann", owner=made.owner) as ann:
        async with join(made.link, "eve") as eve:
            await eve.say("spam")
            await heard(ann, Message)
        await heard(ann, UserLeft)
        assert [user.nick for user in ann.departed_users] == ["eve"]
        link = await ann.kick(ann.departed_users[0], ban=ban)
        assert (link is not None) == sealed
        if sealed or ban:
            with pytest.raises(NoSuchRoom):
                await join(made.link, "eve").__aenter__()


@pytest.mark.parametrize("sealed", [True, False])
async def test_the_owner_renews_the_link(relay, sealed):
    """The old link lets no newcomer in, the new one does; a member cannot renew it."""
    made = await create(relay.base, sealed=sealed)
    async with join(made.link, "ann", owner=made.owner) as ann, join(made.link, "bob") as bob:
        with pytest.raises(OwnerOnly):
            await bob.renew_link()
        link = await ann.renew_link()
        assert link == ann.link != made.link
        with pytest.raises(NoSuchRoom):
            await join(made.link, "cyd").__aenter__()
        async with join(link, "cyd") as cyd:
            await cyd.say("here")


async def test_members_find_everyone_after_the_invite_key_was_renewed(relay):
    """Who does not fit into the list of 200 is fetched by the session, as the key in the link is no longer good."""
    made = await create(relay.base, max_users=210)
    async with contextlib.AsyncExitStack() as stack:
        way = await stack.enter_async_context(cutter_before(relay.base))
        ann = await stack.enter_async_context(join(made.link, "ann", owner=made.owner, events=False))
        for number in range(202):
            await stack.enter_async_context(join(made.link, f"guest {number}", events=False))
        bob = await stack.enter_async_context(join(made.link.replace(relay.base, way.base), "bob", backoff=quick()))
        await ann.renew_link()
        way.cut()
        await heard(bob, Reconnected)
        async with asyncio.timeout(20):
            while {"ann", "guest 0", "guest 201"} - {user.nick for user in bob.users}:
                await asyncio.sleep(0.05)


async def test_new_keys_from_a_server_that_cannot_renew_the_invite_key():
    """Relays of before refuse the field: the room gets its new keys all the same."""
    async with fake_relay() as fake:
        made = await create(fake.base)
        unknown = {"code": "protocol_error", "detail": "Object contains unknown field renew_invite"}
        refuse = fake.refuse
        fake.refuse = lambda user, frame: unknown if "renew_invite" in frame else refuse(user, frame)
        async with join(made.link, "ann", owner=made.owner) as ann:
            link = await ann.kick("u_" + "0" * 16)
            assert parse_link(link).link.invite_key == parse_link(made.link).link.invite_key
            assert parse_link(link).link.secret != parse_link(made.link).link.secret


async def test_two_owner_tabs_that_rekey_at_once_one_wins_and_the_other_is_told(relay):
    made = await create(relay.base)
    async with (
        join(made.link, "ann", owner=made.owner) as one,
        join(made.link, "ann", owner=made.owner) as two,
        join(made.link, "bob") as bob,
        join(made.link, "cyd") as cyd,
    ):
        for _ in range(2):
            await heard(one, UserJoined)
            await heard(two, UserJoined)
        done = await asyncio.gather(one.kick(bob.me), two.kick(cyd.me), return_exceptions=True)
        assert sorted(type(result) for result in done if not isinstance(result, str)) == [RekeyError]
        winner, loser = (one, two) if isinstance(done[0], str) else (two, one)
        await winner.say("new keys")
        assert (await heard(winner, Message)).epoch == 1
        # Two devices of an owner, each with a pair of its own, and one box for both: the other one is told.
        await heard(loser, RekeyRefused)


async def test_of_two_devices_the_one_that_makes_new_keys_goes_on(relay):
    made = await create(relay.base)
    async with (
        join(made.link, "ann", owner=made.owner) as one,
        join(made.link, "ann", owner=made.owner) as two,
        join(made.link, "bob") as bob,
    ):
        await heard(one, UserJoined)
        # Later than the first 250 ms, in which a user's own changes count as part of coming in.
        two.set_nick("ann too")
        await asyncio.sleep(0.5)
        await two.say("of the second device")
        await heard(one, Message)
        link = await one.kick(bob.me)
        await one.say("still here")
        assert one.link == link
        await heard(two, RekeyRefused)


async def test_new_keys_for_a_large_room():
    """One box a user makes a frame longer than any message may be."""
    async with fake_relay() as fake:
        made = await create(fake.base)
        link = parse_link(made.link).link
        for number in range(400):
            keys = unlock(link, read_access(RoomDetails("", "", access=fake.details()["access"])))
            keys.confirm(read_access(RoomDetails("", "", access=fake.details(joined=True)["access"])))
            card = msgspec.to_builtins(Sealer(keys, UserKey.generate()).card(f"peer {number}"))
            user_id = f"u_{number:016x}"
            fake.users[user_id] = {"id": user_id, "role": "member", "profile": card, "away": False, "muted": False}
        async with join(made.link, "ann", owner=made.owner) as ann:
            assert await ann.kick("u_" + "0" * 16) != made.link
            frame = next(frame for _, frame in fake.heard if frame["type"] == "rekey")
            assert len(frame["boxes"]) == 400, "399 peers and the owner"
            assert "u_" + "0" * 16 not in frame["boxes"]
            assert max(len(data) for data in fake.logged) > 65_536


async def test_an_owner_without_the_signing_key_can_throw_out_and_is_told_that_keys_stay(relay):
    made = await create(relay.base)
    made.owner.signing = None
    async with join(made.link, "ann", owner=made.owner) as ann, join(made.link, "bob") as bob:
        assert not ann.can_rekey
        assert await ann.kick(bob.me) is None
        with pytest.raises(Kicked):
            await heard(bob, Rekeyed)


async def test_no_nonce_is_used_twice_over_cuts_tabs_and_rekeys(relay, monkeypatch):
    """Every (key, sid, kind, n) that any client ever seals is another one."""
    from relayd.client.seal import sealer

    used: Counter[tuple[bytes, object]] = Counter()
    seal_at = sealer.seal_at

    def watched(keys, slot, plaintext):
        used[keys.room_key, slot] += 1
        return seal_at(keys, slot, plaintext)

    monkeypatch.setattr(sealer, "seal_at", watched)
    made = await create(relay.base)
    draw = random.Random(7)
    async with cutter_before(relay.base) as way:
        link = made.link.replace(relay.base, way.base)
        async with (
            join(link, "ann", owner=made.owner, backoff=quick()) as ann,
            join(link, "ann", owner=made.owner, backoff=quick()) as tab,
            join(link, "bob", backoff=quick()) as bob,
        ):
            for number in range(40):
                saying = [asyncio.create_task(room.say(number)) for room in (ann, tab, bob)]
                if number % 5 == 4:
                    way.after[draw.choice(["up", "down"])] = draw.randrange(1500)
                ann.set_nick(f"ann {number}")
                bob.typing(on=number % 2 == 0)
                await asyncio.gather(*saying)
            sids = {slot.sid for _, slot in used}
    assert len(sids) > 6
    assert sum(used.values()) > 160
    assert set(used.values()) == {1}


async def test_said_while_the_keys_changed_is_sealed_anew_and_said_once():
    async with fake_relay() as fake:
        made = await create(fake.base)
        async with join(made.link, "ann", owner=made.owner) as ann, join(made.link, "bob") as bob:
            stale = {"code": "stale_epoch", "detail": ""}
            fake.refuse = lambda user, frame: stale if frame["type"] == "message" and fake.epoch == 0 else None
            saying = asyncio.create_task(bob.say("whatever it takes"))
            await asyncio.sleep(0.1)
            assert not saying.done()
            async with join(made.link, "cyd") as cyd:
                await ann.kick(cyd.me.id)
            assert (await saying).seq == 2
            assert (await heard(ann, Message)).epoch == 1
            await ann.say("so be it")
            cards = [frame for _, frame in fake.heard if frame["type"] == "profile" and frame["profile"]["e"] == 1]
            assert len(cards) == 2, "both have shown their cards again"


async def test_newcomers_are_told_of_with_their_card():
    """What a bot is told first of somebody is enough to greet them by name, and to answer them alone."""
    async with fake_relay() as fake:
        made = await create(fake.base)
        async with join(made.link, "ann") as ann, join(made.link, "bob") as bob:
            joined = await heard(ann, UserJoined)
            assert (joined.user.nick, joined.user.id) == ("bob", bob.me.id)
            await ann.say("hello bob", to=joined.user)
            assert (await heard(bob, Message)).to == bob.me.id
            bob.set_nick("bobby")
            assert (await heard(ann, UserChanged)).user.nick == "bobby"


@pytest.mark.parametrize("late_ones", ["joined", "changed"])
async def test_first_words_wait_for_the_card(late_ones):
    """A message that comes before its sender's card is shown after it, with the name; its order stays."""
    async with fake_relay() as fake:
        made = await create(fake.base)
        held = []

        def late(user, frame):
            if frame["type"] == "presence" and user == listener and frame[late_ones]:
                held.append(frame)
                return []
            return [frame]

        async with join(made.link, "ann") as ann:
            listener = ann.me.id
            fake.mangle = late
            async with join(made.link, "bob") as bob:
                await bob.say("first")
                await ann.say("second")
                fake.mangle = lambda user, frame: [frame]
                await asyncio.sleep(0.1)
                for frame in held:
                    fake.tell(next(s for s, user in fake.sockets.items() if user == listener), frame)
                said = [await heard(ann, Message) for _ in range(2)]
                assert [(one.text, one.user.nick) for one in said] == [("first", "bob"), ("second", "ann")]


async def test_repr_of_nothing_shows_a_secret(relay):
    """Whatever object a debugger, a log line or an error shows: no key, link, password or word that was said."""
    made = await create(relay.base, password="hush hush")
    async with join(made.link, CANARY, password="hush hush", owner=made.owner) as ann:
        await ann.say(CANARY)
        message = await heard(ann, Message)
        secrets = [made.link.partition("#")[2], *made.link.partition("#")[2].split(".")[::2], "hush hush"]
        secrets += [made.owner.key, ann._inside.stream._session, made.owner.signing.private_bytes().hex()]
        for thing in (made, made.owner, ann, ann._inside, ann._inside.voice, ann._inside.stream, message):
            for text in (repr(thing), str(thing), f"{thing}", format(thing)):
                assert not any(secret in text for secret in [*secrets, CANARY]), type(thing)
        shown = [repr(one) for one in gc.get_objects() if str(type(one).__module__).startswith("relayd.")]
        assert not any(secret in text for secret in secrets for text in shown)
