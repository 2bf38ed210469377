"""Violations of RFC 6455 on the relay's own socket, before and after a join, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os

import pytest
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

MASK = b"\x01\x02\x03\x04"
TEXT, PING = 0x81, 0x89


def frame(first: int, payload: bytes = b"", *, length: bytes = b"", mask: bytes = MASK) -> bytes:
    """A frame as wrong as it is asked for: the first byte as given, the length in any form."""
    head = length or bytes((0x80 | len(payload),))
    return bytes((first,)) + head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


VIOLATIONS = {
    "RSV1": (frame(0xC1), 1002),
    "RSV2": (frame(0xA1), 1002),
    "RSV3 on a ping": (frame(0x99), 1002),
    "reserved data opcode": (frame(0x83), 1002),
    "reserved control opcode": (frame(0x8B), 1002),
    "fragmented ping": (frame(0x09), 1002),
    "fragmented close": (frame(0x08), 1002),
    "unmasked": (b"\x81\x02hi", 1002),
    "unmasked empty ping": (b"\x89\x00", 1002),
    "ping of 126 bytes": (frame(PING, bytes(126), length=b"\xfe\x00\x7e"), 1002),
    "ping with a 16-bit length": (frame(PING, b"hello", length=b"\xfe\x00\x05"), 1002),
    "text with a 16-bit length for 5": (frame(TEXT, b"hello", length=b"\xfe\x00\x05"), 1002),
    "text with a 64-bit length for 200": (frame(TEXT, bytes(200), length=b"\xff" + (200).to_bytes(8, "big")), 1002),
    "continuation of nothing": (frame(0x80, b"x"), 1002),
    "text inside a fragmented text": (frame(0x01, b"a") + frame(TEXT, b"b"), 1002),
    "text that is not UTF-8": (frame(TEXT, b"\xff"), 1007),
    "surrogate in text": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "fragments that end within a character": (frame(0x01, b"\xe2") + frame(0x80, b"\x82"), 1007),
    "longer than max_message": (frame(TEXT, length=b"\xff" + (65_537).to_bytes(8, "big")), 1009),
    "longer than memory": (frame(TEXT, length=b"\xff" + b"\xff" * 8), 1009),
    "fragments longer than max_message": (
        (frame(0x02, bytes(40_000), length=b"\xfe\x9c\x40") + frame(0x80, length=b"\xfe\x9c\x40")),
        1009,
    ),
    "close with one byte": (frame(0x88, b"\x03"), 1002),
    "close with 1005": (frame(0x88, b"\x03\xed"), 1002),
    "close with a reason that is not UTF-8": (frame(0x88, b"\x03\xe8\xff"), 1007),
}


class Wire:
    """A client that writes bytes, and reads frames with the `websockets` library's parser."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._buffer = StreamReader()

    @classmethod
    async def open(cls, relay, room_id: str) -> Wire:
        host, port = relay.base.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"GET /{room_id} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer  # RFC 6455, section 1.3
        return cls(reader, writer)

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def send(self, **fields) -> None:
        data = json.dumps(fields).encode()
        self.write(Frame(Opcode.TEXT, data).serialize(mask=True))

    async def frame(self) -> Frame | None:
        """The next frame, or None at the end."""
        while True:
            parsing = Frame.parse(self._buffer.read_exact, mask=False, max_size=2**20)
            mark = bytes(self._buffer.buffer)
            try:
                next(parsing)
            except StopIteration as done:
                return done.value
            self._buffer.buffer[:] = mark  # not all there yet: read on and parse anew
            data = await asyncio.wait_for(self._reader.read(65_536), 5)
            if not data:
                return None
            self._buffer.feed_data(data)

    async def until(self, type_: str) -> dict:
        while True:
            got = json.loads((await self.frame()).data)
            if got["type"] == type_:
                return got

    async def closing(self) -> int | None:
        """Reads to the end and answers the close frame, which must be the last one; its code."""
        code = None
        with contextlib.suppress(ConnectionResetError):
            while (got := await self.frame()) is not None:
                assert code is None, "nothing may come after a close frame"
                if got.opcode is Opcode.CLOSE:
                    code = Close.parse(got.data).code
                    self.write(frame(0x88, bytes(got.data)))
        return code

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


@pytest.fixture
async def wire_of(relay):
    """Opens wires, and closes them afterwards."""
    wires = []

    async def open_wire(room_id: str) -> Wire:
        wires.append(await Wire.open(relay, room_id))
        return wires[-1]

    yield open_wire
    for wire in wires:
        await wire.close()


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_violation_before_a_join(relay, wire_of, name):
    """The code of RFC 6455, and the end of the connection."""
    data, code = VIOLATIONS[name]
    wire = await wire_of((await relay.create())["id"])
    wire.write(data + frame(PING, b"after"))
    assert await wire.closing() == code


async def test_violations_after_a_join(relay, wire_of):
    """The same codes; what was said before is heard, nothing after it; the others stay and the place is kept."""
    room = await relay.create(max=100)
    ann = await relay.join(room, "ann", owner=True)
    for seq, (name, (data, code)) in enumerate(VIOLATIONS.items(), 1):
        wire = await wire_of(room["id"])
        wire.send(type="join", key=room["invite_key"])
        await wire.until("joined")
        before = json.dumps({"type": "message", "id": f"b{seq}", "body": name}).encode()
        after = json.dumps({"type": "message", "id": f"a{seq}", "body": "after"}).encode()
        wire.write(
            Frame(Opcode.TEXT, before).serialize(mask=True) + data + Frame(Opcode.TEXT, after).serialize(mask=True)
        )
        heard = await ann.until("message")
        assert (heard["seq"], heard["body"]) == (seq, name)
        assert await wire.closing() == code, name
    details = await relay.details(room)
    assert (details["connections"], details["messages"]) == (1, len(VIOLATIONS))
    assert details["users"] == 1 + len(VIOLATIONS)  # away, the place kept


async def test_junk_before_a_join(relay, wire_of):
    """A hundred sockets of random bytes hurt nobody."""
    room = await relay.create()
    ann = await relay.join(room, "ann")
    for _ in range(100):
        wire = await wire_of(room["id"])
        wire.write(os.urandom(200))
    await ann.say("1", "still here")
    assert (await ann.until("message"))["body"] == "still here"


@pytest.mark.parametrize("first", [b"{", b"[]", b'{"type":"message","id":"1","body":1}', b'{"type":"nonsense"}', b"\0"])
async def test_first_frame_that_is_no_join(relay, wire_of, first):
    """Is no violation of the WebSocket protocol but of ours: 4000."""
    wire = await wire_of((await relay.create())["id"])
    wire.write(Frame(Opcode.TEXT, first).serialize(mask=True))
    assert await wire.closing() == 4000


async def test_binary_before_a_join(relay, wire_of):
    wire = await wire_of((await relay.create())["id"])
    wire.write(frame(0x82, b"\0\1\2"))
    assert await wire.closing() == 4000


async def test_frames_cut_anywhere(relay, wire_of):
    """One byte a packet, control frames between the fragments of a join: joined all the same."""
    room = await relay.create()
    wire = await wire_of(room["id"])
    join = json.dumps({"type": "join", "key": room["invite_key"]}).encode()
    for at in range(0, len(join), 20):
        last = at + 20 >= len(join)
        opcode = Opcode.TEXT if at == 0 else Opcode.CONT
        for data in (Frame(opcode, join[at : at + 20], fin=last).serialize(mask=True), frame(PING, bytes((at,)))):
            for byte in data:
                wire.write(bytes((byte,)))
                await asyncio.sleep(0)
    pongs = []
    while (got := await wire.frame()).opcode is Opcode.PONG:
        pongs.append(got.data[0])
    assert json.loads(got.data)["type"] == "joined"
    assert pongs == sorted(pongs)
    assert pongs[0] == 0
