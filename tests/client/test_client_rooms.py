"""The client library against a real daemon, in open rooms: what every method promises."""

from __future__ import annotations

import asyncio

import pytest
from conftest import relay_with
from cutter import cutter_before, heard

from relayd.client import (
    Disconnected,
    Message,
    MessageRemoved,
    Missed,
    Reconnected,
    Rest,
    RoomUpdated,
    Signal,
    UserChanged,
    UserJoined,
    UserLeft,
    create,
    join,
)
from relayd.client.membership import MOST_EVENTS
from relayd.errors import (
    Kicked,
    Locked,
    Muted,
    NameTaken,
    NoSuchRoom,
    NoSuchUser,
    OwnerOnly,
    RoomClosed,
    RoomFull,
    TooLarge,
)
from relayd.wire.sealing_text import SealingError


async def made_open(relay, **fields):
    return await create(relay.base, sealed=False, **fields)


async def test_what_is_said_is_heard_by_all_and_acknowledged(relay):
    made = await made_open(relay, name="den")
    async with join(made.link, "ann", owner=made.owner) as ann, join(made.link, "bob") as bob:
        receipt = await ann.say("hello")
        message = await heard(bob, Message)
        assert (message.text, message.user.nick, message.seq, message.id) == ("hello", "ann", 1, receipt.id)
        assert not message.mine
        assert message.user.is_owner
        assert (await heard(ann, Message)).mine
        assert receipt.seq == 1
        assert (ann.details.name, ann.sealed, ann.link) == ("den", False, made.link)


async def test_first_words_come_with_a_name(relay):
    """What somebody says as they come in is told with their name, though the server tells of them later."""
    made = await made_open(relay)
    async with join(made.link, "ann") as ann, join(made.link, "bob") as bob:
        await bob.say("hello")
        assert (await heard(ann, Message)).user.nick == "bob"


async def test_any_json_can_be_said(relay):
    made = await made_open(relay)
    async with join(made.link, "ann") as ann:
        for body in ({"kind": "reaction", "to": ["x", "y"], "text": "+"}, [1, None], {"n": 1.5}, 7):
            await ann.say(body)
            message = await heard(ann, Message)
            assert message.body == body
            assert message.text == ""


async def test_direct_messages_reach_one(relay):
    made = await made_open(relay)
    async with join(made.link, "ann") as ann, join(made.link, "bob") as bob, join(made.link, "cyd") as cyd:
        receipt = await ann.say("psst", to=bob.me)
        assert receipt.seq is None
        message = await heard(bob, Message)
        assert (message.text, message.to) == ("psst", bob.me.id)
        await ann.say("to all")
        assert (await heard(cyd, Message)).text == "to all"
        with pytest.raises(NoSuchUser):
            await ann.say("psst", to="u_0000000000000000")


async def test_presence_is_kept_up_to_date(relay):
    made = await made_open(relay)
    async with join(made.link, "ann") as ann:
        async with join(made.link, "bob") as bob:
            assert (await heard(ann, UserJoined)).user.nick == "bob"
            assert [user.nick for user in ann.users] == [user.nick for user in bob.users] == ["ann", "bob"]
            bob.set_nick("bobby")
            changed = await heard(ann, UserChanged)
            assert (changed.before.nick, changed.user.nick) == ("bob", "bobby")
            assert ann.user_count == 2
        assert (await heard(ann, UserLeft)).user.nick == "bobby"
        assert [user.nick for user in ann.users] == ["ann"]
        assert ann.user(changed.user.id).nick == "bobby", "what they said may still be shown under their name"


async def test_all_of_a_large_room_are_known(relay):
    """The answer to a join lists 200 users; the others are fetched, and this user is never a stranger to itself."""
    made = await made_open(relay, max_users=300)
    room = {"id": made.id, "invite_key": made.link.rpartition("#")[2]}
    await asyncio.gather(*(relay.join(room, f"peer {number}") for number in range(204)))
    async with join(made.link, "ann") as ann:
        assert ann.me.nick == "ann"
        assert ann.user_count == 205
        async with asyncio.timeout(5):
            while len(ann.users) < 205:
                await asyncio.sleep(0.02)
        assert {user.nick for user in ann.users} == {f"peer {number}" for number in range(204)} | {"ann"}


async def test_typing_is_told_once_in_three_seconds_and_ends_with_what_is_said(relay):
    made = await made_open(relay)
    async with join(made.link, "ann") as ann, join(made.link, "bob") as bob:
        for _ in range(20):
            ann.typing()
        ann.typing(on=False)
        ann.typing(on=False)
        await ann.say("done")
        ann.typing(on=False)
        await ann.say("end")
        told = []
        async for event in bob:
            if isinstance(event, Signal):
                told.append((event.user.nick, event.kind, event.data))
            if isinstance(event, Message) and event.text == "end":
                break
        assert told == [("ann", "typing", True), ("ann", "typing", False)]


async def test_the_owners_work(relay):
    made = await made_open(relay)
    async with join(made.link, "ann", owner=made.owner) as ann, join(made.link, "bob") as bob:
        assert ann.me.is_owner
        await ann.mute(bob.me)
        with pytest.raises(Muted):
            await bob.say("hm")
        await ann.mute(bob.me, on=False)
        await bob.say("ah")
        with pytest.raises(OwnerOnly):
            await bob.edit(name="bobs")
        await ann.edit(name="anns", locked=True)
        assert (await heard(bob, RoomUpdated)).room.name == "anns" == bob.details.name
        with pytest.raises(Locked):
            await join(made.link, "cyd").__aenter__()
        assert await ann.kick(bob.me) is None, "an open room has no keys to renew"
        with pytest.raises(Kicked):
            await heard(bob, UserLeft)
        with pytest.raises(Kicked):
            await bob.say("still here?")
        await ann.close()
        with pytest.raises(RoomClosed):
            await heard(ann, Signal)


async def test_moderators(relay):
    """The owner makes one, who keeps order within bounds; a removed message is told to everyone."""
    made = await made_open(relay)
    async with join(made.link, "ann", owner=made.owner) as ann, join(made.link, "bob") as bob:
        with pytest.raises(OwnerOnly):
            await bob.promote(bob.me)
        await heard(ann, UserJoined)
        await ann.promote(bob.me)
        changed = await heard(ann, UserChanged)
        assert (changed.user.nick, changed.user.is_moderator, changed.before.is_moderator) == ("bob", True, False)
        assert bob.me.is_moderator
        async with join(made.link, "cyd") as cyd:
            await cyd.say("rude")
            message = await heard(bob, Message)
            await bob.remove(message)
            for room in (ann, cyd):
                removed = await heard(room, MessageRemoved)
                assert (removed.seq, removed.by.nick) == (message.seq, "bob")
            await cyd.say("to you", to=bob.me)
            with pytest.raises(ValueError, match="direct"):
                await bob.remove(await heard(bob, Message))
            await bob.kick(cyd.me)
            with pytest.raises(Kicked):
                await heard(cyd, UserLeft)
        with pytest.raises(OwnerOnly):
            await bob.kick(ann.me)
        await ann.promote(bob.me, on=False)
        with pytest.raises(OwnerOnly):
            await bob.remove(message.seq)


@pytest.mark.parametrize("sealed", [False, True])
async def test_invites(relay, sealed):
    """Each has a link that leads in; new keys end them."""
    made = await create(relay.base, sealed=sealed)
    async with join(made.link, "ann", owner=made.owner) as ann, join(made.link, "bob") as bob:
        with pytest.raises(OwnerOnly):
            await bob.create_invite()
        invite = await ann.create_invite(uses=1, expires_s=600, label="for cyd")
        other = await ann.create_invite()
        assert invite.link not in repr(invite)
        async with join(invite.link, "cyd") as cyd:
            await cyd.say("hello")
            assert (await heard(ann, Message)).text == "hello"
            with pytest.raises(NoSuchRoom):
                await join(invite.link, "dan").__aenter__()
            assert [(one.id, one.uses_left) for one in await ann.invites()] == [(other.id, None)]
            if sealed:
                await ann.kick(cyd.me)
                assert await ann.invites() == []
            else:
                await ann.revoke_invite(other)
        with pytest.raises(NoSuchRoom):
            await join(other.link, "eve").__aenter__()


async def test_a_removal_is_told_once(relay):
    """Also to somebody whose connection is lost after it; and nobody misses a message for it."""
    async with cutter_before(relay.base) as cutter:
        made = await create(cutter.base, sealed=False)
        async with join(made.link, "ann", owner=made.owner) as ann, join(made.link, "bob") as bob:
            await ann.say("one")
            await heard(bob, Message)
            await ann.remove(1)
            assert (await heard(bob, MessageRemoved)).seq == 1
            cutter.cut()
            assert (await heard(bob, Reconnected, 30)).missed == 0
            await ann.say("two")
            told = []
            async for event in bob:
                told.append(event)
                if isinstance(event, Message):
                    break
            assert not [event for event in told if isinstance(event, MessageRemoved | Missed)]


async def test_slow_mode(relay):
    """What is said too soon is said later by itself, and holds up nothing else."""
    made = await made_open(relay, settings={"slow": 1})
    async with join(made.link, "ann", owner=made.owner) as ann, join(made.link, "bob") as bob:
        said = [asyncio.create_task(bob.say(f"{number}")) for number in range(3)]
        for number in range(3):
            await ann.say("meanwhile")
            texts = [(await heard(ann, Message)).text for _ in range(2)]
            assert sorted(texts) == sorted([f"{number}", "meanwhile"])
        assert [(await receipt).seq for receipt in said] == sorted([(await receipt).seq for receipt in said])


async def test_a_banned_user_does_not_come_back(relay):
    made = await made_open(relay)
    async with join(made.link, "ann", owner=made.owner) as ann, join(made.link, "bob") as bob:
        await ann.kick(bob.me, ban=True)
        with pytest.raises(NoSuchRoom):
            await join(made.link, "bob").__aenter__()


async def test_what_a_server_refuses_is_an_error_of_its_kind(relay):
    made = await made_open(relay, name="one", max_users=1)
    with pytest.raises(NameTaken):
        await made_open(relay, name="One")
    async with join(made.link, "ann") as ann:
        with pytest.raises(RoomFull):
            await join(made.link, "bob").__aenter__()
        with pytest.raises(TooLarge):
            await ann.say("x" * 66_000)
        with pytest.raises(TypeError):
            await ann.say({"when": object()})
        await ann.say("still here")
        assert not any(isinstance(event, Disconnected) for event in ann._inside._events), "it was not even tried"
        with pytest.raises(SealingError, match="open"):
            await ann.room_code()
    with pytest.raises(SealingError, match="no password"):
        await join(made.link, "ann", password="x").__aenter__()
    other = made.link.partition("#")[0] + "#ri_" + "A" * 22
    with pytest.raises(NoSuchRoom):
        await join(other, "ann").__aenter__()


async def test_rest(relay):
    rest = Rest(relay.base)
    made = await rest.create(name="Räume 1", max_users=3, expires=2, settings={"resume": 5})
    assert (await rest.details("räume 1", made.owner_key)).settings["resume"] == 5
    edited = await rest.edit(made.id, made.owner_key, max=9, locked=False)
    assert edited.max == 9
    link = f"{relay.base}/{made.id}#{made.invite_key}"
    async with join(link, "ann") as ann:
        users = await rest.users(made.id, made.invite_key)
        assert [user.id for user in users] == [ann.me.id]
        assert await rest.users(made.id, made.invite_key, after=ann.me.id) == []
        await rest.kick(made.id, made.owner_key, ann.me.id)
        with pytest.raises(Kicked):
            await heard(ann, Message)
    fresh = await rest.new_invite(made.id, made.owner_key)
    with pytest.raises(NoSuchRoom):
        await rest.details(made.id, made.invite_key)
    await rest.details(made.id, fresh)
    await rest.close(made.id, made.owner_key)
    with pytest.raises(NoSuchRoom):
        await rest.details(made.id, fresh)


async def test_leaving_gives_up_the_place_and_ends_the_iteration(relay):
    made = await made_open(relay, max_users=1)
    async with join(made.link, "ann") as ann:
        await ann.say("bye")
        await ann.leave()
        assert [event async for event in ann if not isinstance(event, Message)] == []
        async with join(made.link, "bob") as bob:
            await bob.say("free place")


async def test_an_idle_reader_is_no_reason_to_stop_answering():
    """A room whose events nobody takes is not read from, but still acknowledges, and later has every event."""
    async with relay_with(limits__message_rate=0) as relay:
        made = await made_open(relay)
        async with join(made.link, "ann") as ann, join(made.link, "bob", events=False) as bob:
            await heard(ann, UserJoined)
            for number in range(MOST_EVENTS + 500):
                await bob.say(number)
            await asyncio.sleep(0.1)
            assert len(ann._inside._events) <= MOST_EVENTS
            assert (await ann.say("hello")).seq == MOST_EVENTS + 501
            said = []
            async for event in ann:
                if isinstance(event, Message):
                    said.append(event.body)
                    if event.mine:
                        break
            assert said[:-1] == list(range(MOST_EVENTS + 500))
            with pytest.raises(RuntimeError):
                await anext(bob)


async def test_many_at_once_are_each_said_once(relay):
    made = await made_open(relay)
    async with join(made.link, "ann") as ann, join(made.link, "bob") as bob:
        receipts = await asyncio.gather(*(ann.say(number) for number in range(100)))
        assert sorted(receipt.seq for receipt in receipts) == list(range(1, 101))
        assert sorted([(await heard(bob, Message)).body for _ in range(100)]) == list(range(100))
