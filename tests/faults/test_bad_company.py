"""One client that does its worst; what it does to the others is nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import msgspec
import pytest

from relayd.client import sealing
from tests.conftest import Relay, relay_with
from tests.faults.world import relayd


async def test_a_bad_card_costs_only_its_sender(relay):
    """A join that cannot be read as a sealed card is refused; what others say at that moment is heard."""
    made = sealing.new_room()
    sealed = await relay.create(access=msgspec.to_builtins(made.access))
    room = await relay.create()
    ann = await relay.join(room, "ann")
    for number in range(20):
        mal = await relay.connect(sealed["id"])
        await asyncio.gather(
            mal.send("join", key=sealed["invite_key"], proof=made.keys.proof_text, profile={"e": float("inf")}),
            ann.say(str(number)),
        )
        assert (await ann.until("message", id=str(number)))["seq"] == number + 1
        assert (await mal.closed())[0] in (4000, 4003)


async def test_newcomers_at_once_cost_no_more_than_they_bring():
    """Hundreds who join in one moment with large profiles fill no memory: each hears of the others, in pieces."""
    async with relay_with(limits__join_rate=0) as relay:
        room = await relay.create(max=400)
        profile = {"nick": "x" * 900}
        peers = [await relay.connect(room["id"]) for _ in range(300)]
        await asyncio.gather(*(peer.send("join", key=room["invite_key"], profile=profile) for peer in peers))
        for peer in peers[:5]:
            known: set[str] = set()
            async with asyncio.timeout(20):
                while len(known) < 300:
                    frame = await peer.recv()
                    if frame["type"] == "joined":
                        known |= {frame["you"]["id"], *(user["id"] for user in frame["users"])}
                    if frame["type"] == "presence":
                        known |= {user["id"] for user in frame["joined"]}
        for peer in peers:
            peer.socket.transport.abort()


@pytest.mark.parametrize(("marks", "refusal"), [(600, (404, "no_such_room")), (5_000, (431, "head_too_large"))])
async def test_a_long_name_is_no_room(relay, marks, refusal):
    """It is refused before it is looked at: normalising it would hold up everybody."""
    path = "/api/v1/a" + "%CC%95%CC%96" * marks
    answer = await relay.request("GET", path, "ri_AAAAAAAAAAAAAAAAAAAAAA")
    assert (answer.code, json.loads(answer.body)["code"]) == refusal


@pytest.mark.timeout(120)
async def test_descriptors_come_back():
    """Thousands of connections through the workers leave none behind, in the hub as in them."""
    async with relayd("--workers", "2") as process:
        relay = Relay(process.base)
        await relay.request("GET", "/healthz")
        pids = [process.process.pid, *process.workers()]
        before = [_descriptors(pid) for pid in pids]
        host, port = process.base.removeprefix("http://").split(":")

        async def touch() -> None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
                await writer.wait_closed()

        for _ in range(30):
            await asyncio.gather(*(touch() for _ in range(100)))
        async with asyncio.timeout(20):
            while any(_descriptors(pid) > had + 10 for pid, had in zip(pids, before, strict=True)):
                await asyncio.sleep(0.1)
        await relay.close()
        assert not any("Traceback" in line for line in process.log)


def _descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


async def test_a_flood_of_pongs_holds_nobody_up():
    """Nor do other frames that need no answer: they are counted, and their sender is sent away."""
    async with relay_with() as relay:
        room = await relay.create()
        ann, mal = await relay.join(room, "ann"), await relay.join(room, "mal")

        async def flood() -> None:
            with contextlib.suppress(Exception):
                while True:
                    await mal.socket.pong(b"x")
                    await asyncio.sleep(0)  # the flood and the daemon share this loop

        flooding = asyncio.create_task(flood())
        for number in range(10):
            await ann.say(str(number))
            await ann.until("message", id=str(number), timeout=2)
            await asyncio.sleep(0.05)
        assert await mal.closed(timeout=30) == (4529, "rate_limited")
        flooding.cancel()
