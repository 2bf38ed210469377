"""`relay send`: a room as the end of a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Sequence

from relayd.cli.relay_common import Door, make_nick, note, run, tell
from relayd.cli.relay_files import Sending, check_files
from relayd.cli.relay_refused import EXIT_USAGE, fail
from relayd.cli.relay_text import safe_line
from relayd.client import ClientError


def send(link: str, text: str, nick: str | None, files: Sequence[str], wait_s: float) -> None:
    """Says `text`, or with `-` the lines of standard input, and sends files."""
    if not text and not files:
        fail("give a text, - for standard input, or -f PATH", EXIT_USAGE)
    if files and text and all(os.path.isfile(word) for word in text.split()):  # noqa: PTH113 - they may be no paths
        fail(f"each file has its own -f: -f {files[0]} -f {text.split(maxsplit=1)[0]}", EXIT_USAGE)
    try:
        check_files(files)
    except ClientError as wrong:
        fail(safe_line(str(wrong)))
    door = Door(link, make_nick(nick), as_owner=False)
    run(_send(door, text, files, wait_s))


async def _send(door: Door, text: str, files: Sequence[str], wait_s: float) -> None:
    joining, room = await door.open()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_exit(joining)
        telling = asyncio.create_task(tell(room, lambda event: None))
        stack.callback(telling.cancel)
        if text == "-":
            async for line in _lines():
                # One after the other: the next line must not overtake one that was lost on the way.
                await room.say(line)
        elif text:
            await room.say(text)
        if files:
            await Sending(room, note, note, wait_s).run(files)


async def _lines() -> AsyncIterator[str]:
    """The lines of standard input as they come, without their ends; empty ones are left out.

    A thread reads, because standard input may be a file, which no event loop can wait for; `os.read`, because a
    thread inside Python's own buffer would hold up the end of the process.
    """
    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[bytes]()
    taken = threading.Semaphore(1)

    def read() -> None:
        piece = b"-"
        while piece:
            taken.acquire()
            piece = os.read(sys.stdin.fileno(), 65_536)
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

    threading.Thread(target=read, daemon=True).start()
    rest = b""
    while piece := await pieces.get():
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            if line.strip():
                yield line.decode(errors="replace").removesuffix("\r")
        taken.release()
    if rest.strip():
        yield rest.decode(errors="replace")
