"""What people say and hold is found nowhere an admin looks: log, metrics, control API, memory log."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.conftest import Peer, Relay
from tests.survive.keeper import Keeper

RELAYCTL = Path(sys.executable).with_name("relayctl")
SAID = ("canary-body", "canary-direct", "canary-data", "canary-kind", "canary-refused", "canary-file")
HELD = ("canary-password", "192.0.2.77", "198.51.100.66")
SHOWN = ("canary-nick", "canary-other")  # an admin may list users


@pytest.fixture
async def keeper(tmp_path: Path):
    keeper = Keeper(tmp_path)
    environment = {
        "RELAYD_LOG_LEVEL": "debug",
        "RELAYD_METRICS": f"unix:{tmp_path}/metrics.sock",
        "RELAYD_TRUSTED_PROXIES": "127.0.0.1",
    }
    await keeper.start(**environment)
    yield keeper
    await keeper.close()


async def run(*command: Any) -> str:
    """What a command prints, of both kinds."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return (await process.communicate())[0].decode()


async def visit(relay: Relay) -> tuple[dict[str, Any], list[Peer], list[str]]:
    """A room in which everything has been said, and all that is secret of it."""
    headers = {"X-Forwarded-For": "192.0.2.77", "Forwarded": "for=198.51.100.66"}
    body = {"name": "a room", "expiration_date": 5}
    room = json.loads((await relay.request("POST", "/api/v1/room", body=body, headers=dict(headers))).body)
    secret = {"password": "canary-password"}
    locked = json.loads((await relay.request("POST", "/api/v1/room", body=secret, headers=dict(headers))).body)
    peers = []
    for nick, key in (("canary-nick", "owner_key"), ("bob", "invite_key")):
        peer = Peer(await websockets.connect(f"{relay.ws_base}/{room['id']}", additional_headers=headers))
        await peer.send("join", key=room[key], profile={"nick": nick})
        peer.joined = await peer.recv()
        peers.append(peer)
    ann, bob = peers
    await ann.say("canary-id", {"text": "canary-body"})
    await ann.say("2", "canary-direct", to=bob.id)
    await bob.send("signal", kind="canary-kind", data="canary-data")
    await bob.send("profile", id="p", profile={"nick": "canary-other"})
    await bob.until("ok", id="p")
    fid = "Y2FuYXJ5LWZpbGUtMDAwMA"
    await bob.say("3", {"name": "canary-file"}, file={"fid": fid, "size": 5, "chunk": 5})
    await bob.until("message", id="3")
    await ann.send("mute", id="m", user=bob.id)
    await ann.until("ok", id="m")
    await bob.say("4", "canary-refused")
    await bob.until("error", id="4")
    wrong = await relay.connect(locked["id"])
    await wrong.send("join", key=locked["invite_key"], proof="canary-password")
    await wrong.closed()
    keys = [one[name] for one in (room, locked) for name in ("owner_key", "invite_key")]
    return room, peers, [*keys, *(peer.session for peer in peers)]


async def test_nothing_is_told_of_what_was_said(keeper, tmp_path):
    """Also at the level debug, and whatever is asked."""
    relay = Relay(keeper.base)
    room, peers, secrets = await visit(relay)
    ctl = (RELAYCTL, "--socket", keeper.control)
    watching = await asyncio.create_subprocess_exec(
        *map(str, (*ctl, "-o", "json", "watch")), stdout=asyncio.subprocess.PIPE
    )
    told = [
        await run(*ctl, "-o", form, *command)
        for form in ("table", "json")
        for command in (
            ("status",),
            ("list", "rooms"),
            ("get", "room", room["id"]),
            ("list", "users", room["id"]),
            ("config", "show"),
            ("doctor",),
        )
    ]
    told.append(await run("curl", "-s", "--unix-socket", tmp_path / "metrics.sock", "http://x/metrics"))
    memory = "".join(os.pread(fd, 2**26, 0).decode("latin-1") for name, fd in keeper.kept if "room" in name)
    await peers[0].send("close", id="c")
    await peers[1].closed()
    watching.terminate()
    told.append((await watching.stdout.read()).decode())
    await watching.wait()
    told.append("\n".join(keeper.log))
    everything = "\n".join(told)
    assert "a room" in everything
    assert "relayd_rooms" in everything
    assert memory
    for text in (*SAID, *HELD, "canary-id", *secrets):
        assert text not in everything, text
    for text in (*HELD, *secrets):
        assert text not in memory, text
    log = "\n".join(keeper.log)
    assert not [text for text in SHOWN if text in log]
    await relay.close()
