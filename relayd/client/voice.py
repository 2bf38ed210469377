"""How what is said travels: plain in an open room (here), sealed in a sealed one (`sealed_voice`)."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import msgspec

from relayd.client.events import Message
from relayd.client.seal.files import Digest, FileOffer, OpenReceiver, OpenSender
from relayd.client.shapes import JoinedFrame, MessageFrame, RoomDetails, RoomFrame, SignalFrame, UserShape, read_access
from relayd.client.users import User
from relayd.wire.sealing_text import SealingError


class Outgoing(NamedTuple):
    """A message as its author has it, before it is given a form for the wire."""

    id: str
    body: Any
    to: str | None
    t_ms: int
    file: dict[str, Any] | None = None  # what the server must know of the file that it offers


class SendingPass(Protocol):
    """One pass over a file that is sent."""

    pass_id: bytes
    index: int

    def seal(self, data: bytes) -> bytes:
        """The next chunk as it travels. Raises FileError."""


class ReceivingPass(Protocol):
    """One pass over a file that is received."""

    pass_id: bytes
    index: int

    @property
    def complete(self) -> bool:
        """Whether all of the file has come, and is what was offered."""

    def open(self, data: bytes, /) -> bytes:
        """The next chunk as it is in the file. Raises FileError."""


class Voice(Protocol):
    """The two directions of one room. It lives as long as the room does for this client, over reconnects."""

    @property
    def sealed(self) -> bool:
        """Whether users are known by their cards only, which may come a moment after them."""

    @property
    def epoch(self) -> int:
        """That in which things are said now; 0 in an open room."""

    def join_profile(self, nick: str) -> Any:
        """The profile to join with; None where it may be said only after the server has shown what it knows."""

    def proof(self) -> str:
        """What goes into `join.proof`; "" for nothing."""

    def knock(self, room: RoomDetails, nick: str) -> Any:
        """Takes the answer to a join that somebody inside has to admit.

        Returns:
            The profile to be shown to those who may; None where it was in the join.

        Raises:
            SealingError: the server offers something else than the link promised: leave.
        """

    def welcome(self, joined: JoinedFrame, now_ms: int, *, has_waited: bool = False) -> None:
        """Takes the answer to a join, before anything else is done on the new connection.

        Args:
            joined: the answer.
            now_ms: the time.
            has_waited: `knock` was called for this connection.

        Raises:
            SealingError: the server offers something else than the link promised: leave.
        """

    def profile(self, nick: str) -> Any:
        """The profile of this user."""

    def message(self, said: Outgoing) -> Any:
        """The body of a `message` frame; every call makes a new one."""

    def signal(self, kind: str, data: Any) -> tuple[str, Any]:
        """Kind and data of a `signal` frame."""

    def read_user(self, shape: UserShape, place: int) -> User:
        """A user as the server tells them; never fails: what cannot be believed is left out."""

    def read_newcomer(self, shape: UserShape, place: int) -> User:
        """The same for somebody who waits to be admitted."""

    def read_message(self, frame: MessageFrame, place: int, user: User) -> Message:
        """A message, ready to be shown.

        Raises:
            NotOpened: it is to be shown as something that did not open (`UnknownSender`: not yet).
            Dropped: it is not to be shown at all.
        """

    def read_signal(self, frame: SignalFrame, place: int) -> tuple[str, Any] | None:
        """Kind and data of a signal; None if it is for this client alone. Raises: as `read_message`."""

    def sending_pass(self, offer: FileOffer, epoch: int, first: int) -> SendingPass:
        """A pass over a file that this client sends, offered in that epoch, from chunk `first` on."""

    def receiving_pass(self, offer: FileOffer, epoch: int, pass_id: bytes, first: int, digest: Digest) -> ReceivingPass:
        """A pass over a file that this client receives; `digest` is the SHA-256 of all before `first`."""

    def take_rekey(self, frame: RoomFrame) -> bool:
        """Goes on to new keys; False if they are in use already.

        Raises:
            RekeyError: they are not the owner's work, or not for this user.
        """


class OpenVoice:
    """An open room: everything is said as it is, and the server reads along."""

    def __init__(self) -> None:
        self._me = ""

    sealed = False
    epoch = 0

    def join_profile(self, nick: str) -> Any:
        """The nick alone."""
        return self.profile(nick)

    def proof(self) -> str:
        """None is needed."""
        return ""

    def knock(self, room: RoomDetails, nick: str) -> Any:
        """The join has shown the nick."""
        _check_open(room)

    def welcome(self, joined: JoinedFrame, now_ms: int, *, has_waited: bool = False) -> None:
        """An open room must not have become a sealed one: it cannot."""
        _check_open(joined.room)
        self._me = joined.you.id

    def profile(self, nick: str) -> Any:
        """The nick alone."""
        return {"nick": nick}

    def message(self, said: Outgoing) -> Any:
        """As it is."""
        return said.body

    def signal(self, kind: str, data: Any) -> tuple[str, Any]:
        """As it is."""
        return kind, data

    def read_user(self, shape: UserShape, place: int) -> User:
        """The profile is what the user says."""
        profile = shape.profile if isinstance(shape.profile, dict) else {}
        nick = profile.get("nick")
        return User(
            id=shape.id,
            nick=nick if isinstance(nick, str) else "",
            role=shape.role,
            away=shape.away,
            muted=shape.muted,
            profile=profile,
        )

    def read_newcomer(self, shape: UserShape, place: int) -> User:
        """The profile is what the user says."""
        return self.read_user(shape, place)

    def read_message(self, frame: MessageFrame, place: int, user: User) -> Message:
        """Believed as the server tells it."""
        mine = frame.from_ == self._me
        return Message(user=user, id=frame.id, body=frame.body, t_ms=frame.at, to=frame.to, seq=frame.seq, mine=mine)

    def read_signal(self, frame: SignalFrame, place: int) -> tuple[str, Any]:
        """Believed as the server tells it."""
        return frame.kind, frame.data

    def sending_pass(self, offer: FileOffer, epoch: int, first: int) -> OpenSender:
        """As it is."""
        return OpenSender(offer, first=first)

    def receiving_pass(self, offer: FileOffer, epoch: int, pass_id: bytes, first: int, digest: Digest) -> OpenReceiver:
        """As it is."""
        return OpenReceiver(offer, pass_id=pass_id, first=first, digest=digest)

    def take_rekey(self, frame: RoomFrame) -> bool:
        """There is nothing to rekey."""
        return False


def _check_open(room: RoomDetails) -> None:
    if read_access(room) is not None:
        raise SealingError("the server has shown an open room, and now shows a sealed one")


def with_presence(user: User, shape: UserShape) -> User:
    """The same user with what only the server knows: role, away, muted."""
    return msgspec.structs.replace(user, role=shape.role, away=shape.away, muted=shape.muted)
