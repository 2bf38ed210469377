"""What the tests of the client share: waiting for events, and a way between client and server that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from relayd.client import Room

T = TypeVar("T")


async def heard(room: Room, kind: type[T], timeout: float = 5, **fields: Any) -> T:
    """The next event of that kind with those attributes; others before it are passed over."""
    async with asyncio.timeout(timeout):
        async for event in room:
            if isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items()):
                return event
    raise AssertionError("the room is over")


class Cutter:
    """Carries TCP to a server, and cuts it: at once, or after so many bytes towards client or server.

    Attributes:
        refusing: new connections are broken off.
        swallowing: new connections carry nothing, and stay open.
        after: "up" or "down" -> bytes that still pass.
        rate: bytes a second towards the server; None for as many as there are.
    """

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._pipes: set[asyncio.StreamWriter] = set()
        self._dead: dict[str, set[asyncio.StreamWriter]] = {"up": set(), "down": set()}
        self.connections = 0
        self.refusing = False
        self.swallowing = False
        self.rate: float | None = None
        self.after: dict[str, int] = {}
        self.base = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refusing:
            writer.transport.abort()
            return
        up_reader, up_writer = await asyncio.open_connection(*self._to)
        self._pipes |= {writer, up_writer}
        if self.swallowing:
            self.swallow("up", "down")
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(self._pipe(reader, up_writer, "up"), self._pipe(up_reader, writer, "down"))
        self._pipes -= {writer, up_writer}
        for one in (writer, up_writer):
            one.transport.abort()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        while data := await reader.read(4096):
            if way in self.after:
                self.after[way] -= len(data)
                if self.after[way] < 0:
                    del self.after[way]
                    self.cut()
                    return
            if writer in self._dead[way]:
                continue
            if way == "up" and self.rate is not None:
                await asyncio.sleep(len(data) / self.rate)
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    def swallow(self, *ways: str) -> None:
        """From now on the present connections carry nothing in these ways, and stay open."""
        for way in ways:
            self._dead[way] |= self._pipes

    def cut(self) -> None:
        """Drops every connection, without a word."""
        for writer in self._pipes:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def cutter_before(base: str) -> AsyncIterator[Cutter]:
    """A cutter in front of the server at `base`."""
    host, _, port = base.removeprefix("http://").rpartition(":")
    cutter = Cutter(host, int(port))
    server = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
    cutter.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield cutter
    finally:
        server.close()
        cutter.cut()
        await asyncio.sleep(0.01)
