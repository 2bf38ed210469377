"""What REST takes and gives: bodies of requests, answers, and what is said about times."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from relayd.wire.sealing import Access, PublicAccess

MAX_HOURS = 24.0
USERS_LEAVE = "usersLeave"

Name = Annotated[
    str,
    Meta(
        description="1 to 64 letters, digits, space and -_. ; unique among living rooms, ignoring case",
        extra_json_schema={"minLength": 1},  # said only: the rules of names say it better
    ),
]
Max = Annotated[int, Meta(ge=1, lt=2**31, description="Most users at once")]
Hours = Annotated[float, Meta(gt=0, le=MAX_HOURS, description="Hours the room lives, counted from its creation")]
Expiration = Hours | Literal["usersLeave"]
# What a setting may be, whichever it is; the hub knows them. 2^53: past it JavaScript's numbers skip some.
Setting = bool | Annotated[int, Meta(ge=-(2**53), le=2**53)] | float | str | None
Password = Annotated[
    str,
    Meta(
        description="For scripts: 1 to 1,024 bytes of UTF-8 (NFC). The server derives `access` from it and from a link "
        "secret, and forgets both. Joining takes the whole link. Not together with `access`",
        extra_json_schema={"minLength": 1, "maxLength": 1024},  # said only: what counts are bytes after NFC
    ),
]


Role = Literal["owner", "moderator", "member"]


class RoomSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The desired behaviour of one room.

    Attributes:
        files: whether files may be sent.
        max_file: bytes of the largest one.
        resume: seconds for which what is said is kept for members whose connection was lost; 0 keeps nothing.
        idle_timeout: seconds of silence after which an extra connection of a user is closed; 0 never.
        slow: seconds that a member waits between two messages; 0 for no wait.
        lobby: whether newcomers wait until somebody inside admits them.
    """

    files: bool = True
    max_file: Annotated[int, Meta(ge=0, le=2**40)] = 2**30
    resume: Annotated[int, Meta(ge=0, le=60)] = 60
    idle_timeout: Annotated[int, Meta(ge=0, le=86_400)] = 900
    slow: Annotated[int, Meta(ge=0, le=3_600)] = 0
    lobby: bool = False


class CreateRoom(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/room`."""

    name: Name | None = None
    max: Max | None = None
    expiration_date: Expiration = "usersLeave"
    password: Password | None = None
    access: Access | None = None
    settings: dict[str, Setting] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        """Without password and access."""
        return f"CreateRoom(name={self.name!r})"


class EditRoom(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `PATCH /api/v1/<room>`, and the fields of an `edit` frame: any of these."""

    name: Name | UnsetType = UNSET
    max: Max | UnsetType = UNSET
    expiration_date: Expiration | UnsetType = UNSET
    locked: bool | UnsetType = UNSET
    settings: dict[str, Setting] | UnsetType = UNSET


class Created(msgspec.Struct, frozen=True):
    """The answer to `POST /api/v1/room`."""

    name: str
    id: str
    expiration: str
    expiration_date: str
    owner_id: str
    owner_key: str
    invite_key: str
    chat: str = ""
    link: str = ""

    def __repr__(self) -> str:
        """Without the keys: a repr ends up in logs."""
        return f"Created(id={self.id!r})"


class Details(msgspec.Struct, frozen=True):
    """The answer to `GET /api/v1/<room>`, and `room` in frames. Counts are exact at the moment of asking."""

    name: str
    id: str
    owner_id: str
    connections: int
    users: int
    max: int
    data_volume: int
    messages: int
    date: str
    time_alive: float
    expiration: str
    expiration_date: str
    protected: bool
    sealed: bool
    access: PublicAccess | None
    locked: bool
    settings: RoomSettings


class User(msgspec.Struct, frozen=True):
    """A user as others see them."""

    id: str
    role: Role
    profile: msgspec.Raw
    away: bool
    muted: bool


class UserPage(msgspec.Struct, frozen=True):
    """The answer to `GET /api/v1/<room>/users`: the next 200 users, in the order they came."""

    users: list[User]


class Invite(msgspec.Struct, frozen=True):
    """The answer to `POST /api/v1/<room>/invite`."""

    invite_key: str

    def __repr__(self) -> str:
        """Without the key."""
        return "Invite()"


class CreateInvite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/<room>/invites`.

    Attributes:
        uses: how many newcomers it lets in; null for any number.
        expires: seconds for which it does so; null for as long as the room lives.
        label: what it is called in the list; members are not shown it.
    """

    uses: Annotated[int, Meta(ge=1, le=1_000)] | None = None
    expires: Annotated[int, Meta(ge=1, le=86_400)] | None = None
    label: Annotated[str, Meta(max_length=64)] = ""

    def __repr__(self) -> str:
        """Without the label."""
        return "CreateInvite()"


class InviteShown(msgspec.Struct, frozen=True):
    """An invite as its owner sees it in the list, without the key.

    Attributes:
        expires: seconds for which it still lets somebody in; null if it ends with the room.
    """

    id: str
    uses: int | None
    uses_left: int | None
    expires: int | None
    label: str


class InviteCreated(msgspec.Struct, frozen=True):
    """The answer to `POST /api/v1/<room>/invites`: the only time that the key is told.

    Attributes:
        link: in a sealed room without the secret, which clients append.
    """

    id: str
    invite_key: str
    link: str
    uses: int | None
    uses_left: int | None
    expires: int | None
    label: str

    def __repr__(self) -> str:
        """Without the key."""
        return f"InviteCreated(id={self.id!r})"


class InviteList(msgspec.Struct, frozen=True):
    """The answer to `GET /api/v1/<room>/invites`: those that still let somebody in, the oldest first."""

    invites: list[InviteShown]


def seconds_of(expiration: float | str) -> tuple[float, bool]:
    """How long a room may live.

    Returns:
        Seconds from creation to its end at the latest, and whether it ends when its users have left.

    Raises:
        ValueError: not a number of hours from 0 (excluded) to 24.
    """
    if expiration == USERS_LEAVE:
        return MAX_HOURS * 3600, True
    hours = float(expiration)
    if not (math.isfinite(hours) and 0 < hours <= MAX_HOURS):
        raise ValueError
    return hours * 3600, False


def rfc3339(when: float) -> str:
    """Seconds since 1970 as RFC 3339 UTC, to the millisecond."""
    text = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
