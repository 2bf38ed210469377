"""The clock for intervals that may include a suspend of the machine."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any


def boot_clock_of(system: Any) -> Callable[[], float]:
    """A monotonic clock, in seconds, that counts while the machine sleeps.

    On Linux CLOCK_BOOTTIME counts then, and CLOCK_MONOTONIC does not. On macOS CLOCK_MONOTONIC counts, though
    `time.monotonic` does not. On Windows, which has neither name, `time.monotonic` counts.

    Args:
        system: the module `time` of that system.
    """
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
        if hasattr(system, name):
            return functools.partial(system.clock_gettime, getattr(system, name))
    clock: Callable[[], float] = system.monotonic
    return clock


boot_clock = boot_clock_of(time)
