"""What both ends of a transfer share: the way to the server, work in threads, and waiting for something to change."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from relayd.client.hearing import Hearing
from relayd.client.outbox import Receipt
from relayd.client.shapes import OkFrame
from relayd.client.stream import Stream
from relayd.client.voice import Voice

T = TypeVar("T")


class Line(Protocol):
    """The way to the server, of one user in one room: what files need of a membership."""

    me: str  # the user id
    voice: Voice  # how chunks travel here
    stream: Stream
    hearing: Hearing
    connected: Bell  # rung whenever there is a connection again
    back_at: float  # when that was, on the loop's clock; -inf if the first connection still holds

    async def command(self, frame: dict[str, Any]) -> OkFrame:
        """Writes a frame and waits for its answer. Raises RelayError, NotConnected, Unconfirmed."""

    async def say_offer(self, body: Any, to: str | None, file: dict[str, Any]) -> tuple[Receipt, int]:
        """Says the message that offers a file; its receipt, and the epoch in which it was sealed."""


class Bell:
    """Tells whoever waits that something has changed."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Something has."""
        for one in self._waiting:
            if not one.done():
                one.set_result(None)

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Returns at the next ring; False if none comes in time."""
        one: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(one)
        try:
            # Not wait_for: up to Python 3.11 it forgets that it was cancelled if the ring comes in the same moment.
            async with asyncio.timeout(timeout_s):
                await one
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(one)
        return True

    async def wait_until(self, is_so: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Returns when `is_so` says yes, asked anew at every ring; False if it doesn't in time."""
        loop = asyncio.get_running_loop()
        end = None if timeout_s is None else loop.time() + timeout_s
        while not is_so():
            if not await self.wait(None if end is None else max(0.0, end - loop.time())):
                return is_so()
        return True


async def in_thread(work: Callable[..., T], *args: Any, stop: threading.Event | None = None) -> T:
    """Does work that blocks, in a thread. Even where it is cancelled it returns after the work only.

    Else a file could be closed, and its number given to another one, while the thread still writes to it.

    Args:
        work: what is to be done.
        args: for it.
        stop: set where this is cancelled, for work that looks at it.
    """
    job = asyncio.get_running_loop().run_in_executor(None, work, *args)
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        if stop is not None:
            stop.set()
        while not job.done():
            try:
                await asyncio.wait([job])
            except asyncio.CancelledError:
                continue
        raise
