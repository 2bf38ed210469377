"""Many people who chat, each on a plain socket: light enough for a thousand in one process."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from typing import Any
from urllib.parse import urlsplit

from relayd.wire.frames import FrameReader, Opcode, encode_masked


class Person(asyncio.Protocol):
    """Says something again and again, and counts what it hears."""

    def __init__(self, room: dict[str, Any], name: str) -> None:
        self.name = name
        self.heard: list[tuple[int, str]] = []  # seq and id
        self.waits_s: list[float] = []  # from saying something to hearing it
        self.inside = asyncio.Event()
        self.lost = False
        self.first_seq = 0
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(2**20, None)
        self._head: bytes | None = b""
        self._said_at: dict[str, float] = {}
        self._sent = 0

    @classmethod
    async def join(cls, base: str, room: dict[str, Any], name: str) -> Person:
        parts = urlsplit(base)
        _, person = await asyncio.get_running_loop().create_connection(
            lambda: cls(room, name), parts.hostname, parts.port
        )
        await asyncio.wait_for(person.inside.wait(), 30)
        return person

    @property
    def in_doubt(self) -> int:
        return len(self._said_at)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /{self._room['id']} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            assert b" 101 " in head, head
            self._head = None
            self._send(type="join", key=self._room["invite_key"], profile={"nick": self.name})
        for message in self._reader.receive_data(data):
            if message.opcode == Opcode.TEXT:
                self._hear(json.loads(message.payload))
            elif message.opcode == Opcode.PING:
                self._write(Opcode.PONG, message.payload)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def say(self) -> None:
        self._sent += 1
        id_ = f"{self.name}-{self._sent}"
        self._said_at[id_] = self._loop.time()
        self._send(type="message", id=id_, body="x" * 100)

    def close(self) -> None:
        self._transport.abort()

    def _hear(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "joined":
            self.first_seq = frame["seq"]
            self.inside.set()
        elif frame["type"] == "message":
            self.heard.append((frame["seq"], frame["id"]))
            said_at = self._said_at.pop(frame["id"], None)
            if said_at is not None:
                self.waits_s.append(self._loop.time() - said_at)

    def _send(self, **frame: Any) -> None:
        self._write(Opcode.TEXT, json.dumps(frame).encode())

    def _write(self, opcode: int, payload: bytes) -> None:
        self._transport.write(encode_masked(opcode, payload, bytes(4), lambda mask, data: data))
