"""Sealed rooms, suite 1: what server and clients share: key derivation and the `access` part of a room.

The server derives keys only where a script creates a room with a plain `password`; otherwise it stores an
`Access` and compares proofs. docs/security.md is the construction; labels and byte orders follow it to the
letter.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import unicodedata
from typing import Annotated, Final, Literal

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relayd.wire.ids import RandomBytes
from relayd.wire.sealing_text import (
    LAST_CHARACTERS,
    U32_END,
    Redacted,
    SealingError,
    base64url_length,
    decode_base64url,
    encode_base64url,
    encode_utf8,
    labelled,
    require_length,
    u32,
)

SUITE: Final = 1
SALT_BYTES: Final = 16
SECRET_BYTES: Final = 16  # a link secret
SID_BYTES: Final = 16
CHECK_BYTES: Final = 16
KEY_BYTES: Final = 32  # every symmetric key, X25519 and Ed25519 public and private keys, proofs

# OWASP's Password Storage Cheat Sheet (2023) for PBKDF2-HMAC-SHA256.
PBKDF2_ROUNDS: Final = 600_000

# NIST SP 800-63B wants at least 64 characters allowed; 1 KiB is past any passphrase and hashed in no time.
MAX_PASSWORD_BYTES: Final = 1024
# NFC makes at most 4 code points into one character, so whoever has more than this is past MAX_PASSWORD_BYTES
# anyway. Bounded before NFC, whose reordering is quadratic in a run of marks: 1.5 s for 32,000 of them.
_MAX_PASSWORD_CHARS: Final = 4 * MAX_PASSWORD_BYTES


# Derivations. -----------------------------------------------------------------------------------------------


class EpochKeys(Redacted):
    """The keys of one room in one epoch.

    Attributes:
        salt: the room's, 16 bytes.
        epoch: from 0, below 2^32.
        room_key: K_e, 32 bytes; everything sealed in the epoch hangs on it.
        proof: A_e, 32 bytes; a joiner sends it.
        check: C_e, 16 bytes; the server must answer it before a client opens or sends anything.
    """

    __slots__ = ("check", "epoch", "proof", "room_key", "salt")

    def __init__(self, ikm: bytes, salt: bytes, epoch: int) -> None:
        """Derives them all from `ikm`, which is P || S_e: see `derive_epoch`."""
        place = u32(epoch)
        self.salt = salt
        self.epoch = epoch
        self.room_key = derive_key(ikm, "epoch", place, salt)
        self.proof = derive_key(ikm, "access", place, salt)
        self.check = derive_key(ikm, "check", place, salt, CHECK_BYTES)

    @property
    def proof_text(self) -> str:
        """What goes into `join.proof`: A_e as base64url, 43 characters."""
        return encode_base64url(self.proof)

    @property
    def verifier(self) -> str:
        """What the server keeps: SHA-256(A_e), 64 digits of lower-case hex."""
        return hashlib.sha256(self.proof).hexdigest()


def derive_key(ikm: bytes, label: str, context: bytes, salt: bytes, n_bytes: int = KEY_BYTES) -> bytes:
    """H(ikm, label, context, n): one key for one purpose.

    Source: HKDF-SHA256, RFC 5869, `info = "relay/1 " || label || 0 || context`.
    """
    return HKDF(algorithm=SHA256(), length=n_bytes, salt=salt, info=labelled(label, context)).derive(ikm)


def stretch(secret: bytes, label: str, context: bytes, n_bytes: int) -> bytes:
    """PBKDF2-HMAC-SHA256 with 600,000 rounds and `"relay/1 " || label || 0 || context` as salt, unhashed.

    Takes 0.2 to 0.4 s of one core without the GIL: call it from a thread where there is an event loop.

    Source: RFC 8018, section 5.2.
    """
    return hashlib.pbkdf2_hmac("sha256", secret, labelled(label, context), PBKDF2_ROUNDS, n_bytes)


def derive_password_key(password: str, salt: bytes) -> bytes:
    """P: the password, normalised (NFC) and never trimmed, stretched with the room's salt to 32 bytes.

    Takes as long as `stretch`.

    Args:
        password: 1 to 1,024 bytes as UTF-8 after NFC.
        salt: the room's, 16 bytes.

    Raises:
        SealingError: the password is empty, too long or no text; the salt has another length.

    Source: RFC 8018, section 5.2; NFC as RFC 8265, section 4.2.2 asks of passwords.
    """
    data = password_bytes(password)
    require_length(salt, SALT_BYTES, "salt")
    pw_salt = hashlib.sha256(labelled("pw", salt)).digest()
    return hashlib.pbkdf2_hmac("sha256", data, pw_salt, PBKDF2_ROUNDS, KEY_BYTES)


def password_bytes(password: str) -> bytes:
    """The password as it is stretched: NFC, UTF-8. Cheap, so that a form can be checked before `stretch`.

    Raises:
        SealingError: empty, too long, or no text.
    """
    if not password:
        raise SealingError("password: is empty")
    if len(password) <= _MAX_PASSWORD_CHARS:
        data = encode_utf8(unicodedata.normalize("NFC", password), "password")
        if len(data) <= MAX_PASSWORD_BYTES:
            return data
    raise SealingError(f"password: longer than {MAX_PASSWORD_BYTES:,} bytes of UTF-8")


def derive_epoch(
    salt: bytes,
    epoch: int,
    *,
    password_key: bytes | None,
    link_secret: bytes | None,
) -> EpochKeys:
    """The keys of a room in `epoch`.

    Args:
        salt: the room's, 16 bytes.
        epoch: from 0, below 2^32.
        password_key: P (see `derive_password_key`), or None for a room without a password.
        link_secret: S_e, 16 bytes, or None for a room with a password only.

    Raises:
        SealingError: neither is given, a length is wrong, or the link secret is all zero (as good as none).
    """
    if password_key is None and link_secret is None:
        raise SealingError("a sealed room needs a link secret or a password")
    require_length(salt, SALT_BYTES, "salt")
    if password_key is not None:
        require_length(password_key, KEY_BYTES, "password key")
    if link_secret is not None:
        require_length(link_secret, SECRET_BYTES, "link secret")
        if not any(link_secret):
            raise SealingError("link secret: is all zero")
    return EpochKeys((password_key or bytes(KEY_BYTES)) + (link_secret or bytes(SECRET_BYTES)), salt, epoch)


# The access part of a room. ---------------------------------------------------------------------------------


def _text_of(n_bytes: int) -> msgspec.Meta:
    """The type of a JSON string that is exactly `n_bytes` bytes in canonical base64url."""
    chars = base64url_length(n_bytes)
    last = LAST_CHARACTERS[chars % 4]
    # `$` also matches before a final newline (Python's re); max_length keeps that out.
    pattern = f"^[A-Za-z0-9_-]{{{chars - 1}}}[{last}]$" if last else f"^[A-Za-z0-9_-]{{{chars}}}$"
    return msgspec.Meta(min_length=chars, max_length=chars, pattern=pattern)


Base64Of16 = Annotated[str, _text_of(16)]
Base64Of32 = Annotated[str, _text_of(32)]
Base64Of64 = Annotated[str, _text_of(64)]
Base64Of128 = Annotated[str, _text_of(128)]
Verifier = Annotated[str, msgspec.Meta(min_length=64, max_length=64, pattern="^[0-9a-f]{64}$")]
U32 = Annotated[int, msgspec.Meta(ge=0, lt=U32_END)]


class PublicAccess(Redacted, msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The access part as everyone with an invite key sees it in a room's details.

    Attributes:
        suite: 1; another one fails to decode.
        salt: 16 bytes.
        password: whether one is needed beside the link.
        epoch: the present one.
        owner: the owner's Ed25519 public key, 32 bytes; absent where the room was made with a plain password.
        secret: True if the server derived the keys from a plain password and a link secret: a link without a
            secret is incomplete.
        check: C_e, 16 bytes; in `joined.room.access` only.
    """

    suite: Literal[1]
    salt: Base64Of16
    password: bool
    epoch: U32
    owner: Base64Of32 | None = None
    secret: bool = False
    check: Base64Of16 | None = None


class Access(
    Redacted,
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """The access part as `POST /room` carries it and the server keeps it, verifier and check included.

    Never shown as it stands: with a password-only room both would let a reader try passwords offline. `secret` is
    set by `derive_access` only; its default is what rooms of earlier versions have.
    """

    suite: Literal[1]
    salt: Base64Of16
    verifier: Verifier
    check: Base64Of16
    password: bool
    owner: Base64Of32 | None = None
    secret: bool = False

    def public(self, epoch: int, *, joined: bool = False) -> PublicAccess:
        """What is shown of it; `joined` adds the check, for those who have proved what they know."""
        return PublicAccess(
            suite=self.suite,
            salt=self.salt,
            password=self.password,
            epoch=epoch,
            owner=self.owner,
            secret=self.secret,
            check=self.check if joined else None,
        )

    def rekeyed(self, verifier: str, check: str) -> Access:
        """The same room in its next epoch; both come from a `rekey` frame whose shape has been checked."""
        return msgspec.structs.replace(self, verifier=verifier, check=check)


def access_of(keys: EpochKeys, *, owner: bytes | None, password: bool) -> Access:
    """The access part of a room born with `keys`; `owner` is its Ed25519 public key, if it has one."""
    return Access(
        suite=SUITE,
        salt=encode_base64url(keys.salt),
        verifier=keys.verifier,
        check=encode_base64url(keys.check),
        password=password,
        owner=None if owner is None else encode_base64url(owner),
    )


def draw_secret(random_bytes: RandomBytes = os.urandom) -> bytes:
    """A fresh link secret: 16 random bytes, never all zero."""
    secret = bytes(SECRET_BYTES)
    while not any(secret):
        secret = random_bytes(SECRET_BYTES)
    return secret


def derive_access(password: str, random_bytes: RandomBytes = os.urandom) -> tuple[Access, bytes]:
    """What the server keeps of a plain `password` from REST, and the link secret, which it does not keep.

    Without the link secret, passwords cannot be tried against what the server keeps. The salt is random and there
    is no owner pair, so the room cannot be rekeyed. Takes as long as `stretch`.

    Returns:
        The access part, and the link secret for the room's link, 16 bytes.

    Raises:
        SealingError: as `derive_password_key`.
    """
    salt, secret = random_bytes(SALT_BYTES), draw_secret(random_bytes)
    key = derive_password_key(password, salt)
    access = access_of(derive_epoch(salt, 0, password_key=key, link_secret=secret), owner=None, password=True)
    return msgspec.structs.replace(access, secret=True), secret


def proof_fits(access: Access, proof_text: str | None) -> bool:
    """Whether `proof_text` (`join.proof`) is A_e of the epoch whose verifier `access` holds.

    False also for None and for what has not the form of a proof. The time depends on the form only, never on
    how much of the digest agrees.
    """
    try:
        proof = decode_base64url(proof_text or "", KEY_BYTES, "proof")
        expected = binascii.unhexlify(access.verifier)
    except ValueError:
        return False
    return hmac.compare_digest(hashlib.sha256(proof).digest(), expected)


def owner_salt(owner: bytes) -> bytes:
    """The salt of the room of an owner whose Ed25519 public key is `owner` (32 bytes): it binds the two.

    Raises:
        SealingError: another length.
    """
    require_length(owner, KEY_BYTES, "owner key")
    return hashlib.sha256(labelled("owner", owner)).digest()[:SALT_BYTES]
