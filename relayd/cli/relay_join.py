"""`relay join`: the chat on a full screen."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, cast

import click
from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.data_structures import Point
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import HSplit, Layout, Window
from prompt_toolkit.layout.controls import BufferControl, FormattedTextControl, UIContent, UIControl
from prompt_toolkit.layout.processors import BeforeInput
from prompt_toolkit.styles import Style

from relayd.cli.relay_chat import Chat, is_command
from relayd.cli.relay_common import Door, make_nick, note, run
from relayd.cli.relay_refused import EXIT_USAGE, fail
from relayd.cli.relay_text import safe_line
from relayd.cli.relay_wrap import Entry
from relayd.client import Room
from relayd.errors import Left, RoomClosed

PAGE_LINES: Final = 10

_STYLE: Final = Style.from_dict(
    {
        "bar": "reverse",
        "note": "ansibrightblack",
        "warn": "ansiyellow",
        "status": "ansibrightblack italic",
        "prompt": "bold",
    }
)


def chat(link: str, nick: str | None, directory: str, *, take_all: bool, as_owner: bool) -> None:
    """Runs it to its end; files that are taken go to `directory`."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        fail("join needs a terminal; for pipes there are `relay send` and `relay receive`", EXIT_USAGE)
    if not Path(directory).is_dir():
        fail(f"--files: {safe_line(directory)} is no directory", EXIT_USAGE)
    door = Door(link, make_nick(nick), as_owner=as_owner)
    run(_chat(door, Path(directory), take_all=take_all))


async def _chat(door: Door, directory: Path, *, take_all: bool) -> None:
    with door.forgetting():
        joining, room = await door.open()
    link = room.link
    try:
        with door.forgetting():
            await Screen(room, directory, take_all=take_all).run()
    except (RoomClosed, Left) as goodbye:
        note(str(goodbye))  # how a chat ends well
    finally:
        await joining.__aexit__(None, None, None)
        if room.me.is_owner and room.link not in ("", link):
            click.echo(room.link)  # on a line of its own, now that the screen is gone


class _Log(UIControl):
    """The lines of a chat, the last one in sight unless somebody scrolls back."""

    def __init__(self, lines: Iterable[Entry]) -> None:
        self._lines = lines
        self.back = 0  # rows from the end
        self._count = 0  # rows when it was last shown

    def create_content(self, width: int, height: int) -> UIContent:
        """The whole log, of which the window shows what surrounds the cursor."""
        rows = [row for entry in self._lines for row in entry.rows(width)]
        count = len(rows)
        if self.back:
            self.back += count - self._count  # who reads what was said before stays there
        self._count = count
        self.back = max(0, min(self.back, count - 1))
        return UIContent(
            get_line=lambda number: cast(StyleAndTextTuples, rows[number]),
            line_count=count,
            cursor_position=Point(x=0, y=max(0, count - 1 - self.back)),
            show_cursor=False,
        )


class Screen:
    """A bar, the log, a line of what goes on, and one to type in."""

    def __init__(self, room: Room, directory: Path, *, take_all: bool) -> None:
        self._chat = Chat(room, self._refresh, directory, take_all=take_all)
        self._log = _Log(self._chat.lines)
        words = [f"/{word}" for word in Chat.COMMANDS]
        self._input = Buffer(
            history=InMemoryHistory(),
            completer=WordCompleter(words, sentence=True),
            multiline=False,
            accept_handler=self._accept,
            on_text_changed=lambda _: self._typed(),
        )
        control = BufferControl(self._input, input_processors=[BeforeInput("> ", style="class:prompt")])
        rows = [
            Window(FormattedTextControl(lambda: f" {self._chat.state()}"), height=1, style="class:bar"),
            Window(self._log, always_hide_cursor=True),
            Window(FormattedTextControl(self._status), height=1, style="class:status"),
            Window(control, height=1),
        ]
        self._application: Application[None] = Application(
            layout=Layout(HSplit(rows), focused_element=control),
            key_bindings=self._keys(),
            style=_STYLE,
            full_screen=True,
            refresh_interval=1.0,  # typing fades by itself
        )

    async def run(self) -> None:
        """Until the person leaves; raises what ends the room otherwise."""
        self._chat.greet()
        listening = asyncio.create_task(self._chat.listen())
        listening.add_done_callback(lambda _: self._exit())
        try:
            await self._application.run_async()
        finally:
            if not listening.done():
                listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening

    def _exit(self) -> None:
        if self._application.is_running and not self._application.is_done:
            self._application.exit()

    def _refresh(self) -> None:
        if self._chat.leaving:
            self._exit()
        self._application.invalidate()

    def _status(self) -> str:
        back = f"  ({self._log.back} further down)" if self._log.back else ""
        return f" {self._chat.typing()}{back}"

    def _accept(self, buffer: Buffer) -> bool:
        self._log.back = 0
        self._chat.enter(buffer.text)
        return False

    def _typed(self) -> None:
        text = self._input.text
        if text and not is_command(text) and self._chat.room.connected:
            self._chat.room.typing()

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("c-c")
        @keys.add("c-d")
        def _(event: KeyPressEvent) -> None:
            self._exit()

        @keys.add("pageup")
        def _(event: KeyPressEvent) -> None:
            self._log.back += PAGE_LINES

        @keys.add("pagedown")
        def _(event: KeyPressEvent) -> None:
            self._log.back = max(0, self._log.back - PAGE_LINES)

        return keys
