"""Files in the chat of `relay join`: each has a number, a line that shows how it fares, and commands that name it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

from relayd.cli.ctl_output import cut, duration, size
from relayd.cli.relay_disk import DiskLimit
from relayd.cli.relay_files import kept_part
from relayd.cli.relay_notices import label
from relayd.cli.relay_text import safe_line
from relayd.client import ClientError, Delivery, FileOffered, Offer, Receiving, Room
from relayd.errors import RelayError
from relayd.wire.sealing_text import SealingError

REDRAW_S: Final = 0.25
MOST_OFFERED: Final = 1000  # that can still be taken by their number
RATE_OVER_S: Final = 3.0  # what a rate is taken over: long enough to be read, short enough to be true
BAR_COLUMNS: Final = 8
NAME_COLUMNS: Final = 24


class NotDone(Exception):
    """A command was wrong; the text says how it goes."""


class Meter:
    """How fast something moves, over the last seconds.

    Args:
        total: bytes there are to move.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._samples: list[tuple[float, int]] = []

    def text(self, moved: int, now: float) -> str:
        """A bar, how much of it, how fast, and how long it still takes."""
        self._samples = [*(one for one in self._samples if one[0] > now - RATE_OVER_S), (now, moved)]
        at, before = self._samples[0]
        share = moved / self._total if self._total else 1.0
        filled = int(share * BAR_COLUMNS)
        parts = [f"[{'#' * filled}{'.' * (BAR_COLUMNS - filled)}] {share:4.0%}"]
        if now > at and moved > before:
            rate = (moved - before) / (now - at)
            parts += [f"{size(rate)}/s", f"{duration((self._total - moved) / rate)} left"]
        return ", ".join(parts)


class ChatFiles:
    """What is offered in the chat, by number.

    Args:
        room: entered.
        line: makes a line of the chat and gives what replaces its text.
        changed: called when there is something new to be shown.
        directory: where files go.
        take_all: whether what is offered is taken without asking.
    """

    def __init__(
        self,
        room: Room,
        line: Callable[[str], Callable[[str], None]],
        changed: Callable[[], None],
        directory: Path,
        *,
        take_all: bool,
    ) -> None:
        self._room = room
        self._line = line
        self._changed = changed
        self._directory = directory
        self._take_all = take_all
        self._limit = DiskLimit(directory, None)
        self._offered: dict[int, FileOffered] = {}  # by others, not taken yet
        self._moving: dict[int, Offer | Receiving] = {}
        self._last = 0  # number
        self._tasks: set[asyncio.Task[None]] = set()

    def on_offered(self, offered: FileOffered) -> None:
        """Somebody offers a file."""
        if offered.mine:
            return  # the line that offers it says all
        number = self._count()
        self._offered[number] = offered
        if len(self._offered) > MOST_OFFERED:
            del self._offered[min(self._offered)]
        what = f"{label(offered.user)} offers {shown(offered.name)} ({size(offered.size)})"
        if self._take_all and not offered.message.replayed and self._has_room(offered):
            self._line(what)
            self._take(number, offered)
        else:
            self._line(f"{what}; /accept {number} takes it")

    def _has_room(self, offered: FileOffered) -> bool:
        """Whether the file may be taken without asking: not if it fills the disk."""
        try:
            self._limit.check(shown(offered.name), offered.size)
        except (OSError, ClientError):
            return False
        return True

    async def offer(self, path: str) -> None:
        """Offers a file to all.

        Raises:
            ClientError, RelayError, SealingError, NotDone: it cannot be.
        """
        if not path:
            raise NotDone("/file PATH")
        name = shown(os.path.basename(path))  # noqa: PTH119 - a name for the person, no path
        put = self._line(f"reading {name}")
        try:
            offer = await self._room.offer(os.path.expanduser(path))  # noqa: PTH111, ASYNC240 - looks into the environment
        except (ClientError, RelayError, SealingError):
            put(f"{name} is not offered")
            raise
        number = self._count()
        self._moving[number] = offer
        self._do(self._show_offer(number, offer, put))

    async def accept(self, text: str) -> None:
        """Takes the file of that number, or the one that was offered last. Raises NotDone."""
        number = _number(text, "/accept [NUMBER]", self._offered)
        if number not in self._offered:
            raise NotDone("there is no such offer")
        self._take(number, self._offered[number])

    def _take(self, number: int, offered: FileOffered) -> None:
        del self._offered[number]
        put = self._line(f"{number}: {shown(offered.name)}")
        receiving = self._moving[number] = self._room.accept(offered, self._directory)
        self._limit.begin(receiving)
        self._do(self._show_receiving(number, receiving, put))

    async def cancel(self, text: str) -> None:
        """Ends the transfer of that number, or the last one. Raises NotDone."""
        moving = self._moving.get(_number(text, "/cancel [NUMBER]", self._moving))
        if moving is None:
            raise NotDone("no such file is under way")
        if isinstance(moving, Offer):
            moving.withdraw()
        else:
            moving.cancel()

    # Inside. ----------------------------------------------------------------------------------------------------

    def _count(self) -> int:
        self._last += 1
        return self._last

    def _do(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _show_receiving(self, number: int, receiving: Receiving, put: Callable[[str], None]) -> None:
        meter = Meter(receiving.size)
        while not receiving.done:
            state = "waiting for its sender" if receiving.paused else meter.text(receiving.received_bytes, time.time())
            self._put(put, f"{number}: {shown(receiving.name)}  {state}")
            await receiving.changed.wait(REDRAW_S)
            await asyncio.sleep(REDRAW_S)
        del self._moving[number]
        self._limit.end(receiving, whole=True)
        try:
            path = await receiving
        except ClientError as wrong:
            self._put(put, f"{number}: {safe_line(str(wrong))}{kept_part(wrong)}")
        else:
            self._put(put, f"{number}: {safe_line(str(path))} is here, {size(receiving.size)}")

    async def _show_offer(self, number: int, offer: Offer, put: Callable[[str], None]) -> None:
        meter = Meter(offer.size)
        name = f"{number}: you offer {shown(offer.name)} ({size(offer.size)})"
        while not offer.is_over:
            busy = Delivery.ACCEPTED in offer.deliveries.values()
            state = meter.text(offer.sent_bytes, time.time()) if busy else "nobody is taking it"
            self._put(put, f"{name}  {self._people(offer) or state}" + (f"  {state}" if busy else ""))
            await offer.changed.wait(REDRAW_S if busy else None)
            await asyncio.sleep(REDRAW_S)
        del self._moving[number]
        ended = "not offered any more" if offer.error is None else safe_line(str(offer.error))
        self._put(put, f"{number}: {shown(offer.name)} {self._people(offer)}  {ended}")

    def _people(self, offer: Offer) -> str:
        return ", ".join(f"{label(self._room.user(user))} {_STATES[state]}" for user, state in offer.deliveries.items())

    def _put(self, put: Callable[[str], None], text: str) -> None:
        put(text)
        self._changed()


_STATES: Final = {
    Delivery.ACCEPTED: "takes it",
    Delivery.RECEIVED: "has it",
    Delivery.DAMAGED: "got something else",
    Delivery.CANCELLED: "gave up",
    Delivery.LEFT: "left",
}


def _number(text: str, usage: str, known: Mapping[int, object]) -> int:
    """The number that was typed, or the highest one that is known; 0 where there is none."""
    if text and not (text.isdecimal() and len(text) < 10):
        raise NotDone(usage)
    return int(text) if text else max(known, default=0)


def shown(name: str) -> str:
    """A file's name in a line."""
    return cut(safe_line(name), NAME_COLUMNS) or "?"
