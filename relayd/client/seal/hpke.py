"""HPKE boxes: something sealed to one user's card key."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from relayd.client.seal.keys import UserKey
from relayd.client.sealing_errors import BadKey, NotOpened

# RFC 9180, section 7: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM; base mode, empty aad.
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def seal_box(plaintext: bytes, to: bytes, info: bytes) -> bytes:
    """`enc || ciphertext` of `plaintext` for the X25519 public key `to` (32 bytes); 48 bytes longer than it.

    Raises:
        BadKey: a key of small order, which would make everyone able to open it.
    """
    try:
        return _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(to), info=info)
    except ValueError:
        raise BadKey("a card's key is none that anything can be sealed to") from None


def open_box(box: bytes, user: UserKey, info: bytes) -> bytes:
    """What `box` holds for `user`.

    Raises:
        NotOpened: it is for another key, was sealed with another info, or is damaged.
    """
    try:
        return _SUITE.decrypt(box, user.private, info=info)
    except (InvalidTag, ValueError):
        raise NotOpened("it is not sealed to this user") from None
