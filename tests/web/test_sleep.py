"""Devices sleep, lose their network without a word, and have wrong clocks: nothing is lost or said twice for it."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import expect

from web.companions import companion
from web.network import network_before
from web.person import query, until
from web.test_engine import bare
from web.test_room_keys import DAY_MS, SET_CLOCK

# What is noticed within 9 s takes longer on a busy machine; before, it took 35 s.
NOTICED_S = 25
WOKEN_S = 20
HOUR_S = 3_600
COUNT_SENT = """() => {
  const send = WebSocket.prototype.send;
  globalThis.sent = [];
  WebSocket.prototype.send = function (data) { sent.push(data); return send.call(this, data); };
}"""
DISPATCH = "(kind) => (kind === 'visibilitychange' ? document : window).dispatchEvent(new Event(kind))"
# Like the page's clock where it stops in a sleep, or goes on while the device's is set back: in steps of both.
SHIFT_CLOCKS = """([wall, steady]) => {
  const [date, performanceNow] = [Date.now, performance.now];
  Date.now = () => date.call(Date) + wall;
  performance.now = () => performanceNow.call(performance) + steady;
}"""


async def test_an_own_message_finds_a_dead_connection(server, people):
    """A connection that carries nothing any more is given up while an own message waits for its echo."""
    async with network_before(server.base) as network:
        ann = await people(network.base)
        link = await ann.create()
        async with companion(link.replace(network.base, server.base), "bob") as bob:
            await ann.say("before")
            await bob.hears("before")
            network.silence()
            await ann.say("anybody there?")
            await until(lambda: _has(bob, "anybody there?"), "the message comes by another connection", NOTICED_S)
            await ann.wait("img", "Sent", within=query("article", text="anybody there?"))
            await bob.say("sentinel")
            await ann.sees("sentinel")
            assert bob.bodies.count("anybody there?") == 1


async def _has(one, text: str) -> bool:
    return text in one.bodies


@pytest.mark.slow
async def test_waking_finds_a_dead_connection(server, people):
    """Who comes back to the page is soon shown what was missed, though the connection has not outlived the sleep."""
    async with network_before(server.base) as network:
        ann = await people(network.base)
        link = await ann.create()
        async with companion(link.replace(network.base, server.base), "bob") as bob:
            await ann.sees("bob joined")
            for event in ("focus", "online", "visibilitychange"):
                network.silence()
                await bob.say(f"before the {event}")
                await asyncio.sleep(1.5)  # what was heard a second ago is not asked for
                await ann.tab.evaluate(DISPATCH, event)
                await ann.sees(f"before the {event}", WOKEN_S)


async def test_a_sleep_is_noticed(server, visitors):
    """A timer that is late is enough: 5 s after a sleep a dead connection is given up, by the page's own clock."""
    async with network_before(server.base) as network:
        ann = await visitors(base=network.base)
        await ann.page.clock.install()
        await ann.create()
        await ann.page.clock.pause_at(await _clock_s(ann) + 1)
        network.silence()
        network.refusing = True
        # The hour passes on the device's clock alone: timers have stood still.
        await ann.page.clock.set_system_time(await _clock_s(ann) + HOUR_S)
        await ann.page.clock.run_for(5_000)
        await expect(ann.page.get_by_role("button", name="Try now")).to_be_visible()


async def _clock_s(ann) -> float:
    return await ann.page.evaluate("Date.now()") / 1000


async def test_a_sleep_ends_the_wait(server, visitors):
    """After a sleep, or as the device says that it has a network, a long wait for the next try is not waited out."""
    async with network_before(server.base) as network:
        ann = await visitors(base=network.base)
        await ann.page.clock.install()
        await ann.page.add_init_script("Math.random = () => 0.999")  # the longest waits that there are
        await ann.create()
        await ann.page.clock.pause_at(await _clock_s(ann) + 1)
        again = ann.page.get_by_role("button", name="Try now")
        for wake in ("sleep", "online"):
            network.silence()
            network.refusing = True
            await ann.page.evaluate("dispatchEvent(new Event('offline'))")
            for _ in range(8):  # failures, each with a longer wait behind it
                await ann.page.clock.run_for(8_000)
                await asyncio.sleep(0.1)
            await expect(again).to_be_visible()
            network.refusing = False
            if wake == "sleep":
                await ann.page.clock.set_system_time(await _clock_s(ann) + HOUR_S)
                await ann.page.clock.run_for(1_000)
            else:
                await ann.page.evaluate("dispatchEvent(new Event('online'))")
            for _ in range(20):  # of a second by the page's clock
                await ann.page.clock.run_for(50)
                await asyncio.sleep(0.05)
            await expect(again).to_be_hidden()


async def _is_more(number: int, than: int) -> bool:
    return number > than


@pytest.mark.slow
async def test_a_slow_line_is_not_taken_for_dead(server, visitors, tmp_path):
    """At 20 KB/s and 400 ms each way, with a file on its way up and messages behind it, one connection is enough."""
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
                await bob.hears(f"behind it {number}")
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
    """A message whose echo is lost is not sent again by itself once the server may have forgotten it."""
    room = await server.create(settings={"resume": 0})
    async with network_before(server.base) as network:
        ann = await bare(visitors, network.base)
        await ann.open(f"{network.base}/{room['id']}#{room['invite_key']}")
        async with companion(room["link"], "bob") as bob:
            network.deaf = True
            await ann(COUNT_SENT)
            await ann("room.say('transfer 100')")
            await bob.hears("transfer 100")
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
    """Where a device has slept and its clock was set back, the server's time tells how long it was."""
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


async def test_a_clock_that_is_set_while_one_talks(server, people):
    """A clock set back or forwards by a day in the midst of a talk disturbs nothing."""
    async with network_before(server.base) as network:
        ann = await people(network.base)
        link = await ann.create()
        async with companion(link.replace(network.base, server.base), "bob") as bob:
            for days in (-1, 2):
                await ann.tab.evaluate(SET_CLOCK, days * DAY_MS)
                await ann.say(f"{days} days")
                await bob.hears(f"{days} days")
                await ann.wait("img", "Sent", within=query("article", text=f"{days} days"))
            await asyncio.sleep(6)  # longer than a question waits for its answer
            await bob.say("sentinel")
            await ann.sees("sentinel")
            assert await ann.find("button", "Try now") is None
