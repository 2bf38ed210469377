"""A WebSocket client of single bytes, for what no library would send or leave unanswered."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from typing import Any

from conftest import Relay

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class RawSocket:
    """A connection that has shaken hands, answers nothing by itself and masks with zeros."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, payload: bytes, opcode: int = TEXT, *, fin: bool = True, masked: bool = True) -> None:
        """Queues one frame."""
        size = len(payload)
        head = bytes([opcode | (0x80 if fin else 0)])
        bit = 0x80 if masked else 0
        if size < 126:
            head += bytes([bit | size])
        elif size < 65_536:
            head += struct.pack("!BH", bit | 126, size)
        else:
            head += struct.pack("!BQ", bit | 127, size)
        self.writer.write(head + (b"\0\0\0\0" if masked else b"") + payload)

    def send_json(self, type_: str, **fields: Any) -> None:
        """Queues a frame of the protocol."""
        self.send(json.dumps({"type": type_, **fields}).encode())

    async def recv(self, timeout: float = 5) -> tuple[int, bytes]:
        """The next frame: its opcode and payload.

        Raises:
            EOFError: the server has closed the connection.
        """
        async with asyncio.timeout(timeout):
            first, second = await self.reader.readexactly(2)
            assert not second & 0x80, "a server masks nothing"
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(size)

    async def until(self, opcode: int, timeout: float = 5) -> bytes:
        """The payload of the next frame of that kind."""
        async with asyncio.timeout(timeout):
            while True:
                seen, payload = await self.recv(timeout)
                if seen == opcode:
                    return payload

    async def close_code(self, timeout: float = 5) -> int:
        """Reads until a close frame comes; its code."""
        (code,) = struct.unpack("!H", (await self.until(CLOSE, timeout))[:2])
        return code

    async def ended(self, timeout: float = 5) -> None:
        """Reads until the server has closed the connection, however it did."""
        async with asyncio.timeout(timeout):
            try:
                while await self.reader.read(65_536):
                    pass
            except ConnectionError:
                pass


async def open_tcp(relay: Relay, receive_bytes: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TCP connection to the server, closed with the test; with a small receive buffer if wanted."""
    host, port = relay.base.removeprefix("http://").split(":")
    raw = socket.socket()
    if receive_bytes:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=raw, limit=receive_bytes or 65_536)
    relay.at_end.append(writer.close)
    return reader, writer


def handshake(path: str, **headers: str) -> bytes:
    """A good opening handshake; headers replace its own, None leaves one out (`_` stands for `-`)."""
    lines = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"GET {path} HTTP/1.1\r\n{text}\r\n".encode()


async def open_raw(relay: Relay, room_id: str, receive_bytes: int = 0) -> RawSocket:
    """A raw socket at a room, before its join."""
    reader, writer = await open_tcp(relay, receive_bytes)
    writer.write(handshake(f"/{room_id}"))
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return RawSocket(reader, writer)


async def join_raw(relay: Relay, room: dict[str, Any], receive_bytes: int = 0) -> RawSocket:
    """A raw socket in a room, after `joined`."""
    raw = await open_raw(relay, room["id"], receive_bytes)
    raw.send_json("join", key=room["invite_key"], profile={"nick": os.urandom(2).hex()})
    assert json.loads(await raw.until(TEXT))["type"] == "joined"
    return raw
