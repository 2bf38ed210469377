"""A machine sleeps while its client is in a room: the client's clock jumps, timers of the event loop stand still.

The clock is given to the client, so that an hour's sleep takes no time here.
"""

from __future__ import annotations

import asyncio
import time

import pytest
from cutter import cutter_before, heard
from fake_relay import fake_relay
from test_client_resume import quick

from relayd.client import Backoff, Disconnected, Message, Reconnected, Unconfirmed, create, join
from relayd.client.clock import boot_clock

NOTICED_S = 20  # far more than it takes, and far less than a dead line is given where nobody waits


class Laptop:
    """The clock of a machine that can sleep."""

    def __init__(self) -> None:
        self._slept_s = 0.0

    def __call__(self) -> float:
        return boot_clock() + self._slept_s

    def sleep(self, seconds: float) -> None:
        self._slept_s += seconds


class Patient(Backoff):
    """Comes back so late that no test waits for it."""

    def next_s(self, asked_s: float | None = None, lived_s: float = 0.0) -> float:
        return asked_s or 3600.0


@pytest.fixture
def laptop() -> Laptop:
    return Laptop()


async def test_a_message_in_doubt_is_not_said_twice_after_a_sleep(relay, laptop):
    """Its echo was lost just before, and the server has forgotten the id by now: its author is told that."""
    made = await create(relay.base, sealed=False, settings={"resume": 0})
    async with cutter_before(relay.base) as way, join(made.link, "bob") as bob:
        link = made.link.replace(relay.base, way.base)
        async with join(link, "ann", clock=laptop, backoff=quick()) as ann:
            way.swallow("down")
            saying = asyncio.create_task(ann.say("transfer 100"))
            assert (await heard(bob, Message)).text == "transfer 100"
            laptop.sleep(150)
            with pytest.raises(Unconfirmed):
                await asyncio.wait_for(saying, NOTICED_S)
            await ann.say("end")
            assert (await heard(bob, Message)).text == "end"


async def test_a_message_that_came_again_after_a_sleep_was_said(relay, laptop):
    """Where a complete replay tells, its author is not asked."""
    made = await create(relay.base, sealed=False)
    async with cutter_before(relay.base) as way, join(made.link, "bob") as bob:
        link = made.link.replace(relay.base, way.base)
        async with join(link, "ann", clock=laptop, backoff=quick()) as ann:
            way.swallow("down")
            saying = asyncio.create_task(ann.say("transfer 100"))
            await heard(bob, Message)
            laptop.sleep(150)
            assert (await asyncio.wait_for(saying, NOTICED_S)).seq == 1


async def test_a_dead_line_is_noticed_soon_after_waking(relay, laptop):
    """Nobody sends anything; the connection stays open, but carries nothing."""
    made = await create(relay.base)
    async with cutter_before(relay.base) as way:
        link = made.link.replace(relay.base, way.base)
        async with join(link, "ann", clock=laptop) as ann:
            before = way.connections
            way.swallow("up", "down")
            laptop.sleep(60)
            await heard(ann, Reconnected, timeout=NOTICED_S)
            assert way.connections == before + 1
            await ann.say("back")


async def test_a_live_line_is_kept_after_waking(relay, laptop):
    made = await create(relay.base)
    async with join(made.link, "ann", clock=laptop) as ann:
        for _ in range(2):
            laptop.sleep(60)
            await asyncio.sleep(2.5)
        await ann.say("still here")
        assert (await heard(ann, Message)).text == "still here"
        assert ann.connected


async def test_a_dead_line_is_noticed_soon_while_a_message_waits(relay):
    """Without any sleep: nobody looks at a message on its way for 40 s."""
    made = await create(relay.base)
    async with cutter_before(relay.base) as way:
        link = made.link.replace(relay.base, way.base)
        async with join(link, "ann") as ann:
            before = way.connections
            way.swallow("up", "down")
            assert (await asyncio.wait_for(ann.say("hello?"), NOTICED_S)).seq == 1
            assert way.connections == before + 1


async def test_a_long_wait_ends_with_the_sleep(relay, laptop):
    """A client that waits for its next attempt makes it when the machine wakes."""
    made = await create(relay.base)
    async with cutter_before(relay.base) as way:
        link = made.link.replace(relay.base, way.base)
        async with join(link, "ann", clock=laptop, backoff=Patient()) as ann:
            way.cut()
            assert (await heard(ann, Disconnected)).retry_in_s == 3600
            laptop.sleep(60)
            await heard(ann, Reconnected, timeout=NOTICED_S)


async def test_an_attempt_of_before_the_sleep_is_given_up(relay, laptop):
    """It was made on a network that is gone."""
    made = await create(relay.base)
    async with cutter_before(relay.base) as way:
        link = made.link.replace(relay.base, way.base)
        async with join(link, "ann", clock=laptop, backoff=quick()) as ann:
            before, way.swallowing = way.connections, True
            way.cut()
            await heard(ann, Disconnected)
            while way.connections < before + 1:
                await asyncio.sleep(0.01)
            began = time.monotonic()
            way.swallowing = False
            laptop.sleep(60)
            await heard(ann, Reconnected, timeout=NOTICED_S)
            assert time.monotonic() - began < 12, "less than an attempt may take"


async def test_a_server_is_not_disturbed_before_the_time_that_it_has_asked_for(laptop):
    """The time counts on while the machine sleeps; the rest of it is waited for."""
    async with fake_relay() as fake:
        made = await create(fake.base)
        async with join(made.link, "ann", clock=laptop, backoff=Patient()) as ann:
            socket = next(iter(fake.sockets))
            fake.tell(socket, {"type": "room", "event": "restarting", "retry_in_ms": 100_000})
            socket.close(4500, "restarting")
            await heard(ann, Disconnected)
            laptop.sleep(60)
            await asyncio.sleep(2.5)
            assert not ann.connected
            laptop.sleep(60)
            await heard(ann, Reconnected, timeout=NOTICED_S)


@pytest.mark.slow
async def test_a_slow_line_is_kept_while_a_message_waits(relay):
    """Twelve seconds' worth of a message on a bad mobile network, in which nothing comes: it arrives all the same."""
    made = await create(relay.base, sealed=False)
    async with cutter_before(relay.base) as way:
        link = made.link.replace(relay.base, way.base)
        async with join(link, "ann") as ann:
            way.rate, before = 5 * 1024, way.connections
            await ann.say("x" * 60_000)
            assert way.connections == before
