"""Names of files that come from others, made safe to be created in a directory of one's own."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Final

from relayd.client.safe_text import replace_characters

MAX_NAME_BYTES: Final = 255  # NAME_MAX of Linux's file systems, in bytes of UTF-8
MAX_EXTENSION_BYTES: Final = 32  # what is longer is no extension, and may be cut
MOST_CANDIDATES: Final = 1000

_UNNAMED: Final = "file"
_SEPARATORS: Final = str.maketrans({"\\": "/"})
# Nothing to Linux, but the file may go on to a system where each means a stream, a drive or a pattern.
_FORBIDDEN: Final = str.maketrans(dict.fromkeys('<>:"|?*', "_"))
# Cc, Cf, Cs, Co, Cn: controls, what turns directions or has no width, halves of characters, what is none.
_UNSEEN_CATEGORIES: Final = "C"
# Blank or without width, and in no such category: Unicode's Default_Ignorable_Code_Point, and Braille's empty cell.
_UNSEEN: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")

# Opened as devices by Windows, whatever follows the first dot (Microsoft, "Naming Files, Paths, and Namespaces").
_DEVICES: Final = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CLOCK$", "CONIN$", "CONOUT$"]
    + [port + digit for port in ("COM", "LPT") for digit in "0123456789\u00b9\u00b2\u00b3"]
)


def safe_name(name: str) -> str:
    """`name` as one that can be created here: never a path, hidden, a device, or something that looks like another.

    It has 1 to 255 bytes of UTF-8, no separator, no control, bidirectional or invisible character, and neither
    begins with a dot or dash nor ends with a dot or space. A name that is all of that already stays as it is, but for
    its Unicode form (NFC).
    """
    last = name.translate(_SEPARATORS).rstrip("/ .").rpartition("/")[2]
    # Before: NFC takes some letters apart, into one more mark. After: leaving out brings letters and marks together.
    text = unicodedata.normalize("NFC", _visible(unicodedata.normalize("NFC", last))).translate(_FORBIDDEN)
    text = " ".join(text.split()).lstrip(". ").rstrip(". ")
    if text.startswith("-"):
        text = "_" + text  # else it would be an option to whoever types `rm *`
    if text.partition(".")[0].rstrip().upper() in _DEVICES:
        text = "_" + text
    return _fitted(text or _UNNAMED, "")


def candidates(name: str, suffix: str = "") -> Iterator[str]:
    """Names to try one after the other: `a.txt`, `a (1).txt`, `a (2).txt`, ..., each with `suffix` at its end.

    Args:
        name: from `safe_name`.
        suffix: what is put behind it; it counts against the length.
    """
    for number in range(MOST_CANDIDATES):
        yield _fitted(name, f" ({number})" if number else "", len(suffix.encode())) + suffix


def _visible(text: str) -> str:
    return replace_characters(text, _replacement)


def _replacement(char: str, category: str) -> str:
    if category.startswith("Z") or char in "\t\n\r":
        return " "
    return "" if category.startswith(_UNSEEN_CATEGORIES) or char in _UNSEEN else char


def _fitted(name: str, mark: str, reserved_bytes: int = 0) -> str:
    """`name` with `mark` before its extension, its stem cut so that everything has room."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > MAX_EXTENSION_BYTES:
        stem, dot, extension = name, "", ""
    most = MAX_NAME_BYTES - reserved_bytes - len((mark + dot + extension).encode())
    if len(stem.encode()) > most:
        stem = stem.encode()[:most].decode(errors="ignore").rstrip(". ")
    return stem + mark + dot + extension
