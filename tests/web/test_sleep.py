"""Sleeps, dead connections and wrong clocks neither lose nor duplicate messages."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import expect

from web.companions import companion
from web.network import network_before
from web.person import query, until
from web.test_engine import bare
from web.test_room_keys import DAY_MS, SET_CLOCK

# Detection takes 9 s at most on an idle machine; without it, 35 s.
NOTICED_S = 25
WOKEN_S = 20
HOUR_S = 3_600
COUNT_SENT = """() => {
  const send = WebSocket.prototype.send;
  globalThis.sent = [];
  WebSocket.prototype.send = function (data) { sent.push(data); return send.call(this, data); };
}"""
DISPATCH = "(kind) => (kind === 'visibilitychange' ? document : window).dispatchEvent(new Event(kind))"
# Shifts Date.now and performance.now by so many ms.
SHIFT_CLOCKS = """([wall, steady]) => {
  const [date, performanceNow] = [Date.now, performance.now];
  Date.now = () => date.call(Date) + wall;
  performance.now = () => performanceNow.call(performance) + steady;
}"""


async def test_an_own_message_finds_a_dead_connection(server, people):
    """A dead connection is replaced while an own message waits for its echo."""
    async with network_before(server.base) as network:
        ann = await people(network.base)
        link = await ann.create()
        async with companion(link.replace(network.base, server.base), "bob") as bob:
            await ann.say("before")
            await bob.receives("before")
            network.silence()
            await ann.say("anybody there?")
            await until(lambda: _has(bob, "anybody there?"), "the message arrives over another connection", NOTICED_S)
            await ann.wait("img", "Sent", within=query("article", text="anybody there?"))
            await bob.say("sentinel")
            await ann.sees("sentinel")
            assert bob.bodies.count("anybody there?") == 1


async def _has(one, text: str) -> bool:
    return text in one.bodies


@pytest.mark.slow
async def test_waking_finds_a_dead_connection(server, people):
    """A dead connection is replaced soon after the person has come back to the page."""
    async with network_before(server.base) as network:
        ann = await people(network.base)
        link = await ann.create()
        async with companion(link.replace(network.base, server.base), "bob") as bob:
            await ann.sees("bob joined")
            for event in ("focus", "visibilitychange"):
                network.silence()
                await bob.say(f"before the {event}")
                await asyncio.sleep(1.5)  # a connection that received a frame within a second is not probed
                await ann.tab.evaluate(DISPATCH, event)
                await ann.sees(f"before the {event}", WOKEN_S)


async def test_a_sleep_is_noticed(server, visitors):
    """After a sleep a dead connection is dropped within 5 s of the page's time, without any event."""
    async with network_before(server.base) as network:
        ann = await visitors(base=network.base)
        await ann.page.clock.install()
        await ann.create()
        await ann.page.clock.pause_at(await _clock_s(ann) + 1)
        network.silence()
        network.refusing = True
        # Timers do not run during a sleep.
        await ann.page.clock.set_system_time(await _clock_s(ann) + HOUR_S)
        await ann.page.clock.run_for(5_000)
        await expect(ann.page.get_by_role("button", name="Try now")).to_be_visible()


async def _clock_s(ann) -> float:
    return await ann.page.evaluate("Date.now()") / 1000


async def test_a_sleep_ends_the_wait(server, visitors):
    """A sleep, or `online`, ends a long wait for the next attempt to connect."""
    async with network_before(server.base) as network:
        ann = await visitors(base=network.base)
        await ann.page.clock.install()
        await ann.page.add_init_script("Math.random = () => 0.999")  # the longest backoff
        await ann.create()
        await ann.page.clock.pause_at(await _clock_s(ann) + 1)
        again = ann.page.get_by_role("button", name="Try now")
        for wake in ("sleep", "online"):
            network.silence()
            network.refusing = True
            await ann.page.evaluate("dispatchEvent(new Event('offline'))")
            for _ in range(8):  # failed attempts
                await ann.page.clock.run_for(8_000)
                await asyncio.sleep(0.1)
            await expect(again).to_be_visible()
            network.refusing = False
            if wake == "sleep":
                await ann.page.clock.set_system_time(await _clock_s(ann) + HOUR_S)
                await ann.page.clock.run_for(1_000)
            else:
                await ann.page.evaluate("dispatchEvent(new Event('online'))")
            for _ in range(20):  # one second of the page's time
                await ann.page.clock.run_for(50)
                await asyncio.sleep(0.05)
            await expect(again).to_be_hidden()


async def _is_more(number: int, than: int) -> bool:
    return number > than


async def test_a_hung_attempt_is_abandoned(server, people):
    """An attempt to connect that gets no answer is replaced when the device has a network again."""
    async with network_before(server.base) as network:
        ann = await people(network.base)
        link = await ann.create()
        async with companion(link.replace(network.base, server.base), "bob") as bob:
            await ann.sees("bob joined")
            network.hanging = True
            network.silence()
            await asyncio.sleep(1.5)  # a connection that received a frame within a second is not probed
            await ann.tab.evaluate(DISPATCH, "online")
            connections = network.connections
            await until(lambda: _is_more(network.connections, connections), "the attempt that hangs")
            await bob.say("meanwhile")
            await asyncio.sleep(3.5)  # so long an attempt may take
            network.hanging = False
            await ann.tab.evaluate(DISPATCH, "online")
            await ann.sees("meanwhile", 12)


@pytest.mark.slow
async def test_a_slow_line_is_not_taken_for_dead(server, visitors, tmp_path):
    """At 20 KB/s and with 400 ms of latency, an upload with messages queued behind it keeps its connection."""
    async with network_before(server.base) as network:
        ann = await visitors(base=network.base)
        link = await ann.create()
        async with companion(link.replace(network.base, server.base), "bob") as bob:
            await ann.hears("bob joined")
            network.bytes_s, network.delay_s = 20_000, 0.4
            connections = network.connections
            data = bytes(range(256)) * 1_200
            offered = ann.page.locator("input[type=file]")
            await offered.set_input_files({"name": "big.bin", "mimeType": "", "buffer": data})
            await until(lambda: _is_more(len(bob.files), 0), "bob is offered the file")
            receiving = asyncio.ensure_future(_receive(bob, tmp_path))
            for number in range(2):
                await ann.say(f"behind it {number}")
                await ann.page.evaluate("dispatchEvent(new Event('focus'))")
                await bob.receives(f"behind it {number}")
            async with asyncio.timeout(45):
                path = await receiving
            assert path.read_bytes() == data
            assert network.connections == connections


async def _receive(bob, folder):
    return await bob.room.accept(bob.files[0], folder)


@pytest.mark.parametrize(
    "shift_s", [(-3600, 150), (150, 0), (150, 150)], ids=["set back", "stands still", "both go on"]
)
async def test_exactly_once_across_a_sleep(server, visitors, shift_s):
    """A message without an echo is not resent once the server may have forgotten its id."""
    room = await server.create(settings={"resume": 0})
    async with network_before(server.base) as network:
        ann = await bare(visitors, network.base)
        await ann.open(f"{network.base}/{room['id']}#{room['invite_key']}")
        async with companion(room["link"], "bob") as bob:
            network.deaf = True
            await ann(COUNT_SENT)
            await ann("room.say('transfer 100')")
            await bob.receives("transfer 100")
            await ann(SHIFT_CLOCKS, [1000 * seconds for seconds in shift_s])
            network.silence()
            network.deaf = False
            await ann("dispatchEvent(new Event('online'))")
            await ann("() => until(() => sockets.length > 1 && room.state.phase === 'joined')")
            await ann("() => until(() => room.state.lines.at(-1).status !== 'pending')")
            line = "(({status, problem}) => [status, problem?.code])(room.state.lines.at(-1))"
            assert await ann(line) == ["failed", "unconfirmed"]
            assert await ann("sent.filter((data) => String(data).includes('transfer 100')).length") == 1
            await bob.say("sentinel")
            await ann.hears("sentinel")
            assert bob.bodies.count("transfer 100") == 1


async def test_time_that_both_clocks_have_missed(visitors):
    """If the clock was set back during a sleep, the server's time shows how long the sleep was."""
    ann = await bare(visitors)
    missed = """async ([between, wall, steady]) => {
      const { Clock } = await import("/web/js/room/clock.js");
      const clock = new Clock();
      clock.sync(1_000_000);
      const sent = clock.now();
      const [date, performanceNow] = [Date.now, performance.now];
      Date.now = () => date.call(Date) + wall;
      performance.now = () => performanceNow.call(performance) + steady;
      clock.sync(1_000_000 + between);
      const since = clock.since(sent);
      [Date.now, performance.now] = [date, performanceNow];
      return since;
    }"""
    for between, wall, steady, least in (
        (150_000, -1000 * HOUR_S, 0, 150_000),
        (150_000, 0, 0, 150_000),
        (0, 150_000, 0, 150_000),
        (0, -DAY_MS, 150_000, 150_000),
        (1_000, 1_000, 1_000, 1_000),
    ):
        assert least - 100 < await ann(missed, [between, wall, steady]) < least + 5_000


async def test_a_clock_that_is_set_during_a_conversation(server, visitors):
    """Setting the clock back or forwards by a day does not disturb a connection."""
    async with network_before(server.base) as network:
        ann = await visitors(base=network.base)
        link = await ann.create()
        async with companion(link.replace(network.base, server.base), "bob") as bob:
            connections = network.connections
            for days in (-1, 2):
                await ann.page.evaluate(SET_CLOCK, days * DAY_MS)
                await ann.say(f"{days} days")
                await bob.receives(f"{days} days")
                await expect(ann.line(f"{days} days").get_by_role("img", name="Sent")).to_be_visible()
            await asyncio.sleep(6)  # longer than a probe times out
            await bob.say("sentinel")
            await ann.hears("sentinel")
            assert network.connections == connections
