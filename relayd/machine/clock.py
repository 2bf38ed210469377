"""The daemon's clock: reads like the time of day, and never jumps."""

from __future__ import annotations

import time


class SteadyClock:
    """Seconds since 1970 as they were at the start, counted on from there.

    Rooms live by it: setting the machine's clock neither ends nor prolongs one, and a machine that was suspended
    finds its rooms over (CLOCK_BOOTTIME goes on while it sleeps, unlike CLOCK_MONOTONIC).

    Args:
        offset_s: that of another process since the machine's start, whose clock is to go on; None begins anew.

    Attributes:
        offset_s: what it adds to CLOCK_BOOTTIME.
    """

    def __init__(self, offset_s: float | None = None) -> None:
        self.offset_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) if offset_s is None else offset_s

    def __call__(self) -> float:
        """Now."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) + self.offset_s
