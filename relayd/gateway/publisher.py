"""Collects what the sockets say in one turn of the loop, and sends it to the hub as one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from relayd.bus.messages import Batch, Item, Silent

_RETRY_S = 0.02  # how soon a batch is tried again that a hub far behind did not take


class Publisher:
    """The way up.

    Args:
        topic: this gateway's.
        tell: sends a batch; False if it must be tried again.
    """

    def __init__(self, topic: bytes, tell: Callable[[Batch], bool]) -> None:
        self._topic = topic
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._items: list[Item] = []
        self._closed = False

    def close(self) -> None:
        """Sends nothing any more."""
        self._closed = True

    def add(self, item: Item) -> None:
        """Something happened on a socket; it leaves with this turn of the loop, in order."""
        if not self._items:
            self._loop.call_soon(self._flush)
        self._items.append(item)

    def tell_silent(self, number: int, seconds: float) -> None:
        """Nothing was said on that socket for so long. Those of one tick of the wheel are one item: most idle."""
        last = self._items[-1] if self._items else None
        if isinstance(last, Silent):
            last.sockets.append((number, seconds))
        else:
            self.add(Silent([(number, seconds)]))

    def _flush(self) -> None:
        items, self._items = self._items, []
        if self._closed:
            return
        if not self._tell(Batch(self._topic, items)):
            # What comes in meanwhile queues behind it, without a flush of its own.
            self._items = items
            self._loop.call_later(_RETRY_S, self._flush)
