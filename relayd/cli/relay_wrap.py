"""Lines of a chat broken into rows of a screen: at spaces where that goes, further rows set in."""

from __future__ import annotations

from typing import Final, TypeAlias

from prompt_toolkit.utils import get_cwidth

Fragment: TypeAlias = tuple[str, str]  # style, text: the screen's own, so that no text can ask for a style
Line: TypeAlias = list[Fragment]

INDENT: Final = 7  # the width of the clock and what follows it


class Entry:
    """One thing said in the chat: its lines, and their rows for the width it was last shown in."""

    __slots__ = ("_lines", "_rows", "_width")

    def __init__(self, *lines: Line) -> None:
        self._lines = lines
        self._width = 0
        self._rows: list[Line] = []

    @property
    def lines(self) -> tuple[Line, ...]:
        """As they are, of any width."""
        return self._lines

    @lines.setter
    def lines(self, lines: tuple[Line, ...]) -> None:
        self._lines, self._width = lines, 0

    def rows(self, width: int) -> list[Line]:
        """The rows for a screen that is `width` columns wide."""
        if width != self._width:
            self._width = width
            self._rows = [row for line in self._lines for row in wrap(line, width)]
        return self._rows


def wrap(line: Line, width: int) -> list[Line]:
    """Breaks a line into rows of at most `width` columns; wide and combining characters count as they are shown."""
    cells = [(style, char) for style, text in line for char in text]
    indent = INDENT if width > 3 * INDENT else 0
    rows: list[Line] = []
    while cells:
        room = max(2, width - (indent if rows else 0))
        end = _fitting(cells, room)
        rows.append([("", " " * indent if rows else ""), *_joined(cells[:end])])
        cells = cells[end:]
        if cells and cells[0][1] == " ":
            del cells[0]  # the space at which it was broken
    return rows or [[("", "")]]


def _fitting(cells: Line, room: int) -> int:
    """How many cells go into the row: up to the last space that fits, else as many as there is room for."""
    used, space = 0, 0
    for at, (_, char) in enumerate(cells):
        used += max(0, get_cwidth(char))
        if used > room:
            # A word that would leave the row half empty is broken: it is an address, or no word at all.
            return at if char == " " or space <= room // 2 else space
        if char == " ":
            space = at
    return len(cells)


def _joined(cells: Line) -> Line:
    """Cells of one style as one fragment each."""
    made: Line = []
    for style, char in cells:
        if made and made[-1][0] == style:
            made[-1] = (style, made[-1][1] + char)
        else:
            made.append((style, char))
    return made
