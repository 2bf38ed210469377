"""A proxy between page and server that can go silent, drop one direction, refuse or delay."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Network:
    """Forwards TCP connections to a server.

    Attributes:
        base: the address to use instead of the server's.
        connections: number of connections so far.
        refusing: reset new connections.
        hanging: accept new connections, and forward nothing.
        deaf: drop everything that the server sends.
        bytes_s: throughput in each direction; 0: unlimited.
        delay_s: latency in each direction.
    """

    def __init__(self, host: str, port: int) -> None:
        self.base = ""
        self.connections = 0
        self.refusing = False
        self.hanging = False
        self.deaf = False
        self.bytes_s = 0
        self.delay_s = 0.0
        self._to = (host, port)
        self._silent: set[int] = set()
        self._ends: set[asyncio.StreamWriter] = set()
        self._pipes: set[asyncio.Task[None]] = set()

    def silence(self) -> None:
        """Forward nothing more over the present connections, and leave them open."""
        self._silent = set(range(self.connections + 1))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        if self.hanging:
            self._silent.add(number)
        if self.refusing:
            writer.transport.abort()
            return
        up_reader, up_writer = await asyncio.open_connection(*self._to)
        pipes = [
            asyncio.create_task(self._carry(number, reader, up_writer, is_up=True)),
            asyncio.create_task(self._carry(number, up_reader, writer, is_up=False)),
        ]
        self._ends |= {writer, up_writer}
        self._pipes.update(pipes)
        _, pending = await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        if number not in self._silent:
            for one in (writer, up_writer):
                one.transport.abort()
        await asyncio.gather(*pending, return_exceptions=True)

    async def _carry(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_up: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        free_at = loop.time()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(4096):
                if number in self._silent or (self.deaf and not is_up):
                    continue
                if self.bytes_s:
                    free_at = max(free_at, loop.time()) + len(data) / self.bytes_s
                    await asyncio.sleep(free_at - loop.time())
                if self.delay_s:
                    loop.call_later(self.delay_s, writer.write, data)
                else:
                    writer.write(data)
                    await writer.drain()

    async def close(self) -> None:
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        for end in self._ends:
            end.transport.abort()
        await asyncio.sleep(0)  # the loop closes them in its next turn


@contextlib.asynccontextmanager
async def network_before(base: str) -> AsyncIterator[Network]:
    """A network in front of the server at `base`."""
    host, _, port = base.removeprefix("http://").rpartition(":")
    network = Network(host, int(port))
    server = await asyncio.start_server(network.serve, "127.0.0.1", 0)
    network.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield network
    finally:
        server.close()
        await network.close()
