"""A room whose messages take several turns of the loop to deliver."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import websockets
from conftest import Peer, relay_with

MEMBERS = 120  # of whom a message of 60 KB takes two turns (TURN_COST in relayd/gateway/scheduler.py)
MESSAGES = 12


async def _read(peer: Peer) -> list[dict[str, Any]]:
    """Everything until the end; without bodies, which are long."""
    frames = []
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            frames.append(json.loads(await peer.socket.recv()))
            frames[-1].pop("body", None)
    return frames


async def test_everyone_is_sent_everything_in_order():
    """Messages, direct messages, presence and the end of the room; a late joiner, what came after its join."""
    async with relay_with(limits__message_rate=0) as relay:
        room = await relay.create(max=MEMBERS + 2)
        owner = await relay.join(room, "owner", owner=True)
        others = [await relay.join(room, f"u{number}") for number in range(MEMBERS)]
        reading = [asyncio.create_task(_read(one)) for one in (owner, *others)]
        for number in range(MESSAGES):
            await others[0].say(f"m{number}", "x" * 60_000)
        await others[0].say("direct", "for one", to=others[-1].id)
        late = await relay.join(room, "late")
        late_reading = asyncio.create_task(_read(late))
        await owner.say("last", "x" * 60_000)
        await owner.send("close", id="end")
        heard = await asyncio.wait_for(asyncio.gather(*reading), 50)
        for frames in heard:
            seqs = [frame["seq"] for frame in frames if "seq" in frame and frame["type"] == "message"]
            assert seqs == list(range(1, MESSAGES + 2))
            assert (frames[-1]["type"], frames[-1]["event"]) == ("room", "closed")
        direct = [frame for frame in heard[-1] if frame.get("id") == "direct"]
        assert [frame["after"] for frame in direct] == [MESSAGES]
        late_seqs = [frame["seq"] for frame in await late_reading if "seq" in frame and frame["type"] == "message"]
        assert late_seqs == list(range(late.joined["seq"] + 1, MESSAGES + 2))
        assert all(one.socket.close_code == 4010 for one in (owner, *others, late))
