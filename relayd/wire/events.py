"""What the server says on a socket: each function makes the payload of one text frame.

`message` is written by hand, because it is written once for every message of every room; the others are Structs.
What clients gave (`body`, `profile`) goes through unread, as the JSON text it came as.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from relayd.errors import RelayError
from relayd.wire.ids import UserId
from relayd.wire.rest import Details, User

_encode = msgspec.json.encode


class Event(msgspec.Struct, tag_field="type"):
    """Any frame of the server but `message`; `type` says which."""


class You(msgspec.Struct, frozen=True):
    """Who the joiner is."""

    id: str
    session: str
    role: str


class Rekey(msgspec.Struct, frozen=True):
    """How the present epoch of a sealed room began, for a user who has not heard it."""

    seq: int
    epoch: int
    check: str
    box: str


class Joined(Event, tag="joined"):
    """The answer to a join: everything to start from."""

    you: You
    room: Details
    users: list[Raw]
    epoch: str
    seq: int
    recovered: bool
    missed: int
    rekey: Rekey | UnsetType = UNSET


class Waiting(Event, tag="waiting"):
    """The answer to a join that somebody inside has to admit; `joined`, or a close code, follows."""

    room: Details


class SignalEvent(Event, tag="signal"):
    """A signal as others hear it."""

    from_: str = msgspec.field(name="from")
    kind: str
    data: Raw
    to: str | UnsetType = UNSET


class Presence(Event, tag="presence"):
    """Who came, went and changed in the last moment, and how many are here now."""

    joined: list[Raw]
    left: list[str]
    changed: list[Raw]
    users: int


class RoomEvent(Event, tag="room", omit_defaults=True):
    """Something about the room as a whole."""

    event: str
    room: Details | None = None
    in_: int | None = msgspec.field(name="in", default=None)
    text: str | None = None
    retry_in_ms: int | None = None
    reason: str | None = None
    users: list[User] | None = None


class Delivery(StrEnum):
    """How far a file has come with one user."""

    ACCEPTED = "accepted"
    RECEIVED = "received"
    DAMAGED = "damaged"  # what arrived was not what was offered
    CANCELLED = "cancelled"
    LEFT = "left"  # gone from the room without having it all: what a client concludes, and no server says


class FileEvent(Event, tag="file"):
    """Something about a file that this connection serves or receives; `event` says what.

    Attributes:
        stream, from_, upto: `send`: those chunks, but not `upto` itself, are to be sent in that stream.
        user: who accepted it, gave up, or has it.
        ok: whether what that user has is what was offered.
        reason: why no more of it will come.
        deliveries: user id -> how far it has come with them, for a connection that serves it from now on.
    """

    event: str
    fid: str
    stream: int | UnsetType = UNSET
    from_: int | UnsetType = msgspec.field(name="from", default=UNSET)
    upto: int | UnsetType = UNSET
    user: str | UnsetType = UNSET
    ok: bool | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    deliveries: dict[UserId, Delivery] | UnsetType = UNSET


class Ok(Event, tag="ok", omit_defaults=True):
    """A command was done, and what is to be known of it; or a message was said before, and this is where it stands.

    Attributes:
        invite_key: the new one, after a `rekey` with `renew_invite`.
    """

    id: str | None = None
    seq: int | None = None
    after: int | None = None
    detail: str | None = None
    invite_key: str | None = None


class Error(Event, tag="error", omit_defaults=True):
    """A command was not done."""

    code: str
    detail: str
    id: str | None = None
    retry_after_ms: int | None = None
    fid: str | None = None


class Pong(Event, tag="pong", omit_defaults=True):
    """The answer to `ping`."""

    id: str | None = None


def encode(event: Any) -> bytes:
    """Any Struct of this module as JSON."""
    return _encode(event)


def refusal(error: RelayError, command_id: str | None = None, fid: str | None = None) -> Error:
    """An error as its frame."""
    retry_after_ms = None if error.retry_after_s is None else int(error.retry_after_s * 1000) + 1
    return Error(error.code, error.detail, command_id, retry_after_ms, fid)


MESSAGE_START = b'{"type":"message",'  # of `message` and `direct_message`, and of nothing else


def message(seq: int, at_ms: int, sender: str, message_id: str, body: bytes) -> bytes:
    """A message to all: its place in the room's order, and its body as it came."""
    return b'{"type":"message","seq":%d,"at":%d,"from":"%b","id":%b,"body":%b}' % (
        seq,
        at_ms,
        sender.encode(),
        _encode(message_id),
        body,
    )


def direct_message(after: int, at_ms: int, sender: str, to: str, message_id: str, body: bytes) -> bytes:
    """A message to one: no place of its own, but the `seq` it came after."""
    return b'{"type":"message","after":%d,"at":%d,"from":"%b","to":"%b","id":%b,"body":%b}' % (
        after,
        at_ms,
        sender.encode(),
        to.encode(),
        _encode(message_id),
        body,
    )


def removed(seq: int, message_seq: int, by: str) -> bytes:
    """A message was removed by the user `by`: the event's own place in the order, and that of the message."""
    return b'{"type":"room","event":"removed","seq":%d,"message":%d,"by":"%b"}' % (seq, message_seq, by.encode())


def rekeyed(seq: int, epoch: int, check: str, box: str | None) -> bytes:
    """A new epoch of a sealed room, at its place in the order, as the user hears it whom the box is for."""
    own = b',"box":"%b"' % box.encode() if box is not None else b""
    return b'{"type":"room","event":"rekeyed","seq":%d,"epoch":%d,"check":"%b"%b}' % (seq, epoch, check.encode(), own)
