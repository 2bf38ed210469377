"""`relay send` and `relay receive`: a room as one end of a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from relayd.cli.relay_common import Door, make_nick, note, run
from relayd.cli.relay_notices import Notices, label
from relayd.cli.relay_text import safe_lines, safe_nick
from relayd.client import Message, Room
from relayd.errors import RoomClosed


def send(link: str, text: str, nick: str | None) -> None:
    """Says `text`, or with `-` the lines of standard input."""
    door = Door(link, make_nick(nick), as_owner=False)
    run(_send(door, text))


async def _send(door: Door, text: str) -> None:
    joining, room = await door.open()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_exit(joining)
        telling = asyncio.create_task(_tell(room, _ignore))
        stack.callback(telling.cancel)
        if text != "-":
            await room.say(text)
            return
        async for line in _lines():
            # One after the other: the next line must not overtake one that was lost on the way.
            await room.say(line)


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


def receive(link: str, nick: str | None, *, as_json: bool) -> None:
    """Prints what is said, until stopped."""
    door = Door(link, make_nick(nick), as_owner=False)
    run(_receive(door, _print_json if as_json else _print_text))


async def _receive(door: Door, show: Callable[[Message], None]) -> None:
    me = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, me.cancel if me else _ignore)
    # Being stopped is how this ends.
    with contextlib.suppress(asyncio.CancelledError):
        joining, room = await door.open()
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_exit(joining)
            note(f"listening in {safe_nick(room.details.name)} as {room.me.nick or 'nobody yet'}")
            try:
                await _tell(room, show)
            except RoomClosed as over:
                note(str(over))


def _ignore(*_: Any) -> None:
    pass


async def _tell(room: Room, show: Callable[[Message], None]) -> None:
    """Shows messages by `show`, and what becomes of the connection on standard error."""
    notices = Notices()
    async for event in room:
        if isinstance(event, Message):
            show(event)
        elif (text := notices.of(event)) is not None:
            note(text)


def _print_text(message: Message) -> None:
    first, *more = safe_lines(message.text or json.dumps(message.body))
    direct = " (to you)" if message.to else ""
    replayed = " (a replay)" if message.replayed else ""
    # Further lines are set in, so that none can pass for what somebody else has said.
    sys.stdout.write("\n    ".join((f"{label(message.user)}{direct}{replayed}: {first}", *more)) + "\n")
    sys.stdout.flush()


def _print_json(message: Message) -> None:
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
    # ASCII only: escape sequences and overrides arrive as \u001b and the like.
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
