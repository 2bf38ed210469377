"""Files in sealed rooms: the relay passes on what it cannot read, and knows how long it must be."""

from __future__ import annotations

import hashlib
import os

from file_people import Client, raw_fid

from relayd.client.sealing import ChunkOpener, ChunkSealer, new_offer
from relayd.wire.chunks import HEAD_BYTES, ChunkHead, read_head
from tests.sealed.sealed_people import T_MS, people, plain

CHUNK = 5_000


async def test_a_sealed_file(relay):
    """Offered and sent as ciphertext; chunks without their tag are no chunks here."""
    room, (ann, bob) = await people(relay, "ann", "bob")
    data = os.urandom(12_500)
    offer = new_offer("a.bin", "x/y", size=len(data), sha256=hashlib.sha256(data).digest(), chunk_bytes=CHUNK)
    sender, receiver = Client(ann.peer), Client(bob.peer)
    body = plain(ann.sealer.message("f1", offer.body(), T_MS))
    file = {"fid": offer.fid, "size": len(data), "chunk": CHUNK}
    await ann.peer.send("message", id="f1", body=body, file=file)
    said = await receiver.hear("message", id="f1")
    assert said["body"] == body
    assert "file" not in said
    before = (await relay.details(room.created))["data_volume"]

    await bob.peer.send("accept", fid=offer.fid, upto=8)
    send = await sender.hear("file", event="send")

    def frame(sealer: ChunkSealer, stream: int, index: int, payload: bytes) -> bytes:
        fid = raw_fid(offer.fid)
        head = ChunkHead(last=index == 2, stream=stream, fid=fid, pass_id=sealer.pass_id, index=index)
        return head.encode() + payload

    sealer = ChunkSealer(offer, salt=ann.keys.salt, epoch=0)
    await ann.peer.socket.send(frame(sealer, send["stream"], 0, data[:CHUNK]))
    error = await sender.hear("error")
    assert (error["code"], error["fid"]) == ("bad_chunk", offer.fid)
    assert "5016 bytes" in error["detail"]

    send = await sender.hear("file", event="send")
    for index in range(3):
        sealed = sealer.seal(data[index * CHUNK : (index + 1) * CHUNK])
        await ann.peer.socket.send(frame(sealer, send["stream"], index, sealed))
    await receiver.until(lambda: len(receiver.chunks) == 3)
    head = read_head(receiver.chunks[0])
    opener = ChunkOpener(offer, salt=bob.keys.salt, epoch=0, pass_id=head.pass_id)
    assert b"".join(opener.open(chunk[HEAD_BYTES:]) for chunk in receiver.chunks) == data
    assert opener.complete
    # What the relay has carried: ciphertext, tags included.
    assert (await relay.details(room.created))["data_volume"] == before + 12_500 + 3 * 16


async def test_a_plain_offer_in_a_sealed_room(relay):
    """The body is refused, and with it the offer."""
    _, (ann, bob) = await people(relay, "ann", "bob")
    sender, receiver = Client(ann.peer), Client(bob.peer)
    offer = new_offer("a.bin", "x/y", size=1, sha256=bytes(32), chunk_bytes=1)
    file = {"fid": offer.fid, "size": 1, "chunk": 1}
    await ann.peer.send("message", id="f1", body={"kind": "file"}, file=file)
    assert (await sender.hear("error", id="f1"))["code"] == "not_sealed"
    await bob.peer.send("accept", fid=offer.fid, upto=1, id="a")
    assert (await receiver.hear("error", id="a"))["code"] == "no_such_file"
