"""Every program and command in docs/client.md, run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cutter import heard

from relayd.client import FileOffered, Message, RoomUpdated, UserJoined, create, join

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
FENCES = dict(re.findall(r"^```\w+ (\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
WAIT_S = 30
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


@contextlib.asynccontextmanager
async def program(name: str, *args: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FENCES[name], *args, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_every_fence_is_run_here():
    assert set(FENCES) == {"echo", "host", "report", "sender", "receiver", "relay", "files", "doorkeeper"}
    assert PAGE.count("\n```") == 2 * len(FENCES)
    assert len([line for line in FENCES["echo"].splitlines() if line]) <= 15, "an echo bot in 15 lines"


@pytest.mark.parametrize("sealed", [True, False])
async def test_echo(relay, sealed):
    made = await create(relay.base, sealed=sealed)
    async with join(made.link, "ann") as ann, program("echo", made.link):
        await heard(ann, UserJoined, timeout=10)
        await ann.say("hello")
        assert (await heard(ann, Message, mine=False)).text == "ann said: hello"


async def test_host(relay):
    async with program("host", relay.base) as process:
        link = (await asyncio.wait_for(process.stdout.readline(), 10)).decode().strip()
        async with join(link, "ann") as ann:
            assert (await heard(ann, Message)).text == "Welcome, ann!"
            assert (await heard(ann, Message)).text == "The room is complete now."
            assert (await heard(ann, RoomUpdated)).room.locked
            assert await asyncio.wait_for(process.wait(), 5) == 0


async def test_report(relay):
    made = await create(relay.base)
    async with join(made.link, "ann") as ann, program("report", made.link, "all is well") as process:
        message = await heard(ann, Message, timeout=10)
        assert (message.text, message.user.nick) == ("all is well", "backup")
        assert (await asyncio.wait_for(process.communicate(), 10))[0] == b"said as number 1\n"


async def test_doorkeeper(relay):
    async with program("doorkeeper", relay.base, "ann", "bob") as process:
        link = (await asyncio.wait_for(process.stdout.readline(), WAIT_S)).decode().strip()
        told = asyncio.Event()
        async with asyncio.timeout(WAIT_S), join(link, "ann") as ann:
            eve = asyncio.create_task(join(link, "eve", on_waiting=lambda _: told.set()).__aenter__())
            await told.wait()
            async with join(link, "bob"):
                assert "eve" not in [user.nick for user in ann.users]
                assert not eve.done()
            eve.cancel()


async def test_sender_and_receiver(relay, tmp_path):
    made = await create(relay.base)
    (tmp_path / "report.pdf").write_bytes(bytes(100_000))
    (tmp_path / "inbox").mkdir()
    async with join(made.link, "ann") as ann, program("receiver", made.link, str(tmp_path / "inbox")) as receiving:
        await heard(ann, UserJoined, timeout=WAIT_S)
        async with program("sender", made.link, str(tmp_path / "report.pdf")) as sending:
            offered = await heard(ann, FileOffered, timeout=WAIT_S)
            (tmp_path / "mine").mkdir()
            await ann.accept(offered, to=tmp_path / "mine")
            said, _ = await asyncio.wait_for(sending.communicate(), WAIT_S)
            assert said == b"2 have it, 0 have not\n"
        path = (await asyncio.wait_for(receiving.stdout.readline(), WAIT_S)).decode().strip()
        assert path == str(tmp_path / "inbox" / "report.pdf")
        assert (tmp_path / "inbox" / "report.pdf").stat().st_size == 100_000


async def test_files(relay, tmp_path):
    made = await create(relay.base)
    receive, send = re.findall(r"^\$ (.*)$", FENCES["files"], re.MULTILINE)
    (tmp_path / "inbox").mkdir()
    for name in ("report.pdf", "figures.csv"):
        (tmp_path / name).write_text(name)
    env = {**os.environ, "PATH": PATH, "XDG_STATE_HOME": str(tmp_path)}

    async def run(command: str) -> asyncio.subprocess.Process:
        command = command.replace("LINK", f"'{made.link}'")
        return await asyncio.create_subprocess_shell(command, cwd=tmp_path, env=env, stderr=asyncio.subprocess.PIPE)

    receiving = await run(receive)
    assert b"listening" in await asyncio.wait_for(receiving.stderr.readline(), WAIT_S)
    sending = await run(send)
    assert await asyncio.wait_for(sending.wait(), WAIT_S) == 0
    assert await asyncio.wait_for(receiving.wait(), WAIT_S) == 0
    assert sorted(path.read_text() for path in (tmp_path / "inbox").iterdir()) == ["figures.csv", "report.pdf"]


async def test_relay(relay, tmp_path):
    commands = re.findall(r"^\$ (.*)$", FENCES["relay"], re.MULTILINE)
    link = ""
    env = {**os.environ, "PATH": PATH, "RELAY_SERVER": relay.base, "XDG_STATE_HOME": str(tmp_path)}

    async def run(command: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_shell(
            command.replace("LINK", f"'{link}'"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 15)
        return process.returncode, out.decode()

    code, out = await run(commands[0])
    assert code == 0
    shown = FENCES["relay"].splitlines()[1]
    assert re.sub(r"[0-9a-f]{4,}|ri_.*|:\d+", "", out.strip()) == re.sub(r"[0-9a-f]{4,}|ri_.*|:\d+", "", shown)
    link = out.strip()
    async with join(link, "ann") as ann:
        for command in commands[1:3]:
            assert (await run(command))[0] == 0
            assert (await heard(ann, Message)).text
        receiving = asyncio.create_task(run(commands[3]))
        await heard(ann, UserJoined)
        await ann.say("hello")
        code, out = await receiving
        assert code in (0, 124), "timeout(1) stops it"
        assert json.loads(out)["text"] == "hello"
