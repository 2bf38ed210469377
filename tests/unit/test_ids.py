"""Identifiers and credentials: their exact form, and that nothing else passes for one."""

from __future__ import annotations

import hashlib
import os
import string
import uuid
from base64 import urlsafe_b64encode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relayd.wire import ids
from relayd.wire.ids import INVITE, OWNER, SESSION, parse_key, parse_room_id

SIZES = {INVITE: 16, OWNER: 32, SESSION: 32}
ALPHABET = string.ascii_letters + string.digits + "-_"
KINDS = st.sampled_from(sorted(SIZES))


def test_room_ids_are_random_uuids():
    made = {ids.room_id_text(ids.new_room_id(os.urandom)) for _ in range(200)}
    assert len(made) == 200
    for text in made:
        assert (uuid.UUID(text).version, uuid.UUID(text).variant) == (4, uuid.RFC_4122)
        assert str(uuid.UUID(text)) == text


@given(st.uuids())
def test_room_id_and_its_text_are_one(room_id):
    assert ids.room_id_text(room_id.bytes) == str(room_id)
    assert parse_room_id(str(room_id)) == room_id.bytes


@given(st.uuids())
@example(uuid.UUID("abcdefab-cdef-4abc-8def-abcdefabcdef"))
def test_only_the_canonical_form_is_a_room_id(room_id):
    text = str(room_id)
    others = [text.replace("-", ""), "{" + text + "}", "urn:uuid:" + text, text + "\n", " " + text, text[:-1], ""]
    others += [text + "0", text.replace("-", "_"), text[:-1] + "g", text[:-1] + "\u0661", "-" + text[1:]]
    others += [text.upper()] if text != text.upper() else []
    assert [parse_room_id(other) for other in others] == [None] * len(others)


def test_user_ids():
    made = ids.new_user_id(lambda count: bytes(range(count)))
    assert made == "u_0001020304050607"


@pytest.mark.parametrize(("kind", "size"), SIZES.items())
def test_key_has_the_form_of_the_protocol(kind, size):
    key = ids.new_key(kind, os.urandom)
    assert key.startswith(kind)
    assert len(key) == 3 + -(-size * 8 // 6)
    assert set(key[3:]) <= set(ALPHABET)
    assert ids.new_key(kind, lambda count: b"\xff" * count) == kind + urlsafe_b64encode(b"\xff" * size).decode().rstrip(
        "="
    )


@given(KINDS, st.data())
def test_every_key_is_read_back(kind, data):
    secret = data.draw(st.binary(min_size=SIZES[kind], max_size=SIZES[kind]))
    key = ids.new_key(kind, lambda count: secret)
    credential = parse_key(key)
    assert credential.kind == kind
    assert credential.digest == ids.digest_of(key) == hashlib.sha256(key.encode()).digest()
    assert credential.fits(ids.digest_of(key))
    assert not credential.fits(ids.digest_of(key + "x"))
    assert not credential.fits(b"")


@given(KINDS, st.data())
def test_no_key_has_an_alias(kind, data):
    """One text for each: unused bits are zero, no padding, no other alphabet, no space."""
    key = ids.new_key(kind, lambda count: data.draw(st.binary(min_size=count, max_size=count)))
    at = data.draw(st.integers(3, len(key) - 1))
    aliases = [key + "=", key + "==", key + "\n", key[:at] + "\n" + key[at:], key[:at] + "!" + key[at:], " " + key]
    aliases += [key[:-1], key + "A", kind + "\u00e9" + key[4:], kind + "\ud800" + key[4:], key.replace(kind, "rx_")]
    aliases += [kind.upper() + key[3:], key[:at] + "+" + key[at + 1 :], key[:at] + "/" + key[at + 1 :]]
    assert [parse_key(alias) for alias in aliases] == [None] * len(aliases)


def test_unused_bits_must_be_zero():
    """22 characters hold 132 bits, a key of 16 bytes 128."""
    key = INVITE + "A" * 21
    assert [char for char in ALPHABET if parse_key(key + char)] == list("gwAQ")


def test_prefix_and_length_belong_together():
    assert parse_key(INVITE + "A" * 43) is None
    assert parse_key(OWNER + "A" * 22) is None
    assert parse_key(OWNER + "A" * 43) is not None
    assert parse_key("") is None
    assert parse_key("ri") is None
    assert parse_key(INVITE) is None


@given(st.text(max_size=60))
def test_any_text_is_a_key_or_none(text):
    credential = parse_key(text)
    assert credential is None or credential.kind == text[:3]


def test_random_bytes_are_used_to_the_last_bit():
    """128 and 256 bits: no fewer are asked for."""
    asked = []
    for kind in SIZES:
        ids.new_key(kind, lambda count: asked.append(count) or bytes(count))
    assert asked == list(SIZES.values())
