"""Which rooms have changed since they were last written down, and what of them: so that only that is written.

The rules enter what they change; who writes it down, and where, is the hub's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relayd.rooms.member import Said
from relayd.wire.ids import RoomId, UserId

if TYPE_CHECKING:
    from relayd.rooms.room import Room


class Unwritten:
    """What has changed in one room.

    Attributes:
        head: anything that is not of a single user, nor follows from what was said.
        users: those who came, went or changed, in that order; also those who are forgotten by now.
        said: by whom, the digest of its id, and where it stands.
        replaced: places of messages that were removed.
        invites: whether an invite was made, used or revoked.
    """

    __slots__ = ("head", "invites", "replaced", "said", "users")

    def __init__(self) -> None:
        self.head = False
        self.invites = False
        self.users: dict[UserId, None] = {}
        self.said: list[tuple[UserId, bytes, Said]] = []
        self.replaced: list[int] = []


class Ledger:
    """Collects changes until they are taken; does nothing while `is_kept` is false.

    Args:
        is_kept: whether somebody writes them down.
    """

    __slots__ = ("_rooms", "closed", "is_kept")

    def __init__(self, *, is_kept: bool = False) -> None:
        self.is_kept = is_kept
        self.closed: list[RoomId] = []  # rooms that are over
        self._rooms: dict[Room, Unwritten] = {}

    @property
    def has_changes(self) -> bool:
        """Whether anything is to be written down."""
        return bool(self._rooms or self.closed)

    def head(self, room: Room) -> None:
        """Something about the room as a whole."""
        if self.is_kept:
            self._of(room).head = True

    def user(self, room: Room, user_id: UserId) -> None:
        """Something about one user."""
        if self.is_kept:
            self._of(room).users[user_id] = None

    def said(self, room: Room, user_id: UserId, message_id: bytes, said: Said) -> None:
        """Something was said."""
        if self.is_kept:
            self._of(room).said.append((user_id, message_id, said))

    def replaced(self, room: Room, seq: int) -> None:
        """Something else stands in the place of a message."""
        if self.is_kept:
            self._of(room).replaced.append(seq)

    def invites(self, room: Room) -> None:
        """An invite was made, used or revoked."""
        if self.is_kept:
            self._of(room).invites = True

    def close(self, room: Room) -> None:
        """The room is over."""
        if self.is_kept:
            self._rooms.pop(room, None)
            self.closed.append(room.meta.room_id)

    def take(self) -> tuple[dict[Room, Unwritten], list[RoomId]]:
        """All that was collected: rooms that have changed, and those that are over."""
        taken = self._rooms, self.closed
        self._rooms, self.closed = {}, []
        return taken

    def _of(self, room: Room) -> Unwritten:
        found = self._rooms.get(room)
        if found is None:
            found = self._rooms[room] = Unwritten()
        return found
