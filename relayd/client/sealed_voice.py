"""A sealed room's voice: everything said is sealed before it is sent, and nothing is shown that was not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from relayd.client.clock import boot_clock
from relayd.client.events import Message
from relayd.client.key_monitor import KEY_TIMES, KeyMonitor, KeyTimes
from relayd.client.seal import confirmation
from relayd.client.seal.files import Digest
from relayd.client.sealing import (
    Card,
    ChunkOpener,
    ChunkSealer,
    FileOffer,
    Heard,
    Link,
    NewEpoch,
    Opener,
    OwnerKey,
    Rekeyed,
    RoomKeys,
    Sealer,
    Signal,
    UserKey,
    code_words,
    make_rekey,
    person_code,
    room_code,
    take_rekey,
)
from relayd.client.sealing_errors import Downgrade, Dropped, NotConfirmed, NotOpened, RekeyError
from relayd.client.shapes import JoinedFrame, MessageFrame, RoomDetails, RoomFrame, SignalFrame, UserShape, read_access
from relayd.client.users import User
from relayd.client.voice import Outgoing
from relayd.wire.ids import RandomBytes
from relayd.wire.sealed_shapes import SIGNAL_KIND
from relayd.wire.sealing import PublicAccess
from relayd.wire.sealing_text import Redacted, SealingError


class SealedVoice(Redacted):
    """The keys of one room and what is done with them.

    Args:
        link: what the person followed.
        keys: from `unlock`.
        owner: the owner's signing pair, if this is the owner and the room has one.
        random_bytes: where this user's pair and the sids come from.
        clock: seconds, including those in which the machine sleeps.
        times: how often keys are confirmed and checked.

    Attributes:
        link: the present one; None if new keys were made elsewhere, since the invite key is renewed with them.
    """

    sealed = True

    def __init__(
        self,
        link: Link,
        keys: RoomKeys,
        owner: OwnerKey | None,
        random_bytes: RandomBytes,
        *,
        clock: Callable[[], float] = boot_clock,
        times: KeyTimes = KEY_TIMES,
    ) -> None:
        self.times = times
        self.monitor = KeyMonitor(times, clock())
        self.owner_confirmed_at: float | None = None  # when a client with the owner's pair confirmed the present keys
        self._superseded = False  # the server told of newer keys that this client could not take
        self.warning_ended = False  # a confirmation has come after a warning
        self.link: Link | None = link
        self._last_link = link  # with the present secret, and the last invite key that this client was given
        self._keys = keys
        self._owner = owner
        self._random = random_bytes
        self._clock = clock
        self._user = UserKey.generate(random_bytes)
        self._opener: Opener | None = None  # None until the first join
        self._sealer: Sealer | None = None  # of the present socket
        self.me = ""  # the user id, from the first join on
        self._own: Card | None = None  # as this client last showed itself
        self._cards: dict[str, Card] = {}  # user id -> the last card that could be believed

    # Joining. ---------------------------------------------------------------------------------------------------

    def join_profile(self, nick: str) -> Any:
        """None: a card is sealed after the server has answered the check."""
        return None

    def proof(self) -> str:
        """A_e of the present epoch."""
        return self._keys.proof_text

    def knock(self, room: RoomDetails, nick: str) -> Any:
        """Checks that the server knows the room, and seals a card for those who may admit this user."""
        self._sealer = None
        self._keys.confirm(_sealed_access(room))
        if self._opener is None:  # other members may hold that a key is of one user id, and this one gets another
            self._user = UserKey.generate(self._random)
        self._sealer = Sealer(self._keys, self._user, self._random)
        return self.profile(nick)

    def welcome(self, joined: JoinedFrame, now_ms: int, *, has_waited: bool = False) -> None:
        """Checks that the server knows the room, and draws a new sid for a new socket."""
        sealer = self._sealer if has_waited else None  # a socket keeps to one sid
        self._sealer = None
        access = _sealed_access(joined.room)
        if joined.rekey is not None:
            self._advance(joined.rekey)
        self._keys.confirm(access)
        if self._opener is None:
            self.me = joined.you.id
            self._opener = Opener(self._keys, self._user, self.me, now_ms)
        self._sealer = sealer or Sealer(self._keys, self._user, self._random)
        self._opener.add_sealer(self._sealer)

    # Speaking. --------------------------------------------------------------------------------------------------

    def profile(self, nick: str) -> Any:
        """A fresh card."""
        self._own = Card(nick, self._user.public, new_key=False, epoch=self.epoch)
        return msgspec.to_builtins(self._speaking.card(nick))

    def message(self, said: Outgoing) -> Any:
        """Sealed anew every time, under the same id."""
        if said.to is None:
            sealed = self._speaking.message(said.id, said.body, said.t_ms)
        else:
            sealed = self._speaking.direct(self._key_of(said.to), said.id, said.body, said.t_ms)
        return msgspec.to_builtins(sealed)

    def signal(self, kind: str, data: Any) -> tuple[str, Any]:
        """Its kind is sealed too."""
        return SIGNAL_KIND, msgspec.to_builtins(self._speaking.signal(kind, data))

    # Hearing. ---------------------------------------------------------------------------------------------------

    def read_user(self, shape: UserShape, place: int) -> User:
        """What the card says; the last good one where the present one cannot be believed."""
        # No card yet, one of an older epoch, or a forgery: none of them changes what is known.
        with contextlib.suppress(NotOpened, Dropped):
            self._cards[shape.id] = self._hearing.card(shape.id, shape.profile, place)
        # An owner's other device shows a card, too; this client is called what it calls itself.
        return _user(shape, self._own if shape.id == self.me else self._cards.get(shape.id))

    def read_newcomer(self, shape: UserShape, place: int) -> User:
        """What the card says; it is no user's card yet."""
        card: Card | None = None
        with contextlib.suppress(NotOpened, Dropped):
            card = self._hearing.newcomer_card(shape.id, shape.profile, place)
        return _user(shape, card)

    def read_message(self, frame: MessageFrame, place: int, user: User) -> Message:
        """Opened, or an error."""
        heard = Heard(sender=frame.from_, id=frame.id, body=frame.body, place=place, to=frame.to)
        said = self._hearing.message(heard)
        return Message(
            user=user,
            id=said.id,
            body=said.body,
            t_ms=said.t_ms,
            to=said.to,
            seq=frame.seq,
            mine=frame.from_ == self.me,
            by=said.by,
            epoch=said.epoch,
            replayed=said.replayed,
        )

    def read_signal(self, frame: SignalFrame, place: int) -> tuple[str, Any] | None:
        """Opened, or an error; a plain one is none. Confirmations of the keys are taken here."""
        if frame.kind != SIGNAL_KIND:
            raise NotOpened("it is not sealed")
        signal = self._hearing.signal(frame.from_, frame.data, place)
        if signal.kind != confirmation.KIND:
            return signal.kind, signal.data
        self._take_confirmation(signal)
        return None

    # Confirming keys. -------------------------------------------------------------------------------------------

    def confirmation(self) -> Any:
        """The data of a signal that confirms the present keys.

        Raises:
            RekeyError: this client does not hold the owner's pair.
        """
        if self._owner is None:
            raise RekeyError("only the client that made the room can confirm its keys")
        self.owner_confirmed_at = self._clock()
        return msgspec.to_builtins(self._speaking.key_confirmation(self._owner, int(self.owner_confirmed_at * 1000)))

    def _take_confirmation(self, signal: Signal) -> None:
        if self._keys.owner is None or signal.keys.epoch != self._keys.epoch:
            return
        now = self._clock()
        t_ms = confirmation.read_confirmation(self._keys.owner, signal.keys, signal.slot, signal.data)
        self.owner_confirmed_at = now
        self.warning_ended |= self.monitor.on_confirmation(signal.slot.sid, t_ms, now)

    @property
    def can_confirm(self) -> bool:
        """Whether this client may confirm its keys: it holds the owner's pair and knows of no newer keys."""
        return self.can_rekey and not self._superseded and not self._keys.newer_came

    @property
    def can_be_confirmed(self) -> bool:
        """Whether the room has an owner pair, so that somebody can confirm its keys."""
        return self._keys.owner is not None

    @property
    def newer_keys_missed(self) -> bool:
        """Whether something came that is sealed with newer keys than this client has."""
        return self._keys.newer_came

    def has_confirmed(self, user_id: str) -> bool:
        """Whether that user's client has shown a card that is sealed with the present keys."""
        card = self._cards.get(user_id)
        return user_id == self.me or self.epoch == 0 or (card is not None and card.epoch == self.epoch)

    def drop_ended_keys(self) -> None:
        """Drops the keys of epochs that ended 2 minutes ago."""
        self._keys.drop_ended(self._clock())

    # Files. -----------------------------------------------------------------------------------------------------

    def sending_pass(self, offer: FileOffer, epoch: int, first: int) -> ChunkSealer:
        """Sealed under the offer's own key."""
        salt, draw = self._keys.salt, self._random
        # Unchecked: it would take as long again as sealing. That a file is changed shows by its times and size.
        return ChunkSealer(offer, salt=salt, epoch=epoch, first=first, check=False, random_bytes=draw)

    def receiving_pass(self, offer: FileOffer, epoch: int, pass_id: bytes, first: int, digest: Digest) -> ChunkOpener:
        """Opened with the offer's own key."""
        return ChunkOpener(offer, salt=self._keys.salt, epoch=epoch, pass_id=pass_id, first=first, digest=digest)

    # Rekeying. --------------------------------------------------------------------------------------------------

    def take_rekey(self, frame: RoomFrame) -> bool:
        """Takes a `rekeyed` event."""
        return self._advance({"epoch": frame.epoch, "check": frame.check, "box": frame.box, "seq": frame.seq})

    def _advance(self, told: Any) -> bool:
        try:
            event = msgspec.convert(told, Rekeyed)
        except msgspec.ValidationError:
            raise RekeyError("the new epoch's key is not sealed to this user") from None
        if event.epoch <= self._keys.epoch:
            return False  # heard before: by the join, and again in its place among what was missed
        self._superseded = True  # unless the new keys can be taken
        secret = take_rekey(self._keys, self._user, event, now=self._clock())
        self._superseded = False
        self.owner_confirmed_at = None
        self.monitor.on_epoch()
        self._last_link = replace(self._last_link, password=self._keys.password, secret=secret)
        self.link = None
        return True

    def take_invite(self, invite_key: str | None) -> None:
        """From now on this is the room's invite key; None if it is still the last one that was known."""
        if invite_key is not None:
            self._last_link = replace(self._last_link, invite_key=invite_key)
        self.link = self._last_link

    def link_with(self, invite_key: str) -> Link:
        """The link that goes with another invite key and the present keys."""
        return replace(self._last_link, invite_key=invite_key)

    @property
    def epoch(self) -> int:
        """The present one."""
        return self._keys.epoch

    @property
    def can_rekey(self) -> bool:
        """Whether this client holds the pair that signs new epochs."""
        return self._owner is not None and self._keys.owner == self._owner.public

    def make_rekey(self, keep: set[str], kick: str | None, without: tuple[bytes, ...] = ()) -> NewEpoch:
        """A new epoch for the users in `keep`.

        Args:
            keep: user ids of all in the room, those away for a moment included.
            kick: the user thrown out with it; None if that is done already.
            without: card keys that get no box, whoever shows them.

        Raises:
            RekeyError: this client does not hold the owner's pair.
        """
        if self._owner is None:
            raise RekeyError("only the client that made the room can rekey it")
        cards = self._hearing.card_keys()
        kept = {user: key for user, key in cards.items() if user in keep and key not in without}
        # A user gets one box: of an owner's devices, the one that does this must be able to go on.
        kept[self.me] = self._user.public
        kicked = None if kick is None else (kick, without)
        return make_rekey(self._keys, self._owner, kept, kick=kicked, random_bytes=self._random)

    def keys_of(self, user_id: str) -> tuple[bytes, ...]:
        """Every card key that was ever seen of that user."""
        return self._hearing.keys_of(user_id)

    # Safety codes; both take 0.2 to 0.4 s of one core. -----------------------------------------------------------

    def room_code(self) -> str:
        """The room's safety code, in words."""
        return code_words(room_code(self._keys.current))

    def person_code(self, user_id: str) -> str:
        """A person's safety code, in words.

        Raises:
            SealingError: no card of that user has come.
        """
        return code_words(person_code(self._key_of(user_id), self._keys.salt))

    # Inside. ----------------------------------------------------------------------------------------------------

    @property
    def _speaking(self) -> Sealer:
        if self._sealer is None:
            raise NotConfirmed("the server has not shown yet that it knows this room")
        return self._sealer

    @property
    def _hearing(self) -> Opener:
        if self._opener is None:
            raise NotConfirmed("the server has not shown yet that it knows this room")
        return self._opener

    def _key_of(self, user_id: str) -> bytes:
        if user_id == self.me:
            return self._user.public
        keys = self._hearing.keys_of(user_id)
        if not keys:
            raise SealingError("nothing can be sealed to this user: their card has not come")
        return keys[-1]


def _user(shape: UserShape, card: Card | None) -> User:
    return User(
        id=shape.id,
        nick=card.nick if card else "",
        role=shape.role,
        away=shape.away,
        muted=shape.muted,
        key=card.hpke if card else b"",
    )


def _sealed_access(room: RoomDetails) -> PublicAccess:
    access = read_access(room)
    if access is None:
        raise Downgrade("the link is of a sealed room, but the server shows an open one")
    return access
