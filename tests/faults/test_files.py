"""Files over several workers, and through the death of one, a drain and lost connections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Any

import pytest
import websockets
from conftest import Peer
from file_people import WAIT_S, Client, File

from tests.faults.world import Process, relayd

ROOM = {"max": 100, "expiration_date": 1}


class Person:
    """Somebody who sends or receives one file, and comes back whenever cut off."""

    def __init__(self, process: Process, room: dict[str, Any], file: File, *, sends: bool) -> None:
        self.data = b""
        self.client: Client | None = None
        self.returns = -1
        self._url = f"{process.base.replace('http', 'ws')}/{room['id']}"
        self._room = room
        self._file = file
        self._sends = sends
        self._offered = False
        self._session = ""
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(OSError, websockets.WebSocketException):
                await self._visit()
                return
            await asyncio.sleep(0.1)

    async def _visit(self) -> None:
        peer = Peer(await websockets.connect(self._url, compression=None, open_timeout=15))
        await peer.send("join", key=self._room["invite_key"], profile={}, session=self._session)
        peer.joined = await peer.recv(WAIT_S)
        self._session = peer.session
        self.returns += 1
        client = self.client = Client(peer)
        try:
            await (self._send(client) if self._sends else self._receive(client))
        finally:
            if not self._sends:
                self.data += client.got(self._file)

    async def _send(self, client: Client) -> None:
        client.serve(self._file)
        if not self._offered:
            await client.offer(self._file)
            self._offered = True
        else:
            await client.peer.send("serve", **self._file.offered)
        await client.until(lambda: False)

    async def _receive(self, client: Client) -> None:
        first = len(self.data) // self._file.shape.chunk
        await client.accept(self._file, first)
        await client.has(self._file, first)

    async def leave(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        if self.client is not None:
            await self.client.close()


@contextlib.asynccontextmanager
async def transfer(process: Process, file: File, receivers: int):
    """A file under way: each receiver has something of it."""
    room = await process.create(**ROOM)
    sender = Person(process, room, file, sends=True)
    people = [sender]
    async with asyncio.timeout(WAIT_S):
        while not sender._offered:
            await asyncio.sleep(0.01)
        people += [Person(process, room, file, sends=False) for _ in range(receivers)]
        while not all(person.client and person.client.chunks for person in people[1:]):
            await asyncio.sleep(0.01)
    try:
        yield room, people
    finally:
        for person in people:
            await person.leave()


async def everyone_has(people: list[Person], file: File) -> None:
    async with asyncio.timeout(2 * WAIT_S):
        await asyncio.gather(*(person.task for person in people[1:]))
    assert all(person.data == file.data for person in people[1:])


async def test_over_workers():
    """The sender and its receivers are on different workers; what they get is the same, and counted once."""
    file = File(os.urandom(5_000_000), chunk=60_000)
    async with relayd("--workers", "2") as process, transfer(process, file, 4) as (_, people):
        await everyone_has(people, file)
        assert all(person.returns == 0 for person in people)


@pytest.mark.timeout(120)
async def test_a_killed_worker():
    """kill -9 of a worker: whoever was on it comes back on another and goes on; everyone gets every byte."""
    file = File(os.urandom(40_000_000), chunk=60_000)
    async with relayd("--workers", "2", RELAYD_LIMITS_FILE_RATE_ROOM_BYTES="20000000") as process:
        async with transfer(process, file, 4) as (_, people):
            process.signal_worker(0, signal.SIGKILL)
            await everyone_has(people, file)
            assert sum(person.returns for person in people) >= 2
        assert not any("Traceback" in line for line in process.log)


@pytest.mark.timeout(120)
async def test_lost_connections(tmp_path):
    """Sender and receivers lose theirs again and again, each time after the file went on."""
    config = tmp_path / "relayd.toml"
    config.write_text("[limits.file_rate]\nroom_bytes = 100_000\nburst_s = 0.25\n")
    file = File(os.urandom(10_000_000), chunk=20_000)
    async with relayd("--config", str(config)) as process, transfer(process, file, 2) as (_, people):
        sender, *receivers = people
        for returns, person in enumerate((sender, receivers[0], sender, receivers[1]), 1):
            person.client.peer.socket.transport.abort()
            async with asyncio.timeout(WAIT_S):
                while sum(one.returns for one in people) < returns:
                    await asyncio.sleep(0.01)
                had = [len(one.client.chunks) for one in receivers]
                while any(len(one.client.chunks) <= n for one, n in zip(receivers, had, strict=True)):
                    await asyncio.sleep(0.01)
        config.write_text("")
        process.process.send_signal(signal.SIGHUP)
        await everyone_has(people, file)
        assert sum(person.returns for person in people) == 4


async def test_a_drain():
    """A file under way does not keep the server from ending, and nothing of it goes wrong in the log."""
    file = File(os.urandom(40_000_000), chunk=60_000)
    async with relayd(RELAYD_LIMITS_FILE_RATE_ROOM_BYTES="1000000") as process, transfer(process, file, 2):
        process.process.terminate()
        assert await asyncio.wait_for(process.process.wait(), WAIT_S) == 0
        assert not any("Traceback" in line for line in process.log)


async def member(process: Process, room: dict[str, Any]) -> Client:
    url = f"{process.base.replace('http', 'ws')}/{room['id']}"
    peer = Peer(await websockets.connect(url, compression=None, open_timeout=15))
    await peer.send("join", key=room["invite_key"], profile={})
    peer.joined = await peer.recv(WAIT_S)
    return Client(peer)


async def test_a_hub_that_stands_still():
    """What comes in the meantime is not lost: its sender waits, as the way to the hub is full."""
    async with relayd("--workers", "1", RELAYD_LIMITS_MESSAGE_RATE="0") as process:
        room = await process.create(**ROOM)
        sender, *receivers = [await member(process, room) for _ in range(41)]
        files = [File(os.urandom(80_000), chunk=10_000) for _ in range(40)]
        for number, file in enumerate(files):
            await sender.peer.send("message", id=f"f{number}", body=1, file=file.offered)
        await sender.hear("message", id="f39")
        for receiver, file in zip(receivers, files, strict=True):
            await receiver.accept(file)
        await sender.until(lambda: sum(frame.get("event") == "send" for frame in sender.frames) == len(files))
        sends = {frame["fid"]: frame for frame in sender.frames if frame.get("event") == "send"}
        os.kill(process.process.pid, signal.SIGSTOP)
        try:
            sending = asyncio.ensure_future(_send_all(sender, files, sends))
            await asyncio.sleep(1)
        finally:
            os.kill(process.process.pid, signal.SIGCONT)
        for receiver, file in zip(receivers, files, strict=True):
            assert await receiver.has(file) == file.data
        await sending
        assert not any(frame["type"] == "error" for frame in sender.frames)
        for one in (sender, *receivers):
            await one.close()


async def _send_all(sender: Client, files: list[File], sends: dict[str, Any]) -> None:
    for file in files:
        for index in range(8):
            await sender.peer.socket.send(file.chunk(sends[file.fid]["stream"], index))


async def test_another_pace_after_a_reload(tmp_path):
    """It holds for what is under way, too."""
    config = tmp_path / "relayd.toml"
    config.write_text("[limits.file_rate]\nroom_bytes = 10_000\nburst_s = 0.25\n")
    file = File(os.urandom(2_000_000), chunk=20_000)
    async with relayd("--config", str(config)) as process, transfer(process, file, 2) as (_, people):
        config.write_text("")
        process.process.send_signal(signal.SIGHUP)
        await everyone_has(people, file)  # at the old one it would take minutes
