"""What happens on the server, told to those who watch: who, where and when, never what is said, and no keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from relayd.rooms.room import Room
from relayd.wire.ids import RoomId, room_id_text
from relayd.wire.rest import rfc3339

# Events one watcher may be behind. A storm of 10,000 joins, told a few times a second, is some hundred events.
MAX_BEHIND = 10_000


class Watcher:
    """One who watches: what it has not taken yet, up to a bound.

    Attributes:
        stirred: set when there is something to take, or it is over.
        over: set when nothing more comes.
        too_slow: because it did not take what there was.
    """

    def __init__(self, room_id: RoomId | None) -> None:
        self.room_id = room_id  # None: all rooms
        self.too_slow = False
        self.stirred, self.over = asyncio.Event(), asyncio.Event()
        self._lines: list[bytes] = []

    def put(self, line: bytes) -> None:
        """One event more."""
        if self.over.is_set():
            return
        self._lines.append(line)
        if len(self._lines) > MAX_BEHIND:
            self._lines.clear()
            self.too_slow = True
            self.end()
        self.stirred.set()

    def take(self) -> bytes:
        """All that has come since it was asked before."""
        lines, self._lines = self._lines, []
        if not self.over.is_set():
            self.stirred.clear()
        return b"".join(lines)

    def end(self) -> None:
        """Nothing more comes."""
        self.over.set()
        self.stirred.set()


class Happenings:
    """Tells watchers.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._watchers: set[Watcher] = set()
        self.all_gone = asyncio.Event()  # set while nobody watches
        self.all_gone.set()

    def tell(self, event: str, room: Room | None = None, **fields: Any) -> None:
        """Something has happened; costs next to nothing while nobody watches."""
        if not self._watchers:
            return
        told: dict[str, Any] = {"at": rfc3339(self._clock()), "event": event}
        if room is not None:
            told |= {"room": room_id_text(room.meta.room_id), "name": room.meta.name}
        line = msgspec.json.encode(told | fields) + b"\n"
        for watcher in self._watchers:
            if watcher.room_id is None or room is None or watcher.room_id == room.meta.room_id:
                watcher.put(line)
                if watcher.room_id is not None and event == "room_closed":
                    watcher.end()

    def watch(self, room_id: RoomId | None = None) -> Watcher:
        """Somebody watches from now on: one room (and what concerns the whole server), or everything."""
        watcher = Watcher(room_id)
        self._watchers.add(watcher)
        self.all_gone.clear()
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        """And no more."""
        self._watchers.discard(watcher)
        if not self._watchers:
            self.all_gone.set()

    def close(self) -> None:
        """Nothing happens any more."""
        for watcher in self._watchers:
            watcher.end()
