"""The owner's confirmation of the present keys: a signature that a server can neither make nor use again."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from relayd.client.seal.bodies import Slot
from relayd.client.seal.keys import signed_by
from relayd.client.sealing_errors import NotOpened
from relayd.wire.sealed_shapes import SIGNATURE_BYTES
from relayd.wire.sealing import Base64Of64, EpochKeys
from relayd.wire.sealing_text import decode_base64url, labelled, u32

KIND: Final = "key_confirmation"  # of the sealed signal


class Confirmation(msgspec.Struct, frozen=True):
    """The data of the signal.

    Attributes:
        t: ms on a clock of the signer that only goes up and may start anywhere.
        sig: Ed25519 signature of the owner over `confirmation_text`, 64 bytes.
    """

    t: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    sig: Base64Of64


def confirmation_text(keys: EpochKeys, slot: Slot, t_ms: int) -> bytes:
    """What the owner signs: `"relay/1 confirm" || 0 || salt || u32(e) || sid || u64(n) || u64(t)`.

    With sid and counter of the signal that carries it, nobody can seal the signature again in another signal.
    """
    n, t = (number.to_bytes(8, "big") for number in (slot.n, t_ms))
    return labelled("confirm", keys.salt + u32(keys.epoch) + slot.sid + n + t)


def read_confirmation(owner: bytes, keys: EpochKeys, slot: Slot, data: object) -> int:
    """Checks a confirmation.

    Args:
        owner: the public key of the room's owner, 32 bytes.
        keys: those that opened the signal.
        slot: of the signal.
        data: the signal's, decoded JSON.

    Returns:
        `t` of the confirmation, ms on the signer's clock.

    Raises:
        NotOpened: it has another form, or the owner did not sign it.
    """
    try:
        said = msgspec.convert(data, Confirmation)
    except msgspec.ValidationError:
        raise NotOpened("the confirmation of the keys has another form") from None
    signature = decode_base64url(said.sig, SIGNATURE_BYTES, "sig")
    if not signed_by(owner, signature, confirmation_text(keys, slot, said.t)):
        raise NotOpened("the confirmation of the keys is not signed by the room's owner")
    return said.t
