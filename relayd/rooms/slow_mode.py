"""Slow mode: so many seconds between two messages of one user."""

from __future__ import annotations

from math import inf

from relayd.errors import SlowMode
from relayd.rooms.access import MAX_DEPARTED
from relayd.wire.ids import UserId


class LastMessages:
    """When each user of a room last sent a message, as long as slow mode asks for it.

    It is noted by user, not by connection or stay: a second tab, or coming back by session, changes nothing.
    """

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at: dict[UserId, float] = {}  # seconds; the oldest first

    def check(self, user_id: UserId, interval_s: float, now: float) -> None:
        """Let a message pass that comes `interval_s` after the last one of its user, or later.

        Raises:
            SlowMode: with the time to wait.
        """
        wait_s = self._at.get(user_id, -inf) + interval_s - now
        if wait_s > 0:
            raise SlowMode(f"Slow mode: a member may send one message every {interval_s:g} s", retry_after_s=wait_s)

    def note(self, user_id: UserId, interval_s: float, now: float, inside: int) -> None:
        """The user sends a message.

        Args:
            inside: how many users the room has; so many more than `MAX_DEPARTED` are remembered at most.
        """
        self._at.pop(user_id, None)
        self._at[user_id] = now
        most, too_old = inside + MAX_DEPARTED, now - interval_s
        while len(self._at) > most or self._at[next(iter(self._at))] < too_old:
            del self._at[next(iter(self._at))]
