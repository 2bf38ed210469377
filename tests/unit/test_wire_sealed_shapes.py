"""The shapes that a server checks without being able to open anything."""

import base64
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.wire.sealed_shapes import (
    BOX_BYTES,
    SealedBody,
    check_sealed_chunk,
    parse_rekey,
    parse_sealed,
    parse_sealed_signal,
)
from relayd.wire.sealing_text import SealingError, decode_base64url, encode_base64url

VECTORS = json.loads(Path(__file__).parents[1].joinpath("vectors", "sealing-vectors.json").read_text("utf-8"))
BODY = VECTORS["rooms"][0]["sealed"][1]["body"]
SID = base64.urlsafe_b64decode(BODY["s"] + "==")
DIGEST = VECTORS["rooms"][3]["verifier"]
BOX = VECTORS["rekey"]["box"]
REKEY = {
    "type": "rekey",
    "id": "r1",
    "epoch": 1,
    "verifier": DIGEST,
    "check": VECTORS["rooms"][3]["check"],
    "boxes": {"u_0123456789abcdef": BOX},
    "kick": "u_fedcba9876543210",
}


@pytest.mark.parametrize(
    "body",
    [sealed["body"] for room in VECTORS["rooms"] for sealed in room["sealed"]] + [VECTORS["direct"]["body"]],
)
def test_vectors_have_the_shape(body):
    """Everything that clients seal passes, as decoded JSON and as a Struct."""
    head = parse_sealed(body)
    assert head == (body["e"], SID, body["n"])
    assert parse_sealed(msgspec.convert(body, SealedBody)) == head
    assert parse_sealed(msgspec.json.decode(msgspec.json.encode(body), type=SealedBody)) == head


U32 = st.integers(0, 2**32 - 1)


@given(U32, st.binary(min_size=16, max_size=16), U32, st.integers(1, 9))
def test_shape_round_trip(e, s, n, blocks):
    """Any epoch, sid, counter and number of blocks."""
    body = {"e": e, "s": encode_base64url(s), "n": n, "c": encode_base64url(bytes(64 * blocks + 16))}
    assert parse_sealed(body) == (e, s, n)


@given(st.integers(0, 700))
def test_ciphertext_lengths(n_bytes):
    """Only a tag and at least one whole block of 64 bytes pass."""
    body = {**BODY, "c": encode_base64url(bytes(n_bytes))}
    if n_bytes > 16 and n_bytes % 64 == 16:
        assert parse_sealed(body)
    else:
        with pytest.raises(SealingError, match="c"):
            parse_sealed(body)


@pytest.mark.parametrize(
    "body",
    [
        None, "text", 7, [], {}, {"kind": "text", "text": "hello"}, {**BODY, "x": 1}, {**BODY, "to": None},
        *({name: value for name, value in BODY.items() if name != left_out} for left_out in BODY),
        *({**BODY, "e": bad} for bad in (-1, 2**32, 2**64, 1.5, "0", True, None)),
        *({**BODY, "n": bad} for bad in (-1, 2**32, 2**64, 1.5, "0", True, None)),
        *({**BODY, "s": bad} for bad in ("", "A" * 21, "A" * 23, "A" * 21 + "B", BODY["s"] + "==", 0, None)),
        *({**BODY, "c": bad} for bad in ("", BODY["c"][:-1], BODY["c"][:-1] + "*", BODY["c"] + "\n", 0)),
        {**BODY, "c": "A" * 106 + "B"},
    ],
)  # fmt: skip
def test_other_shapes_are_refused(body):
    """Plaintext, missing or more fields, ranges, lengths, alphabets; the ciphertext isn't repeated."""
    with pytest.raises(SealingError) as raised:
        parse_sealed(body)
    assert BODY["c"][:20] not in str(raised.value)


def test_signals():
    """A sealed room's signals have one kind only; the real one is inside."""
    assert parse_sealed_signal("sealed", BODY).sid == SID
    with pytest.raises(SealingError, match="kind"):
        parse_sealed_signal("typing", BODY)
    with pytest.raises(SealingError, match="not a sealed body"):
        parse_sealed_signal("sealed", {"on": True})


def test_rekey():
    """The parts about keys are read out of the frame; a kick may be left out."""
    part = parse_rekey(REKEY)
    assert (part.epoch, part.verifier, part.kick) == (1, DIGEST, "u_fedcba9876543210")
    assert len(decode_base64url(part.boxes["u_0123456789abcdef"])) == BOX_BYTES
    assert parse_rekey({name: value for name, value in REKEY.items() if name != "kick"}).kick is None


@pytest.mark.parametrize(
    "change",
    [
        *({"epoch": bad} for bad in (0, -1, 2**32, "1", None)),
        *({"verifier": bad} for bad in ("", DIGEST.upper(), DIGEST[:-1], None)),
        *({"check": bad} for bad in ("", "A" * 21 + "B", "A" * 43)),
        *({"boxes": bad} for bad in (None, [], {"ann": BOX}, {"u_0123456789ABCDEF": BOX})),
        *({"boxes": {"u_0123456789abcdef": bad}} for bad in (BOX[:-1], BOX + "A", BOX[:-1] + "B", None)),
        {"kick": "ann"},
        {"kick": "u_0123456789abcdef"},
    ],
)
def test_other_rekeys_are_refused(change):
    """Misshapen fields, users that can't be, and a box for the one who is thrown out."""
    with pytest.raises(SealingError):
        parse_rekey({**REKEY, **change})


def test_chunks():
    """A chunk shows its pass and its length; an empty file's only chunk is a tag."""
    check_sealed_chunk(bytes(16), bytes(16), 100)
    check_sealed_chunk(bytes(16), bytes(116), 100)
    for pass_id, ciphertext in ((15, 50), (17, 50), (16, 15), (16, 117)):
        with pytest.raises(SealingError):
            check_sealed_chunk(bytes(pass_id), bytes(ciphertext), 100)
