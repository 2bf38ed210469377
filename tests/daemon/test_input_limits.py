"""What a client can make the server read and hold: frames that cost nothing, frames that never end."""

from __future__ import annotations

import asyncio
import struct

import pytest
from conftest import relay_with
from rawsocket import CLOSE, PING, PONG, TEXT, handshake, join_raw, open_raw, open_tcp
from test_chat_messages import pair

from relayd.gateway import read_buffers, socket
from relayd.gateway.read_buffers import PROGRESS_BYTES
from relayd.wire.frames import MAX_FRAGMENTS, FrameReader

NO_ROOM = "00000000-0000-4000-8000-000000000000"
EMPTY_FRAGMENT = b"\x00\x80\0\0\0\0"
FLOOD = {
    "empty fragments": b"\x01\x80\0\0\0\0" + EMPTY_FRAGMENT * 100_000,
    "small fragments": b"\x01\x81\0\0\0\0x" + b"\x00\x81\0\0\0\0x" * 80_000,
    "pings": b"\x89\x80\0\0\0\0" * 100_000,
    "pongs": b"\x8a\x80\0\0\0\0" * 100_000,
    "pings within a message": b"\x01\x80\0\0\0\0" + b"\x89\x80\0\0\0\0" * 100_000,
    "chunks nobody asked for": b"\x82\x81\0\0\0\0x" * 80_000,
    "empty texts": b"\x81\x80\0\0\0\0" * 100_000,
}
UNRATED = {f"limits__message_rate__{name}": 0 for name in ("user_messages", "user_signals", "user_bytes")}


@pytest.fixture
def frames_read(monkeypatch):
    """Counts the frames that the server reads, by reader."""
    counts = {}

    class Counted(FrameReader):
        def next_frame(self):
            message = super().next_frame()
            counts[id(self)] = counts.get(id(self), 0) + (message is not None)
            return message

    monkeypatch.setattr(socket, "FrameReader", Counted)
    return lambda: max(counts.values())


async def talk(ann, bob):
    for number in range(20):
        await ann.say(f"talk{number}")
        for peer in (ann, bob):
            await peer.until("message", id=f"talk{number}")


@pytest.mark.parametrize("joined", [False, True], ids=["before the join", "in a room"])
@pytest.mark.parametrize("kind", FLOOD)
async def test_a_flood_is_not_read(relay, frames_read, kind, joined):
    """A burst is, then the client waits: what it sends stays with it."""
    room, ann, bob = await pair(relay)
    raw = await (join_raw(relay, room) if joined else open_raw(relay, NO_ROOM))
    raw.writer.write(FLOOD[kind])
    await talk(ann, bob)
    if not joined and kind in ("chunks nobody asked for", "empty texts"):  # the first one ends it
        assert await raw.close_code() == 4000
        assert frames_read() <= socket.CLOSING_BYTES / 6
    else:
        assert frames_read() <= 256


@pytest.mark.parametrize("joined", [False, True], ids=["before the join", "in a room"])
async def test_who_floods_without_end_is_closed(joined, monkeypatch):
    """Ten pauses, then the end; also before the join, where there is nobody to tell."""
    monkeypatch.setattr(socket, "PAUSE_S", 0.01)
    async with relay_with(limits__message_rate__user_messages=50, timing__join_timeout=60) as relay:
        room = await relay.create()
        raw = await (join_raw(relay, room) if joined else open_raw(relay, NO_ROOM))
        raw.writer.write(FLOOD["pongs"])
        assert await raw.close_code(40) == 4529


async def test_fragments_of_a_message_are_limited():
    """Also where no rate is set: 1008."""
    async with relay_with(**UNRATED) as relay:
        raw = await join_raw(relay, await relay.create())
        raw.writer.write(FLOOD["empty fragments"][: 6 * (MAX_FRAGMENTS - 1)])
        raw.send(b"", PING)
        assert await raw.until(PONG) == b""
        raw.writer.write(EMPTY_FRAGMENT)
        assert await raw.close_code() == 1008


async def test_large_fragments_cost_no_more_than_their_message(relay):
    """A library that sends 16 KiB in each frame says no more by it: 40 such messages of 4 frames come through."""
    async with relay_with(limits__message_rate__user_bytes=0) as relay:
        raw = await join_raw(relay, await relay.create())
        body = b'"%b"' % (b"x" * 60_000)
        for number in range(40):
            frame = b'{"type":"message","id":"%d","body":%b}' % (number, body)
            for start in range(0, len(frame), 16_384):
                last = start + 16_384 >= len(frame)
                raw.send(frame[start : start + 16_384], TEXT if not start else 0, fin=last)
            while b'"id":"%d"' % number not in await raw.until(TEXT):
                pass


async def test_what_comes_after_the_end_is_not_read(relay, frames_read):
    """While it is closing, the peer's close frame is looked for in 64 KiB; the rest is discarded."""
    room, ann, bob = await pair(relay)
    raw = await join_raw(relay, room)
    raw.send(b"", 3)  # a reserved opcode
    assert await raw.close_code() == 1002
    raw = await join_raw(relay, room)
    raw.send_json("leave")
    assert await raw.close_code() == 4014
    before = frames_read()
    raw.writer.write(FLOOD["pings"])
    await talk(ann, bob)
    await raw.ended()
    assert frames_read() - before <= socket.CLOSING_BYTES / 6


async def test_the_answer_to_a_close_is_found_behind_other_frames(relay):
    """What was under way when the server closed does not cost the peer the whole of `close_timeout`."""
    async with relay_with(timing__close_timeout=60) as relay:
        raw = await join_raw(relay, await relay.create())
        raw.send_json("leave")
        for _ in range(1_000):
            raw.send(b"x" * 40, PING)
        raw.send(struct.pack("!H", 1000), CLOSE)
        assert await raw.close_code() == 4014
        await raw.ended()


async def test_a_message_that_does_not_progress_is_closed(monkeypatch):
    """16 KiB in 10 s (here less), or all of it; what is slow but progresses is waited for, and pauses do not count."""
    monkeypatch.setattr(read_buffers, "PROGRESS_S", 0.6)
    async with relay_with() as relay:
        room = await relay.create()
        stalled, in_pieces, slow, chatty = [await join_raw(relay, room) for _ in range(4)]
        frame = b'{"type":"message","id":"slow","body":"%b"}' % (b"x" * 60_000)
        stalled.writer.write(struct.pack("!BBH", 0x81, 0xFE, 60_000) + bytes(4) + frame[:100])
        in_pieces.send(frame[:100], fin=False)
        in_pieces.send(b"", PING)
        closing = [asyncio.create_task(one.close_code(30)) for one in (stalled, in_pieces)]
        slow.writer.write(struct.pack("!BBH", 0x81, 0xFE, len(frame)) + bytes(4))
        for start in range(0, len(frame), PROGRESS_BYTES // 2):
            slow.writer.write(frame[start : start + PROGRESS_BYTES // 2])
            # Messages that each come in two pieces, with an unfinished one whenever it is looked.
            chatty.writer.write(b"\x89\x80\0\0\0\0\x89\x80\0")
            await asyncio.sleep(0.2)
            chatty.writer.write(b"\0\0\0")
        assert [await code for code in closing] == [1008, 1008]
        while b'"id":"slow"' not in await slow.until(TEXT):
            pass
        chatty.send(b"still there", PING)
        while await chatty.until(PONG) != b"still there":
            pass


async def test_unread_bytes_of_all_connections_are_limited():
    """Those that hold most go, with a code to come back by; the others finish their messages."""
    async with relay_with(limits__max_read_buffers_bytes=200_000) as relay:
        room = await relay.create()
        small = await join_raw(relay, room)
        small.writer.write(bytes([0x81, 0x80 | 60]) + bytes(4) + b'{"type":"ping",')
        large = [await join_raw(relay, room) for _ in range(4)]
        head = struct.pack("!BBQ", 0x82, 0xFF, 65_536) + bytes(4)
        for one in large:
            one.writer.write(head + bytes(60_000))
        endings = [asyncio.create_task(_ending(one)) for one in large]
        await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
        for one in large:
            one.writer.write(bytes(5_536))
        assert sorted([await one for one in endings])[:2] == ["answered", "answered"]
        assert {one.result() for one in endings} == {"answered", "closed with 1013"}
        small.writer.write(b'"id":"whole"}'.ljust(45))
        while b"whole" not in await small.until(TEXT):
            pass


async def _ending(one):
    """What the server makes of the one frame of a connection."""
    while True:
        opcode, payload = await one.recv(30)
        if opcode == CLOSE:
            return f"closed with {int.from_bytes(payload[:2], 'big')}"
        if b"bad_chunk" in payload:
            return "answered"


async def test_unread_bytes_are_forgotten_with_their_connection():
    """Else the limit would be reached by those who are gone."""
    async with relay_with(limits__max_read_buffers_bytes=200_000) as relay:
        room = await relay.create()
        head = struct.pack("!BBQ", 0x82, 0xFF, 65_536) + bytes(4)
        for _ in range(8):
            raw = await join_raw(relay, room)
            raw.writer.write(head + bytes(60_000))
            await raw.writer.drain()
            raw.writer.close()
            await raw.writer.wait_closed()
        whole = await join_raw(relay, room)
        whole.writer.write(head + bytes(60_000))
        await asyncio.sleep(0.2)
        whole.writer.write(bytes(5_536))
        while b"bad_chunk" not in await whole.until(TEXT):
            pass


async def test_a_flood_in_the_handshakes_packet(relay, frames_read):
    """Frames may come with the handshake's request."""
    _, ann, bob = await pair(relay)
    _, writer = await open_tcp(relay)
    writer.write(handshake(f"/{NO_ROOM}") + FLOOD["pings"])
    await talk(ann, bob)
    assert frames_read() <= 256
