"""The daemon's clock: reads like the time of day, and never jumps."""

from __future__ import annotations

import time


class SteadyClock:
    """Seconds since 1970 as they were at the start, counted on from there.

    Rooms live by it: setting the machine's clock neither ends nor prolongs one, and a machine that was suspended
    finds its rooms over (CLOCK_BOOTTIME goes on while it sleeps, unlike CLOCK_MONOTONIC).
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def __call__(self) -> float:
        """Now."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) + self._offset
