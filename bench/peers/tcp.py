"""What a relay of bytes costs in Python at the least: one connection is read 64 KiB at a time, and each is written on.

The first byte that a connection sends says which it is: `r` receives, `s` sends.
"""

import asyncio
import sys

CHUNK_BYTES = 64 * 1024


async def main() -> None:
    """Serves until it is ended."""
    receivers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(1) == b"r":
            receivers.append(writer)
            return
        while chunk := await reader.read(CHUNK_BYTES):
            for receiver in receivers:
                receiver.write(chunk)
            for receiver in receivers:
                await receiver.drain()

    await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), limit=CHUNK_BYTES)
    await asyncio.Event().wait()


asyncio.run(main())
