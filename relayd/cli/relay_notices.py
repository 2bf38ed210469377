"""What becomes of the room and the connection, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from relayd.cli.relay_text import safe_lines, safe_nick
from relayd.client import (
    Announcement,
    Disconnected,
    Event,
    Missed,
    Reconnected,
    RekeyRefused,
    RoomExpiring,
    Unreadable,
    User,
)


def label(user: User) -> str:
    """A user's name with the tag that tells namesakes apart."""
    return f"{safe_nick(user.nick)}#{user.tag}"


class Notices:
    """Puts events into words, and says only once that the connection is lost, however often it is tried again."""

    def __init__(self) -> None:
        self._lost = False

    def of(self, event: Event) -> str | None:
        """What a person should know of an event that is no message; None for nothing."""
        if isinstance(event, Disconnected) and self._lost:
            return None
        self._lost = isinstance(event, Disconnected) or (self._lost and not isinstance(event, Reconnected))
        words = _WORDS.get(type(event))
        return None if words is None else words(event)


def _reconnected(event: Reconnected) -> str:
    lost = f"; {event.missed} messages were lost" if event.missed else ""
    return "connected again" + (lost or ("" if event.recovered else "; some of what was said may be lost"))


def _expiring(event: RoomExpiring) -> str:
    minutes = round(event.seconds / 60)
    return f"the room ends in {minutes} min" if minutes > 1 else f"the room ends in {event.seconds} s"


_WORDS: Final[dict[type, Callable[[Any], str]]] = {
    Disconnected: lambda event: f"{event.reason}; trying again until it works",
    Reconnected: _reconnected,
    Missed: lambda event: f"something was sent that cannot be shown here ({event.count})",
    Unreadable: lambda event: f"something of {label(event.user)} could not be opened: {event.reason}",
    RekeyRefused: lambda event: f"new keys were offered and refused: {event.reason}",
    RoomExpiring: _expiring,
    Announcement: lambda event: f"the server's admin says: {' '.join(safe_lines(event.text))}",
}
