"""Somebody who makes rooms over HTTP, on one connection that is kept or on a new one each time."""

from __future__ import annotations

import asyncio
from collections import Counter
from urllib.parse import urlsplit


class Asker:
    """Asks again and again, and counts how it was answered: by status, or by what went wrong.

    Args:
        base: of the server.
        keeps: its connection.
    """

    def __init__(self, base: str, *, keeps: bool) -> None:
        self.answers: Counter[str] = Counter()
        self.connections = 0
        self._place = urlsplit(base)
        closing = b"" if keeps else b"Connection: close\r\n"
        self._request = b"POST /api/v1/room HTTP/1.1\r\nHost: localhost\r\n%bContent-Length: 0\r\n\r\n" % closing
        self._keeps = keeps
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def run(self, every_s: float) -> None:
        while True:
            await self.ask()
            await asyncio.sleep(every_s)

    async def ask(self) -> str:
        try:
            answer = await asyncio.wait_for(self._ask(), 30)
        except (OSError, EOFError) as failed:
            answer = type(failed).__name__
        if self._writer is not None and not (self._keeps and answer.isdecimal()):
            self.close()
        self.answers[answer] += 1
        return answer

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _ask(self) -> str:
        if self._writer is None:
            self.connections += 1
            self._reader, self._writer = await asyncio.open_connection(self._place.hostname, self._place.port)
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await self._reader.readexactly(int(length.partition(b":")[2]))
        return head.split()[1].decode()
