"""How long to wait before coming back."""

from __future__ import annotations

import random
from typing import Final

FIRST_S: Final = 0.5
LONGEST_S: Final = 30.0
LONGEST_ASKED_S: Final = 600.0  # a server may ask for more; nobody waits that long
STABLE_S: Final = 10.0  # a connection that held so long makes the next failure a first one


class Backoff:
    """Waiting times that double, each drawn anew from all of its range.

    Args:
        draw: gives a number from 0.0 to 1.0 (excluded).

    Source: "full jitter" of Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: the
    least work for all when many come back at once.
    """

    def __init__(self, draw: random.Random | None = None) -> None:
        self._random = draw or random.Random()  # noqa: S311 # spreads load, hides nothing
        self._failures = 0

    def reset(self) -> None:
        """The next failure counts as a first one."""
        self._failures = 0

    def next_s(self, asked_s: float | None = None, lived_s: float = 0.0) -> float:
        """Seconds to wait now.

        Args:
            asked_s: what the server asked for; it has spread that at random already, so it is kept to, and
                jitter only ever comes on top.
            lived_s: how long the connection held that was lost.
        """
        if lived_s >= STABLE_S:
            self._failures = 0
        jitter = self._random.random() * min(LONGEST_S, FIRST_S * (1 << self._failures))
        self._failures = min(self._failures + 1, 16)
        if asked_s is None:
            return jitter
        return min(max(0.0, asked_s), LONGEST_ASKED_S) + (jitter if self._failures > 1 else 0.0)
