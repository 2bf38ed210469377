"""People who send and receive files, on the `websockets` library: as little as the protocol asks of a client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import websockets
from conftest import Peer

from relayd.wire.chunks import HEAD_BYTES, ChunkHead, Shape, read_head

WAIT_S = 30.0  # for anything to happen: machines may be busy


def new_fid() -> str:
    return urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()


def raw_fid(fid: str) -> bytes:
    return urlsafe_b64decode(fid + "==")


class File:
    """Some bytes, and what is said of them."""

    def __init__(self, data: bytes, chunk: int = 5_000, fid: str = "") -> None:
        self.data = data
        self.fid = fid or new_fid()
        self.shape = Shape(len(data), chunk)

    @property
    def offered(self) -> dict[str, Any]:
        return {"fid": self.fid, "size": self.shape.size, "chunk": self.shape.chunk}

    def chunk(self, stream: int, index: int, pass_id: bytes = b"p" * 16, **other: Any) -> bytes:
        """The frame of a chunk; `other` makes it a wrong one."""
        start = index * self.shape.chunk
        data = other.pop("data", self.data[start : start + self.shape.chunk])
        head = {
            "last": self.shape.is_last(index),
            "stream": stream,
            "fid": raw_fid(self.fid),
            "pass_id": pass_id,
            "index": index,
            **other,
        }
        return ChunkHead(**head).encode() + data


class Client:
    """One connection, read all the time; text and binary frames apart."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.frames: list[dict[str, Any]] = []
        self.chunks: list[bytes] = []
        self._stirred = asyncio.Event()
        self._served: dict[str, File] = {}
        self._passes: dict[int, tuple[bytes, int]] = {}
        self._received: dict[str, tuple[File, bytearray, int]] = {}
        self._reading = asyncio.get_running_loop().create_task(self._read())

    # What it does by itself. ------------------------------------------------------------------------------------

    def serve(self, *files: File) -> None:
        """From now on it sends what it is asked for."""
        self._served |= {file.fid: file for file in files}

    async def offer(self, file: File, id_: str = "f1", **fields: Any) -> dict[str, Any]:
        """Offers a file and serves it; the message as it was said."""
        self.serve(file)
        await self.peer.send("message", id=id_, file=file.offered, body={"kind": "file", "fid": file.fid}, **fields)
        return await self.hear("message", id=id_)

    async def accept(self, file: File, first: int = 0, window: int = 8) -> None:
        """Receives a file, granting a window."""
        self._received[file.fid] = (file, bytearray(), window)
        self._stirred.set()
        await self.peer.send("accept", fid=file.fid, **{"from": first}, upto=first + window)

    async def has(self, file: File, first: int = 0) -> bytes:
        """Waits for all of a file from that chunk on."""
        size = file.shape.size - first * file.shape.chunk
        await self.until(lambda: len(self.got(file)) >= size and self.last(file))
        return self.got(file)

    def got(self, file: File) -> bytes:
        return bytes(self._received[file.fid][1])

    def last(self, file: File) -> bool:
        return any(head.last and head.fid == raw_fid(file.fid) for head in map(read_head, self.chunks))

    # What comes. ------------------------------------------------------------------------------------------------

    async def hear(self, type_: str, **fields: Any) -> dict[str, Any]:
        """The next frame of that type with those fields; it and those before it are taken."""

        def fits(frame: dict[str, Any]) -> bool:
            return frame["type"] == type_ and all(frame.get(name) == value for name, value in fields.items())

        await self.until(lambda: any(map(fits, self.frames)))
        index = next(index for index, frame in enumerate(self.frames) if fits(frame))
        frame = self.frames[index]
        del self.frames[: index + 1]
        return frame

    async def until(self, holds: Any) -> None:
        async with asyncio.timeout(WAIT_S):
            while not holds():
                if self._reading.done():
                    raise ConnectionError(self.peer.socket.close_code)
                self._stirred.clear()
                await self._stirred.wait()

    async def close(self) -> None:
        self._reading.cancel()
        await self.peer.socket.close()

    async def cut(self) -> None:
        """Loses the connection, without a word."""
        self._reading.cancel()
        self.peer.socket.transport.abort()

    async def _read(self) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            await self._take_all()
        self._stirred.set()

    async def _take_all(self) -> None:
        async for frame in self.peer.socket:
            if isinstance(frame, bytes):
                self.chunks.append(frame)
                await self._take(frame)
            else:
                event = json.loads(frame)
                self.frames.append(event)
                if event["type"] == "file" and event["event"] == "send":
                    await self._send(event)
            self._stirred.set()

    async def _send(self, event: dict[str, Any]) -> None:
        file = self._served.get(event["fid"])
        if file is None:
            return
        pass_id, at = self._passes.get(event["stream"], (os.urandom(16), event["from"]))
        self._passes[event["stream"]] = (pass_id, event["upto"])
        for index in range(at, event["upto"]):
            await self.peer.socket.send(file.chunk(event["stream"], index, pass_id))

    async def _take(self, frame: bytes) -> None:
        head = read_head(frame)
        for file, data, window in self._received.values():
            if raw_fid(file.fid) == head.fid:
                data.extend(frame[HEAD_BYTES:])
                if window:
                    await self.peer.send("grant", fid=file.fid, upto=head.index + 1 + window)
