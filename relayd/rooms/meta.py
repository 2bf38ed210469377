"""What is known of a room apart from its people and what they say."""

from __future__ import annotations

from typing import Any

import msgspec

from relayd.rooms.expiry import Lifetime
from relayd.rooms.seal import Seal
from relayd.wire.ids import RoomId, UserId, room_id_text
from relayd.wire.rest import RoomSettings


class RoomMeta(msgspec.Struct, frozen=True):
    """What is known of a room apart from who is in it and what was said: what the registry keeps."""

    room_id: RoomId
    name: str
    owner_id: UserId
    owner_digest: bytes
    invite_digest: bytes
    max_users: int
    users_leave: bool
    created_at: float
    ends_at: float
    locked: bool
    settings: RoomSettings
    epoch: str  # of the numbering: random, one for each life of the room
    seal: Seal | None = None  # None: the room is open
    creator: tuple[bytes, ...] = ()  # see `seats.Creator`

    def __repr__(self) -> str:
        """Nothing of the keys, not even their digests."""
        return f"RoomMeta({room_id_text(self.room_id)})"

    @property
    def lifetime(self) -> Lifetime:
        """When it ends."""
        return Lifetime(self.created_at, self.ends_at, self.users_leave)


def changed_meta(meta: RoomMeta, **changes: Any) -> RoomMeta:
    """The same room with some of it changed."""
    return msgspec.structs.replace(meta, **changes)
