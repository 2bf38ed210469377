"""Files: every chunk in its place, the whole of what was offered, and nothing else."""

import base64
import copy
import hashlib
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.client.sealing import ChunkOpener, ChunkSealer, FileOffer, new_offer, read_offer
from relayd.client.sealing_errors import FileError
from relayd.wire.sealed_shapes import check_sealed_chunk
from relayd.wire.sealing_text import SealingError, encode_base64url

VECTORS = json.loads(Path(__file__).parents[1].joinpath("vectors", "sealing-vectors.json").read_text("utf-8"))
FILES = [
    pytest.param(room, room[name], id=f"{room['case']}: {name}")
    for room in VECTORS["rooms"]
    for name in ("file", "empty_file")
]
SALT = b"salt of 16 bytes"
PLACE = {"salt": SALT, "epoch": 0}


def unb64(text: str) -> bytes:
    return base64.b64decode(text + "==", altchars=b"-_")


def offer_of(data: bytes, chunk: int = 100) -> FileOffer:
    digest = hashlib.sha256(data).digest()
    return new_offer("a.txt", "text/plain", size=len(data), sha256=digest, chunk_bytes=chunk)


def pieces(data: bytes, chunk: int = 100) -> list[bytes]:
    return [data[start : start + chunk] for start in range(0, len(data), chunk)] or [b""]


def sealed(offer: FileOffer, data: bytes, **place: object) -> tuple[bytes, list[bytes]]:
    sealer = ChunkSealer(offer, **{**PLACE, **place})
    return sealer.pass_id, [sealer.seal(piece) for piece in pieces(data, offer.chunk)]


@pytest.mark.parametrize(("room", "file"), FILES)
def test_vectors(room, file):
    """Both directions, byte for byte, the empty file too."""
    chunks = file["chunks"]
    data = b"".join(bytes.fromhex(chunk["plaintext_hex"]) for chunk in chunks)
    offer = read_offer(
        {"kind": "file", "fid": file["file_id"], "key": file["key"], "chunk": file["chunk"], "name": "a",
         "size": len(data), "type": "text/plain", "sha256": encode_base64url(hashlib.sha256(data).digest())}
    )  # fmt: skip
    place = {"salt": unb64(room["salt"]), "epoch": room["epoch"]}
    sealer = ChunkSealer(offer, **place, random_bytes=lambda _: unb64(file["pass"]))
    opener = ChunkOpener(offer, **place, pass_id=sealer.pass_id)
    assert offer.chunks == len(chunks)
    for chunk in chunks:
        plaintext, ciphertext = bytes.fromhex(chunk["plaintext_hex"]), unb64(chunk["ciphertext"])
        assert sealer.seal(plaintext) == ciphertext
        assert opener.open(ciphertext) == plaintext
    assert sealer.complete
    assert opener.complete


@settings(max_examples=60)
@given(st.binary(max_size=300), st.integers(1, 120))
def test_round_trip(data, chunk):
    """Any file in chunks of any size; complete with the last one and not before."""
    offer = read_offer(offer_of(data, chunk).body())
    pass_id, ciphertexts = sealed(offer, data)
    opener = ChunkOpener(offer, **PLACE, pass_id=pass_id)
    opened = b""
    for ciphertext in ciphertexts:
        assert not opener.complete
        check_sealed_chunk(pass_id, ciphertext, chunk)
        opened += opener.open(ciphertext)
    assert (opened, opener.complete, len(ciphertexts)) == (data, True, offer.chunks)
    with pytest.raises(FileError, match="over"):
        opener.open(ciphertexts[-1])


DATA = bytes(range(250))


@pytest.mark.parametrize(
    "order", [[1], [2], [0, 2], [0, 0], [1, 0, 2]], ids=["second", "last", "one missing", "twice", "swapped"]
)
def test_chunks_have_their_place(order):
    """Left out, doubled, swapped, begun in the middle: refused, and the pass is over."""
    offer = offer_of(DATA)
    pass_id, ciphertexts = sealed(offer, DATA)
    opener = ChunkOpener(offer, **PLACE, pass_id=pass_id)

    def open_all() -> None:
        for index in order:
            opener.open(ciphertexts[index])

    with pytest.raises(FileError):
        open_all()
    assert not opener.complete
    with pytest.raises(FileError, match="over"):
        opener.open(ciphertexts[0])


@pytest.mark.parametrize("change", [{"salt": bytes(16)}, {"epoch": 1}])
def test_another_room_or_epoch(change):
    """A chunk belongs to one room and epoch."""
    offer = offer_of(DATA)
    pass_id, ciphertexts = sealed(offer, DATA, **change)
    with pytest.raises(FileError, match="could not be opened"):
        ChunkOpener(offer, **PLACE, pass_id=pass_id).open(ciphertexts[0])


def test_another_pass_or_file():
    """Chunks of two passes can't be mixed, nor those of two files under one key."""
    offer = offer_of(DATA)
    passes = [sealed(offer, DATA) for _ in range(2)]
    assert passes[0][0] != passes[1][0]
    assert not set(passes[0][1]) & set(passes[1][1])
    with pytest.raises(FileError):
        ChunkOpener(offer, **PLACE, pass_id=passes[0][0]).open(passes[1][1][0])
    for change in ({"fid": "A" * 22}, {"key": "A" * 43}):
        other = msgspec.structs.replace(offer, **change)
        with pytest.raises(FileError):
            ChunkOpener(other, **PLACE, pass_id=passes[0][0]).open(passes[0][1][0])


def test_a_file_cut_short_at_a_chunk():
    """A chunk that was not sealed as the last one isn't taken for it, even with an offer that fits."""
    offer = offer_of(DATA[:200])
    pass_id, ciphertexts = sealed(offer, DATA[:200])
    digest = encode_base64url(hashlib.sha256(DATA[:100]).digest())
    shorter = msgspec.structs.replace(offer, size=100, sha256=digest)
    with pytest.raises(FileError, match="could not be opened"):
        ChunkOpener(shorter, **PLACE, pass_id=pass_id).open(ciphertexts[0])


def test_another_file_of_the_same_size():
    """The offer's SHA-256 decides; the sender notices before the last chunk goes out, the receiver at it."""
    offer = offer_of(DATA)
    other = bytes(250)
    sealer = ChunkSealer(offer, **PLACE)
    for piece in pieces(other)[:-1]:
        sealer.seal(piece)
    with pytest.raises(FileError, match="not the one that was offered"):
        sealer.seal(pieces(other)[-1])
    honest = msgspec.structs.replace(offer, sha256=encode_base64url(hashlib.sha256(other).digest()))
    pass_id, ciphertexts = sealed(honest, other)
    opener = ChunkOpener(offer, **PLACE, pass_id=pass_id)
    for ciphertext in ciphertexts[:-1]:
        opener.open(ciphertext)
    with pytest.raises(FileError, match="not the one that was offered"):
        opener.open(ciphertexts[-1])
    assert not opener.complete


@pytest.mark.parametrize("piece", [b"", bytes(99), bytes(101)])
def test_exact_chunks(piece):
    """All but the final chunk have exactly the chunk's bytes; after a wrong one nothing more is sealed."""
    sealer = ChunkSealer(offer_of(DATA), **PLACE)
    for attempt in (piece, bytes(100)):
        with pytest.raises(FileError):
            sealer.seal(attempt)


def test_wrong_lengths():
    """A ciphertext of another length than the offer allows isn't even tried."""
    offer = offer_of(DATA)
    pass_id, ciphertexts = sealed(offer, DATA)
    for wrong in (b"", ciphertexts[0][:-1], ciphertexts[0] + b"\0", ciphertexts[-1]):
        with pytest.raises(FileError, match="another length"):
            ChunkOpener(offer, **PLACE, pass_id=pass_id).open(wrong)
    with pytest.raises(SealingError, match="pass"):
        ChunkOpener(offer, **PLACE, pass_id=b"short")
    with pytest.raises(SealingError, match="salt"):
        ChunkOpener(offer, salt=b"", epoch=0, pass_id=pass_id)


def test_a_pass_cannot_be_copied():
    """A copy would seal other bytes with the same nonces."""
    with pytest.raises(TypeError, match="cannot be copied"):
        copy.copy(ChunkSealer(offer_of(DATA), **PLACE))


@pytest.mark.parametrize(
    "change",
    [{"kind": "text"}, {"fid": "A" * 21}, {"key": "A" * 42 + "B"}, {"chunk": 0}, {"chunk": 2**20 + 1},
     {"size": -1}, {"size": 2**53}, {"sha256": "0" * 64}, {"name": None}, {"type": 7}, {"size": 1.5}],
    ids=str,
)  # fmt: skip
def test_bad_offers(change):
    """An offer with a wrong field is refused; the error doesn't hold its key."""
    body = offer_of(DATA).body()
    assert read_offer(body).body() == body
    with pytest.raises(FileError) as raised:
        read_offer({**body, **change})
    assert body["key"] not in str(raised.value)


def test_every_offer_has_its_own_key():
    """Two offers of one file share nothing."""
    first, second = offer_of(DATA), offer_of(DATA)
    assert (first.fid, first.key) != (second.fid, second.key)
    assert first.key != second.key
