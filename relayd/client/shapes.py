"""What a server says, as a client reads it: REST answers and frames.

Unknown fields are passed over and missing ones have defaults, so that client and server may be of different
ages. What matters for sealing is checked where it is used: nothing here is believed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from relayd.client.errors import BadServer
from relayd.wire.events import Delivery
from relayd.wire.sealing import PublicAccess
from relayd.wire.sealing_text import Redacted, SealingError

T = TypeVar("T", bound=msgspec.Struct)


class RoomDetails(msgspec.Struct, frozen=True):
    """A room as the server describes it; docs/protocol.md has the fields. `access` is read by `read_access`."""

    name: str
    id: str
    owner_id: str = ""
    connections: int = 0
    users: int = 0
    max: int = 0
    data_volume: int = 0
    messages: int = 0
    date: str = ""
    time_alive: float = 0.0
    expiration: str = ""
    expiration_date: str = ""
    protected: bool = False
    sealed: bool = False
    access: Any = None
    locked: bool = False
    settings: dict[str, Any] = {}

    def __repr__(self) -> str:
        """Without `access`."""
        return f"RoomDetails(name={self.name!r})"


class UserShape(msgspec.Struct, frozen=True):
    """A user as the server describes one; the profile may be sealed."""

    id: str
    role: str = "member"
    profile: Any = None
    away: bool = False
    muted: bool = False


class Users(msgspec.Struct, frozen=True):
    """A page of users."""

    users: list[UserShape]


class CreatedRoom(Redacted, msgspec.Struct, frozen=True):
    """The answer to creating a room."""

    name: str
    id: str
    owner_id: str
    owner_key: str
    invite_key: str
    expiration: str = ""
    expiration_date: str = ""
    link: str = ""


class NewInvite(Redacted, msgspec.Struct, frozen=True):
    """The answer to asking for another invite key."""

    invite_key: str


class InviteShape(msgspec.Struct, frozen=True):
    """An invite in the owner's list.

    Attributes:
        id: names it.
        uses: how many newcomers it lets in; None for any number.
        uses_left: how many of these are left.
        expires: seconds for which it still lets somebody in; None if it ends with the room.
        label: the owner's words for it.
    """

    id: str
    uses: int | None = None
    uses_left: int | None = None
    expires: float | None = None
    label: str = ""


class InviteList(msgspec.Struct, frozen=True):
    """The answer to asking for all invites."""

    invites: list[InviteShape]


class NewLimitedInvite(Redacted, msgspec.Struct, frozen=True):
    """The answer to making an invite."""

    id: str
    invite_key: str


class YouShape(Redacted, msgspec.Struct, frozen=True):
    """Who the joiner is."""

    id: str
    session: str
    role: str = "member"


class Frame(Redacted, msgspec.Struct, tag_field="type"):
    """Any frame of a server that this client knows."""


class JoinedFrame(Frame, tag="joined"):
    """The answer to a join."""

    you: YouShape
    room: RoomDetails
    users: list[UserShape] = []
    epoch: str = ""
    seq: int = 0
    recovered: bool = False
    missed: int = 0
    rekey: Any = None


class WaitingFrame(Frame, tag="waiting"):
    """The answer to a join that somebody inside has to admit."""

    room: RoomDetails


class MessageFrame(Frame, tag="message"):
    """Something said; `seq` to all, `after` and `to` to one."""

    from_: str = msgspec.field(name="from")
    id: str
    body: Any = None
    at: int = 0
    seq: int | None = None
    after: int | None = None
    to: str | None = None


class SignalFrame(Frame, tag="signal"):
    """Something of the moment."""

    from_: str = msgspec.field(name="from")
    kind: str
    data: Any = None
    to: str | None = None


class PresenceFrame(Frame, tag="presence"):
    """Who came, went and changed."""

    joined: list[UserShape] = []
    left: list[str] = []
    changed: list[UserShape] = []
    users: int = 0


class RoomFrame(Frame, tag="room"):
    """Something about the room.

    `users` belongs to `knocking`, `message` and `by` to `removed`, `epoch` and what follows to `rekeyed`.
    """

    event: str
    room: RoomDetails | None = None
    in_: int | None = msgspec.field(name="in", default=None)
    text: str = ""
    retry_in_ms: int | None = None
    reason: str = ""
    users: list[UserShape] = []
    seq: int | None = None
    message: int | None = None
    by: str = ""
    epoch: Any = None
    check: Any = None
    box: Any = None


class OkFrame(Frame, tag="ok"):
    """Done; or said before, and where. With `invite_key` after a rekey that has renewed it."""

    id: str | None = None
    seq: int | None = None
    after: int | None = None
    invite_key: str | None = None


class ErrorFrame(Frame, tag="error"):
    """Not done."""

    code: str
    detail: str = ""
    id: str | None = None
    retry_after_ms: int | None = None
    fid: str | None = None


class FileFrame(Frame, tag="file"):
    """Something about a file that this client sends or receives; which fields matter hangs on `event`."""

    event: str
    fid: str
    stream: int = 0
    from_: int = msgspec.field(name="from", default=0)
    upto: int = 0
    user: str = ""
    ok: bool = False
    reason: str = ""
    deliveries: dict[str, Delivery] = {}


class PongFrame(Frame, tag="pong"):
    """The answer to `ping`."""

    id: str | None = None


AnyFrame = (
    JoinedFrame
    | WaitingFrame
    | MessageFrame
    | SignalFrame
    | PresenceFrame
    | RoomFrame
    | FileFrame
    | OkFrame
    | ErrorFrame
    | PongFrame
)

_decode: Final[Callable[[bytes], AnyFrame]] = msgspec.json.Decoder(AnyFrame).decode


def read_frame(payload: bytes) -> AnyFrame | None:
    """One text frame of a server; None for what this client doesn't know or cannot read."""
    try:
        return _decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class _Head(msgspec.Struct):
    """What may still be read of a frame whose contents cannot."""

    type: str = ""
    seq: int | None = None


class UnreadableFrame(msgspec.Struct, frozen=True):
    """A frame of a type that this client knows, and cannot read; `seq` is its place, if it has one."""

    seq: int | None


_decode_head: Final[Callable[[bytes], _Head]] = msgspec.json.Decoder(_Head).decode
_KNOWN: Final = {str(kind.__struct_config__.tag) for kind in AnyFrame.__args__}


def unreadable_frame(payload: bytes) -> UnreadableFrame | None:
    """What was lost with a frame that `read_frame` cannot read; None if it is only of a type of later versions."""
    try:
        head = _decode_head(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return UnreadableFrame(None)
    return UnreadableFrame(head.seq) if head.type in _KNOWN else None


def read_answer(body: bytes, kind: type[T]) -> T:
    """The body of a REST answer.

    Raises:
        BadServer: it has another form.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadServer("the server's answer is not that of a relay") from None


def read_access(details: RoomDetails) -> PublicAccess | None:
    """How a sealed room is to be got into; None if the server shows an open one.

    Raises:
        SealingError: the room is sealed in a way that this client doesn't know, or the server is wrong.
    """
    if details.access is None:
        if details.sealed or details.protected:
            raise SealingError("the server calls the room sealed, but does not say how")
        return None
    try:
        return msgspec.convert(details.access, PublicAccess)
    except msgspec.ValidationError:
        # Its text would name the field and the pattern, which tells a person nothing.
        raise SealingError("the server describes a kind of sealed room that this client does not know") from None
