"""Sealed bodies as bytes: padding, sender keys, nonces, additional data, JSON. No state is kept here."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relayd.client.sealing_errors import NotOpened
from relayd.wire.sealed_shapes import BLOCK_BYTES
from relayd.wire.sealing import EpochKeys, derive_key
from relayd.wire.sealing_text import SealingError, u32

T = TypeVar("T")

_LENGTH_BYTES: Final = 4


class BodyType(IntEnum):
    """The one byte that keeps a body sealed as one thing from being opened as another."""

    MESSAGE = 1
    CARD = 2
    CHUNK = 4
    DIRECT = 5
    SIGNAL = 6


class Slot(NamedTuple):
    """One place in what a sender seals; each is used once in a room's life.

    Attributes:
        kind: what is sealed.
        sid: the sender's socket, 16 bytes.
        n: the counter, for each sid and kind.
    """

    kind: BodyType
    sid: bytes
    n: int


def pad(data: bytes) -> bytes:
    """`u32(length) || data || zeros`, to a multiple of 64 bytes."""
    head = u32(len(data)) + data
    return head + bytes(-len(head) % BLOCK_BYTES)


def unpad(padded: bytes) -> bytes:
    """What `pad` was given; more zeros than it adds are accepted, nothing else.

    Raises:
        NotOpened: it was not made so.
    """
    end = _LENGTH_BYTES + int.from_bytes(padded[:_LENGTH_BYTES], "big")
    if not padded or len(padded) % BLOCK_BYTES or end > len(padded) or any(padded[end:]):
        raise NotOpened("its padding is wrong")
    return padded[_LENGTH_BYTES:end]


def nonce(n: int) -> bytes:
    """`4 zero bytes || u64(n)`, for AES-GCM."""
    return bytes(4) + n.to_bytes(8, "big")


def additional_data(keys: EpochKeys, slot: Slot) -> bytes:
    """`"relay/1" || 0 || type || salt || u32(e) || sid || u64(n)`: what a ciphertext is bound to."""
    kind = bytes([slot.kind])
    return b"relay/1\0" + kind + keys.salt + u32(keys.epoch) + slot.sid + slot.n.to_bytes(8, "big")


def sender_key(keys: EpochKeys, slot: Slot) -> bytes:
    """SK_t: the key of one sid for one type, 32 bytes."""
    return derive_key(keys.room_key, "sender", bytes([slot.kind]) + slot.sid, keys.salt)


def seal_at(keys: EpochKeys, slot: Slot, plaintext: bytes) -> bytes:
    """Seals `plaintext`, padded, at `slot`. Only `Sealer` calls it: a slot used twice breaks AES-GCM.

    Returns:
        Ciphertext and tag.

    Source: AES-256-GCM, NIST SP 800-38D.
    """
    return AESGCM(sender_key(keys, slot)).encrypt(nonce(slot.n), pad(plaintext), additional_data(keys, slot))


def open_at(keys: EpochKeys, slot: Slot, ciphertext: bytes) -> bytes:
    """What was sealed at `slot`, without its padding.

    Raises:
        NotOpened: another key, slot or ciphertext, or wrong padding.
    """
    try:
        cipher = AESGCM(sender_key(keys, slot))
        padded = cipher.decrypt(nonce(slot.n), ciphertext, additional_data(keys, slot))
    except InvalidTag:
        raise NotOpened("it could not be opened with this room's key") from None
    return unpad(padded)


def encode_json(value: object) -> bytes:
    """`value` as UTF-8 JSON.

    Raises:
        SealingError: it cannot be said in JSON, or in UTF-8.
    """
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError):
        # The cause would carry what was to be said; who passed it knows it.
        raise SealingError("this cannot be said in JSON") from None


def decode_json(data: bytes, kind: type[T]) -> T:
    """What `data`, strict UTF-8 JSON, says, as a `kind`.

    Raises:
        NotOpened: it is no JSON or has another form.
    """
    try:
        return msgspec.json.decode(data.decode("utf-8"), type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # UnicodeDecodeError carries the plaintext; and a member may nest as deep as a frame is long.
        raise NotOpened("what is inside has another form") from None
