"""What relayctl prints: for people in tables and units, for programs as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

_KIB = 1024
_LEAST_WIDE = 12  # columns a name keeps, however narrow the terminal
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def clean(value: Any) -> str:
    """Text of somebody else's, without anything that steers a terminal: see `safe_line`."""
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    from relayd.cli.relay_text import safe_line  # noqa: PLC0415 - most texts are ASCII

    return safe_line(text)


def size(count: float) -> str:
    """Bytes as a person reads them: `4.1 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < _KIB:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KIB
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    """Seconds as a person reads them, in the two largest units: `2 h 13 min`."""
    whole = int(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"


def number(count: float) -> str:
    """A count, its thousands apart."""
    return f"{count:,}"


def json_text(value: Any) -> str:
    """As JSON over several lines, safe on a terminal."""
    return _escaped(json.dumps(value, indent=2, ensure_ascii=False))


def json_line(value: Any) -> str:
    """As JSON on one line, safe on a terminal."""
    return _escaped(json.dumps(value, ensure_ascii=False))


def _escaped(text: str) -> str:
    r"""JSON with `\u....` for whatever a terminal may not just show; it means the same. Other text stays readable."""
    if text.isascii() and "\x7f" not in text:  # `json` has escaped the other controls
        return text
    from relayd.client.safe_text import JOINERS, MAX_MARKS, is_mark, is_moving  # noqa: PLC0415

    made, marks = [], 0
    for char in text:
        marks = marks + 1 if is_mark(char) else marks if char in JOINERS else 0
        is_safe = char == "\n" or not (is_moving(char) or marks > MAX_MARKS)
        made.append(char if is_safe else json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f")
    return "".join(made)


def width(text: str) -> int:
    """Columns of a terminal that the text takes."""
    if text.isascii():
        return len(text)
    import unicodedata  # noqa: PLC0415 - most texts are ASCII

    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """The text in so many columns."""
    space = " " * max(0, columns - width(text))
    return space + text if right else text + space


def is_terminal() -> bool:
    """Whether a person sees what is printed."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def columns() -> int:
    """How wide the terminal is."""
    import shutil  # noqa: PLC0415 - where there is a terminal only

    return shutil.get_terminal_size().columns


class Column:
    """A column of a table.

    Args:
        title: its heading.
        right: whether numbers stand in it.
        wide: whether it gives way where the terminal is narrow.
    """

    def __init__(self, title: str, *, right: bool = False, wide: bool = False) -> None:
        self.title = title
        self.right = right
        self.wide = wide


def print_table(heads: Sequence[Column], rows: Iterable[Sequence[str]], empty: str) -> None:
    """A table: with rich on a terminal, aligned text elsewhere. `empty` is said where there is nothing."""
    rows = [[clean(cell) for cell in row] for row in rows]
    if not rows:
        print(empty, file=sys.stderr)  # noqa: T201
    elif is_terminal():
        _print_rich(heads, rows)
    else:
        print("\n".join(table_lines(heads, rows)))  # noqa: T201


def table_lines(heads: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """The table's lines, columns aligned, headings first."""
    lines = [[head.title for head in heads], *rows]
    widths = [max(width(line[index]) for line in lines) for index in range(len(heads))]
    return [
        "  ".join(
            pad(cell, columns, right=head.right) for cell, columns, head in zip(line, widths, heads, strict=True)
        ).rstrip()
        for line in lines
    ]


def _print_rich(heads: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    # Imported only where a person looks: it costs as much as everything else together.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head.title, justify="right" if head.right else "left", no_wrap=True)
    for row in fitted(heads, rows, columns()):
        table.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(table)


def fitted(heads: Sequence[Column], rows: Sequence[Sequence[str]], most: int) -> list[list[str]]:
    """The rows with their wide column cut, so that the table has `most` columns of a terminal if it can."""
    taken = 0
    for index, head in enumerate(heads):
        if not head.wide:
            taken += max(width(head.title), *(width(row[index]) for row in rows)) + 2
    left = max(_LEAST_WIDE, most - taken - 2)
    return [[cut(cell, left) if head.wide else cell for cell, head in zip(row, heads, strict=True)] for row in rows]


def cut(text: str, most: int) -> str:
    """The text in at most so many columns, with a mark where something is left out."""
    if width(text) <= most:
        return text
    while width(text) > most - 1:
        text = text[:-1]
    return text + "~"


def print_record(pairs: Iterable[tuple[str, Any]]) -> None:
    """Names and values, one a line; names are bold on a terminal."""
    cleaned = [(name, clean(value)) for name, value in pairs]
    longest = max((len(name) for name, _ in cleaned), default=0)
    bold, plain = ("\033[1m", "\033[0m") if is_terminal() and not os.environ.get("NO_COLOR") else ("", "")
    for name, value in cleaned:
        print(f"{bold}{name}{plain}{' ' * (longest - len(name))}  {value}")  # noqa: T201
