"""Sockets that may break every rule of the protocol, and that count what passes through them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any, Self

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

_BUFFER_BYTES = 2**20  # what one read may give
_SEND_BUFFER_BYTES = 2**16  # of the system: what counts as sent, the server has read, nearly


class Traffic:
    """Bytes that a client has sent and received."""

    def __init__(self) -> None:
        self.sent = self.received = 0


def frame(opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    """A client's frame, masked with zeros: the payload stays as it is."""
    first, size = (0x80 if final else 0) | opcode, len(payload)
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 2**16:
        head = struct.pack(">BBH", first, 0xFE, size)
    else:
        head = struct.pack(">BBQ", first, 0xFF, size)
    return head + bytes(4) + payload


def command(type_: str, **fields: Any) -> bytes:
    """A text frame of the protocol."""
    return frame(TEXT, json.dumps({"type": type_, **fields}).encode())


def upgrade(room_id: str) -> bytes:
    """The request that opens a WebSocket."""
    lines = [
        f"GET /{room_id} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def request(method: str, path: str, body: Any = None, key: str = "", headers: bytes = b"") -> bytes:
    """A request of HTTP, with a JSON body if there is one."""
    payload = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"Authorization: Bearer {key}"] if key else []
    lines += ["Content-Type: application/json", f"Content-Length: {len(payload)}"] if payload else []
    return "\r\n".join([*lines, ""]).encode() + headers + b"\r\n" + payload


def make_room(port: int, address: str = "127.0.0.1", **fields: Any) -> dict[str, Any]:
    """A room, made over REST; what the server answers.

    Raises:
        ConnectionError: it is refused.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(address, 0))
    connection.request("POST", "/api/v1/room", json.dumps(fields), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != http.HTTPStatus.CREATED:
        raise ConnectionError(f"no room: {answer.status} {body!r}")
    made: dict[str, Any] = json.loads(body)
    return made


class Connection:
    """One TCP connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, traffic: Traffic) -> None:
        self._reader, self._writer, self._traffic = reader, writer, traffic

    @classmethod
    async def open(cls, port: int, address: str, traffic: Traffic, *, receive_buffer: int = 0) -> Self:
        """Connects from `address`; with a receive buffer of that many bytes, if given."""
        plain = socket.socket()
        plain.setblocking(False)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            plain.bind((address, 0))
            await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
        except BaseException:
            with contextlib.suppress(OSError):  # EBUSY, if it is uvloop's still
                plain.close()
            raise
        return cls(*await asyncio.open_connection(sock=plain, limit=receive_buffer or _BUFFER_BYTES), traffic)

    async def send(self, data: bytes) -> None:
        """Returns when the system has taken it, nearly: some of it may wait for the server to read."""
        self._writer.write(data)
        await self._writer.drain()
        self._traffic.sent += len(data)

    async def read(self) -> bytes:
        """What has come.

        Raises:
            ConnectionError: the server has closed.
        """
        data = await self._reader.read(_BUFFER_BYTES)
        self._traffic.received += len(data)
        if not data:
            raise ConnectionError("closed")
        return data

    async def read_exactly(self, size: int) -> bytes:
        """So many bytes.

        Raises:
            EOFError: the server has closed.
        """
        data = await self._reader.readexactly(size)
        self._traffic.received += size
        return data

    async def head(self) -> bytes:
        """The next head of HTTP, status line first.

        Raises:
            EOFError: the server has closed.
        """
        data = await self._reader.readuntil(b"\r\n\r\n")
        self._traffic.received += len(data)
        return data

    async def answer(self) -> int:
        """The next answer of HTTP; its status.

        Raises:
            EOFError: the server has closed.
        """
        head = await self.head()
        length = re.search(rb"(?i)^content-length: *(\d+)", head, re.MULTILINE)
        if length is not None:
            await self.read_exactly(int(length[1]))
        return int(head.split(maxsplit=2)[1])

    async def discard(self) -> None:
        """Reads until the server closes."""
        while True:
            await self.read()

    def abort(self) -> None:
        """Closes without a word."""
        self._writer.transport.abort()


class WebSocket(Connection):
    """One WebSocket, which answers nothing by itself but what `frames` and `until` read."""

    @classmethod
    async def to_room(
        cls, port: int, room_id: str, address: str, traffic: Traffic, *, receive_buffer: int = 0
    ) -> WebSocket:
        """Connects and upgrades.

        Raises:
            ConnectionError: the server refuses.
        """
        opened = await cls.open(port, address, traffic, receive_buffer=receive_buffer)
        try:
            await opened.send(upgrade(room_id))
            head = await opened.head()
        except BaseException:
            opened.abort()
            raise
        status_line, _, _ = head.partition(b"\r\n")
        if b" 101 " not in status_line:
            opened.abort()
            raise ConnectionError(status_line.decode())
        return opened

    async def join(self, key: str, **fields: Any) -> dict[str, Any]:
        """Joins; what the server answers.

        Raises:
            ConnectionError: it refuses.
        """
        await self.send(command("join", key=key, **fields))
        return await self.until("joined")

    async def until(self, type_: str) -> dict[str, Any]:
        """The next frame of that type; others are passed over.

        Raises:
            ConnectionError: the server has closed, and why.
        """
        async for told in self.frames():
            if told["type"] == type_:
                return told
        raise ConnectionError("closed")

    async def frames(self) -> AsyncIterator[dict[str, Any]]:
        """Everything that the server sends; pings are answered.

        Raises:
            ConnectionError: the server closes, and with which code.
            EOFError: it has closed without one.
        """
        while True:
            first, size = await self.read_exactly(2)
            if size == 126:
                (size,) = struct.unpack(">H", await self.read_exactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", await self.read_exactly(8))
            payload = await self.read_exactly(size)
            opcode = first & 15
            if opcode == CLOSE:
                await self.send(frame(CLOSE, payload[:2]))
                raise ConnectionError(str(int.from_bytes(payload[:2], "big")))
            if opcode == PING:
                await self.send(frame(PONG, payload))
            elif opcode == TEXT:
                yield json.loads(payload)
