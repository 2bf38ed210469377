"""What a client may say on its socket: one Struct a frame type, decoded and validated in one step."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from relayd.errors import ProtocolViolation
from relayd.wire.rest import Expiration, Max, Name, Setting
from relayd.wire.sealed_shapes import RekeyPart
from relayd.wire.sealing import Base64Of16

MAX_PROFILE_BYTES = 1024
MAX_SIGNAL_BYTES = 1024
MAX_DEPTH = 64  # of what is passed on unread: Python's own JSON readers give up near 1,000, some at 100

MessageId = Annotated[str, Meta(min_length=1, max_length=64)]
AnyUserId = Annotated[str, Meta(max_length=32)]  # a longer one is no user's
Fid = Base64Of16  # names a file
FileSize = Annotated[int, Meta(ge=0, lt=2**53)]  # 2^53: past it JavaScript's numbers skip some
ChunkBytes = Annotated[int, Meta(ge=1, lt=2**31)]
ChunkIndex = Annotated[int, Meta(ge=0, lt=2**53)]
Credential = str  # of any shape: one that is none fits no room, and is answered like one that does not fit


class Frame(msgspec.Struct, tag_field="type", forbid_unknown_fields=True):
    """Any frame of a client; `type` says which."""


class Since(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The last message a client has heard: of which epoch, and its `seq`."""

    epoch: Annotated[str, Meta(max_length=64)]
    seq: Annotated[int, Meta(ge=0, lt=2**53)]  # 2^53: past it JavaScript's numbers skip some


class Join(Frame, tag="join"):
    """The first frame: who wants in, by which right."""

    key: Credential = ""
    session: Credential = ""
    proof: Credential = ""
    profile: msgspec.Raw | UnsetType = UNSET
    since: Since | None = None


class FileOffer(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The part of a message that tells the server of the file which it offers; others hear of the body only.

    Attributes:
        fid: 16 random bytes.
        size: bytes of the file.
        chunk: bytes of each chunk but the final one.
    """

    fid: Fid
    size: FileSize
    chunk: ChunkBytes


class Message(Frame, tag="message"):
    """Say `body` to all, or to the user `to`; with `file`, offer a file by it."""

    id: MessageId
    body: msgspec.Raw
    to: AnyUserId | None = None
    file: FileOffer | None = None


class Accept(Frame, tag="accept"):
    """Receiver: send me that file's chunks from `from` on; I have room for those below `upto`."""

    fid: Fid
    upto: ChunkIndex
    from_: ChunkIndex = msgspec.field(name="from", default=0)
    id: MessageId | None = None


class Grant(Frame, tag="grant"):
    """Receiver: I have room for the chunks below `upto` now."""

    fid: Fid
    upto: ChunkIndex
    id: MessageId | None = None


class Serve(Frame, tag="serve"):
    """Sender: chunks of that file are to be asked of this connection from now on."""

    fid: Fid
    size: FileSize
    chunk: ChunkBytes
    to: AnyUserId | None = None
    id: MessageId | None = None


class Cancel(Frame, tag="cancel"):
    """Receiver: no more of that file. Sender: nobody gets more of it."""

    fid: Fid
    id: MessageId | None = None


class Done(Frame, tag="done"):
    """Receiver: I have all of that file, and it is what was offered, or not (`ok`)."""

    fid: Fid
    ok: bool
    id: MessageId | None = None


class Signal(Frame, tag="signal"):
    """Something of the moment: typing, read marks. Never kept."""

    kind: Annotated[str, Meta(min_length=1, max_length=64)]
    data: msgspec.Raw | UnsetType = UNSET
    to: AnyUserId | None = None


class Profile(Frame, tag="profile"):
    """Change what others see of this user."""

    profile: msgspec.Raw
    id: MessageId | None = None


class Kick(Frame, tag="kick"):
    """Owner, moderator: put a user out; with `ban`, for as long as the room lives."""

    id: MessageId
    user: AnyUserId
    ban: bool = False


class Mute(Frame, tag="mute"):
    """Owner, moderator: the user may listen only."""

    id: MessageId
    user: AnyUserId


class Unmute(Frame, tag="unmute"):
    """Owner, moderator: the user may speak again."""

    id: MessageId
    user: AnyUserId


class Admit(Frame, tag="admit"):
    """Owner, moderator: a newcomer who waits in the lobby may join."""

    id: MessageId
    user: AnyUserId


class Deny(Frame, tag="deny"):
    """Owner, moderator: a newcomer who waits may not join; with `ban`, nobody new may from that address."""

    id: MessageId
    user: AnyUserId
    ban: bool = False


class Promote(Frame, tag="promote"):
    """Owner: the user may keep order, as a moderator."""

    id: MessageId
    user: AnyUserId


class Demote(Frame, tag="demote"):
    """Owner: the user is a plain member again."""

    id: MessageId
    user: AnyUserId


class Remove(Frame, tag="remove"):
    """Owner, moderator: nobody is to show the message `seq` any more, and nobody is sent it who comes back."""

    id: MessageId
    seq: Annotated[int, Meta(ge=1, lt=2**53)]


class Edit(Frame, tag="edit"):
    """Owner: what PATCH does. Moderator: `locked` alone."""

    id: MessageId
    name: Name | UnsetType = UNSET
    max: Max | UnsetType = UNSET
    expiration_date: Expiration | UnsetType = UNSET
    locked: bool | UnsetType = UNSET
    settings: dict[str, Setting] | UnsetType = UNSET


class Close(Frame, tag="close"):
    """Owner: end the room."""

    id: MessageId


class Rekey(RekeyPart, frozen=True, kw_only=True, tag_field="type", tag="rekey", forbid_unknown_fields=True):
    """Owner: new keys for everyone but the user `kick`, who is put out."""

    id: MessageId


class Leave(Frame, tag="leave"):
    """Leave the room now, with all tabs, without grace."""


class Ping(Frame, tag="ping"):
    """Answered `pong`; browsers cannot send WebSocket pings of their own."""

    id: MessageId | None = None


FileCommand = Accept | Grant | Serve | Cancel | Done
ModerationCommand = Kick | Mute | Unmute | Admit | Deny | Promote | Demote | Remove | Edit | Close | Rekey
Command = Join | Message | Signal | Profile | ModerationCommand | Leave | Ping | FileCommand

_decode: Callable[[bytes], Command] = msgspec.json.Decoder(Command).decode


def decode(text: bytes) -> Command:
    """Reads one text frame (UTF-8, already checked).

    Raises:
        ProtocolViolation: saying what is wrong and where; it names fields, never their contents.
    """
    try:
        return _decode(text)
    except msgspec.ValidationError as wrong:
        raise ProtocolViolation(_reason(str(wrong))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise ProtocolViolation(f"not valid JSON: {str(wrong).removeprefix('JSON is malformed: ')}") from None
    except RecursionError:
        raise ProtocolViolation(f"nested deeper than {MAX_DEPTH} levels") from None


class _Named(msgspec.Struct):
    id: Any = None


_named = msgspec.json.Decoder(_Named).decode


def id_of(text: bytes) -> str | None:
    """The `id` of a frame that is wrong otherwise, so that its sender knows which one was refused."""
    try:
        message_id = _named(text).id
    except (msgspec.DecodeError, RecursionError):
        return None
    return message_id if isinstance(message_id, str) and 0 < len(message_id) <= 64 else None


def _reason(message: str) -> str:
    # "Invalid value 'x' - at `$.type`" and "Invalid enum value 'x' - at ..." are the messages that quote the peer.
    if message.startswith("Invalid value"):
        known = ", ".join(sorted(str(kind.__struct_config__.tag) for kind in Command.__args__))
        return f"unknown type; known are {known}"
    if message.startswith("Invalid enum value"):
        message = f"Invalid value - at {message.rpartition(' - at ')[2]}"
    return message.replace("`", "")


# Whole numbers from 10^308 on, the largest power of ten that a double holds: msgspec reads these as integers.
_LONG_INTEGER = re.compile(rb"(?<![0-9.eE])(?<![eE][+-])[0-9]{309,}+(?![.eE])")
_anything = msgspec.json.Decoder().decode
# To find fast what may be too large for a double: an exponent of three digits; or with one of two, which is 99 at
# most, more than 209 digits before the point (209 + 99 = 308).
_DIGITS_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")
_LARGE_EXPONENT, _MANY_DIGITS = b"e000", b"0" * 210


def check_depth(raw: bytes) -> None:
    """Refuses JSON whose nesting would harm a reader further on.

    Raises:
        ProtocolViolation: nested deeper than `MAX_DEPTH`.
    """
    # Nearly every body has fewer brackets than that, which settles it without another look.
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _is_deep(raw):
        raise ProtocolViolation(f"nested deeper than {MAX_DEPTH} levels")


# Not decoded for that: numbers are looked at elsewhere.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_ALIKE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def _is_deep(raw: bytes) -> bool:
    brackets = _STRINGS.sub(b"", raw).translate(_ALIKE, _NO_BRACKETS)
    # Each pass takes the innermost level away.
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def check_numbers(raw: bytes) -> None:
    """Refuses JSON with a number that no double can hold: some readers fail at it, and with it at all around it.

    Raises:
        ProtocolViolation: there is one (RFC 8259, section 6, on what is interoperable).
    """
    digits = raw.translate(_DIGITS_ALIKE, b"+")
    if _LARGE_EXPONENT in digits or _MANY_DIGITS in digits:
        if any(math.isinf(float(found)) for found in _LONG_INTEGER.findall(_STRINGS.sub(b"", raw))):
            raise ProtocolViolation("a number is larger than a double can hold")
        try:
            _anything(raw)
        except (msgspec.DecodeError, RecursionError) as wrong:
            raise ProtocolViolation("a number is larger than a double can hold") from wrong


def check_object(raw: bytes, limit: int, what: str) -> None:
    """Refuses what is no JSON object of at most `limit` bytes.

    Raises:
        ProtocolViolation: naming `what`.
    """
    if len(raw) > limit:
        raise ProtocolViolation(f"{what} has more than {limit} bytes")
    if raw[:1] != b"{":
        raise ProtocolViolation(f"{what} must be a JSON object")
    check_depth(raw)
    check_numbers(raw)
