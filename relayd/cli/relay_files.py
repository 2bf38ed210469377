"""Files at a command line: offered and waited for, taken as they are offered, with bars where a person looks."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from relayd.cli.ctl_output import cut, duration, size
from relayd.cli.relay_disk import DiskLimit
from relayd.cli.relay_notices import label
from relayd.cli.relay_text import safe_line
from relayd.client import Delivered, DiskError, FileOffered, Offer, Room, TransferError
from relayd.client.errors import ClientError
from relayd.client.files.disk import Source
from relayd.errors import RelayError
from relayd.wire.sealing_text import SealingError

# As many as one client receives at once: more would wait there, and look as if nobody accepted them.
MOST_AT_ONCE: Final = 4
NAME_COLUMNS: Final = 24
BAR_COLUMNS: Final = 16
REDRAW_S: Final = 0.1


def shown_name(name: str) -> str:
    """A file's name on a terminal."""
    return safe_line(name) or "?"


def kept_part(wrong: Exception) -> str:
    """Where a file that did not come goes on from, in words; "" if nothing of it is kept."""
    partial = wrong.partial if isinstance(wrong, TransferError) else None
    return "" if partial is None else f"; what has come is kept in {safe_line(str(partial))}"


class Bars:
    """A bar for each file under way, on standard error, if that is a terminal; elsewhere nothing.

    They are there only while something is under way, so what is printed besides is not disturbed by them.
    """

    def __init__(self) -> None:
        self._progress: Any = None  # rich's, imported where a person looks only
        self._wanted = sys.stderr.isatty()
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hide()

    def add(self, name: str, total: int) -> int | None:
        """A bar for a file of `total` bytes; None where there are none."""
        if not self._wanted:
            return None
        if self._progress is None:
            self._progress = _rich_progress()
            self._progress.start()
        self._count += 1
        bar: int = self._progress.add_task(cut(shown_name(name), NAME_COLUMNS), total=total)
        return bar

    def show(self, bar: int | None, completed: int) -> None:
        """So many bytes have been moved."""
        if bar is not None:
            self._progress.update(bar, completed=completed)

    def remove(self, bar: int | None) -> None:
        """That file is done."""
        if bar is not None:
            self._count -= 1
            self._progress.remove_task(bar)
            if not self._count:
                self._hide()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What is printed in here has the terminal for itself, and is not broken into rows."""
        if self._progress is not None:
            self._progress.stop()
        try:
            yield
        finally:
            if self._progress is not None:
                self._progress.start()

    def _hide(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _rich_progress() -> Any:
    from rich.console import Console  # noqa: PLC0415 - where a person looks only
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text  # noqa: PLC0415

    class Rate(ProgressColumn):
        """In the same units as the amounts beside it; rich's own has others."""

        def render(self, task: Task) -> Text:
            return Text(f"{size(task.speed)}/s" if task.speed else "", justify="right")

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=BAR_COLUMNS),
        DownloadColumn(binary_units=True),
        Rate(),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
    )


async def follow(bars: Bars, name: str, total: int, moved: Callable[[], int]) -> None:
    """Shows how far a file has come, until this is cancelled."""
    bar = bars.add(name, total)
    try:
        while bar is not None:
            await asyncio.sleep(REDRAW_S)
            bars.show(bar, moved())
    finally:
        bars.remove(bar)


# Sending. -------------------------------------------------------------------------------------------------------


def check_files(paths: Iterable[str]) -> None:
    """Opens each file and closes it again, so that what cannot be sent is known before anybody is bothered.

    Raises:
        DiskError: one cannot be read.
    """
    for path in paths:
        Source(Path(path)).close()


class Result(NamedTuple):
    """What became of a file: ids of the users who have it, and of those who wanted it and have not."""

    name: str
    received: tuple[str, ...]
    failed: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everyone who wanted it has it, and somebody did."""
        return bool(self.received) and not self.failed


_NOT_ARRIVED: Final = "the file did not arrive"


class Sending:
    """Sends files to a room.

    Args:
        room: entered.
        note: takes lines for the person, of what has arrived.
        complain: takes those of what has not.
        wait_s: how long one waits for somebody to accept one.
    """

    def __init__(self, room: Room, note: Callable[[str], None], complain: Callable[[str], None], wait_s: float) -> None:
        self.results: list[Result] = []
        self._room = room
        self._note = note
        self._complain = complain
        self._wait_s = wait_s
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._bars = Bars()
        self._nobody = False

    async def run(self, paths: Sequence[str]) -> None:
        """Sends them all.

        Raises:
            TransferError: some have not arrived, or not everywhere. What became of each was noted.
        """
        with self._bars:
            await asyncio.gather(*(self._send(path) for path in paths))
        failed = sum(not result.ok for result in self.results)
        if failed:
            raise TransferError(f"{failed} of {len(paths)} files did not arrive" if len(paths) > 1 else _NOT_ARRIVED)

    async def _send(self, path: str) -> None:
        async with self._slots:
            name = shown_name(Path(path).name)
            try:
                if self._nobody:
                    raise TransferError("it was not offered any more")
                offer = await self._room.offer(path)
                delivered = await self._deliver(name, offer)
            except (RelayError, ClientError, SealingError) as wrong:
                self.results.append(Result(name, (), ()))
                self._print(self._complain, f"{name}: {safe_line(str(wrong)).rstrip('.')}")
            else:
                self.results.append(Result(name, *delivered))

    async def _deliver(self, name: str, offer: Offer) -> Delivered:
        loop = asyncio.get_running_loop()
        began = loop.time()
        following = asyncio.create_task(self._follow(offer))
        try:
            delivered = await offer.delivered(self._wait_s)
        finally:
            self._nobody = self._nobody or not (offer.deliveries or offer.error)
            following.cancel()
            offer.withdraw()
        if delivered.received:
            took = duration(max(1.0, loop.time() - began))
            people = ", ".join(label(self._room.user(user)) for user in delivered.received)
            self._print(self._note, f"{name}: {people} got {size(offer.size)} in {took}")
        if delivered.failed:
            people = ", ".join(label(self._room.user(user)) for user in delivered.failed)
            self._print(self._complain, f"{name}: {people} did not get it")
        return delivered

    def _print(self, printer: Callable[[str], None], line: str) -> None:
        with self._bars.aside():
            printer(line)

    async def _follow(self, offer: Offer) -> None:
        await offer.changed.wait_until(lambda: bool(offer.deliveries))
        await follow(self._bars, offer.name, offer.size, lambda: offer.sent_bytes)


# Receiving. -----------------------------------------------------------------------------------------------------


class Inbox:
    """Takes every file that is offered.

    Args:
        room: entered.
        directory: where they go.
        bars: what is under way.
        max_bytes: of all files together; None for no limit but the disk's.
    """

    def __init__(self, room: Room, directory: Path, bars: Bars, max_bytes: int | None = None) -> None:
        self._room = room
        self._directory = directory
        self._bars = bars
        self._limit = DiskLimit(directory, max_bytes)

    async def take(self, offered: FileOffered) -> Path:
        """Receives one file.

        Raises:
            TransferError, RelayError, ClientError: it did not come.
        """
        try:
            self._limit.check(shown_name(offered.name), offered.size)
        except OSError as wrong:
            raise DiskError(f"no files can be put into {self._directory}: {wrong.strerror}") from None
        receiving = self._room.accept(offered, self._directory)
        self._limit.begin(receiving)
        following = asyncio.create_task(
            follow(self._bars, receiving.name, receiving.size, lambda: receiving.received_bytes)
        )
        whole = False
        try:
            path = await receiving
            whole = True
            return path
        finally:
            self._limit.end(receiving, whole=whole)
            following.cancel()
