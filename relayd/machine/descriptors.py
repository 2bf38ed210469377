"""File descriptors: every client takes one, and the last ones are not for clients."""

from __future__ import annotations

import os
import resource
import time

# For the control socket, new workers and whatever a library opens: an admin can still get in when clients cannot.
RESERVE = 128
_SAID_AGAIN_S = 60.0


def raise_limit() -> None:
    """As many as the system allows this process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit() -> int:
    """How many this process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def first_of_reserve() -> int:
    """Who has been given a descriptor with this number, or a higher one, has begun the reserve.

    The kernel gives the lowest that is free (open(2)), so the number of a new one tells how many are in use. Of a low
    limit a quarter is kept back.
    """
    most = limit()
    return most - min(RESERVE, most // 4)


def are_scarce(end: int) -> bool:
    """Whether all descriptors below that number are in use."""
    try:
        probe = os.open("/", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return True
    os.close(probe)
    return probe >= end


class Outage:
    """Something that cannot be done for a while, and is tried again and again: worth one line, not one a try."""

    def __init__(self) -> None:
        self._at: float | None = None

    def is_new(self) -> bool:
        """Whether it failed for the first time, or worked for a minute in between. Called with each failure."""
        now, before = time.monotonic(), self._at
        self._at = now
        return before is None or now - before > _SAID_AGAIN_S
