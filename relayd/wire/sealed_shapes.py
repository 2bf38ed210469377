"""What a server can check of things sealed: their shape. Everything else in them is for the clients alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from relayd.wire.chunks import PASS_BYTES, TAG_BYTES
from relayd.wire.sealing import SECRET_BYTES, SID_BYTES, U32, Base64Of16, Base64Of128, Verifier
from relayd.wire.sealing_text import Redacted, SealingError, base64url_length, decode_base64url, is_base64url

BLOCK_BYTES: Final = 64  # plaintexts are padded to a multiple of it
SIGNATURE_BYTES: Final = 64  # Ed25519
HPKE_ENC_BYTES: Final = 32  # X25519
BOX_BYTES: Final = HPKE_ENC_BYTES + SECRET_BYTES + SIGNATURE_BYTES + TAG_BYTES

SIGNAL_KIND: Final = "sealed"  # the `kind` of every signal in a sealed room

_MIN_CHARS: Final = base64url_length(BLOCK_BYTES + TAG_BYTES)


class SealedBody(Redacted, msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something sealed, as it travels: a message's body, a profile, a signal's data.

    Attributes:
        e: the epoch.
        s: the sender's sid, 16 bytes as base64url.
        n: the counter, for each sid and type.
        c: AES-256-GCM ciphertext and tag: 64k + 16 bytes as base64url, k from 1.

    Decoding refuses other and missing fields; `parse_sealed` checks `c` too.
    """

    e: U32
    s: Base64Of16
    n: U32
    c: Annotated[str, msgspec.Meta(min_length=_MIN_CHARS)]


class SealedHead(NamedTuple):
    """What the server knows of something sealed.

    Attributes:
        epoch: whose key sealed it; another than the room's gets `stale_epoch`.
        sid: 16 bytes; a connection keeps to one.
        n: the counter.
    """

    epoch: int
    sid: bytes
    n: int


def read_sealed(body: object) -> SealedBody:
    """`body` as a `SealedBody` of the right shape.

    Args:
        body: decoded JSON, or a `SealedBody`.

    Raises:
        SealingError: it has another shape; the text names the field and repeats no value.
    """
    try:
        sealed = msgspec.convert(body, SealedBody)
    except msgspec.ValidationError as wrong:
        raise SealingError(f"not a sealed body: {wrong}") from None
    if not is_base64url(sealed.c):
        raise SealingError("c: not canonical base64url without padding")
    n_bytes = len(sealed.c) * 3 // 4
    if (n_bytes - TAG_BYTES) % BLOCK_BYTES:
        raise SealingError(f"c: is no multiple of {BLOCK_BYTES} bytes and a tag of {TAG_BYTES}")
    return sealed


def parse_sealed(body: object) -> SealedHead:
    """The shape check for `message.body`, `profile` and a signal's `data` in a sealed room.

    Args:
        body: decoded JSON, or a `SealedBody`.

    Returns:
        Epoch, sid and counter, for the rules about epochs and sids.

    Raises:
        SealingError: it has another shape.
    """
    sealed = read_sealed(body)
    return SealedHead(sealed.e, decode_base64url(sealed.s, SID_BYTES, "s"), sealed.n)


def parse_sealed_signal(kind: str, data: object) -> SealedHead:
    """The shape check for a signal: as `parse_sealed`, and the kind must be `sealed`; its own is inside.

    Raises:
        SealingError: another kind or shape.
    """
    if kind != SIGNAL_KIND:
        raise SealingError(f"kind: signals of a sealed room have the kind {SIGNAL_KIND!r}")
    return parse_sealed(data)


UserIdText = Annotated[str, msgspec.Meta(min_length=18, max_length=18, pattern="^u_[0-9a-f]{16}$")]


class RekeyPart(Redacted, msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The part of a `rekey` frame that is about keys; `type` and `id` belong to the frame.

    Attributes:
        epoch: the new one: one above the present.
        verifier: hex SHA-256 of the new A_e.
        check: the new C_e, 16 bytes.
        boxes: for each user id the new link secret and the owner's signature, HPKE-sealed to that user,
            128 bytes.
        kick: the user thrown out with it; gets no box.
        renew_invite: also replace the invite key: links of before are worth nothing, not even for the details.
    """

    epoch: Annotated[int, msgspec.Meta(ge=1, lt=2**32)]
    verifier: Verifier
    check: Base64Of16
    boxes: dict[UserIdText, Base64Of128]
    kick: UserIdText | None = None
    renew_invite: bool = False  # off: clients that do not know of it would show a link with the replaced key


def parse_rekey(frame: Mapping[str, Any]) -> RekeyPart:
    """The shape check for a `rekey` frame; that its epoch is the next one is for the room to say.

    Args:
        frame: the decoded frame; fields that are not about keys are left alone.

    Raises:
        SealingError: a field is missing or has another shape, or the one thrown out would get a box.
    """
    try:
        part = msgspec.convert(frame, RekeyPart)
    except msgspec.ValidationError as wrong:
        raise SealingError(f"not a rekey: {wrong}") from None
    if part.kick in part.boxes:
        raise SealingError("boxes: hold one for the user who is thrown out")
    return part


def check_sealed_chunk(pass_id: bytes, ciphertext: bytes, chunk_bytes: int) -> None:
    """The shape check for a file's chunk: all that shows of it is the pass, and how long it is.

    Args:
        pass_id: 16 bytes, drawn for every pass over the file.
        ciphertext: chunk and tag; an empty file's only chunk is a tag alone.
        chunk_bytes: the most plaintext a chunk may hold.

    Raises:
        SealingError: a wrong length.
    """
    if len(pass_id) != PASS_BYTES:
        raise SealingError(f"pass: expected {PASS_BYTES} bytes, got {len(pass_id)}")
    if not TAG_BYTES <= len(ciphertext) <= chunk_bytes + TAG_BYTES:
        most = chunk_bytes + TAG_BYTES
        raise SealingError(f"chunk: expected {TAG_BYTES} to {most} bytes, got {len(ciphertext)}")
