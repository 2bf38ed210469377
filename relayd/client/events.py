"""What a room tells its member: one class a kind of event, to be told apart by `isinstance` or `match`.

Texts come from other people and, where a class says so, from the server: they hold whatever those like, control
characters included.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from relayd.client.files.names import safe_name
from relayd.client.seal.files import FileOffer
from relayd.client.shapes import RoomDetails
from relayd.client.users import User
from relayd.wire.sealing_text import Redacted, encode_base64url


class Message(Redacted, msgspec.Struct, frozen=True, kw_only=True):
    """Something was said.

    Attributes:
        user: who said it, as known now.
        id: the message's, drawn by its author.
        body: what it says, any JSON; docs/client.md lists the kinds.
        t_ms: when, in ms since 1970 UTC: by the author's clock in a sealed room, else by the server's.
        to: the user id a direct one is for, None for one to all.
        seq: its place in the room's order; None for a direct one.
        mine: said by this user, here or in another tab.
        by: the author's card key in a sealed room (replies and the like name it with `id`), else b"".
        epoch: in which it was sealed; 0 in an open room.
        replayed: sealed long before this client joined: somebody plays back what was said to others.
    """

    user: User
    id: str
    body: Any
    t_ms: int
    to: str | None = None
    seq: int | None = None
    mine: bool = False
    by: bytes = b""
    epoch: int = 0
    replayed: bool = False

    @property
    def author(self) -> str:
        """Who said it, as references name them: by key in a sealed room, because only that is proved."""
        return encode_base64url(self.by) if self.by else self.user.id

    @property
    def ref(self) -> dict[str, str]:
        """What names this message in a reply, reaction, edit or deletion (`re`)."""
        return {"by" if self.by else "from": self.author, "id": self.id}

    @property
    def text(self) -> str:
        """What a text message says; "" for any other kind."""
        body = self.body
        if isinstance(body, dict) and body.get("kind", "text") == "text":
            text = body.get("text")
            return text if isinstance(text, str) else ""
        return body if isinstance(body, str) else ""


class FileOffered(Redacted, msgspec.Struct, frozen=True, kw_only=True):
    """Somebody offers a file: `Room.accept` receives it.

    Attributes:
        message: that which offers it.
        file: what it says of the file; the name in it is whatever its sender likes.
    """

    message: Message
    file: FileOffer

    @property
    def user(self) -> User:
        """Who offers it."""
        return self.message.user

    @property
    def mine(self) -> bool:
        """Whether this user does, here or in another tab."""
        return self.message.mine

    @property
    def name(self) -> str:
        """What it would be called here: a name without a path, safe to be created."""
        return safe_name(self.file.name)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.file.size


class Unreadable(msgspec.Struct, frozen=True):
    """Something came from that user that could not be opened or believed; nothing of it is shown."""

    user: User
    reason: str


class Signal(Redacted, msgspec.Struct, frozen=True):
    """Something of the moment: `typing` with true or false as data, or what clients agree on."""

    user: User
    kind: str
    data: Any


class UserJoined(msgspec.Struct, frozen=True):
    """Somebody came."""

    user: User


class UserLeft(msgspec.Struct, frozen=True):
    """Somebody is gone, with their place."""

    user: User


class UserChanged(msgspec.Struct, frozen=True):
    """Somebody has another nick or key, lost the connection or came back, was muted or not any more."""

    before: User
    user: User


class Knocking(msgspec.Struct, frozen=True):
    """Who waits in the lobby has changed, and is these now. Only those who may admit are told."""

    users: list[User]


class RoomUpdated(msgspec.Struct, frozen=True):
    """The owner has edited the room."""

    room: RoomDetails


class RoomExpiring(msgspec.Struct, frozen=True):
    """The room ends in so many seconds."""

    seconds: int


class Announcement(msgspec.Struct, frozen=True):
    """What the server's admin has to say: it is from the server, and sealed by nobody."""

    text: str


class MessageRemoved(msgspec.Struct, frozen=True):
    """A message to all was removed: it is not to be shown any more.

    Attributes:
        seq: its place in the room's order; it may never have come here.
        by: the owner or moderator who has removed it.
    """

    seq: int
    by: User


class Rekeyed(Redacted, msgspec.Struct, frozen=True):
    """The room has new keys, since somebody was thrown out: the old link is dead.

    `link` is the new one for the owner's client that made the keys, "" for everyone else.
    """

    epoch: int
    link: str


class RekeyRefused(msgspec.Struct, frozen=True):
    """The server told of new keys that the room's owner did not make for this user: they are not used."""

    reason: str


class Missed(msgspec.Struct, frozen=True):
    """So many messages, or other frames, were sent to this client and did not come, or cannot be read by it."""

    count: int


class UsersUnconfirmed(msgspec.Struct, frozen=True):
    """The clients of these users have not confirmed the room's new keys, by a card that is sealed with them.

    Either they are slow, or the server has not passed on the new keys to them: then what these users send can still be
    read with the old keys. `Room.unconfirmed` is the present list.
    """

    users: list[User]


class OwnerUnconfirmed(msgspec.Struct, frozen=True):
    """The owner is shown as connected, and has not confirmed the present keys for so many minutes.

    Either the owner's client cannot do it (an older version, no signing key, a page that sleeps), or the server
    withholds confirmations, and perhaps new keys: then what is sent here can be read by somebody thrown out.
    """

    minutes: int


class KeysConfirmed(msgspec.Struct, frozen=True):
    """The owner has confirmed the present keys, after `OwnerUnconfirmed`."""


class NewKeysMissed(msgspec.Struct, frozen=True):
    """Something came that was sealed with newer keys than this client has: they did not reach it."""


class Disconnected(msgspec.Struct, frozen=True):
    """The connection is lost; the client tries again by itself in so many seconds."""

    reason: str
    retry_in_s: float


class Reconnected(msgspec.Struct, frozen=True):
    """The client is back. What was said meanwhile follows; `missed` messages are lost for good.

    `recovered` is False also where the number cannot be known: the server was started anew.
    """

    recovered: bool
    missed: int


Event: TypeAlias = (
    Message
    | FileOffered
    | Unreadable
    | Signal
    | UserJoined
    | UserLeft
    | UserChanged
    | Knocking
    | RoomUpdated
    | RoomExpiring
    | Announcement
    | MessageRemoved
    | Rekeyed
    | RekeyRefused
    | Missed
    | UsersUnconfirmed
    | OwnerUnconfirmed
    | KeysConfirmed
    | NewKeysMissed
    | Disconnected
    | Reconnected
)
