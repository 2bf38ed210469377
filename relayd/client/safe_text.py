"""What other people write, character by character: what is left out, and how many marks a letter may carry."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Final

MAX_MARKS: Final = 4  # combining marks on one letter: no writing needs more, and a hundred climb over other lines
JOINERS: Final = "\u200c\u200d"  # Persian, Hindi and many an emoji need them, and they move nothing


def replace_characters(text: str, replacement: Callable[[str, str], str]) -> str:
    """`text` with each character replaced, and without the marks beyond `MAX_MARKS` on one letter.

    Marks are counted in what is made, so that characters left out between them, or joiners, start no new count.

    Args:
        text: any.
        replacement: of a character and its Unicode category; "" leaves it out.
    """
    made, marks = [], 0
    for char in text:
        category = unicodedata.category(char)
        new = replacement(char, category)
        if not new:
            continue
        if is_mark(new):
            marks += 1
            if marks > MAX_MARKS:
                continue
        elif new not in JOINERS:
            marks = 0
        made.append(new)
    return "".join(made)


def is_mark(char: str) -> bool:
    """Whether it is a combining mark that takes no column of its own."""
    return unicodedata.category(char) in ("Mn", "Me")


def is_moving(char: str) -> bool:
    """Whether a terminal may do anything else with the character than show it: controls, overrides, line ends."""
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in JOINERS
