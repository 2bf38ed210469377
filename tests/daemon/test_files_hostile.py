"""Files and people who mean no good, or have a mistake in their client: nobody else notices."""

from __future__ import annotations

import asyncio
import os

import pytest
from conftest import relay_with
from file_people import Client, File, new_fid
from test_files import client, pair

from relayd.wire.chunks import HEAD_BYTES

UNLIMITED = {
    "limits__message_rate__user_messages": 0,
    "limits__message_rate__room_messages": 0,
}


async def bad_chunk(sender: Client, fid: str | None) -> str:
    error = await sender.hear("error")
    assert error["code"] == "bad_chunk"
    assert error.get("fid") == fid
    return error["detail"]


async def asked(relay, file: File) -> tuple[Client, Client, dict]:
    """Ann was asked for the first chunks of a file, and has sent nothing yet."""
    _, ann, bob = await pair(relay)
    await ann.peer.send("message", id="f1", body={"kind": "file"}, file=file.offered)
    await bob.accept(file)
    return ann, bob, await ann.hear("file", event="send")


WRONG = {
    "the second one first": lambda file, stream: file.chunk(stream, 1),
    "beyond what was asked for": lambda file, stream: file.chunk(stream, 9),
    "beyond the end": lambda file, stream: file.chunk(stream, 20, data=bytes(5_000)),
    "too short": lambda file, stream: file.chunk(stream, 0, data=bytes(999)),
    "too long": lambda file, stream: file.chunk(stream, 0, data=bytes(1001)),
    "empty": lambda file, stream: file.chunk(stream, 0, data=b""),
    "marked as the last": lambda file, stream: file.chunk(stream, 0, last=True),
    "of another file": lambda file, stream: file.chunk(stream, 0, fid=b"x" * 16),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_chunk(relay, wrong):
    """One error; what follows in that stream is dropped, and the same is asked for in another."""
    file = File(os.urandom(100_000))
    ann, bob, send = await asked(relay, file)
    frame = WRONG[wrong](file, send["stream"])
    await ann.peer.socket.send(frame)
    for index in range(3):
        await ann.peer.socket.send(file.chunk(send["stream"], index))
    ann.serve(file)
    assert await bob.has(file) == file.data
    errors = [frame for frame in ann.frames if frame["type"] == "error"]
    fid = file.fid if wrong != "of another file" else "eHh4eHh4eHh4eHh4eHh4eA"
    assert [(error["code"], error["fid"]) for error in errors] == [("bad_chunk", fid)]


async def test_a_chunk_twice_and_another_pass(relay):
    """Later in a stream, too: those that came before are there, and it goes on from them."""
    file = File(os.urandom(100_000))
    ann, bob, send = await asked(relay, file)
    for index in (0, 1, 1):
        await ann.peer.socket.send(file.chunk(send["stream"], index))
    assert "the next chunk of this stream is 2" in await bad_chunk(ann, file.fid)
    send = await ann.hear("file", event="send")
    assert send["from"] == 2
    await ann.peer.socket.send(file.chunk(send["stream"], 2))
    await ann.peer.socket.send(file.chunk(send["stream"], 3, pass_id=b"q" * 16))
    assert "pass" in await bad_chunk(ann, file.fid)
    ann.serve(file)
    assert await bob.has(file) == file.data


async def test_after_the_end(relay):
    """What comes when all of it has come is no chunk that was asked for."""
    file = File(os.urandom(7_500))
    ann, bob, send = await asked(relay, file)
    for index in (0, 1, 1):
        await ann.peer.socket.send(file.chunk(send["stream"], index))
    await bad_chunk(ann, file.fid)
    assert await bob.has(file) == file.data
    await asyncio.sleep(0.1)
    assert len(bob.chunks) == 2


async def test_after_stop_nothing_is_said(relay):
    """Chunks that were under way when a stream was stopped are dropped without an error."""
    file = File(os.urandom(100_000))
    ann, bob, send = await asked(relay, file)
    await bob.peer.send("cancel", fid=file.fid)
    await ann.hear("file", event="stop")
    for index in range(8):
        await ann.peer.socket.send(file.chunk(send["stream"], index))
    await ann.peer.socket.send(file.chunk(send["stream"], 8))
    await bad_chunk(ann, file.fid)
    await ann.peer.send("ping", id="p")
    await ann.hear("pong", id="p")
    assert bob.chunks == []


@pytest.mark.parametrize(
    "junk", [b"", b"\x00", b"\x01" * (HEAD_BYTES - 1), b"\x02" + bytes(100), b"\x01\x07" + bytes(60)]
)
async def test_no_chunk_at_all(relay, junk):
    _, ann, bob = await pair(relay)
    await ann.peer.socket.send(junk)
    error = await ann.hear("error")
    assert error["code"] == "bad_chunk"
    assert ("fid" in error) == (len(junk) >= HEAD_BYTES)
    await ann.peer.say("m1")
    await bob.hear("message", id="m1")


@pytest.mark.slow
async def test_a_flood_of_junk(relay):
    """It ends the connection that makes it; others go on."""
    room, ann, bob = await pair(relay)
    carol = await client(relay, room, "carol")
    file = File(os.urandom(250_000))
    await ann.offer(file)
    await bob.accept(file)
    junk = b"\x01\x00" + os.urandom(60_000)

    async def flood() -> None:
        while True:
            await carol.peer.socket.send(junk)

    flooding = asyncio.ensure_future(flood())
    assert await bob.has(file) == file.data
    await asyncio.wait([flooding], timeout=60)
    assert flooding.exception() is not None
    await carol.peer.socket.wait_closed()
    assert (carol.peer.socket.close_code, carol.peer.socket.close_reason) == (4529, "rate_limited")


OFFERS = [
    ({"size": 2**30 + 1}, "file_too_large"),
    ({"size": 2**53 - 1}, "file_too_large"),
    ({"size": 2**53}, "protocol_error"),
    ({"size": -1}, "protocol_error"),
    ({"size": 1.5}, "protocol_error"),
    ({"chunk": 0}, "protocol_error"),
    ({"size": 2, "chunk": 1}, "protocol_error"),
    ({"size": 2**30, "chunk": 4_095}, "protocol_error"),
    ({"chunk": 65_536 - 127}, "protocol_error"),
    ({"chunk": 2**31}, "protocol_error"),
    ({"fid": "AAECAwQFBgcICQoLDA0ODx"}, "protocol_error"),  # not canonical
    ({"fid": "AAECAwQFBgcICQoLDA0"}, "protocol_error"),
    ({"fid": ""}, "protocol_error"),
    ({"name": "x"}, "protocol_error"),
]


@pytest.mark.parametrize(("changes", "code"), OFFERS)
async def test_absurd_offers(relay, changes, code):
    """The message that makes one is refused as a whole, and so is serving one."""
    room, ann, _ = await pair(relay)
    offered = {"fid": new_fid(), "size": 1, "chunk": 1000} | changes
    await ann.peer.send("message", id="f1", body={"kind": "file"}, file=offered)
    assert (await ann.hear("error", id="f1"))["code"] == code
    await ann.peer.send("serve", id="s", **offered)
    assert (await ann.hear("error", id="s"))["code"] == code
    assert (await relay.details(room))["messages"] == 0
    await ann.offer(File(b"x", chunk=65_536 - 128))


async def test_a_room_without_files(relay):
    _, ann, _ = await pair(relay, files=False)
    await ann.peer.send("message", id="f1", body=1, file=File(b"x").offered)
    assert (await ann.hear("error", id="f1"))["code"] == "files_off"


async def test_a_thousand_offers():
    """A hundred of a user at a time; one withdrawn makes place for another."""
    async with relay_with(**UNLIMITED) as relay:
        _, ann, bob = await pair(relay)
        files = [File(b"x", fid=new_fid()) for _ in range(1_000)]
        for number, file in enumerate(files):
            await ann.peer.send("message", id=f"f{number}", body=1, file=file.offered)
        await ann.until(lambda: sum(frame["type"] == "error" for frame in ann.frames) == 900)
        assert {frame["code"] for frame in ann.frames if frame["type"] == "error"} == {"too_many_files"}
        assert sum(frame["type"] == "message" for frame in ann.frames) == 100
        await ann.peer.send("cancel", fid=files[0].fid, id="c")
        await ann.hear("ok", id="c")
        await ann.offer(files[500], "again")
        await bob.accept(files[500])
        assert await bob.has(files[500]) == b"x"


async def test_somebody_elses_fid(relay):
    """Neither taken over, nor withdrawn, nor served by others; and nothing in another room."""
    room, ann, bob = await pair(relay)
    file = File(os.urandom(25_000))
    await ann.offer(file)
    await bob.peer.send("message", id="f1", body=1, file=file.offered)
    error = await bob.hear("error", id="f1")
    assert (error["code"], error["fid"]) == ("fid_taken", file.fid)
    for command, fields in (
        ("serve", file.offered),
        ("cancel", {"fid": file.fid}),
        ("done", {"fid": file.fid, "ok": True}),
    ):
        await bob.peer.send(command, id=command, **fields)
        assert (await bob.hear("error", id=command))["code"] == ("fid_taken" if command == "serve" else "no_such_file")
    await ann.peer.send("serve", id="s", **(file.offered | {"size": 7}))
    assert (await ann.hear("error", id="s"))["code"] == "fid_taken"
    other = await client(relay, await relay.create(), "carol")
    for command, fields in (("accept", {"upto": 8}), ("grant", {"upto": 8}), ("cancel", {}), ("done", {"ok": False})):
        await other.peer.send(command, id=command, fid=file.fid, **fields)
        assert (await other.hear("error", id=command))["code"] == "no_such_file"
    await bob.accept(file)
    assert await bob.has(file) == file.data
    assert not any(frame.get("event") in ("cancelled", "received") for frame in ann.frames)
    assert (await relay.details(room))["messages"] == 1


@pytest.mark.parametrize("first", [5, 2**53 - 1])
async def test_accepting_from_beyond_the_end(relay, first):
    _, ann, bob = await pair(relay)
    file = File(os.urandom(25_000))
    await ann.offer(file)
    for fields in ({"from": first, "upto": first}, {"from": 3, "upto": 2}):
        await bob.peer.send("accept", fid=file.fid, id="a", **fields)
        error = await bob.hear("error", id="a")
        assert (error["code"], error["fid"]) == ("protocol_error", file.fid)


async def test_grants_that_shrink(relay):
    """What there was room for is there for good: nothing is sent twice, and nothing is left out."""
    _, ann, bob = await pair(relay)
    file = File(os.urandom(100_000))
    await ann.offer(file)
    await bob.accept(file, window=0)
    for upto in (4, 2, 0, 6, 5, 20, 1):
        await bob.peer.send("grant", fid=file.fid, upto=upto)
    assert await bob.has(file) == file.data
    assert len(bob.chunks) == 20


async def test_a_flood_of_grants(relay):
    """Only those count for nothing that a chunk has paid for."""
    _, ann, bob = await pair(relay)
    file = File(os.urandom(100_000))
    await ann.offer(file)
    await bob.accept(file, window=0)
    for number in range(500):
        await bob.peer.send("grant", fid=file.fid, upto=0, id=str(number))
    assert (await bob.hear("error"))["code"] == "rate_limited"
    await bob.cut()


async def test_a_receiver_that_never_grants(relay):
    """It holds the others up for a moment only, and gets its part when it wants it."""
    room, ann, bob = await pair(relay)
    carol = await client(relay, room, "carol")
    file = File(os.urandom(500_000))
    await ann.offer(file)
    await bob.accept(file, window=0)
    await bob.peer.send("grant", fid=file.fid, upto=5)
    await carol.accept(file)
    assert await carol.has(file) == file.data
    assert len(bob.chunks) == 5
    await bob.peer.send("grant", fid=file.fid, upto=100)
    assert await bob.has(file) == file.data


async def test_a_receiver_that_does_not_read(relay):
    """Whatever it granted: it is sent no more than may wait for it, so it is not cut off, and reads on later."""
    room, ann, bob = await pair(relay)
    stuck = await relay.connect(room["id"], max_queue=1)
    await stuck.send("join", key=room["invite_key"], profile={})
    await stuck.until("joined")
    file = File(os.urandom(16_000_000), chunk=60_000)
    await ann.offer(file)
    await stuck.send("accept", fid=file.fid, upto=2**40)
    await bob.accept(file)
    assert await bob.has(file) == file.data
    reading = Client(stuck)
    await reading.until(lambda: reading.last(file))
    assert b"".join(chunk[HEAD_BYTES:] for chunk in reading.chunks) == file.data


async def test_a_pace(relay):
    """Files go as fast as the admin lets them, and chat beside them as ever."""
    async with relay_with(limits__file_rate__user_bytes=200_000) as slow:
        _, ann, bob = await pair(slow)
        file = File(os.urandom(200_000), chunk=10_000)
        began = asyncio.get_running_loop().time()
        await ann.offer(file)
        await bob.accept(file)
        assert await bob.has(file) == file.data
        # A quarter of a second ahead, and the wheel's tick.
        assert asyncio.get_running_loop().time() - began > 0.7
