"""One timer for all sockets: thousands of handles on the loop would cost more memory than the sockets."""

from __future__ import annotations

import asyncio
from typing import Protocol

TICK_S = 0.1
_EXACT = 1e-6  # of a tick: what tenths of a second lack as floats


class Timed(Protocol):
    """Something that wants to be woken. `due_tick` belongs to the wheel."""

    due_tick: int

    def on_due(self) -> None:
        """Its time has come."""


class Wheel:
    """Wakes each entry once, at most one tick late.

    Each entry is in one slot at most, that of its `due_tick`. What is cancelled is not kept: sockets that come and go
    would stay in memory until their next ping would have been due.

    Source: the hashed timing wheel of Varghese and Lauck (1987), unbounded, as a dict of slots.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # At full tenths, as LoopLag looks: a server that has nothing to do wakes for all of them at once.
        self._started_at = self._loop.time() // TICK_S * TICK_S
        # By tick; dicts as ordered sets: thousands of readers that stop in one moment are in one slot, and leave it one
        # by one. That costs 100 bytes a socket, of 4 KiB.
        self._slots: dict[int, dict[Timed, None]] = {}
        self._handle = self._loop.call_at(self._started_at + TICK_S, self._turn)
        self.tick = 0
        self.now = self._started_at  # the loop's time at the last tick: cheap to read

    def set(self, entry: Timed, delay_s: float) -> None:
        """Wake `entry` after `delay_s` seconds, and not at the time set before."""
        self.cancel(entry)
        tick = self.tick + max(1, round(delay_s / TICK_S))
        entry.due_tick = tick
        self._slots.setdefault(tick, {})[entry] = None

    def cancel(self, entry: Timed) -> None:
        """Do not wake it."""
        slot = self._slots.get(entry.due_tick)
        if slot is not None:
            del slot[entry]
        entry.due_tick = 0

    def close(self) -> None:
        """Wakes nobody any more."""
        self._handle.cancel()
        self._slots.clear()

    def _turn(self) -> None:
        self.now = self._loop.time()
        last, self.tick = self.tick, int((self.now - self._started_at) / TICK_S + _EXACT)
        # After a standstill there are many to catch up with; what they set anew counts from now.
        for tick in range(last + 1, self.tick + 1):
            for entry in self._slots.pop(tick, ()):
                if entry.due_tick == tick:
                    entry.due_tick = 0
                    entry.on_due()
        next_at = self._started_at + (self.tick + 1) * TICK_S
        self._handle = self._loop.call_at(next_at, self._turn)
