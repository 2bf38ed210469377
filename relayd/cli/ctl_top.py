"""top: the busiest rooms, live."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from relayd.cli import ctl_output
from relayd.cli.ctl_base import DONE, Ending, Session, command, option
from relayd.cli.ctl_client import path
from relayd.cli.ctl_output import Column, duration, number, pad, size, width
from relayd.cli.ctl_rooms import SHORT_ID

# Key -> field to sort by. The same key again turns the order round.
SORT_KEYS = {
    "r": "message_rate",
    "m": "messages",
    "u": "users",
    "c": "connections",
    "v": "data_volume",
    "a": "time_alive",
    "n": "name",
}
KEYS_LINE = "q quit, sort by: r rate  m messages  u users  c conns  v volume  a age  n name"
_NAME_COLUMNS = 20  # so that all fits into 80
_HEAD_LINES = 5  # above the rooms: three of the server, the headings, and at the bottom the keys
_ALTERNATE, _BACK = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"  # screen and cursor; xterm's, and all since

COLUMNS = (
    Column("NAME"),
    Column("ID"),
    Column("USERS", right=True),
    Column("CONNS", right=True),
    Column("MSG/S", right=True),
    Column("MESSAGES", right=True),
    Column("VOLUME", right=True),
    Column("AGE", right=True),
)
_FIELDS = ("name", "id", "users", "connections", "message_rate", "messages", "data_volume", "time_alive")


class View:
    """What is shown: how rooms are sorted, and what was counted at the last look."""

    def __init__(self, sort: str) -> None:
        self.sort = sort
        self.reverse = sort != "name"
        self._before: tuple[float, int, int] | None = None  # when, messages, deliveries

    def press(self, key: str) -> None:
        """A key that sorts; others do nothing."""
        field = SORT_KEYS.get(key)
        if field == self.sort:
            self.reverse = not self.reverse
        elif field is not None:
            self.sort, self.reverse = field, field != "name"

    def lines(self, status: Mapping[str, Any], rooms: Sequence[Mapping[str, Any]]) -> list[str]:
        """The screen as text, as wide as it likes."""
        messages_s, deliveries_s = self._rates(status)
        server = f"relayd {status['version']} {status['state']}, up {duration(status['uptime'])}"
        people = f"rooms {number(status['rooms'])}  users {number(status['users'])}  places {number(status['places'])}"
        said = f"messages {number(status['messages'])} ({messages_s:,.1f}/s)  {size(status['bytes'])}"
        head = [
            f"{server}, {size(status['memory'])}, workers {status['workers']}",
            f"{people}  connections {number(status['connections'])}",
            f"{said}  deliveries {number(status['deliveries'])} ({deliveries_s:,.0f}/s)",
        ]
        mark = " v" if self.reverse else " ^"
        heads = [
            Column(column.title + (mark if field == self.sort else ""), right=column.right)
            for column, field in zip(COLUMNS, _FIELDS, strict=True)
        ]
        return [*head, *ctl_output.table_lines(heads, [_cells(room) for room in rooms])]

    def _rates(self, status: Mapping[str, Any]) -> tuple[float, float]:
        now = (time.monotonic(), status["messages"], status["deliveries"])
        before, self._before = self._before, now
        if before is None:
            return 0.0, 0.0
        passed_s = max(now[0] - before[0], 0.001)
        # Deliveries are told a second late by each worker, and those of one that has just died come later still.
        return max(0, now[1] - before[1]) / passed_s, max(0, now[2] - before[2]) / passed_s


def _cells(room: Mapping[str, Any]) -> list[str]:
    return [
        ctl_output.cut(ctl_output.clean(room["name"]), _NAME_COLUMNS),
        room["id"][:SHORT_ID],
        f"{room['users']}/{room['max']}",
        number(room["connections"]),
        f"{room['message_rate']:.1f}",
        number(room["messages"]),
        size(room["data_volume"]),
        duration(room["time_alive"]),
    ]


@command("relayctl top -sort users")
@option(
    "sort",
    type=click.Choice(tuple(SORT_KEYS.values())),
    default="message_rate",
    metavar="FIELD",
    help=f"Sort by a field at first: {', '.join(SORT_KEYS.values())}.  [default: message_rate]",
)
@option("interval", type=click.FloatRange(0.2, 3600), default=2.0, metavar="SECONDS", help="Between two looks.")
@option("count", "-n", type=click.IntRange(1), metavar="N", help="Look so often, then end. Default in a pipe: 1.")
@option("limit", type=click.IntRange(1), default=20, metavar="N", help="Rooms shown where there is no terminal.")
def top(session: Session, sort: str, interval: float, count: int | None, limit: int) -> None:
    """Show the busiest rooms, live; keys change the order, q quits."""
    view = View(sort)
    try:
        if ctl_output.is_terminal() and sys.stdin.isatty() and not session.wants_json:
            _live(session, view, interval, count)
        else:
            _plain(session, view, interval, count or 1, limit)
    except KeyboardInterrupt:
        raise Ending(DONE) from None


def _look(session: Session, view: View, limit: int) -> tuple[Any, Any]:
    control = session.control
    return control.get(path("status")), control.get(
        path("rooms", sort=view.sort, reverse="true" if view.reverse else None, limit=limit)
    )


def _plain(session: Session, view: View, interval: float, count: int, limit: int) -> None:
    for turn in range(count):
        if turn:
            time.sleep(interval)
        status, rooms = _look(session, view, limit)
        if session.wants_json:
            click.echo(ctl_output.json_line({"status": status, "rooms": rooms}))
        else:
            click.echo("\n".join(view.lines(status, rooms)))
        sys.stdout.flush()


def _live(session: Session, view: View, interval: float, count: int | None) -> None:
    looks = 0
    with _screen():
        while True:
            height, columns = _size()
            status, rooms = _look(session, view, max(1, height - _HEAD_LINES))
            _draw(view.lines(status, rooms), height, columns)
            looks += 1
            if looks == count:
                return
            key = _key(interval)
            if key == "q":
                return
            view.press(key)


def _size() -> tuple[int, int]:
    size_now = os.get_terminal_size(sys.stdout.fileno())
    return size_now.lines, size_now.columns


def _draw(lines: list[str], height: int, columns: int) -> None:
    """Writes over what is there, so that nothing flickers."""
    shown = [_cut(line, columns) for line in lines[: height - 1]]
    if not os.environ.get("NO_COLOR") and len(shown) >= _HEAD_LINES - 1:
        shown[3] = f"\033[7m{pad(shown[3], columns)}\033[0m"
    body = "".join(f"{line}\033[K\r\n" for line in shown)
    sys.stdout.write(f"\033[H{body}\033[J\033[{height};1H{_cut(KEYS_LINE, columns)}\033[K")
    sys.stdout.flush()


def _cut(line: str, columns: int) -> str:
    while width(line) > columns:
        line = line[: max(0, len(line) - (width(line) - columns))]
    return line


def _key(wait_s: float) -> str:
    """The next key, or nothing within that time."""
    ready, _, _ = select.select([sys.stdin], [], [], wait_s)
    return os.read(sys.stdin.fileno(), 1).decode("latin-1").lower() or "q" if ready else ""


@contextlib.contextmanager
def _screen() -> Iterator[None]:
    """A screen of its own, keys as they are pressed; all as before when it ends, whatever ends it."""
    import termios  # noqa: PLC0415 - on a terminal only
    import tty  # noqa: PLC0415

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        sys.stdout.write(_ALTERNATE)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        sys.stdout.write(_BACK)
        sys.stdout.flush()


COMMANDS: dict[str, click.Command] = {"top": top}
