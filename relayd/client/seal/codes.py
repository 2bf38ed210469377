"""Safety codes: six words that two people compare aloud, to learn that nobody sits between them."""

from __future__ import annotations

from typing import Final

from relayd.client.words import words_of
from relayd.wire.sealing import KEY_BYTES, SALT_BYTES, EpochKeys, stretch
from relayd.wire.sealing_text import require_length, u32

# 48 bits behind 600,000 rounds: finding another key with the same words costs more than 2^67 hashes.
CODE_BYTES: Final = 6


def room_code(keys: EpochKeys) -> bytes:
    """The room's code in its present epoch, 6 bytes; the same for everyone with the right link and password.

    Takes as long as `relayd.wire.sealing.stretch`. Source: PBKDF2, RFC 8018, section 5.2.
    """
    return stretch(keys.room_key, "safety", keys.salt + u32(keys.epoch), CODE_BYTES)


def person_code(card_key: bytes, salt: bytes) -> bytes:
    """A person's code, 6 bytes: over their card key (32 bytes) and the room's salt. Each reads out their own.

    Takes as long as `relayd.wire.sealing.stretch`.

    Raises:
        SealingError: another length.
    """
    require_length(card_key, KEY_BYTES, "card key")
    require_length(salt, SALT_BYTES, "salt")
    return stretch(card_key, "person", salt, CODE_BYTES)


def code_words(code: bytes) -> str:
    """A code as it is shown and read out: words of the PGP list with a space between."""
    return " ".join(words_of(code))
