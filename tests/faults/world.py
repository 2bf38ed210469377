"""relayd as a real process, and people who talk through every fault and count what they hear."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import websockets
from tornado.httpclient import AsyncHTTPClient

RELAYD = Path(sys.executable).with_name("relayd")


class Process:
    """A running relayd and its workers."""

    def __init__(self, process: asyncio.subprocess.Process, base: str, log: list[str]) -> None:
        self.process = process
        self.base = base
        self.log = log

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def signal_worker(self, index: int, number: int) -> int:
        pid = self.workers()[index]
        os.kill(pid, number)
        return pid

    async def create(self, **fields: Any) -> dict[str, Any]:
        client = AsyncHTTPClient(force_instance=True)
        response = await client.fetch(
            f"{self.base}/api/v1/room",
            method="POST",
            body=json.dumps(fields),
            headers={"Content-Type": "application/json"},
        )
        client.close()
        return json.loads(response.body)


@contextlib.asynccontextmanager
async def relayd(*arguments: str, listen: str = "127.0.0.1:0", **environment: str) -> AsyncIterator[Process]:
    """Starts relayd, waits until it listens, ends it with SIGTERM by its own pid."""
    control = f"{os.environ.get('TMPDIR', '/tmp')}/relayd-test-{os.getpid()}-{os.urandom(4).hex()}/control.sock"
    process = await asyncio.create_subprocess_exec(
        RELAYD,
        "--listen",
        listen,
        "--control",
        control,
        *arguments,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    log: list[str] = []
    base: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    reading = asyncio.create_task(_read_log(process, log, base))
    try:
        yield Process(process, await asyncio.wait_for(base, 20), log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            process.kill()
            await process.wait()
        await reading
        with contextlib.suppress(OSError):
            Path(control).parent.rmdir()


async def _read_log(process: asyncio.subprocess.Process, log: list[str], base: asyncio.Future[str]) -> None:
    async for line in process.stderr:
        log.append(line.decode().rstrip())
        found = re.search(r"listening on (http://\S+)", log[-1])
        if found and not base.done():
            base.set_result(found[1])
    if not base.done():
        base.set_exception(RuntimeError("\n".join(log)))


class Talker:
    """Somebody who says things until each has been heard by itself, and comes back whenever cut off.

    It follows the protocol's loop: send, wait for the echo, send again under the same id after a reconnect.
    """

    def __init__(self, base: str, room: dict[str, Any], nick: str) -> None:
        self.base = base.replace("http://", "ws://")
        self.room = room
        self.nick = nick
        self.session = ""
        self.epoch = ""
        self.seq = 0
        self.first_seq = 0  # given before it came
        self.heard: list[tuple[int, str]] = []  # (seq, id)
        self.twice: list[str] = []
        self.missed = 0
        self.resumes = 0
        self.closes: list[int] = []
        self.pending: dict[str, Any] = {}
        self.socket: websockets.ClientConnection | None = None
        self.inside = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def say(self, id_: str, body: Any = "x") -> None:
        self.pending[id_] = body
        if self.socket is not None and self.inside.is_set():
            with contextlib.suppress(websockets.ConnectionClosed):
                await self._send(type="message", id=id_, body=body)

    async def done(self, timeout: float = 30) -> None:
        """Until everything said was heard."""
        async with asyncio.timeout(timeout):
            while self.pending:
                await asyncio.sleep(0.02)

    async def heard_up_to(self, seq: int, timeout: float = 30) -> None:
        async with asyncio.timeout(timeout):
            while self.seq < seq:
                await asyncio.sleep(0.02)

    async def leave(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self.socket is not None:
            await self.socket.close()

    def check(self) -> None:
        """Nothing lost, nothing twice, one order."""
        assert self.missed == 0, f"{self.nick} lost {self.missed}"
        assert self.twice == [], f"{self.nick} heard twice: {self.twice}"
        seqs = [seq for seq, _ in self.heard]
        assert seqs == list(range(self.first_seq + 1, self.first_seq + 1 + len(seqs))), f"{self.nick}: {seqs}"

    async def _send(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def _run(self) -> None:
        pause = 0.05
        while True:
            try:
                async with websockets.connect(
                    f"{self.base}/{self.room['id']}", compression=None, open_timeout=15, ping_interval=None
                ) as self.socket:
                    pause = 0.05
                    await self._talk()
            except (OSError, TimeoutError, websockets.WebSocketException):
                pass
            finally:
                self.inside.clear()
            if self.socket is not None and self.socket.close_code is not None:
                self.closes.append(self.socket.close_code)
                if 4000 <= self.socket.close_code < 4500:
                    return
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 2)

    async def _talk(self) -> None:
        join: dict[str, Any] = {"type": "join", "key": self.room["invite_key"], "profile": {"nick": self.nick}}
        if self.session:
            join |= {"session": self.session, "since": {"epoch": self.epoch, "seq": self.seq}}
        await self._send(**join)
        async for text in self.socket:
            frame = json.loads(text)
            if frame["type"] == "joined":
                await self._on_joined(frame)
            elif frame["type"] == "message":
                self._on_message(frame)
            elif frame["type"] == "ok":
                self.pending.pop(frame["id"], None)
            elif frame["type"] == "error" and frame["code"] == "rate_limited":
                await asyncio.sleep(frame["retry_after_ms"] / 1000)
                await self._send(type="message", id=frame["id"], body=self.pending[frame["id"]])

    async def _on_joined(self, frame: dict[str, Any]) -> None:
        if self.session:
            self.resumes += 1
            self.missed += frame["missed"]
        else:
            self.seq = self.first_seq = frame["seq"]
        self.session, self.epoch = frame["you"]["session"], frame["epoch"]
        self.inside.set()
        for id_, body in list(self.pending.items()):
            await self._send(type="message", id=id_, body=body)

    def _on_message(self, frame: dict[str, Any]) -> None:
        if frame["seq"] <= self.seq or frame["id"] in {id_ for _, id_ in self.heard[-500:]}:
            self.twice.append(frame["id"])
            return
        self.seq = frame["seq"]
        self.heard.append((frame["seq"], frame["id"]))
        self.pending.pop(frame["id"], None)


@contextlib.asynccontextmanager
async def talkers(base: str, room: dict[str, Any], count: int) -> AsyncIterator[list[Talker]]:
    """So many people in one room; at the end each is checked and leaves."""
    people = [Talker(base, room, f"p{index}") for index in range(count)]
    try:
        await asyncio.wait_for(asyncio.gather(*(person.inside.wait() for person in people)), 30)
        yield people
        for person in people:
            person.check()
    finally:
        for person in people:
            await person.leave()


async def chatter(people: list[Talker], seconds: float, rate: float = 5.0, name: str = "") -> int:
    """Everyone says something now and then; returns how many messages that were."""
    said = 0

    async def talk(person: Talker) -> None:
        nonlocal said
        for index in range(int(seconds * rate)):
            await person.say(f"{person.nick}-{name}{index}")
            said += 1
            await asyncio.sleep(1 / rate)

    await asyncio.gather(*(talk(person) for person in people))
    await asyncio.gather(*(person.done() for person in people))
    return said


async def everyone_heard(people: list[Talker], said: int) -> None:
    """Until each has heard all that was said since it came; fails when somebody does not."""
    last = max(person.first_seq for person in people) + said
    last = max(last, *(person.seq for person in people))
    await asyncio.gather(*(person.heard_up_to(last) for person in people))
