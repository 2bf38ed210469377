"""Bad input: a clear error or close code, the connection or at least the server unharmed."""

import asyncio
import json
import logging

import pytest
import websockets
from conftest import relay_with
from rawsocket import BINARY, CLOSE, TEXT, handshake, join_raw, open_raw, open_tcp
from test_chat_messages import pair, quiet

ROOM = "7f9c24e8-3b12-4fef-91e0-5b2f60f1a0aa"

INVALID = [
    "",
    "{",
    "[]",
    "null",
    "5",
    '"message"',
    "{}",
    "\x00",
    '{"type":"nonsense"}',
    '{"type":5}',
    '{"type":null}',
    '{"type":"joined"}',
    '{"type":"join","key":"ri_x"}',
    '{"type":"message"}',
    '{"type":"message","id":"1"}',
    '{"type":"message","body":1}',
    '{"type":"message","id":"","body":1}',
    '{"type":"message","id":5,"body":1}',
    '{"type":"message","id":null,"body":1}',
    '{"type":"message","id":"' + "x" * 65 + '","body":1}',
    '{"type":"message","id":"1","body":1,"seq":5}',
    '{"type":"message","id":"1","body":1,"to":5}',
    '{"type":"message","id":"1","body":NaN}',
    '{"type":"message","id":"1","body":1}}',
    '{"type":"message","id":"1","body":1,}',
    '{"type":"message","id":"\\ud800","body":1}',
    '{"type":"message","id":"1","body":' + "[" * 300 + "]" * 300 + "}",
    '{"type":"message","id":"1","body":' + "[" * 30_000 + "]" * 30_000 + "}",
    '{"type":"message","id":"1","body":' + '{"a":' * 10_000,
    '{"type":"kick","id":"1"}',
    '{"type":"kick","id":"1","user":5}',
    '{"type":"mute","user":"u_0000000000000000"}',
    '{"type":"edit","id":"1","max":1e400}',
    '{"type":"edit","id":"1","max":' + "9" * 5000 + "}",
    '{"type":"close"}',
    '{"type":"ping","id":5}',
    '{"type":"ping","nonsense":1}',
    '{"type":"leave","nonsense":1}',
    b"\x00\xff\x00",
    b"",
    b'{"type":"ping"}',
]


@pytest.mark.parametrize("frame", INVALID, ids=lambda frame: repr(frame[:48]))
async def test_invalid_frame_after_joining(relay, frame):
    """It gets an error, changes nothing, and the connection stays."""
    room, ann, bob = await pair(relay)
    await bob.socket.send(frame)
    told = await quiet(bob)
    assert [answer["type"] for answer in told] == ["error"]
    assert told[0]["code"] in ("protocol_error", "malformed", "invalid_fields", "bad_chunk")
    assert set(told[0]) <= {"type", "id", "code", "detail"}
    assert len(told[0]["detail"]) < 300
    assert await quiet(ann) == []
    assert (await relay.details(room))["messages"] == 0


async def test_lone_surrogate_in_a_body(relay):
    """Half a character in a body is passed on as the text it came as, or refused; the others stay connected."""
    _, ann, bob = await pair(relay)
    await ann.socket.send(r'{"type":"message","id":"1","body":"\ud800"}')
    told = await quiet(ann)
    assert [answer["type"] for answer in told] in (["error"], ["message"])
    assert len(await quiet(bob)) == (told[0]["type"] == "message")


async def test_errors_repeat_no_secret(relay):
    """Whatever a client sent, an error does not send it back."""
    room, _, bob = await pair(relay)
    for secret in (room["invite_key"], room["owner_key"], bob.session):
        await bob.socket.send(json.dumps({"type": secret}))
        await bob.socket.send(json.dumps({"type": "join", "key": secret, "session": secret}))
        await bob.socket.send(json.dumps({"type": "message", "id": "1", "body": 1, "to": secret}))
        await bob.socket.send(json.dumps({"type": "edit", "id": "1", "max": secret, "name": secret}))
        await bob.socket.send(json.dumps({"type": "signal", "kind": [secret]}))
        assert secret not in json.dumps(await quiet(bob))


async def test_too_large_a_frame(relay):
    """One byte more than 64 KiB is 1009, known from the frame's head alone."""
    room, ann, bob = await pair(relay)
    await bob.socket.send("x" * 65_537)
    assert (await bob.closed())[0] == 1009
    raw = await join_raw(relay, room)
    raw.writer.write(bytes([0x81, 0x80 | 127]) + (2**62).to_bytes(8, "big"))
    assert await raw.close_code() == 1009
    await ann.say("1")
    await ann.until("message", id="1")


async def test_too_large_in_pieces(relay):
    """Fragments count together."""
    room = await relay.create()
    raw = await join_raw(relay, room)
    raw.send(b'"' + b"x" * 40_000, fin=False)
    raw.send(b"x" * 40_000, 0, fin=False)
    assert await raw.close_code() == 1009


async def test_largest_frame_is_a_setting():
    """`max_message` bounds the frame."""
    async with relay_with(limits__max_message=2048) as relay:
        _, ann, bob = await pair(relay)
        await ann.say("1", "x" * 1900)
        await bob.until("message", id="1")
        await ann.say("2", "x" * 2048)
        assert (await ann.closed())[0] == 1009


@pytest.mark.parametrize(
    ("junk", "code"),
    [
        (b"\x81\x02hi", 1002),  # not masked
        (b"\xc1\x80\0\0\0\0", 1002),  # RSV1 without an extension
        (b"\x83\x80\0\0\0\0", 1002),  # an opcode that is none
        (b"\x8b\x80\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),  # goes on with nothing
        (b"\x09\x80\0\0\0\0", 1002),  # a control frame in fragments
        (b"\x89\xfe\x00\x7e\0\0\0\0" + b"x" * 126, 1002),  # a control frame that is too long
        (b"\x88\x81\0\0\0\0x", 1002),  # half a close code
        (b"\x88\x82\0\0\0\0\x03\xe7", 1002),  # 999
        (b"\x88\x82\0\0\0\0\x03\xed", 1002),  # 1005 is never sent
        (b"\x81\x82\0\0\0\0\xff\xfe", 1007),  # no UTF-8
        (b"\x81\x83\0\0\0\0\xed\xa0\x80", 1007),  # half a character
        (b"\x88\x84\0\0\0\0\x03\xe8\xff\xfe", 1007),
        (b"\x01\x81\0\0\0\0x\x81\x81\0\0\0\0y", 1002),  # a message within another
    ],
    ids=lambda value: value.hex()[:24] if isinstance(value, bytes) else str(value),
)
async def test_bytes_that_are_no_websocket(relay, junk, code):
    """They end the connection with the code that RFC 6455 has for them."""
    room, ann, _ = await pair(relay)
    raw = await join_raw(relay, room)
    raw.writer.write(junk)
    assert await raw.close_code() == code
    await ann.send("ping", id="1")
    await ann.until("pong", id="1")


async def test_junk_before_the_handshake(relay):
    """Bytes that are no HTTP are answered with 400 or nothing, and closed."""
    for junk in (b"\x00" * 64 + b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET\r\n\r\n"):
        reader, writer = await open_tcp(relay)
        writer.write(junk)
        answer = await asyncio.wait_for(reader.read(), 5)
        assert not answer or answer.startswith(b"HTTP/1.1 400 ")
        writer.close()
    assert (await relay.request("GET", "/healthz")).code == 200


async def test_hundred_half_open_sockets():
    """Those that never finish a request or a join hinder nobody; who never joins is sent away."""
    async with relay_with(timing__join_timeout=1) as relay:
        halves = [await open_tcp(relay) for _ in range(100)]
        for _, writer in halves:
            writer.write(handshake(f"/{ROOM}")[:-2])
        silent = [await open_raw(relay, ROOM) for _ in range(100)]
        _, ann, bob = await pair(relay)
        await ann.say("1")
        await bob.until("message", id="1")
        assert [await raw.close_code() for raw in silent] == [4001] * 100


async def test_vanishing_at_every_moment(relay):
    """A client that is gone in the middle of anything leaves nothing behind."""
    room = await relay.create()
    ann = await relay.join(room)
    join = json.dumps({"type": "join", "key": room["invite_key"], "profile": {}}).encode()
    whole = handshake(f"/{room['id']}") + bytes([0x81, 0x80 | len(join)]) + b"\0\0\0\0" + join
    for cut in range(0, len(whole) + 1, 12):
        _, writer = await open_tcp(relay)
        writer.write(whole[:cut])
        await writer.drain()
        writer.transport.abort()
    raw = await join_raw(relay, room)
    raw.send_json("message", id="1", body="last words")
    await raw.writer.drain()
    raw.writer.close()
    assert (await ann.until("message"))["body"] == "last words"
    async with asyncio.timeout(5):
        while (await relay.details(room))["connections"] != 1:
            await quiet(ann)


async def test_close_code_arrives_in_a_flood():
    """The code of the server's close reaches a client that goes on sending regardless."""
    async with relay_with(limits__message_rate=0) as relay:
        room, ann, bob = await pair(relay)

        async def flood():
            while True:
                await bob.say("again", "x" * 10_000)

        flooding = asyncio.create_task(flood())
        await ann.until("message", id="again")
        await ann.send("kick", id="c1", user=bob.id)
        assert await bob.closed(10) == (4011, "kicked")
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(flooding, 10)
        await ann.until("ok", id="c1")
        details = await relay.details(room)
        assert (details["users"], details["connections"]) == (1, 1)


async def test_pings_and_empty_frames_by_the_thousand(relay):
    """Controls and empty frames cost a client nothing, so they may not cost the others anything either."""
    room, ann, bob = await pair(relay)
    raw = await join_raw(relay, room)
    raw.writer.write(b"\x89\x80\0\0\0\0" * 5000)
    await ann.say("1")
    await bob.until("message", id="1")


async def test_no_peers_mistake_is_logged_with_a_traceback(caplog):
    """Junk of all kinds leaves no traceback, no content and no key in the log."""
    caplog.set_level(logging.DEBUG)
    async with relay_with(timing__close_timeout=0.1) as relay:
        room, _, bob = await pair(relay)
        for frame in INVALID:
            await bob.socket.send(frame)
        await quiet(bob)
        for opcode in (TEXT, BINARY, CLOSE, 3, 15):
            raw = await open_raw(relay, room["id"])
            raw.send(b"\xff" * 100, opcode)
            await raw.ended()
        await relay.request("POST", "/api/v1/room", body="canary-one", headers={"Content-Type": "application/json"})
        await relay.request("GET", "/api/v1/canary-two", "canary-three")
        await relay.request("GET", "/%ff%fe?canary-four")
    ours = [record for record in caplog.records if not record.name.startswith(("websockets", "asyncio", "tornado.sim"))]
    assert not [record for record in ours if record.exc_info or record.levelno >= logging.ERROR]
    text = "\n".join(record.getMessage() for record in ours)
    for secret in ("canary", room["invite_key"], room["owner_key"], bob.session, "nick"):
        assert secret not in text
