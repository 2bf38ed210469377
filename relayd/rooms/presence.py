"""Who came, went and changed, collected: what others are told once in a while is the sum of it."""

from __future__ import annotations

from typing import NamedTuple

from relayd.wire.ids import UserId


class Changes(NamedTuple):
    """The sum of a while: users who are here and were not, who are no longer, and who look different."""

    joined: list[UserId]
    left: list[UserId]
    changed: list[UserId]


class _Trace(NamedTuple):
    """What became of one user in the while: here when it began, here now, on some list given since or not on one."""

    was_here: bool
    is_here: bool
    listed: bool
    unlisted: bool
    lists: int  # how many were given until the user last came or went


class PresenceLog:
    """Collects changes of presence until they are told.

    What cancels out is not told: someone who came and went in between was never here. Where that must not be, since
    others have heard something of them, `hides` says whether they are to be told first. But whoever is let in
    meanwhile is given the list of users as it is then, and is told the same sum as the others: so nothing cancels
    out past a list. Who came, was listed and went is told as left; who went, was not listed and came back is told
    as joined, though some knew the user before. Those who hear it keep users by id.
    """

    __slots__ = ("_changed", "_lists", "_traces")

    def __init__(self) -> None:
        # Both in the order of the last change; only what is to be told is kept.
        self._traces: dict[UserId, _Trace] = {}
        self._changed: dict[UserId, None] = {}
        self._lists = 0

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._traces or self._changed)

    def join(self, user_id: UserId) -> None:
        """The user is here now."""
        self._move(user_id, is_here=True)

    def leave(self, user_id: UserId) -> None:
        """The user is gone."""
        self._move(user_id, is_here=False)

    def change(self, user_id: UserId) -> None:
        """The user looks different: another profile, away or back, muted or not."""
        if user_id not in self._traces:
            self._changed[user_id] = None

    def hides(self, user_id: UserId) -> bool:
        """Whether others do not know yet that the user is here, or how the user looks now."""
        trace = self._traces.get(user_id)
        return user_id in self._changed or (trace is not None and trace.is_here)

    def list_given(self) -> None:
        """Somebody was given the list of users as it is now."""
        self._lists += 1

    def take(self) -> Changes:
        """All that was collected; from now on it starts anew."""
        changes = Changes([], [], list(self._changed))
        for user_id, trace in self._traces.items():
            if not trace.is_here:
                changes.left.append(user_id)
            elif trace.was_here and not trace.unlisted:
                changes.changed.append(user_id)
            else:
                changes.joined.append(user_id)
        self._traces, self._changed, self._lists = {}, {}, 0
        return changes

    def _move(self, user_id: UserId, *, is_here: bool) -> None:
        self._changed.pop(user_id, None)
        before = self._traces.pop(user_id, None)
        if before is None:
            trace = _Trace(not is_here, is_here, listed=False, unlisted=False, lists=self._lists)
        else:
            given = self._lists > before.lists
            listed = before.listed or (given and before.is_here)
            unlisted = before.unlisted or (given and not before.is_here)
            trace = _Trace(before.was_here, is_here, listed, unlisted, self._lists)
        if is_here or trace.was_here or trace.listed:
            self._traces[user_id] = trace
