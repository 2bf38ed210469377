"""Several programs of one user in a sealed room, each with a card of its own: everyone can read all of them.

They are programs of the owner, because only an owner has several key pairs.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from conftest import relay_with
from cutter import Cutter, cutter_before
from fake_relay import fake_relay
from faults.world import relayd
from survive.keeper import Keeper
from survive.test_upgrade import relayctl
from test_client_resume import quick

from relayd.client import (
    Disconnected,
    FileOffered,
    Made,
    Message,
    Reconnected,
    Rekeyed,
    RekeyRefused,
    Room,
    Unreadable,
    UserChanged,
    UserJoined,
    create,
    join,
)
from relayd.client.hearing import HOLD_S
from relayd.errors import Muted

WAIT_S = 20


class Listener:
    """A member, and all its events."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.events: list[Any] = []
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        with contextlib.suppress(Exception):
            async for event in self.room:
                self.events.append(event)
                self._news.set()

    def texts(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Message)]

    async def hears(self, *texts: str) -> None:
        """Waits until all of these have come, and nothing that could not be opened."""
        async with asyncio.timeout(WAIT_S):
            while not set(texts) <= set(self.texts()):
                assert not self.unreadable(), (self.unreadable(), self.texts())
                self._news.clear()
                await self._news.wait()
        assert not self.unreadable()

    def unreadable(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, Unreadable)]

    async def until(self, kind: type) -> None:
        async with asyncio.timeout(WAIT_S):
            while not any(isinstance(event, kind) for event in self.events):
                self._news.clear()
                await self._news.wait()


class Company:
    """A sealed room, and those who come into it; they leave at the end, the last one first."""

    def __init__(self, base: str, made: Made, stack: contextlib.AsyncExitStack) -> None:
        self.base = base
        self.made = made
        self._stack = stack
        self.everyone: list[Listener] = []

    async def enter(self, nick: str, *, owner: bool = False, way: Cutter | None = None) -> Listener:
        link = self.made.link if way is None else self.made.link.replace(self.base, way.base)
        joining = join(link, nick, owner=self.made.owner if owner else None, backoff=quick())
        listener = Listener(await self._stack.enter_async_context(joining))
        self.everyone.append(listener)
        return listener

    async def cutter(self) -> Cutter:
        return await self._stack.enter_async_context(cutter_before(self.base))


@contextlib.asynccontextmanager
async def company(base: str, **fields: Any) -> AsyncIterator[Company]:
    async with contextlib.AsyncExitStack() as stack:
        yield Company(base, await create(base, **fields), stack)


async def is_gone(way: Cutter) -> None:
    """The program behind that way is dead: it neither leaves nor comes back."""
    way.refusing = True
    way.cut()


# Those who are there, who come in between, and who come later. ---------------------------------------------------


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("gap_s", [0, 0.01, 0.1])
async def test_two_programs_that_join_at_nearly_the_same_time(gap_s, workers):
    """Each sends a message as soon as it has joined, and later; everyone reads both, whenever they joined."""
    async with relayd("--workers", workers) as process, company(process.base) as room:
        await room.enter("guest")
        one = await room.enter("one", owner=True)
        await asyncio.sleep(gap_s)
        two = await room.enter("two", owner=True)
        await two.room.say("two, at once")
        await one.room.say("one, at once")
        for listener in room.everyone[:2]:
            await listener.hears("two, at once", "one, at once")
        between = await room.enter("between")
        await one.room.say("one again")
        await two.room.say("two again")
        await asyncio.sleep(0.5)
        later = await room.enter("later")
        await one.room.say("one, in the end")
        await two.room.say("two, in the end")
        for listener in room.everyone:
            await listener.hears("one, in the end", "two, in the end")
        await between.hears("one again", "two again")
        assert not set(later.texts()) & {"one again", "two again"}


@pytest.mark.parametrize("speaks_first", [0, 1])
async def test_a_newcomer_between_two_cards(relay, speaks_first):
    """A member whose list had the first card only reads the first message of the second program."""
    async with company(relay.base) as room:
        programs = [await room.enter("one", owner=True)]
        newcomer = await room.enter("newcomer")
        programs.append(await room.enter("two", owner=True))
        await programs[1 - speaks_first].room.say("b")
        await programs[speaks_first].room.say("a")
        await newcomer.hears("a", "b")
        for program in programs:
            await program.hears("a", "b")


@pytest.mark.parametrize("together", [True, False])
async def test_four_programs(relay, together):
    """All of them are readable to each other, to a guest, and to a newcomer."""
    async with company(relay.base) as room:
        await room.enter("guest")
        if together:
            await asyncio.gather(*(room.enter(f"program {n}", owner=True) for n in range(4)))
        else:
            for number in range(4):
                await room.enter(f"program {number}", owner=True)
                await asyncio.sleep(0.3)
        programs = room.everyone[1:]
        await room.enter("newcomer")
        await asyncio.gather(*(one.room.say(f"words of {n}") for n, one in enumerate(programs)))
        for listener in room.everyone:
            await listener.hears(*(f"words of {n}" for n in range(4)))


async def test_private_messages_and_files_of_each(relay, tmp_path):
    """Private messages and file offers of each program can be read, like messages to all."""
    (tmp_path / "a.txt").write_text("content")
    async with company(relay.base) as room:
        programs = [await room.enter("one", owner=True), await room.enter("two", owner=True)]
        guest = await room.enter("guest")
        await guest.room.say("hello")
        for program in programs:
            await program.hears("hello")
        for number, program in enumerate(programs):
            await program.room.say(f"psst {number}", to=guest.room.me)
            await program.room.offer(tmp_path / "a.txt")
            program.room.typing()
        await guest.hears("psst 0", "psst 1")
        await guest.until(FileOffered)
        await programs[0].room.say("end")
        await guest.hears("end")
        assert sum(isinstance(event, FileOffered) for event in guest.events) == 2


async def test_one_who_left_and_comes_again_with_another_card(relay):
    """A program that was started again is the same user with another key pair: its first message can be read."""
    async with company(relay.base) as room:
        guest = await room.enter("guest")
        for number in range(5):
            async with join(room.made.link, "ann", owner=room.made.owner) as ann:
                await ann.say(f"here again {number}")
        await guest.hears(*(f"here again {n}" for n in range(5)))


async def test_one_that_died_and_was_started_again(relay):
    """The same without leaving: the user keeps the place, and others know the old card."""
    async with company(relay.base) as room:
        guest, way = await room.enter("guest"), await room.cutter()
        await room.enter("ann", owner=True, way=way)
        await asyncio.sleep(0.4)
        await is_gone(way)
        again = await room.enter("ann", owner=True)
        await again.room.say("started again")
        await guest.hears("started again")


async def test_an_old_program_among_many_new_ones(relay):
    """A program that was silent until now can be read, though many others came and went meanwhile."""
    async with company(relay.base) as room:
        guest, old = await room.enter("guest"), await room.enter("old", owner=True)
        for number in range(12):
            way = await room.cutter()
            one = await room.enter("ann", owner=True, way=way)
            await one.room.say(f"{number}")
            await is_gone(way)
        await old.room.say("still here")
        await guest.hears("still here", *map(str, range(12)))
        newcomer = await room.enter("newcomer")
        await old.room.say("for everyone")
        await newcomer.hears("for everyone")


async def test_nobody_is_renamed_for_it(relay):
    """A newcomer sees one user with one name, however many cards there are: the name on the newest."""
    async with company(relay.base) as room:
        await room.enter("one", owner=True)
        await asyncio.sleep(0.4)
        two = await room.enter("two", owner=True)
        newcomer = await room.enter("newcomer")
        await two.room.say("hello")
        await newcomer.hears("hello")
        await asyncio.sleep(0.4)
        changed = [e for e in newcomer.events if isinstance(e, UserChanged) and e.user.id == two.room.me.id]
        assert changed == []
        assert newcomer.room.user(two.room.me.id).nick == "two"
        assert [user.id for user in newcomer.room.users].count(two.room.me.id) == 1


async def test_new_keys(relay):
    """One program of the owner removes a user and stays in the room; the other joins by the new link."""
    async with company(relay.base) as room:
        guest, one = await room.enter("guest"), await room.enter("one", owner=True)
        two = await room.enter("two", owner=True)
        async with join(room.made.link, "eve") as eve:
            await one.until(UserJoined)
            link = await one.room.kick(eve.me.id)
        await two.until(RekeyRefused)
        room.made = Made(link, room.made.owner, room.made.id, room.made.name, room.made.expiration_date)
        newcomer = await room.enter("newcomer")
        again = await room.enter("two", owner=True)
        await again.room.say("two, under new keys")
        await one.room.say("one, under new keys")
        await guest.room.say("guest, under new keys")
        for listener in (guest, one, again, newcomer):
            await listener.hears("two, under new keys", "one, under new keys", "guest, under new keys")


# Those who were away. -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["stays", "dies", "leaves"])
async def test_what_a_second_program_said_opens_for_those_who_come_back(relay, ends):
    """It joined and sent messages while they were away; whether or not it is still connected."""
    async with company(relay.base) as room:
        ways = [await room.cutter(), await room.cutter()]
        guest = await room.enter("guest", way=ways[0])
        one = await room.enter("one", owner=True)
        await one.room.say("before")
        await guest.hears("before")
        ways[0].refusing = True
        ways[0].cut()
        await guest.until(Disconnected)
        two = await room.enter("two", owner=True, way=ways[1])
        await two.room.say("of two, to all")
        await two.room.say("of two, to one", to=guest.room.me)
        await one.room.say("of one")
        if ends == "dies":
            await is_gone(ways[1])
            await asyncio.sleep(0.5)
        elif ends == "leaves":
            await two.room.leave()
        ways[0].refusing = False
        await guest.until(Reconnected)
        await guest.hears("of two, to all", "of two, to one", "of one")


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_message_whose_card_got_lost_with_the_connection(leaves):
    """A message of an unknown user came last: it waits for the card until the connection is back, however long."""
    async with relay_with(timing__presence_interval=2) as relay, company(relay.base) as room:
        way = await room.cutter()
        await room.enter("one", owner=True)
        guest = await room.enter("guest", way=way)
        author = await room.enter("author")
        await author.room.say("first words")
        async with asyncio.timeout(WAIT_S):
            while guest.room._inside.stream.seq < 1:
                await asyncio.sleep(0.01)
        way.refusing = True
        way.cut()
        await guest.until(Disconnected)
        if leaves:
            await author.room.leave()
        await asyncio.sleep(HOLD_S + 0.5)
        way.refusing = False
        await guest.until(Reconnected)
        await guest.hears("first words")
        assert next(event.user.nick for event in guest.events if isinstance(event, Message)) == "author"


async def test_after_a_restart(tmp_path):
    """Members who come back read what a second program sent before; newcomers read what it sends from now on."""
    keeper = Keeper(tmp_path)
    try:
        await keeper.start()
        async with company(keeper.base) as room:
            way = await room.cutter()
            guest = await room.enter("guest", way=way)
            one = await room.enter("one", owner=True)
            await one.room.say("before")
            await guest.hears("before")
            way.refusing = True
            way.cut()
            await guest.until(Disconnected)
            dying = await room.cutter()
            two = await room.enter("two", owner=True, way=dying)
            await two.room.say("of two")
            three = await room.enter("three", owner=True)
            await three.room.say("of three")
            await is_gone(dying)
            async with join(room.made.link, "passing") as passing:
                await passing.say("of one who left")
            await keeper.restart(signal.SIGKILL)
            way.refusing = False
            await guest.until(Reconnected)
            await guest.hears("of two", "of three", "of one who left")
            newcomer = await room.enter("newcomer")
            await three.room.say("of three again")
            await one.room.say("of one again")
            for listener in (guest, newcomer):
                await listener.hears("of three again", "of one again")
    finally:
        await keeper.close()


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_after_an_upgrade(tmp_path, workers):
    """Newcomers can read programs that stayed connected while another process took over."""
    keeper = Keeper(tmp_path)
    try:
        await keeper.start("--workers", workers)
        async with company(keeper.base) as room:
            one, two = [await room.enter(nick, owner=True) for nick in ("one", "two")]
            await two.room.say("before")
            await one.hears("before")
            await relayctl(keeper, "upgrade")
            newcomer = await room.enter("newcomer")
            await one.room.say("of one")
            await two.room.say("of two")
            await newcomer.hears("of one", "of two")
            assert not any(isinstance(event, Disconnected) for event in one.events)
    finally:
        await keeper.close()


# The card comes first. ------------------------------------------------------------------------------------------


async def test_messages_wait_until_the_server_has_the_card():
    """A card that the server refuses for a while comes before any message: on joining, and after a rekey."""
    async with fake_relay() as fake, company(fake.base) as room:
        busy = {"code": "rate_limited", "detail": "", "retry_after_ms": 200}
        refusals = [busy, busy]
        fake.refuse = lambda user, frame: refusals.pop() if frame["type"] == "profile" and refusals else None
        ann = await room.enter("ann", owner=True)
        await asyncio.gather(ann.room.say("one"), ann.room.say("two"))
        async with join(room.made.link, "eve") as eve:
            await ann.until(UserJoined)
            refusals.append(busy)
            kicking = asyncio.create_task(ann.room.kick(eve.me.id))
            await ann.until(Rekeyed)
            await ann.room.say("three")
            await kicking
        kinds = [frame["type"] for user, frame in fake.heard if user == ann.room.me.id]
        kinds = [kind for kind in kinds if kind in ("profile", "message")]
        assert kinds == [*["profile"] * 3, "message", "message", *["profile"] * 2, "message"]


async def test_a_card_that_was_refused_comes_before_the_next_message():
    """While a user is muted, cards are refused like messages; the first message afterwards has its card before it."""
    async with fake_relay() as fake, company(fake.base) as room:
        muted = {"code": "muted", "detail": ""}
        fake.refuse = lambda user, frame: muted if frame["type"] in ("profile", "message") else None
        ann = await room.enter("ann", owner=True)
        for _ in range(2):
            with pytest.raises(Muted):
                await ann.room.say("not now")
        fake.refuse = lambda user, frame: None
        await ann.room.say("now")
        kinds = [frame["type"] for user, frame in fake.heard]
        assert kinds[-2:] == ["profile", "message"]
