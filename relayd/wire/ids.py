"""Identifiers and credentials: how they look, how they are made, what is kept of them.

A credential is an opaque random string whose prefix says what it is. Only its SHA-256 digest is kept: it has 128
or 256 bits of entropy, so a plain digest cannot be searched (no salt, no stretching needed).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import NamedTuple, NewType

RoomId = NewType("RoomId", bytes)  # the 16 bytes of a UUID v4: a bus topic as it stands
UserId = NewType("UserId", str)  # "u_" + 16 hex digits
RandomBytes = Callable[[int], bytes]

INVITE, OWNER, SESSION, CREATE = "ri_", "ro_", "rs_", "rc_"
_KEY_BYTES = {INVITE: 16, OWNER: 32, SESSION: 32, CREATE: 32}
DIGEST_BYTES = 32  # of a key
_ROOM_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Credential(NamedTuple):
    """What is kept of a key: its kind (prefix) and the SHA-256 digest of its text (32 bytes)."""

    kind: str
    digest: bytes

    def fits(self, digest: bytes) -> bool:
        """Whether this is the key with that digest, compared in constant time."""
        return hmac.compare_digest(self.digest, digest)


def new_room_id(random_bytes: RandomBytes) -> RoomId:
    """A fresh UUID v4 (122 random bits; RFC 9562, section 5.4: six say what it is)."""
    octets = bytearray(random_bytes(16))
    octets[6] = octets[6] & 0x0F | 0x40
    octets[8] = octets[8] & 0x3F | 0x80
    return RoomId(bytes(octets))


def room_id_text(room_id: RoomId) -> str:
    """The canonical lower-case form, as in links."""
    text = room_id.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def parse_room_id(text: str) -> RoomId | None:
    """The room id written as `text`, or None if `text` is no UUID in canonical lower-case form."""
    return RoomId(bytes.fromhex(text.replace("-", ""))) if _ROOM_ID.fullmatch(text) else None


def new_user_id(random_bytes: RandomBytes) -> UserId:
    """A fresh user id, public inside its room."""
    return UserId("u_" + random_bytes(8).hex())


def new_invite_id(random_bytes: RandomBytes) -> str:
    """A fresh name of an invite, which is no secret."""
    return "i_" + random_bytes(8).hex()


def new_key(kind: str, random_bytes: RandomBytes) -> str:
    """A fresh key of that kind (`INVITE`, `OWNER`, `SESSION` or `CREATE`) as text."""
    return kind + urlsafe_b64encode(random_bytes(_KEY_BYTES[kind])).rstrip(b"=").decode()


def digest_of(key: str) -> bytes:
    """What is kept of a key: SHA-256 of its text, 32 bytes."""
    return hashlib.sha256(key.encode()).digest()


def parse_key(text: str) -> Credential | None:
    """Reads a key of any kind; None if it has not exactly the form of one.

    Exactly one text stands for each key (RFC 4648, section 3.5: unused bits are zero), so none has an alias.
    """
    kind = text[:3]
    size = _KEY_BYTES.get(kind)
    if size is None:
        return None
    try:
        raw = urlsafe_b64decode(text[3:].encode("ascii") + b"=" * (-len(text[3:]) % 4))
    except ValueError:
        return None
    canonical = urlsafe_b64encode(raw).rstrip(b"=").decode()
    return Credential(kind, digest_of(text)) if len(raw) == size and text[3:] == canonical else None
