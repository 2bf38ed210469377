"""A sealed room as the relay sees it: what lets people in, the epoch it is in, and boxes that wait for their users.

Epochs here are those of the sealing, counted from 0 by rekeys. (`RoomMeta.epoch` is that of the numbering.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from relayd.errors import CannotRekey, FieldProblem, InvalidFields, NotSealed, StaleEpoch
from relayd.wire import events
from relayd.wire.ids import UserId
from relayd.wire.sealed_shapes import RekeyPart, SealedBody, parse_sealed
from relayd.wire.sealing import Access, PublicAccess, proof_fits
from relayd.wire.sealing_text import Redacted, SealingError

OPEN = -1  # stands for the epoch where nothing is sealed

# What a rekey's frame has beside its boxes, and what one of those adds to it.
_REKEY_BYTES, _BOX_ENTRY_BYTES = 1_024, 200

_KICKED_BUT_KNOWS = (
    "The user is out, but still knows the password, and a room made with a plain password cannot be rekeyed: "
    "whoever has its link can come back under another name. Make a new room if that matters."
)


class Seal(Redacted, msgspec.Struct, frozen=True):
    """What the registry keeps of a sealed room.

    Attributes:
        access: as its creator gave it, with verifier and check of the present epoch.
        epoch: the present one.
    """

    access: Access
    epoch: int = 0

    @property
    def has_owner_pair(self) -> bool:
        """Whether somebody can sign new epochs."""
        return self.access.owner is not None

    def public(self, *, joined: bool = False) -> PublicAccess:
        """What is shown of it; see `Access.public`."""
        return self.access.public(self.epoch, joined=joined)

    def fits(self, proof: str) -> bool:
        """Whether `proof` is that of the present epoch, compared in constant time."""
        return proof_fits(self.access, proof)

    def next(self, part: RekeyPart) -> Seal:
        """The same room in the epoch that `part` begins."""
        return Seal(self.access.rekeyed(part.verifier, part.check), part.epoch)


class Rekeying(Redacted):
    """How the present epoch began.

    Attributes:
        seq: its place in the room's order.
        boxes: by user, what each needs to read on; kept until the next one, since a box that was sent may have
            got lost with its connection.
    """

    __slots__ = ("boxes", "check", "epoch", "seq")

    def __init__(self, seq: int, epoch: int, check: str, boxes: Mapping[UserId, str]) -> None:
        self.seq = seq
        self.epoch = epoch
        self.check = check
        self.boxes = boxes

    def frame(self, user_id: UserId) -> bytes:
        """The event as that user hears it."""
        return events.rekeyed(self.seq, self.epoch, self.check, self.boxes.get(user_id))

    def unheard_by(self, user_id: UserId, since_seq: int) -> events.Rekey | msgspec.UnsetType:
        """What to tell a user who comes back having heard everything up to `since_seq`."""
        box = self.boxes.get(user_id)
        if box is None or since_seq >= self.seq:
            return msgspec.UNSET
        return events.Rekey(self.seq, self.epoch, self.check, box)


# Typed: a number that no double can hold is no error to whom it is raw, and one to whom it is anything.
_sealed_body = msgspec.json.Decoder(SealedBody).decode


class Card(NamedTuple):
    """A sealed profile as far as the relay can read it: the epoch it is of, and the sender's sid."""

    epoch: int
    sid: bytes


def read_card(profile: bytes) -> Card:
    """The shape check for the profile that comes with a join.

    Raises:
        NotSealed: it has another shape.
    """
    try:
        head = parse_sealed(_sealed_body(profile))
    except (msgspec.DecodeError, SealingError) as wrong:
        raise NotSealed(f"profile: {wrong}") from None
    return Card(head.epoch, head.sid)


def card_epoch(profile: bytes) -> int | None:
    """The epoch of a card that a user has in a sealed room; None of one who has none yet."""
    try:
        return read_card(profile).epoch
    except NotSealed:
        return None


def check_rekey(seal: Seal | None, part: RekeyPart, owner_id: UserId) -> Seal:
    """Lets the next epoch of a room pass.

    Returns:
        The room's present seal.

    Raises:
        CannotRekey: the room is open, or nobody can sign for it.
        StaleEpoch: it is not the next one; somebody was faster.
        InvalidFields: whoever is thrown out would get a box, or the owner none.
    """
    if seal is None:
        raise CannotRekey("The room is open: it has no keys")
    if not seal.has_owner_pair:
        raise CannotRekey("The room was made with a plain password: nobody can sign new keys for it. kick still works")
    if part.epoch != seal.epoch + 1:
        raise StaleEpoch(f"The room is in epoch {seal.epoch}: the next one is {seal.epoch + 1}")
    if part.kick in part.boxes:
        raise _wrong_boxes("hold one for the user who is thrown out")
    if owner_id not in part.boxes:
        raise _wrong_boxes("hold none for the owner, who could not read on")
    return seal


def _wrong_boxes(reason: str) -> InvalidFields:
    return InvalidFields(f"boxes: {reason}", problems=(FieldProblem("boxes", reason),))


def kick_note(seal: Seal | None) -> str:
    """What an owner should know who puts somebody out without new keys, or ""."""
    return "" if seal is None or seal.has_owner_pair else _KICKED_BUT_KNOWS


def frame_users(known: int) -> int:
    """For how many users a rekey's frame may have boxes while a room knows `known` of them: a power of two above it.

    So that a limit that was told holds for a while, and an owner of a small room cannot have megabytes waiting.
    """
    return 1 << known.bit_length()


def rekey_bytes(users: int) -> int:
    """The most bytes that the frame of a rekey has with boxes for so many users."""
    return _REKEY_BYTES + _BOX_ENTRY_BYTES * users
