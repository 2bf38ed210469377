"""`relay receive`: a room as the beginning of a pipe, and a place that files come to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from relayd.cli.ctl_output import json_line, size
from relayd.cli.relay_common import Door, make_nick, note, run, tell
from relayd.cli.relay_files import Bars, Inbox, kept_part
from relayd.cli.relay_notices import label
from relayd.cli.relay_refused import EXIT_USAGE, fail
from relayd.cli.relay_text import safe_line, safe_lines, safe_nick
from relayd.client import ClientError, FileOffered, Message, Room, TransferError
from relayd.errors import RelayError, RoomClosed

MOST_WAITING = 1000  # files offered at once; what comes beyond is shown, and not taken


class Wanted(NamedTuple):
    """What becomes of what is heard.

    Attributes:
        as_json: print objects, not lines.
        directory: where files go; None to take none.
        most: end after so many files; None to go on.
        max_bytes: of all files together; None for no limit but the disk's.
    """

    as_json: bool
    directory: str | None
    most: int | None
    max_bytes: int | None


def receive_all(link: str, nick: str | None, wanted: Wanted) -> None:
    """Prints what is said and takes files, until stopped."""
    if wanted.most is not None and wanted.directory is None:
        fail("--count is a number of files: it takes --files DIR", EXIT_USAGE)
    if wanted.max_bytes is not None and wanted.directory is None:
        fail("--max-bytes is a size of files: it takes --files DIR", EXIT_USAGE)
    if wanted.directory is not None and not os.path.isdir(wanted.directory):  # noqa: PTH112
        fail(f"--files: {safe_line(wanted.directory)} is no directory", EXIT_USAGE)
    door = Door(link, make_nick(nick), as_owner=False)
    run(_receive(door, wanted))


async def _receive(door: Door, wanted: Wanted) -> None:
    me = asyncio.current_task()
    loop = asyncio.get_running_loop()
    if me is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, me.cancel)
    # Being stopped is how this ends.
    with contextlib.suppress(asyncio.CancelledError):
        joining, room = await door.open()
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_exit(joining)
            note(f"listening in {safe_nick(room.details.name)} as {room.me.nick or 'nobody yet'}")
            listener = stack.enter_context(Listener(room, wanted))
            try:
                await listener.run()
            except RoomClosed as over:
                note(str(over))


class Listener:
    """Prints what is said in a room, and takes its files if they are wanted."""

    def __init__(self, room: Room, wanted: Wanted) -> None:
        self._room = room
        self._most = wanted.most
        self._print: Callable[..., None] = _print_json if wanted.as_json else _print_text
        self._bars = Bars()
        directory = wanted.directory
        self._inbox = None if directory is None else Inbox(room, Path(directory), self._bars, wanted.max_bytes)
        self._tasks: set[asyncio.Task[None]] = set()
        self._finished, self._failed = 0, 0
        self._enough = asyncio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.__exit__(kind, error, trace)

    async def run(self) -> None:
        """Until the room is left or there are files enough.

        Raises:
            TransferError: of those that were to be counted, some did not come.
        """
        telling = asyncio.create_task(tell(self._room, self._hear))
        enough = asyncio.create_task(self._enough.wait())
        try:
            await asyncio.wait({telling, enough}, return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                await telling
        finally:
            for task in (telling, enough):
                task.cancel()
        if self._failed:
            raise TransferError(f"{self._failed} of {self._finished} files did not come")

    def _hear(self, event: Message | FileOffered) -> None:
        if isinstance(event, Message):
            self._show(event)
        elif self._inbox is None or event.mine or event.message.replayed or len(self._tasks) >= MOST_WAITING:
            self._show(event.message, event)
        else:
            task = asyncio.create_task(self._take(self._inbox, event))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _show(self, message: Message, offered: FileOffered | None = None, path: Path | None = None) -> None:
        with self._bars.aside():
            self._print(message, offered, path)

    async def _take(self, inbox: Inbox, offered: FileOffered) -> None:
        try:
            path = await inbox.take(offered)
        except (RelayError, ClientError) as wrong:
            self._failed += 1
            with self._bars.aside():
                note(safe_line(str(wrong)) + kept_part(wrong))
        else:
            self._show(offered.message, offered, path)
        self._finished += 1
        if self._most is not None and self._finished >= self._most:
            self._enough.set()


def _print_text(message: Message, offered: FileOffered | None = None, path: Path | None = None) -> None:
    first, *more = safe_lines(message.text or json_line(message.body))
    if offered is not None:
        file = f"{safe_line(offered.name)} ({size(offered.size)})"
        first, more = f"offers the file {file}" if path is None else f"sent {file}: {safe_line(str(path))}", []
    direct = " (to you)" if message.to else ""
    replayed = " (a replay)" if message.replayed else ""
    # Further lines are set in, so that none can pass for what somebody else has said.
    sys.stdout.write("\n    ".join((f"{label(message.user)}{direct}{replayed}: {first}", *more)) + "\n")
    sys.stdout.flush()


def _print_json(message: Message, offered: FileOffered | None = None, path: Path | None = None) -> None:
    told = {
        "from": message.user.id,
        "nick": message.user.nick,
        "tag": message.user.tag,
        "id": message.id,
        "seq": message.seq,
        "to": message.to,
        "time_ms": message.t_ms,
        "replayed": message.replayed,
        "text": message.text,
        "body": message.body,
    }
    if offered is not None:
        # Without its body, which holds the key of a sealed file.
        told["body"] = None
        told["file"] = {
            "name": offered.name,
            "size": offered.size,
            "type": offered.file.type,
            "path": None if path is None else str(path),
        }
    sys.stdout.write(json_line(told) + "\n")
    sys.stdout.flush()
