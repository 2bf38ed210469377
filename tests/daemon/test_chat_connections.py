"""Several connections of one user: all hear the same, and there are bounds to them; and connections that are dead."""

import asyncio
import json

from conftest import relay_with
from rawsocket import PING, PONG, TEXT, join_raw
from test_chat_messages import pair, quiet


async def alive(peer):
    """Nothing but an answer tells that a connection lives."""
    await peer.send("ping", id="alive")
    await peer.until("pong", id="alive")


async def test_tabs_hear_the_same(relay):
    """What one tab hears, all hear; what one says is the user's."""
    room, ann, bob = await pair(relay)
    tab = await relay.join(room, session=bob.session)
    await ann.say("1")
    await tab.say("2")
    await bob.say("3", to=ann.id)
    heard = [[await peer.until("message") for _ in range(3)] for peer in (bob, tab)]
    assert sorted(map(json.dumps, heard[0])) == sorted(map(json.dumps, heard[1]))
    assert {frame["from"] for frame in heard[0]} == {ann.id, bob.id}


async def test_one_tab_less(relay):
    """A closed tab takes nothing from the others."""
    room, ann, bob = await pair(relay)
    tab = await relay.join(room, session=bob.session)
    await tab.socket.close()
    await bob.say("1")
    await ann.until("message", id="1")


async def test_ninth_connection(relay):
    """Of nine the longest idle goes with 4016: not the first, if it has spoken since."""
    room = await relay.create()
    tabs = [await relay.join(room)]
    for _ in range(7):
        tabs.append(await relay.join(room, session=tabs[0].session))
    await tabs[0].say("1")
    for tab in tabs:
        await tab.until("message", id="1")
    ninth = await relay.join(room, session=tabs[0].session)
    assert await tabs[1].closed() == (4016, "too_many_connections")
    for tab in (tabs[0], *tabs[2:], ninth):
        await alive(tab)
    details = await relay.details(room)
    assert (details["connections"], details["users"]) == (8, 1)


async def test_bound_is_a_users_own(relay):
    """Eight tabs of one user are nothing to another; the bound is a setting."""
    async with relay_with(limits__max_connections_per_user=1) as relay:
        _, ann, bob = await pair(relay)
        await alive(ann)
        await alive(bob)


async def test_silent_extra_connection():
    """Of a user's connections those silent for `idle_timeout` go with 4015, but never the last one."""
    async with relay_with(timing__ping_interval=0.2) as relay:
        room = await relay.create(settings={"idle_timeout": 1})
        alone, speaker = await relay.join(room, "alone"), await relay.join(room, "speaker")
        silent = await relay.join(room, session=speaker.session)

        async def speak():
            while True:
                await speaker.send("signal", kind="typing", data=1)
                await asyncio.sleep(0.1)

        speaking = asyncio.create_task(speak())
        assert await silent.closed(10) == (4015, "idle")
        await alive(speaker)
        await alive(alone)
        speaking.cancel()
        assert (await relay.details(room))["connections"] == 2


async def test_both_silent():
    """When all connections of a user are silent, one stays."""
    async with relay_with(timing__ping_interval=0.2) as relay:
        room = await relay.create(settings={"idle_timeout": 1})
        first = await relay.join(room)
        second = await relay.join(room, session=first.session)
        ends = [asyncio.create_task(peer.closed(30)) for peer in (first, second)]
        done, pending = await asyncio.wait(ends, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert [end.result() for end in done] == [(4015, "idle")]
        for end in pending:
            end.cancel()
        await asyncio.wait(pending)
        await alive(first if ends[0] in pending else second)
        assert (await relay.details(room))["connections"] == 1


async def test_no_idle_timeout():
    """With 0 silence is never a reason."""
    async with relay_with(timing__ping_interval=0.1) as relay:
        room = await relay.create(settings={"idle_timeout": 0})
        first = await relay.join(room)
        second = await relay.join(room, session=first.session)
        assert await first.frames(0.5) == []
        await alive(first)
        await alive(second)


async def test_dead_connection():
    """One that answers no ping is dropped and its user shown away; one that does is not."""
    async with relay_with(timing__ping_interval=0.2, timing__presence_interval=0.05) as relay:
        room = await relay.create()
        ann = await relay.join(room)
        dead, raw = await join_raw(relay, room), await join_raw(relay, room)
        dead_id = None

        async def answer():
            while True:
                raw.send(await raw.until(PING), PONG)

        answering = asyncio.create_task(answer())
        await dead.ended()
        while not (told := await ann.until("presence"))["changed"]:
            for user in told["joined"]:
                dead_id = dead_id or user["id"]
        assert [(user["id"], user["away"]) for user in told["changed"]] == [(dead_id, True)]
        assert told["left"] == []
        answering.cancel()
        raw.send_json("ping", id="1")
        assert json.loads(await raw.until(TEXT))["type"] in ("pong", "presence")


async def test_slow_reader_is_cut_off():
    """Who stops reading is closed with 4508; the others miss nothing, and the user's place is kept."""
    async with relay_with(limits__message_rate=0) as relay:
        room = await relay.create()
        ann = await relay.join(room, "ann")
        slow = await join_raw(relay, room, receive_bytes=4096)
        bob = await relay.join(room, "bob")  # after the slow one, so that being written to after it matters
        for number in range(2000):
            await ann.say(str(number), "x" * 60_000)
            for peer in (ann, bob):
                assert (await peer.until("message"))["id"] == str(number)
            if number % 20 == 0 and (await relay.details(room))["connections"] == 2:
                break
        details = await relay.details(room)
        assert (details["connections"], details["users"]) == (2, 3)
        assert await slow.close_code(30) == 4508


async def test_return_as_the_same(relay):
    """After a lost connection the session brings back the same user, however often."""
    room, ann, bob = await pair(relay)
    for n in range(3):
        session = bob.session
        bob.socket.transport.abort()
        bob = await relay.join(room, session=session)
        await bob.say(str(n))
        assert (await ann.until("message", id=str(n)))["from"] == bob.id
    assert (await relay.details(room))["users"] == 2


async def test_stolen_session_is_another_tab(relay):
    """It hears what the user hears, and the user's own connections stay."""
    room, ann, bob = await pair(relay)
    thief = await relay.join(room, session=bob.session, key="ri_AAAAAAAAAAAAAAAAAAAAAA")
    assert thief.id == bob.id
    await ann.say("1", to=bob.id)
    await bob.until("message", id="1")
    await thief.until("message", id="1")
    assert [frame["type"] for frame in await quiet(bob)] == []
