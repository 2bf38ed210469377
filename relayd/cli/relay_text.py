"""What other people say, made safe for a terminal, and for the one who reads it there."""

from __future__ import annotations

from typing import Final

from relayd.client.safe_text import JOINERS, replace_characters

MAX_NICK_CHARS: Final = 24
_BLANKS: Final = {"Zl": " ", "Zp": " ", "Cs": "\ufffd"}


def safe_line(text: str) -> str:
    """`text` as one line that moves no cursor, starts no escape sequence and turns no direction around.

    Controls become their pictures (U+2400 and on; others U+FFFD): that something was there is shown. Format
    characters go, bidirectional overrides among them (Unicode TR 36, section 2.11), joiners stay, and so do four
    combining marks on one letter.
    """
    return replace_characters(text, _replacement)


def safe_lines(text: str) -> list[str]:
    """The lines of `text`, each safe; tabs become spaces, lines without end are gone."""
    lines = text.replace("\r\n", "\n").replace("\t", "    ").split("\n")
    return [safe_line(line) for line in lines]


def safe_nick(nick: str) -> str:
    """A name to be shown in front of what somebody says: short, one line, never empty."""
    name = " ".join(safe_line(nick[: 4 * MAX_NICK_CHARS]).split())
    if not any(char.isprintable() and not char.isspace() for char in name):
        return "?"
    return name if len(name) <= MAX_NICK_CHARS else name[: MAX_NICK_CHARS - 1] + "…"


def _replacement(char: str, category: str) -> str:
    if category == "Cc":
        return _picture(char)
    if category == "Cf" and char not in JOINERS:
        return ""
    return _BLANKS.get(category, char)


def _picture(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"
