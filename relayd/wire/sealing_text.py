"""What every part of suite 1 leans on: strict base64url and UTF-8, labels, secrets that do not show."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final

U32_END: Final = 2**32  # epochs and counters stay below


class SealingError(ValueError):
    """Something breaks suite 1. The text says what was expected and repeats nothing of what came."""


class Redacted:
    """A class whose instances hold secrets: shown, logged or formatted they say their name only."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Nothing for rich's pretty printer, which would look into a Struct by itself."""
        return []


_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
# The last character of a canonical text has zeros in the bits that no byte uses (RFC 4648, section 3.5):
# by length modulo 4, what may stand there. One character beyond a quantum encodes nothing at all.
LAST_CHARACTERS = {0: "", 1: "", 2: "AQgw", 3: "AEIMQUYcgkosw048"}


def base64url_length(n_bytes: int) -> int:
    """How many characters `n_bytes` bytes have as base64url without padding."""
    return (n_bytes * 4 + 2) // 3


def is_base64url(text: str) -> bool:
    """Whether `text` is canonical base64url without padding: decoding and encoding gives the same text.

    Source: RFC 4648, sections 3.5 and 5.
    """
    if not _BASE64URL.fullmatch(text):
        return False
    spare = len(text) % 4
    return spare == 0 or text[-1] in LAST_CHARACTERS[spare]


def encode_base64url(data: bytes) -> str:
    """`data` as base64url without padding (RFC 4648, section 5)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_base64url(text: str, n_bytes: int | None = None, what: str = "value") -> bytes:
    """The bytes that `text` stands for.

    Args:
        text: base64url without padding.
        n_bytes: how many bytes it must be; None for any number.
        what: how an error calls it.

    Raises:
        SealingError: another length, or not canonical.
    """
    if n_bytes is not None and len(text) != base64url_length(n_bytes):
        chars = base64url_length(n_bytes)
        raise SealingError(f"{what}: expected {n_bytes} bytes, {chars} characters of base64url")
    if not is_base64url(text):
        raise SealingError(f"{what}: not canonical base64url without padding")
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode_utf8(text: str, what: str = "text") -> bytes:
    """`text` as UTF-8.

    Raises:
        SealingError: a lone surrogate, which UTF-8 cannot say, or a byte order mark in front.
    """
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        # The original error holds all of `text`, which may be a password: it must not hang on as the cause.
        raise SealingError(f"{what}: holds a lone surrogate, which is no character") from None
    if data.startswith(b"\xef\xbb\xbf"):
        raise SealingError(f"{what}: starts with a byte order mark")
    return data


def labelled(label: str, context: bytes) -> bytes:
    """`"relay/1 " || label || 0 || context`: keeps one use of a hash or a key apart from every other."""
    return b"relay/1 " + label.encode("ascii") + b"\0" + context


def u32(number: int) -> bytes:
    """`number` as 4 big-endian bytes.

    Raises:
        SealingError: below 0, or 2^32 and more.
    """
    if not 0 <= number < U32_END:
        raise SealingError("a counter or epoch left the range from 0 to 2^32 - 1")
    return number.to_bytes(4, "big")


def require_length(data: bytes, n_bytes: int, what: str) -> None:
    """Raises SealingError unless `data` has exactly `n_bytes` bytes."""
    if len(data) != n_bytes:
        raise SealingError(f"{what}: expected {n_bytes} bytes, got {len(data)}")
