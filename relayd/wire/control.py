"""What the control API takes and gives, besides what REST does: docs/control.md explains each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relayd.errors import AmbiguousRoom
from relayd.wire.rest import Details

MIN_PREFIX = 4  # hex digits of a room's id that may stand for it
MAX_DRAIN_S = 24 * 3600.0  # no room lives longer, so neither does a reason to wait
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


class RoomRow(msgspec.Struct, frozen=True):
    """A room in a listing. `message_rate` is messages a second, lately."""

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
    `keeps_rooms` says whether systemd was given the rooms to keep for the next start.
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
    unreadable_headers: dict[str, int]


def row_of(details: Details, message_rate: float) -> RoomRow:
    """The room as a listing shows it."""
    values = {name: getattr(details, name) for name in RoomRow.__struct_fields__ if name != "message_rate"}
    return RoomRow(**values, message_rate=round(message_rate, 3))


def prefix_bounds(text: str) -> tuple[bytes, bytes] | None:
    """The lowest and highest room id that begin with `text`; None if it cannot be such a beginning."""
    digits = text.lower().replace("-", "")
    if not MIN_PREFIX <= len(digits) <= _ID_DIGITS or not set(digits) <= set("0123456789abcdef"):
        return None
    return bytes.fromhex(digits.ljust(_ID_DIGITS, "0")), bytes.fromhex(digits.ljust(_ID_DIGITS, "f"))


def ambiguous(prefix: str, found: list[str]) -> AmbiguousRoom:
    """The error that names some of those it could be."""
    return AmbiguousRoom(f"Several rooms' ids begin with {prefix}: {', '.join(found)}; give more digits")
