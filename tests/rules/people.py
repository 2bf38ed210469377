"""Rooms and people made by hand, at any time on a clock that is only a number."""

from __future__ import annotations

import itertools
from typing import Any

from relayd.rooms.departed import DepartedSessions
from relayd.rooms.expiry import lifetime
from relayd.rooms.ledger import Ledger
from relayd.rooms.meta import RoomMeta
from relayd.rooms.room import Admission, Graces, Room, Ticket
from relayd.wire import ids
from relayd.wire.rest import RoomSettings

BORN = 1_800_000_000.0
GRACES = Graces(leave_s=30.0, join_s=600.0)
_numbers = itertools.count(1)


def fixed_bytes(count: int) -> bytes:
    """Unlike each other, and the same in each run."""
    return next(_numbers).to_bytes(count, "big")


def key(kind: str) -> ids.Credential:
    made = ids.parse_key(ids.new_key(kind, fixed_bytes))
    assert made is not None
    return made


class House:
    """A room with its two keys, and the hub's part in letting people in."""

    def __init__(
        self,
        expiration: float | str = "usersLeave",
        *,
        most: int = 50,
        connections: int = 8,
        ledger: Ledger | None = None,
        departed: DepartedSessions | None = None,
        **fields: Any,
    ):
        self.owner, self.invite = key(ids.OWNER), key(ids.INVITE)
        life = lifetime(expiration, BORN, BORN)
        values = {
            "room_id": ids.new_room_id(fixed_bytes),
            "name": "x",
            "owner_id": ids.new_user_id(fixed_bytes),
            "owner_digest": self.owner.digest,
            "invite_digest": self.invite.digest,
            "max_users": most,
            "users_leave": life.users_leave,
            "created_at": life.created_at,
            "ends_at": life.ends_at,
            "locked": False,
            "settings": RoomSettings(),
            "epoch": "e",
        }
        self.room = Room(RoomMeta(**{**values, **fields}), GRACES, connections, ledger, departed)

    def join(
        self,
        now: float,
        key: ids.Credential | None = None,
        session: ids.Credential | None = None,
        address: bytes = b"a",
        profile: bytes | None = None,
    ) -> tuple[Admission, ids.Credential]:
        """As the hub does it: who comes by no living session gets a fresh one."""
        ticket = Ticket(key, session, address)
        user_id, _ = self.room.identify(ticket, lambda: ids.new_user_id(fixed_bytes), now)
        admission = self.room.admit(user_id, ticket, profile, b"gateway", next(_numbers), now)
        if admission.by_session:
            assert session is not None
            return admission, session
        fresh = make_session()
        self.room.add_session(admission.member, fresh.digest)
        return admission, fresh

    def guest(self, now: float, **fields: Any) -> tuple[Admission, ids.Credential]:
        return self.join(now, self.invite, **fields)


def make_session() -> ids.Credential:
    return key(ids.SESSION)
