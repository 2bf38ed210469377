"""Who came, went and changed, collected: what others are told once in a while is the sum of it."""

from __future__ import annotations

from typing import NamedTuple

from relayd.wire.ids import UserId


class Changes(NamedTuple):
    """The sum of a while: users who are here and were not, who are no longer, and who look different."""

    joined: list[UserId]
    left: list[UserId]
    changed: list[UserId]


class PresenceLog:
    """Collects changes of presence until they are told.

    What cancels out is not told: someone who came and went in between was never here.
    """

    __slots__ = ("_changed", "_joined", "_left")

    def __init__(self) -> None:
        # Dicts for their order; the values mean nothing.
        self._joined: dict[UserId, None] = {}
        self._left: dict[UserId, None] = {}
        self._changed: dict[UserId, None] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._joined or self._left or self._changed)

    def join(self, user_id: UserId) -> None:
        """The user is here now."""
        if user_id in self._left:  # others never heard that it had left
            del self._left[user_id]
            self._changed[user_id] = None
        else:
            self._joined[user_id] = None

    def leave(self, user_id: UserId) -> None:
        """The user is gone."""
        self._changed.pop(user_id, None)
        if user_id in self._joined:
            del self._joined[user_id]
        else:
            self._left[user_id] = None

    def change(self, user_id: UserId) -> None:
        """The user looks different: another profile, away or back, muted or not."""
        if user_id not in self._joined:
            self._changed[user_id] = None

    def take(self) -> Changes:
        """All that was collected; from now on it starts anew."""
        changes = Changes(list(self._joined), list(self._left), list(self._changed))
        self._joined, self._left, self._changed = {}, {}, {}
        return changes
