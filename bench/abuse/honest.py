"""People who keep to the rules, and how the server treats them."""

from __future__ import annotations

import asyncio
import collections
import random
import statistics
import time
from typing import Any

from bench.abuse.wire import Traffic, WebSocket, command, make_room

ROOMS, MEMBERS = 10, 5
PERIOD_S = 0.5  # between two messages of one member, and between two newcomers
PATIENCE_S = 10.0  # of a newcomer, and of those who wait for the last messages

_ADDRESS = "127.0.0.1"
_SPREAD = (0.8, 1.2)  # so that they do not speak in step


class Phase:
    """What people saw for a while.

    Attributes:
        latencies_s: from sending a message in that time to each member that receives it, then or later.
        joins_s: how long newcomers took to join.
        refused: newcomers who did not get in, by reason.
        seconds: how long it lasted.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = time.perf_counter()
        self.latencies_s: list[float] = []
        self.joins_s: list[float] = []
        self.refused: collections.Counter[str] = collections.Counter()

    def end(self) -> None:
        """It lasted until now."""
        self.seconds = time.perf_counter() - self._began

    def latency_ms(self, percent: float) -> float:
        """The latency that so many of 100 messages kept below; infinite if none came."""
        if len(self.latencies_s) < 2:
            return float("inf")
        return statistics.quantiles(self.latencies_s, n=1000, method="inclusive")[round(percent * 10) - 1] * 1000

    @property
    def longest_ms(self) -> float:
        """The longest latency; infinite if no message came."""
        return max(self.latencies_s, default=float("inf")) * 1000


class Honest:
    """Rooms of people who speak and hear, and newcomers who join one of them and leave.

    Attributes:
        phase: what they see now; see `next_phase`.
        closed: connections that the server has closed, by code.
        refused: messages that the server has answered with an error, by code.
    """

    def __init__(self, port: int) -> None:
        self.phase = Phase()
        self._phases = [self.phase]
        self.closed: collections.Counter[str] = collections.Counter()
        self.refused: collections.Counter[str] = collections.Counter()
        self._port = port
        self._traffic = Traffic()
        self._sockets: list[WebSocket] = []
        self._room: dict[str, Any] = {}
        self._speaking: list[asyncio.Task[None]] = []
        self._reading: list[asyncio.Task[None]] = []
        self._sent = self._heard = 0
        self._news = asyncio.Event()

    async def start(self) -> None:
        """Everyone joins and begins to speak."""
        for _ in range(ROOMS):
            self._room = make_room(self._port, max=2 * MEMBERS)
            for number in range(MEMBERS):
                joined = await self._join(profile={"nick": f"member {number}"})
                self._sockets.append(joined)
        self._reading = [asyncio.create_task(self._read(one)) for one in self._sockets]
        self._speaking = [asyncio.create_task(self._speak(one)) for one in self._sockets]
        self._speaking.append(asyncio.create_task(self._newcomers()))

    def next_phase(self) -> Phase:
        """What they saw since the last call, though of its last messages some may still come; another one begins."""
        seen, self.phase = self.phase, Phase()
        self._phases.append(self.phase)
        seen.end()
        return seen

    async def finish(self) -> int:
        """Everyone stops speaking, and waits for what is under way.

        Returns:
            Deliveries that never came.
        """
        for task in self._speaking:
            task.cancel()
        await asyncio.gather(*self._speaking, return_exceptions=True)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while self._heard < self._sent * MEMBERS and len(self.closed) == 0:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass
        lost = self._sent * MEMBERS - self._heard
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        for one in self._sockets:
            one.abort()
        return lost

    async def _join(self, **fields: Any) -> WebSocket:
        opened = await WebSocket.to_room(self._port, self._room["id"], _ADDRESS, self._traffic)
        try:
            await opened.join(self._room["invite_key"], **fields)
        except BaseException:
            opened.abort()
            raise
        return opened

    async def _read(self, opened: WebSocket) -> None:
        try:
            async for told in opened.frames():
                if told["type"] == "message":
                    body = told["body"]
                    self._phases[body["phase"]].latencies_s.append(time.perf_counter() - body["at"])
                    self._heard += 1
                    self._news.set()
                elif told["type"] == "error":
                    self.refused[told["code"]] += 1
        except (OSError, EOFError) as why:
            self.closed[str(why) or type(why).__name__] += 1
            self._news.set()

    async def _speak(self, opened: WebSocket) -> None:
        await asyncio.sleep(random.random() * PERIOD_S)
        number = 0
        while True:
            number += 1
            self._sent += 1
            body = {"at": time.perf_counter(), "phase": len(self._phases) - 1, "text": "hello, " * 4}
            await opened.send(command("message", id=str(number), body=body))
            await asyncio.sleep(PERIOD_S * random.uniform(*_SPREAD))

    async def _newcomers(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            began = time.perf_counter()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    opened = await self._join()
                self.phase.joins_s.append(time.perf_counter() - began)
                await opened.send(command("leave"))
                opened.abort()
            except (OSError, EOFError) as why:
                self.phase.refused[str(why) or type(why).__name__] += 1
