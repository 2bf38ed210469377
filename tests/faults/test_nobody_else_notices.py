"""Slow readers are their own affair: the others' latency with some in the room, against without, in one run."""

from __future__ import annotations

import asyncio
import statistics
import time

import pytest

from tests.conftest import Peer, Relay
from tests.faults.test_clients import _crawler
from tests.faults.world import relayd

PAIRS, MESSAGES, PAUSE_S = 5, 120, 0.01


async def _p99_ms(speaker: Peer, listeners: list[Peer], label: str) -> float:
    """Says a number of things, and takes the time until each listener has heard each."""
    latencies: list[float] = []

    async def listen(peer: Peer) -> None:
        for _ in range(MESSAGES):
            frame = await peer.until("message", timeout=20)
            latencies.append(time.monotonic() - frame["body"]["at"])

    listening = [asyncio.create_task(listen(peer)) for peer in listeners]
    for number in range(MESSAGES):
        await speaker.say(f"{label}-{number}", {"at": time.monotonic(), "pad": "x" * 2000})
        await asyncio.sleep(PAUSE_S)
    await asyncio.gather(*listening)
    return statistics.quantiles(latencies, n=100)[98] * 1000


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_slow_readers_cost_the_others_nothing():
    """p99 with ten crawling readers in the room is that without them, within the noise of this machine."""
    ratios = []
    async with relayd(RELAYD_LIMITS_MESSAGE_RATE="0") as process:
        relay = Relay(process.base)
        for pair in range(PAIRS):
            p99 = {}
            # The order changes, so that a machine that slows down or speeds up favours neither.
            for crawlers in (0, 10) if pair % 2 else (10, 0):
                room = await relay.create(expiration_date=1)
                speaker = await relay.join(room, "speaker")
                listeners = [await relay.join(room, f"listener {index}") for index in range(5)]
                slow = [await _crawler(relay, room) for _ in range(crawlers)]
                p99[crawlers] = await _p99_ms(speaker, listeners, f"{pair}-{crawlers}")
                for sock in slow:
                    sock.close()
                for peer in (speaker, *listeners):
                    peer.socket.transport.abort()
            ratios.append(p99[10] / p99[0])
        await relay.close()
    print(f"p99 with / without slow readers: {sorted(round(ratio, 2) for ratio in ratios)}")  # noqa: T201
    assert statistics.median(ratios) < 2
