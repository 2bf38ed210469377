"""What the control API takes and gives, besides what REST does: docs/control.md explains each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relayd.errors import AmbiguousRoom
from relayd.wire.rest import Details, Role

MIN_PREFIX = 4  # hex digits of a room's id that may stand for it
MAX_DRAIN_S = 24 * 3600.0  # no room lives longer, so neither does a reason to wait
MAX_BLOCK_S = 366 * 24 * 3600.0  # longer than any process runs without a restart, which ends all blocks
_ID_DIGITS = 32

Text = Annotated[str, Meta(min_length=1, max_length=16_384)]


class Say(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/rooms/<room>/messages`."""

    text: Text

    def __repr__(self) -> str:
        """Without what is said."""
        return "Say()"


class Announce(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/announcements`: to one room, or to all."""

    text: Text
    room: str | None = None

    def __repr__(self) -> str:
        """Without what is said."""
        return "Announce()"


class Said(msgspec.Struct, frozen=True):
    """Where the message stands, and how many people are there to hear it."""

    room: str
    seq: int
    users: int


class Pass(msgspec.Struct, frozen=True):
    """A key to join a room with, once, within `valid` seconds."""

    room: str
    key: str
    valid: float

    def __repr__(self) -> str:
        """Without the key."""
        return "Pass()"


class Announced(msgspec.Struct, frozen=True):
    """How many rooms, and how many people in them, were told."""

    rooms: int
    users: int


class Stop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/stop`. `forget`: end the rooms, also where the next start would restore them."""

    forget: bool = False


class Drain(Stop, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/drain`. `over`: seconds over which clients are sent away."""

    over: Annotated[float, Meta(ge=0, le=MAX_DRAIN_S)] = 0.0


class Draining(msgspec.Struct, frozen=True):
    """The daemon ends.

    Attributes:
        over: seconds it takes at the latest.
        connections, rooms: how many there are.
        kept: whether the service manager starts the daemon again, with these rooms.
    """

    over: float
    connections: int
    rooms: int
    kept: bool


class Upgraded(msgspec.Struct, frozen=True):
    """The answer to `POST /v1/upgrade`: who goes on."""

    version: str
    pid: int


class Change(msgspec.Struct, frozen=True):
    """One setting that differs from what held before. If not `applied`, it needs a restart."""

    setting: str
    before: Any
    after: Any
    applied: bool


class SetSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `PATCH /v1/settings`: the one setting that is changed without the file, to look into something."""

    log_level: Literal["debug", "info", "warning", "error"]


class Reloaded(msgspec.Struct, frozen=True):
    """What a reload has changed."""

    changes: list[Change]


class Probe(msgspec.Struct, frozen=True):
    """The answer to `POST /v1/probe`: good for a minute, as `Authorization: Bearer` at `/healthz`."""

    token: str


class BlockAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"for_s": "for"}):
    """The body of `POST /v1/blocks`.

    Attributes:
        target: an address, a network or a handle.
        for_s: seconds; None until it is unblocked.
    """

    target: Annotated[str, Meta(min_length=1, max_length=200)]
    for_s: Annotated[float, Meta(gt=0, le=MAX_BLOCK_S)] | None = None


class BlockRow(msgspec.Struct, frozen=True):
    """Something that is blocked; times are RFC 3339, `until` is None without an end."""

    target: str
    since: str
    until: str | None


class Frozen(msgspec.Struct, frozen=True):
    """Whether strangers can create no rooms, and since when."""

    frozen: bool
    since: str | None


class LimitUse(msgspec.Struct, frozen=True):
    """A setting under `limits`.

    Attributes:
        limit: its dotted path.
        value: 0 means no limit.
        used: how much of it is used, or used by the one that uses most; None if that is not counted.
        by: who uses so much: `server`, `room`, `gateway`, or an address or handle; "" if nothing is counted.
    """

    limit: str
    value: float
    used: float | None
    by: str


class RefusedRow(msgspec.Struct, frozen=True):
    """Refusals since the start: what was refused, and the code of the error."""

    refused: str
    reason: str
    count: int


class AddressRow(msgspec.Struct, frozen=True):
    """What one address has and does; see docs/control.md.

    Attributes:
        address: its handle, or the address where `log_addresses` is set.
        rooms, seats: of rooms made from it.
        users, connections: people and their connections in rooms.
        refused: refusals of the last 5 to 10 minutes.
    """

    address: str
    rooms: int
    seats: int
    users: int
    connections: int
    refused: int


class LimitsReport(msgspec.Struct, frozen=True):
    """The answer to `GET /v1/limits`. `addresses` are those that have or do most, at most 20."""

    limits: list[LimitUse]
    refused: list[RefusedRow]
    addresses: list[AddressRow]
    blocks: int
    frozen: bool


class Ban(msgspec.Struct, frozen=True):
    """A ban in a room: of an address, which is shown by its handle or as itself, or of a session."""

    kind: Literal["address", "session"]
    who: str


class Bans(msgspec.Struct, frozen=True):
    """The answer to `GET /v1/rooms/<room>/bans`, the oldest first."""

    room: str
    bans: list[Ban]


class User(msgspec.Struct, frozen=True):
    """A user as admins see them: with the address last seen, or its handle."""

    id: str
    role: Role
    profile: msgspec.Raw
    away: bool
    muted: bool
    address: str


class UserPage(msgspec.Struct, frozen=True):
    """The next 200 users, in the order they came."""

    users: list[User]


class RoomRow(msgspec.Struct, frozen=True):
    """A room in a listing.

    Attributes:
        message_rate: messages a second, lately.
        created_by: the address that made it, by its handle or itself; `admin` for an admin.
    """

    name: str
    id: str
    users: int
    max: int
    connections: int
    messages: int
    message_rate: float
    data_volume: int
    date: str
    time_alive: float
    expiration: str
    expiration_date: str
    locked: bool
    protected: bool
    sealed: bool
    created_by: str


class GatewayStatus(msgspec.Struct, frozen=True):
    """What one gateway said of itself a second ago at most."""

    connections: int
    deliveries: int
    waiting_bytes: int
    slow_closed: int
    lag: float


class Status(msgspec.Struct, frozen=True):
    """The answer to `GET /v1/status`. Sizes are bytes, times seconds; counts are since the start.

    `settings_problems` says what is wrong with the settings that were read last, one line each; earlier ones hold then.
    `keeps_rooms` says whether systemd was given the rooms to keep for the next start, `frozen` whether strangers can
    create no rooms.
    """

    version: str
    state: str  # running, or draining
    pid: int
    started: str
    uptime: float
    addresses: list[str]
    rooms: int
    rooms_created: int
    places: int
    users: int
    connections: int
    messages: int
    bytes: int
    deliveries: int
    memory: int
    workers: int
    gateways: list[GatewayStatus]
    settings_problems: list[str]
    keeps_rooms: bool
    frozen: bool
    blocks: int
    unreadable_headers: dict[str, int]


def row_of(details: Details, message_rate: float, created_by: str) -> RoomRow:
    """The room as a listing shows it."""
    values = {name: getattr(details, name) for name in RoomRow.__struct_fields__ if hasattr(details, name)}
    return RoomRow(**values, message_rate=round(message_rate, 3), created_by=created_by)


def prefix_bounds(text: str) -> tuple[bytes, bytes] | None:
    """The lowest and highest room id that begin with `text`; None if it cannot be such a beginning."""
    digits = text.lower().replace("-", "")
    if not MIN_PREFIX <= len(digits) <= _ID_DIGITS or not set(digits) <= set("0123456789abcdef"):
        return None
    return bytes.fromhex(digits.ljust(_ID_DIGITS, "0")), bytes.fromhex(digits.ljust(_ID_DIGITS, "f"))


def ambiguous(prefix: str, found: list[str]) -> AmbiguousRoom:
    """The error that names some of those it could be."""
    return AmbiguousRoom(f"Several rooms' ids begin with {prefix}: {', '.join(found)}; give more digits")
