"""Rekeying: a new link secret for everyone but the person thrown out, signed by the owner."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from relayd.client.seal.hpke import open_box, seal_box
from relayd.client.seal.keys import OwnerKey, RoomKeys, UserKey, signed_by
from relayd.client.seal.link import Link
from relayd.client.sealing_errors import BadKey, NotOpened, RekeyError
from relayd.wire.ids import RandomBytes
from relayd.wire.sealed_shapes import BOX_BYTES, RekeyPart
from relayd.wire.sealing import SECRET_BYTES, U32, Base64Of16, Base64Of128, draw_secret
from relayd.wire.sealing_text import (
    Redacted,
    decode_base64url,
    encode_base64url,
    labelled,
    u32,
)


class NewEpoch(Redacted, msgspec.Struct, frozen=True):
    """What the owner's client made for a rekey.

    Attributes:
        part: what the frame says of it.
        secret: the new link secret, 16 bytes; the owner, too, goes on by the `rekeyed` event only.
        password: whether the room has one.
    """

    part: RekeyPart
    secret: bytes
    password: bool

    def frame(self, frame_id: str) -> dict[str, Any]:
        """The `rekey` frame, to be sent as JSON."""
        fields: dict[str, Any] = msgspec.to_builtins(self.part)
        return {"type": "rekey", "id": frame_id, **fields}

    def link(self, invite_key: str) -> Link:
        """The new link, to be shown to the owner once the room is rekeyed; the old one is dead then."""
        return Link(invite_key=invite_key, password=self.password, secret=self.secret)


class Rekeyed(Redacted, msgspec.Struct, frozen=True):
    """A `rekeyed` event, or `joined.rekey`, as the server tells it.

    Attributes:
        epoch: the new one.
        check: C of the new epoch, 16 bytes.
        box: what is sealed to this user, 128 bytes.
        seq: the event's place in the order.
    """

    epoch: U32
    check: Base64Of16
    box: Base64Of128
    seq: int


def signed_part(salt: bytes, epoch: int, secret: bytes) -> bytes:
    """What the owner signs: `"relay/1 rekey" || 0 || salt || u32(epoch) || S`."""
    return labelled("rekey", salt + u32(epoch) + secret)


def rekey_info(salt: bytes, epoch: int, to: bytes) -> bytes:
    """What a box is bound to: `"relay/1 rekey" || 0 || salt || u32(epoch) || key it is sealed to`."""
    return labelled("rekey", salt + u32(epoch) + to)


def make_rekey(
    room: RoomKeys,
    owner: OwnerKey,
    cards: Mapping[str, bytes],
    *,
    kick: tuple[str, Collection[bytes]] | None = None,
    random_bytes: RandomBytes = os.urandom,
) -> NewEpoch:
    """Makes the next epoch of a room.

    Args:
        room: the room's keys, confirmed; they stay in the present epoch until the event is heard.
        owner: the owner's pair.
        cards: user id -> card key (32 bytes) of everyone to be kept, the owner too, as seen before the kick.
        kick: who is thrown out, and every card key that was ever seen of them; whoever shows one of these,
            under whatever id, gets no box.
        random_bytes: where the link secret comes from.

    Raises:
        RekeyError: the room has no owner pair (it was made with a plain password), or `owner` is another.
        NotConfirmed: the room's keys are not confirmed.
    """
    if room.owner is None:
        raise RekeyError("this room was made with a password only: it cannot be rekeyed")
    if room.owner != owner.public:
        raise RekeyError("this is not the key of the room's owner")
    epoch = room.current.epoch + 1
    secret = draw_secret(random_bytes)
    keys = room.derive(epoch, secret)
    kicked, kicked_keys = kick or (None, ())
    kept = {user: key for user, key in cards.items() if user != kicked and key not in kicked_keys}
    signature = owner.sign(signed_part(room.salt, epoch, secret))
    part = RekeyPart(
        epoch=epoch,
        verifier=keys.verifier,
        check=encode_base64url(keys.check),
        boxes=_boxes(kept, secret + signature, room.salt, epoch),
        kick=kicked,
    )
    return NewEpoch(part, secret, room.password)


def _boxes(cards: Mapping[str, bytes], plaintext: bytes, salt: bytes, epoch: int) -> dict[str, str]:
    boxes = {}
    for user, key in cards.items():
        try:
            boxes[user] = encode_base64url(seal_box(plaintext, key, rekey_info(salt, epoch, key)))
        except BadKey:
            continue  # one broken card must not keep the owner from throwing someone out
    return boxes


def take_rekey(room: RoomKeys, user: UserKey, event: Rekeyed, *, now: float) -> bytes:
    """Goes on to the epoch of `event`, if the owner made it.

    Args:
        room: the room's keys; they advance, and old ones open only what came before the event.
        user: this user's pair.
        event: as the server tells it.
        now: seconds on a monotonic clock; 2 minutes later `RoomKeys.drop_ended` drops the older keys.

    Returns:
        The new link secret, 16 bytes, for the new link.

    Raises:
        RekeyError: it is not for this user, not signed by the room's owner, not after the present epoch, or
            the server's check does not fit. The room stays in the present epoch.
    """
    if room.owner is None:
        raise RekeyError("this room was made with a password only: it cannot be rekeyed")
    box = decode_base64url(event.box, BOX_BYTES, "box")
    try:
        opened = open_box(box, user, rekey_info(room.salt, event.epoch, user.public))
    except NotOpened:
        raise RekeyError("the new epoch's key is not sealed to this user") from None
    secret, signature = opened[:SECRET_BYTES], opened[SECRET_BYTES:]
    if not any(secret) or not signed_by(room.owner, signature, signed_part(room.salt, event.epoch, secret)):
        raise RekeyError("the new epoch was not made by the room's owner")
    room.advance(event.epoch, secret, event.check, event.seq, now=now)
    return secret
