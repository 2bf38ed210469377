"""The Python client library: make rooms, join them, say and hear things; sealing is done inside.

    async with join(link, "echo") as room:
        async for event in room:
            if isinstance(event, Message) and not event.mine:
                await room.say(event.text)

docs/client.md has the whole of it, with examples that run. Of the rest of relayd it imports `relayd.wire`,
`relayd.fields` and `relayd.errors` only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relayd.client.backoff import Backoff
    from relayd.client.errors import (
        BadServer,
        ClientError,
        DiskError,
        FileChanged,
        NotConnected,
        NotWhole,
        TransferError,
        Unconfirmed,
        Unreachable,
        Withdrawn,
    )
    from relayd.client.events import (
        Announcement,
        Disconnected,
        Event,
        FileOffered,
        Knocking,
        Message,
        MessageRemoved,
        Missed,
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
    from relayd.client.files.receiving import Receiving
    from relayd.client.files.sending import Delivered, Offer
    from relayd.client.invites import Invite
    from relayd.client.joining import Made, Owner, create, join
    from relayd.client.outbox import Receipt
    from relayd.client.rest import Rest
    from relayd.client.room import Room
    from relayd.client.shapes import RoomDetails
    from relayd.client.users import User

# Imported when asked for: `relayctl` needs one module of this package, and asyncio alone would double its start.
_MODULES = {
    "Announcement": "events",
    "Backoff": "backoff",
    "BadServer": "errors",
    "ClientError": "errors",
    "Delivered": "files.sending",
    "Delivery": "files.sending",
    "Disconnected": "events",
    "DiskError": "errors",
    "Event": "events",
    "FileChanged": "errors",
    "FileOffered": "events",
    "KeysConfirmed": "events",
    "Knocking": "events",
    "Made": "joining",
    "Message": "events",
    "NewKeysMissed": "events",
    "NotConnected": "errors",
    "NotWhole": "errors",
    "Offer": "files.sending",
    "Owner": "joining",
    "OwnerUnconfirmed": "events",
    "Receipt": "outbox",
    "Invite": "invites",
    "Receiving": "files.receiving",
    "MessageRemoved": "events",
    "Missed": "events",
    "Reconnected": "events",
    "RekeyRefused": "events",
    "Rekeyed": "events",
    "Rest": "rest",
    "Room": "room",
    "RoomDetails": "shapes",
    "RoomExpiring": "events",
    "RoomUpdated": "events",
    "Signal": "events",
    "TransferError": "errors",
    "Unconfirmed": "errors",
    "Unreachable": "errors",
    "Unreadable": "events",
    "User": "users",
    "UserChanged": "events",
    "UserJoined": "events",
    "UserLeft": "events",
    "UsersUnconfirmed": "events",
    "Withdrawn": "errors",
    "create": "joining",
    "join": "joining",
}

__all__ = [
    "Announcement",
    "Backoff",
    "BadServer",
    "ClientError",
    "Delivered",
    "Delivery",
    "Disconnected",
    "DiskError",
    "Event",
    "FileChanged",
    "FileOffered",
    "Invite",
    "KeysConfirmed",
    "Knocking",
    "Made",
    "Message",
    "MessageRemoved",
    "Missed",
    "NewKeysMissed",
    "NotConnected",
    "NotWhole",
    "Offer",
    "Owner",
    "OwnerUnconfirmed",
    "Receipt",
    "Receiving",
    "Reconnected",
    "RekeyRefused",
    "Rekeyed",
    "Rest",
    "Room",
    "RoomDetails",
    "RoomExpiring",
    "RoomUpdated",
    "Signal",
    "TransferError",
    "Unconfirmed",
    "Unreachable",
    "Unreadable",
    "User",
    "UserChanged",
    "UserJoined",
    "UserLeft",
    "UsersUnconfirmed",
    "Withdrawn",
    "create",
    "join",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
