"""An echo endpoint on the relay's own frame reader: what a conformance suite can talk to.

It knows nothing of rooms. Its closing handshake is the one of `RelaySocket`: the close frame goes out, what still
comes is read and dropped, and after a failure nothing more is written.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator
from typing import cast

from relayd.gateway.acceptor import unmask
from relayd.wire.frames import FrameReader, Message, Opcode, encode_close, encode_frame, parse_close

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
CLOSE_TIMEOUT_S = 2.0
MAX_MESSAGE_BYTES = 32 * 2**20  # the largest message of the suite has 16 MiB


class Echo(asyncio.Protocol):
    """One connection: says back every message, answers pings, closes as it is asked to or must."""

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._request = b""
        self._is_open = False
        self._closing = False
        self._reader = FrameReader(max_message_bytes, unmask)
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if not self._is_open:
            self._request += data
            head, end, data = self._request.partition(b"\r\n\r\n")
            if not end:
                return
            self._accept(head)
        for message in self._reader.receive_data(data):
            self._hear(message)
        failure = self._reader.failure
        if failure is not None:
            self._close(failure.code, failure.reason)

    def _accept(self, head: bytes) -> None:
        headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        key = {name.lower(): value for name, value in headers.items()}[b"sec-websocket-key"]
        digest = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nServer: frames\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % digest
        )
        self._is_open = True

    def _hear(self, message: Message) -> None:
        if self._closing:
            if message.opcode == Opcode.CLOSE:
                self._transport.close()
        elif message.opcode == Opcode.CLOSE:
            code, failure = parse_close(message.payload)
            self._close(code, failure.reason if failure else "")
            self._transport.close()
        elif message.opcode == Opcode.PING:
            self._transport.write(encode_frame(Opcode.PONG, message.payload))
        elif message.opcode != Opcode.PONG:
            self._transport.write(encode_frame(message.opcode, message.payload))

    def _close(self, code: int, reason: str) -> None:
        if self._closing:
            return
        self._closing = True
        self._transport.write(encode_close(code, reason))
        if self._reader.failure is not None:
            self._transport.write_eof()
        self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)


@contextlib.asynccontextmanager
async def echoing(max_message_bytes: int = MAX_MESSAGE_BYTES) -> AsyncIterator[str]:
    """A running endpoint; its `ws://` address."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Echo(max_message_bytes), "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"ws://{host}:{port}"
    finally:
        server.close()
        await server.wait_closed()
