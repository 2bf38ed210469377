"""What becomes of the room and the connection, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from relayd.cli.relay_text import safe_lines, safe_nick
from relayd.client import (
    Announcement,
    Disconnected,
    Event,
    KeysConfirmed,
    Missed,
    NewKeysMissed,
    OwnerUnconfirmed,
    Reconnected,
    RekeyRefused,
    RoomExpiring,
    Unreadable,
    User,
    UsersUnconfirmed,
)

MOST_NAMED: Final = 10  # users in one line


def label(user: User) -> str:
    """A user's name with the tag that tells namesakes apart."""
    return f"{safe_nick(user.nick)}#{user.tag}"


def called(name: str, users: list[User]) -> list[User]:
    """Those of `users` to whom `nick`, `nick#tag` or `#tag` applies."""
    nick, _, tag = name.strip().removeprefix("@").partition("#")
    return [
        user
        for user in users
        if (not nick or safe_nick(user.nick).casefold() == nick.casefold()) and (not tag or user.tag == tag)
    ]


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


def _users_unconfirmed(event: UsersUnconfirmed) -> str:
    names = [label(user) for user in event.users]
    named = ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
    return (
        f"not confirmed the new keys: {named}. What they send may still be readable to the person removed; "
        "/who shows when they have confirmed"
    )


def _owner_unconfirmed(event: OwnerUnconfirmed) -> str:
    return (
        f"the owner has not confirmed these keys for {event.minutes} minutes. The owner's device may be asleep, or the "
        "server withholds new keys from you: ask the owner another way, or compare /code"
    )


def _expiring(event: RoomExpiring) -> str:
    minutes = round(event.seconds / 60)
    return f"the room ends in {minutes} min" if minutes > 1 else f"the room ends in {event.seconds} s"


_WORDS: Final[dict[type, Callable[[Any], str]]] = {
    Disconnected: lambda event: f"{event.reason}; trying again until it works",
    Reconnected: _reconnected,
    Missed: lambda event: f"something was sent that cannot be shown here ({event.count})",
    Unreadable: lambda event: f"something of {label(event.user)} could not be opened: {event.reason}",
    RekeyRefused: lambda event: f"new keys were offered and refused: {event.reason}",
    UsersUnconfirmed: _users_unconfirmed,
    OwnerUnconfirmed: _owner_unconfirmed,
    KeysConfirmed: lambda _: "the owner has confirmed the keys",
    NewKeysMissed: lambda _: "the room has new keys that did not reach you: ask for the new link, and join with it",
    RoomExpiring: _expiring,
    Announcement: lambda event: f"the server's admin says: {' '.join(safe_lines(event.text))}",
}
