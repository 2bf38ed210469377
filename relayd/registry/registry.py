"""The registry: what is known of every living room, apart from its people and what they say.

In memory (`:memory:`), so that nothing of a room ever reaches a disk. A second implementation for what outgrows
one machine needs to offer just these methods.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec
from sqlite_utils import Database

from relayd.errors import NameTaken
from relayd.rooms.meta import RoomMeta
from relayd.wire.ids import RoomId
from relayd.wire.names import name_key

# column -> type; in the order of RoomMeta's fields, then what only the registry needs.
_COLUMNS: dict[str, type] = {
    "room_id": bytes,  # the 16 bytes of the UUID
    "name": str,  # as it is shown
    "owner_id": str,
    "owner_digest": bytes,  # SHA-256 of the owner key
    "invite_digest": bytes,  # SHA-256 of the invite key
    "max_users": int,
    "users_leave": int,  # 1: ends some time after its last user left
    "created_at": float,  # seconds since 1970, on the daemon's steady clock
    "ends_at": float,  # the end at the latest
    "locked": int,  # 1: no newcomers
    "settings": str,  # RoomSettings as JSON
    "epoch": str,  # of the numbering
    "seal": str,  # Seal as JSON; NULL for an open room
    "creator": str,  # as JSON
    "name_key": str,  # what makes two names the same
    "due_at": float,  # when something next happens to it by itself: a warning, a grace that is over, the end
}
_NULLABLE = {"seal"}
_FIELDS = RoomMeta.__struct_fields__
_PARTS = ("settings", "seal", "creator")  # kept as JSON
_INSERT = f"INSERT INTO rooms VALUES ({', '.join('?' * len(_COLUMNS))})"
_SELECT = f"SELECT {', '.join(_FIELDS)} FROM rooms"


class Registry:
    """All living rooms' metadata. Not to be shared between threads."""

    def __init__(self) -> None:
        connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=64)
        database = Database(connection)
        table: Any = database["rooms"]
        table.create(_COLUMNS, pk="room_id", not_null=set(_COLUMNS) - _NULLABLE, strict=True)
        table.create_index(["name_key"], unique=True)
        table.create_index(["due_at"])
        self._execute = connection.execute
        self._close = connection.close
        self._soonest: float | None = None  # the first due time: asked for in every turn, changed in few
        self._is_soonest_known = True

    def add(self, meta: RoomMeta, due_at: float) -> None:
        """A new room.

        Raises:
            NameTaken: a living room has the name.
        """
        try:
            self._execute(_INSERT, (*_row(meta), name_key(meta.name), due_at))
        except sqlite3.IntegrityError:
            raise NameTaken from None
        self._note_due(due_at, is_new=True)

    def get(self, room_id: RoomId) -> RoomMeta | None:
        """The room with that id."""
        return next(self._select("WHERE room_id = ?", room_id), None)

    def id_of(self, name: str) -> RoomId | None:
        """The id of the room with that name, ignoring case."""
        row = self._execute("SELECT room_id FROM rooms WHERE name_key = ?", (name_key(name),)).fetchone()
        return row[0] if row else None

    def ids_between(self, low: bytes, high: bytes, most: int) -> list[RoomId]:
        """Up to `most` rooms whose ids lie between these two, both included."""
        query = "SELECT room_id FROM rooms WHERE room_id BETWEEN ? AND ? ORDER BY room_id LIMIT ?"
        return [RoomId(room_id) for (room_id,) in self._execute(query, (low, high, most))]

    def change(self, meta: RoomMeta, due_at: float) -> None:
        """The room has new metadata.

        Raises:
            NameTaken: another living room has the name; nothing is changed then.
        """
        row = (*_row(meta)[1:], name_key(meta.name), due_at, meta.room_id)
        columns = ", ".join(f"{column} = ?" for column in list(_COLUMNS)[1:])
        try:
            changed = self._execute(f"UPDATE rooms SET {columns} WHERE room_id = ?", row).rowcount
        except sqlite3.IntegrityError:
            raise NameTaken from None
        if changed:
            self._note_due(due_at)

    def remove(self, room_id: RoomId) -> None:
        """The room is no more."""
        self._execute("DELETE FROM rooms WHERE room_id = ?", (room_id,))
        self._is_soonest_known = False

    def set_due(self, room_id: RoomId, due_at: float) -> None:
        """When something next happens to the room by itself."""
        if self._execute("UPDATE rooms SET due_at = ? WHERE room_id = ?", (due_at, room_id)).rowcount:
            self._note_due(due_at)

    def due(self, now: float) -> list[RoomId]:
        """The rooms to which something happens by `now`, earliest first."""
        rows = self._execute("SELECT room_id FROM rooms WHERE due_at <= ? ORDER BY due_at", (now,))
        return [RoomId(room_id) for (room_id,) in rows]

    def next_due(self) -> float | None:
        """When something next happens to any room."""
        if not self._is_soonest_known:
            self._soonest = self._execute("SELECT min(due_at) FROM rooms").fetchone()[0]
            self._is_soonest_known = True
        return self._soonest

    def _note_due(self, due_at: float, *, is_new: bool = False) -> None:
        """A room is due then. One that was due at another time before may have been the first."""
        if self._soonest is None or due_at <= self._soonest:
            self._soonest = due_at
        elif not is_new:
            self._is_soonest_known = False

    def all(self) -> Iterator[RoomMeta]:
        """Every room, oldest first."""
        return self._select("ORDER BY created_at, room_id")

    def close(self) -> None:
        """Forgets everything."""
        self._close()

    def _select(self, clause: str, *values: Any) -> Iterator[RoomMeta]:
        for row in self._execute(f"{_SELECT} {clause}", values):
            fields = dict(zip(_FIELDS, row, strict=True))
            parts = {name: msgspec.json.decode(fields[name]) for name in _PARTS if fields[name] is not None}
            yield msgspec.convert(fields | parts, RoomMeta, strict=False)


def _row(meta: RoomMeta) -> tuple[Any, ...]:
    return tuple(
        msgspec.json.encode(value).decode() if name in _PARTS and value is not None else value
        for name, value in zip(_FIELDS, msgspec.structs.astuple(meta), strict=True)
    )
