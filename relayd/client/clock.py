"""The clock by which a client tells how long ago something was."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any


def boot_clock_of(system: Any) -> Callable[[], float]:
    """A clock in seconds that only goes forward, and goes on while the machine sleeps.

    On Linux CLOCK_BOOTTIME does, and CLOCK_MONOTONIC stands still. On macOS CLOCK_MONOTONIC goes on, though
    `time.monotonic` does not. On Windows, which has neither name, `time.monotonic` does.

    Args:
        system: the module `time`, as it is on that system.
    """
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
        if hasattr(system, name):
            return functools.partial(system.clock_gettime, getattr(system, name))
    clock: Callable[[], float] = system.monotonic
    return clock


boot_clock = boot_clock_of(time)
