"""Opening what a room says, and not believing what was replayed, reflected or put under another name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from relayd.client.seal.bodies import BodyType, Slot, decode_json, open_at, unpad
from relayd.client.seal.hpke import open_box
from relayd.client.seal.keys import RoomKeys, UserKey
from relayd.client.seal.sealer import Sealer, direct_info
from relayd.client.sealing_errors import (
    NotOpened,
    NotSealed,
    Reflected,
    Replayed,
    SaidBefore,
    UnknownSender,
    WrongSender,
)
from relayd.wire.sealed_shapes import SealedBody, read_sealed
from relayd.wire.sealing import KEY_BYTES, SID_BYTES, Base64Of32, EpochKeys
from relayd.wire.sealing_text import Redacted, SealingError, decode_base64url

# What says it is from so long before one's own join was said to someone else, and kept.
REPLAY_MS: Final = 120_000

# A pair belongs to a session, and a server remembers 16 sessions of a user (docs/protocol.md).
_KEYS_A_USER: Final = 16


class _Said(msgspec.Struct):
    id: str
    by: Base64Of32
    t: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    body: Any


class _CardText(msgspec.Struct):
    nick: str
    hpke: Base64Of32


class _DirectText(msgspec.Struct):
    to: Base64Of32
    box: str
    own: str


class _SignalText(msgspec.Struct):
    kind: str
    data: Any = None


class Heard(NamedTuple):
    """A `message` frame, as the server tells it; nothing of it is believed by itself.

    Attributes:
        sender: `from`, a user id.
        id: the frame's.
        body: the frame's, decoded JSON.
        place: its `seq`, or `after` of a direct one.
        to: a direct one's `to`, a user id; None otherwise.
    """

    sender: str
    id: str
    body: object
    place: int
    to: str | None = None


class Message(Redacted, msgspec.Struct, frozen=True, kw_only=True):
    """A message that was opened and may be shown.

    Attributes:
        sender: the user id of who said it.
        by: the author's card key, 32 bytes; replies, edits and the like name (`by`, `id`).
        id: the message's.
        t_ms: when its author says it was said, ms since 1970 UTC.
        body: what it says, decoded JSON.
        epoch: in which it was sealed.
        to: the user id a direct one is for, None otherwise.
        replayed: True if it says it is from 2 min or more before one's own join: to be shown as a replay.
    """

    sender: str
    by: bytes
    id: str
    t_ms: int
    body: Any
    epoch: int
    to: str | None
    replayed: bool


class Card(Redacted, msgspec.Struct, frozen=True):
    """Who a user says to be.

    Attributes:
        nick: the name to show.
        hpke: the user's X25519 public key, 32 bytes.
        new_key: True if the user was known by other keys only; rightly so for an owner on another device.
        epoch: in which it was sealed.
    """

    nick: str
    hpke: bytes
    new_key: bool
    epoch: int


class Signal(Redacted, msgspec.Struct, frozen=True):
    """A signal that was opened.

    Attributes:
        kind: its real one.
        data: any JSON.
        keys: those that opened it.
        slot: where it was sealed.
    """

    kind: str
    data: Any
    keys: EpochKeys
    slot: Slot


class Opener(Redacted):
    """Opens what others say in one room. It lives as long as the page or process, over reconnects and rekeys.

    Every method raises one of two kinds of error: `NotOpened`, to be shown as something that did not open, or
    `Dropped`, not to be shown at all. The server is told of neither.
    """

    def __init__(self, keys: RoomKeys, user: UserKey, me: str, joined_ms: int) -> None:
        """Starts knowing nobody but oneself.

        Args:
            keys: the room's, confirmed before anything is opened.
            user: this user's own pair.
            me: this user's id, from `joined.you`.
            joined_ms: when this user first joined, ms since 1970 UTC on this client's clock.
        """
        self._room = keys
        self._user = user
        self._me = me
        self._joined_ms = joined_ms
        self._sealers: dict[bytes, Sealer] = {}  # own sid -> its sealer, for every socket of this process
        self._keys: dict[str, list[bytes]] = {me: [user.public]}  # user id -> card keys, the present one last
        self._key_user: dict[bytes, str] = {user.public: me}  # card key -> the first user id that showed it
        self._sid_user: dict[bytes, str] = {}  # sid -> the first user id that used it
        self._last: dict[tuple[str, bytes, BodyType], int] = {}  # user id, sid, type -> n of what came last
        # Every (author's key, id) seen. Not bounded: a room lives 24 h at most.
        self._said: set[tuple[bytes, str]] = set()

    def add_sealer(self, sealer: Sealer) -> None:
        """Makes the sealer of a new socket known, before anything is sent with it."""
        self._sealers[sealer.sid] = sealer

    def card_keys(self) -> Mapping[str, bytes]:
        """The present card key of every user who was ever seen, oneself included."""
        return {user: keys[-1] for user, keys in self._keys.items()}

    def keys_of(self, user: str) -> tuple[bytes, ...]:
        """All card keys of a user, the present one last; none if no card was opened."""
        return tuple(self._keys.get(user, ()))

    def card(self, user: str, profile: object, place: int) -> Card:
        """Opens a user's card.

        Args:
            user: whose profile it is.
            profile: decoded JSON.
            place: the last `seq` heard before it.

        Raises:
            NotOpened: it cannot be believed; `WrongSender` if its key is another user's.
            Dropped: an older card than the present one, or an echo of what this client did not send.
        """
        card, slot = self._open_card(user, profile, place)
        self._key_user[card.hpke] = user
        known = self._keys.setdefault(user, [])
        known[:] = [*(k for k in known if k != card.hpke), card.hpke][-_KEYS_A_USER:]
        self._accept(user, slot)
        return card

    def newcomer_card(self, user: str, profile: object, place: int) -> Card:
        """Opens the card of somebody who is not in the room, and takes note of nothing.

        Who waits to be admitted may come again under another user id, with the same key.

        Raises:
            NotOpened, Dropped: as `card`.
        """
        return self._open_card(user, profile, place)[0]

    def _open_card(self, user: str, profile: object, place: int) -> tuple[Card, Slot]:
        keys, slot, plaintext = self._open(user, BodyType.CARD, profile, place)
        text = decode_json(plaintext, _CardText)
        key = decode_base64url(text.hpke, KEY_BYTES, "hpke")
        if self._key_user.get(key, user) != user:
            raise WrongSender("the card has the key of another user")
        known = self._keys.get(user, ())
        return Card(text.nick, key, bool(known) and key not in known, keys.epoch), slot

    def signal(self, user: str, data: object, place: int) -> Signal:
        """Opens a signal.

        Args:
            user: `from`.
            data: decoded JSON.
            place: the last `seq` heard before it.

        Raises:
            NotOpened, Dropped: see the class.
        """
        keys, slot, plaintext = self._open(user, BodyType.SIGNAL, data, place)
        text = decode_json(plaintext, _SignalText)
        self._accept(user, slot)
        return Signal(text.kind, text.data, keys, slot)

    def message(self, heard: Heard) -> Message:
        """Opens a message, to all or to one; one's own come back too, which acknowledges them.

        Raises:
            UnknownSender: the sender's card has not come yet; try again when it has.
            NotOpened, Dropped: see the class.
        """
        kind = BodyType.MESSAGE if heard.to is None else BodyType.DIRECT
        keys, slot, plaintext = self._open(heard.sender, kind, heard.body, heard.place)
        if not self._keys.get(heard.sender):
            raise UnknownSender("its sender's card has not come yet")
        if kind is BodyType.DIRECT:
            plaintext = self._open_direct(heard, keys, slot, plaintext)
        said = decode_json(plaintext, _Said)
        by = decode_base64url(said.by, KEY_BYTES, "by")
        self._require_key(heard.sender, by)
        if said.id != heard.id:
            raise NotOpened("it was sealed under another id")
        self._accept(heard.sender, slot)
        if (by, said.id) in self._said:
            raise SaidBefore("it was said before")
        self._said.add((by, said.id))
        return Message(
            sender=heard.sender,
            by=by,
            id=said.id,
            t_ms=said.t,
            body=said.body,
            epoch=keys.epoch,
            to=heard.to,
            replayed=said.t <= self._joined_ms - REPLAY_MS,
        )

    def _open_direct(self, heard: Heard, keys: EpochKeys, slot: Slot, plaintext: bytes) -> bytes:
        """The box that is for this user: `own` of what this user's tabs said, `box` of all else."""
        text = decode_json(plaintext, _DirectText)
        to = decode_base64url(text.to, KEY_BYTES, "to")
        mine = heard.sender == self._me
        self._require_key(heard.to or "", to)
        if not mine and to != self._user.public:
            raise NotOpened("it is sealed to another user")
        try:
            box = decode_base64url(text.own if mine else text.box)
        except SealingError:
            raise NotOpened("what is inside has another form") from None
        for sender in reversed(self._keys[heard.sender]):
            try:
                padded = open_box(box, self._user, direct_info(keys, slot, sender, self._user.public))
            except NotOpened:
                continue
            return unpad(padded)
        raise NotOpened("it is not sealed to this user")

    def _require_key(self, user: str, key: bytes) -> None:
        if key not in self._keys.get(user, ()):
            raise WrongSender("it names the key of someone else")

    def _open(self, user: str, kind: BodyType, body: object, place: int) -> tuple[EpochKeys, Slot, bytes]:
        """Opens `body` unless it was replayed, reflected or taken from someone. Takes note of nothing."""
        try:
            sealed = read_sealed(body)
        except SealingError:
            raise NotSealed("it is not sealed") from None
        keys = self._room.at(sealed.e, place)
        slot = Slot(kind, decode_base64url(sealed.s, SID_BYTES, "s"), sealed.n)
        self._refuse_reflected(user, slot, sealed)
        self._refuse_replayed(user, slot)
        return keys, slot, open_at(keys, slot, decode_base64url(sealed.c))

    def _refuse_reflected(self, user: str, slot: Slot, sealed: SealedBody) -> None:
        own = self._sealers.get(slot.sid)
        if own is not None and not (user == self._me and own.has_sent(slot.kind, sealed)):
            raise Reflected("it bears this client's own mark, but was not sent by it")
        if self._sid_user.get(slot.sid, user) != user:
            raise WrongSender("it was sealed by another user")

    def _refuse_replayed(self, user: str, slot: Slot) -> None:
        last = self._last.get((user, slot.sid, slot.kind), -1)
        # A card is shown again and again (to newcomers, after a reconnect), everything else once.
        if slot.n < last or (slot.n == last and slot.kind is not BodyType.CARD):
            raise Replayed("it came before")

    def _accept(self, user: str, slot: Slot) -> None:
        self._last[user, slot.sid, slot.kind] = slot.n
        self._sid_user.setdefault(slot.sid, user)
