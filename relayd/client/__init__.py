"""The Python client library: make rooms, join them, say and hear things; sealing is done inside.

    async with join(link, "echo") as room:
        async for event in room:
            if isinstance(event, Message) and not event.mine:
                await room.say(event.text)

docs/client.md has the whole of it, with examples that run. Of the rest of relayd it imports `relayd.wire`,
`relayd.fields` and `relayd.errors` only.
"""

from __future__ import annotations

from relayd.client.backoff import Backoff
from relayd.client.errors import BadServer, ClientError, NotConnected, Unconfirmed, Unreachable
from relayd.client.events import (
    Announcement,
    Disconnected,
    Event,
    Message,
    Reconnected,
    Rekeyed,
    RekeyRefused,
    RoomExpiring,
    RoomUpdated,
    Signal,
    Unreadable,
    UserChanged,
    UserJoined,
    UserLeft,
)
from relayd.client.joining import Made, Owner, create, join
from relayd.client.outbox import Receipt
from relayd.client.rest import Rest
from relayd.client.room import Room
from relayd.client.shapes import RoomDetails
from relayd.client.users import User

__all__ = [
    "Announcement",
    "Backoff",
    "BadServer",
    "ClientError",
    "Disconnected",
    "Event",
    "Made",
    "Message",
    "NotConnected",
    "Owner",
    "Receipt",
    "Reconnected",
    "RekeyRefused",
    "Rekeyed",
    "Rest",
    "Room",
    "RoomDetails",
    "RoomExpiring",
    "RoomUpdated",
    "Signal",
    "Unconfirmed",
    "Unreachable",
    "Unreadable",
    "User",
    "UserChanged",
    "UserJoined",
    "UserLeft",
    "create",
    "join",
]
