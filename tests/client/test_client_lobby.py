"""Lobbies by the client library, against a real daemon: one side waits, the other admits."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from conftest import relay_with
from cutter import cutter_before, heard
from fake_relay import fake_relay
from test_client_resume import quick

from relayd.client import Disconnected, Knocking, Message, create, join
from relayd.client.sealing_errors import WrongSecret
from relayd.errors import Denied, Forbidden, LobbyFull, NoSuchUser, OwnerOnly, RoomClosed

KINDS = pytest.mark.parametrize("sealed", [False, True], ids=["open", "sealed"])


async def made(relay, **fields):
    return await create(relay.base, settings={"lobby": True}, **fields)


@contextlib.asynccontextmanager
async def waiting(link, nick="bob", **options):
    """A task that joins, once the client has been told that it waits; it ends with what it was told last."""
    told = asyncio.Event()

    async def run():
        async with join(link, nick, on_waiting=lambda room: told.set(), **options) as room:
            await room.say(f"{nick} is in")
            return (await heard(room, Message)).text, [user.nick for user in room.users]

    task = asyncio.create_task(run())
    try:
        async with asyncio.timeout(20):
            await told.wait()
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


async def named(room, nick="bob"):
    """Who waits, once that is somebody of that name."""
    while True:
        users = (await heard(room, Knocking, timeout=20)).users
        if [user.nick for user in users] == [nick]:
            assert room.knocking == users
            return users[0]


@KINDS
async def test_a_newcomer_waits_and_is_admitted(relay, sealed):
    """The owner sees the name, also where only a card can show it, and the newcomer is that user from then on."""
    link = await made(relay, sealed=sealed)
    async with join(link.link, "ann", owner=link.owner) as ann, waiting(link.link) as task:
        bob = await named(ann)
        assert bool(bob.key) == sealed
        assert [user.nick for user in ann.users] == ["ann"]
        await ann.admit(bob)
        message = await heard(ann, Message, timeout=20)
        assert (message.text, message.user.id, message.user.nick) == ("bob is in", bob.id, "bob")
        assert await task == ("bob is in", ["ann", "bob"])
        while ann.knocking:
            await heard(ann, Knocking)


@KINDS
async def test_denied(relay, sealed):
    link = await made(relay, sealed=sealed)
    async with join(link.link, "ann", owner=link.owner) as ann, waiting(link.link) as task:
        bob = await named(ann)
        await ann.deny(bob)
        with pytest.raises(Denied):
            await task
        assert (await heard(ann, Knocking)).users == []
        with pytest.raises(NoSuchUser):
            await ann.admit(bob)
        with pytest.raises(NoSuchUser):
            await ann.deny(bob, ban=True)


async def test_a_member_may_not_admit(relay):
    link = await create(relay.base)
    async with join(link.link, "ann", owner=link.owner) as ann, join(link.link, "cem") as cem:
        await ann.edit(settings={"lobby": True})
        async with waiting(link.link) as task:
            bob = await named(ann)
            with pytest.raises(OwnerOnly):
                await cem.admit(bob)
            assert cem.knocking == []
            await ann.edit(settings={"lobby": False})
            assert (await task)[0] == "bob is in"


async def test_new_keys_end_the_wait(relay):
    """Who waits has the old ones, and could read nothing."""
    link = await create(relay.base)
    async with join(link.link, "ann", owner=link.owner) as ann, join(link.link, "cem") as cem:
        await ann.edit(settings={"lobby": True})
        async with waiting(link.link) as task:
            await named(ann)
            await ann.kick(cem.me)
            with pytest.raises(Forbidden):
                await task
        async with waiting(ann.link) as task:
            await ann.admit(await named(ann))
            assert (await task)[0] == "bob is in"


async def test_nobody_waits_without_the_secret(relay):
    """The server checks the proof before the owner hears of anybody."""
    link = await made(relay, password="right")
    async with join(link.link, "ann", password="right", owner=link.owner) as ann:
        with pytest.raises(Forbidden):
            await join(link.link, "eve", password="wrong").__aenter__()
        assert ann.knocking == []


async def test_a_server_that_does_not_know_the_room_gets_no_card():
    """`waiting` of a server that cannot show `check` ends the join."""
    async with fake_relay() as fake:
        link = await create(fake.base)

        def answer(socket, frame):
            room = fake.details(joined=True)
            room["access"] = room["access"] | {"check": "A" * 22}
            fake.tell(socket, {"type": "waiting", "room": room})

        fake.join = answer
        with pytest.raises(WrongSecret):
            async with asyncio.timeout(20), join(link.link, "bob"):
                pass
        assert b"profile" not in b"".join(fake.logged)


async def test_a_lost_connection_knocks_again(relay):
    """By itself, as somebody new, however long it has waited; the first event inside is none of before."""
    link = await made(relay)
    async with (
        cutter_before(relay.base) as cutter,
        join(link.link, "ann", owner=link.owner) as ann,
        waiting(link.link, server=cutter.base, backoff=quick()) as task,
    ):
        bob = await named(ann)
        cutter.refusing = True
        cutter.cut()
        assert (await heard(ann, Knocking, timeout=20)).users == []
        cutter.refusing = False
        again = await named(ann)
        assert again.id != bob.id
        assert again.key != bob.key, "members may hold that a key is of one user id"
        await ann.admit(again)
        assert (await task)[0] == "bob is in"


async def test_the_owner_who_comes_back_has_the_list_as_it_is(relay):
    """Who came and went meanwhile; and nobody, where there is no lobby any more."""
    link = await made(relay, sealed=False)
    async with (
        cutter_before(relay.base) as cutter,
        join(link.link, "ann", owner=link.owner, server=cutter.base, backoff=quick()) as ann,
        waiting(link.link),
        waiting(link.link, "cem"),
    ):
        while [user.nick for user in ann.knocking] != ["bob", "cem"]:
            await heard(ann, Knocking)
        cutter.refusing = True
        cutter.cut()
        await heard(ann, Disconnected)
        async with join(link.link, "ann", owner=link.owner) as tab:
            await tab.edit(settings={"lobby": False})
            await heard(tab, Knocking, users=[])  # so that it is told to nobody any more
            cutter.refusing = False
            assert (await heard(ann, Knocking, timeout=20)).users == []


async def test_the_end_of_the_room(relay):
    link = await made(relay)
    async with join(link.link, "ann", owner=link.owner) as ann, waiting(link.link) as task:
        await ann.close()
        with pytest.raises(RoomClosed):
            await task


async def test_a_full_lobby(relay):
    link = await made(relay, sealed=False)
    async with contextlib.AsyncExitStack() as stack:
        for number in range(32):
            await stack.enter_async_context(waiting(link.link, str(number)))
        with pytest.raises(LobbyFull):
            await join(link.link, "bob").__aenter__()


async def test_giving_up(relay):
    """A join that is cancelled waits no more."""
    link = await made(relay)
    async with join(link.link, "ann", owner=link.owner) as ann:
        async with waiting(link.link):
            await named(ann)
        assert (await heard(ann, Knocking, timeout=20)).users == []


async def test_waiting_for_longer_than_a_join_may_take(monkeypatch):
    """No time limit of a join holds for it, on either side."""
    monkeypatch.setattr("relayd.client.stream.JOIN_TIMEOUT_S", 0.5)
    async with relay_with(timing__join_timeout=0.5) as relay:
        link = await made(relay)
        async with join(link.link, "ann", owner=link.owner) as ann, waiting(link.link) as task:
            bob = await named(ann)
            await asyncio.sleep(1.2)
            assert [user.id for user in ann.knocking] == [bob.id]
            await ann.admit(bob)
            assert (await task)[0] == "bob is in"
