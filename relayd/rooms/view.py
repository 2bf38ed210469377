"""A room and its people as others see them: over REST, in frames, and by admins."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from math import ceil

import msgspec

from relayd.rooms.invites import Invite
from relayd.rooms.member import Member
from relayd.rooms.meta import RoomMeta
from relayd.rooms.room import Room
from relayd.wire.ids import UserId, room_id_text
from relayd.wire.rest import USERS_LEAVE, Details, InviteShown, User, rfc3339


def details(room: Room, now: float, *, joined: bool = False) -> Details:
    """The room; `joined` adds what shows a joiner that the relay knows it."""
    meta = room.meta
    access = None if meta.seal is None else meta.seal.public(joined=joined)
    ends, latest = expiration(meta)
    return Details(
        name=meta.name,
        id=room_id_text(meta.room_id),
        owner_id=meta.owner_id,
        connections=room.connections,
        users=len(room.members),
        max=meta.max_users,
        data_volume=room.data_volume,
        messages=room.messages,
        date=rfc3339(meta.created_at),
        time_alive=round(max(0.0, now - meta.created_at), 3),
        expiration=ends,
        expiration_date=latest,
        protected=access is not None and access.password,
        sealed=access is not None,
        access=access,
        locked=meta.locked,
        settings=meta.settings,
    )


def expiration(meta: RoomMeta) -> tuple[str, str]:
    """When a room ends, `usersLeave` or a time, and when at the latest."""
    latest = rfc3339(meta.ends_at)
    return USERS_LEAVE if meta.users_leave else latest, latest


def invite(one: Invite, now: float) -> InviteShown:
    """An invite as the room's owner sees it."""
    expires = None if one.ends_at is None else ceil(one.ends_at - now)
    return InviteShown(one.id, one.uses, one.uses_left, expires, one.label)


def user(member: Member) -> User:
    """A user."""
    return User(
        id=member.user_id,
        role=member.role,
        profile=msgspec.Raw(member.profile),
        away=member.away,
        muted=member.muted,
    )


def newcomer(user_id: UserId, profile: bytes) -> User:
    """Somebody who waits to be admitted, as those see it who may do that."""
    return User(id=user_id, role="member", profile=msgspec.Raw(profile), away=False, muted=False)


def users(room: Room, after: str = "", most: int = 200) -> list[User]:
    """Up to `most` users in the order they came, those after the user `after`, or from the first.

    A user `after` who is not here any more makes it start from the first: a page may repeat, none is lost.
    """
    ids = list(room.members)
    start = ids.index(UserId(after)) + 1 if after in room.members else 0
    return [user(room.members[user_id]) for user_id in ids[start : start + most]]


def entry(member: Member) -> bytes:
    """A user as JSON text. Kept until it changes: every joiner is told of up to 200."""
    if member.entry is None:
        member.entry = msgspec.json.encode(user(member))
    return member.entry


def entries_of(member: Member, profiles: Iterable[bytes]) -> list[bytes]:
    """The user as JSON texts: once with each of these profiles, then with the present one."""
    return [*(entry_with(user(member), profile) for profile in profiles), entry(member)]


def entry_with(shown: User, profile: bytes) -> bytes:
    """A user as JSON text, with another profile."""
    return msgspec.json.encode(msgspec.structs.replace(shown, profile=msgspec.Raw(profile)))


def entries(room: Room, most: int) -> list[bytes]:
    """The first `most` users."""
    return [entry(member) for member in islice(room.members.values(), most)]
