"""Sealing: one `Sealer` for every socket, so that no nonce is ever used twice."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from typing import Final, NoReturn, SupportsIndex

from relayd.client.seal.bodies import BodyType, Slot, encode_json, pad, seal_at
from relayd.client.seal.confirmation import KIND as KEY_CONFIRMATION
from relayd.client.seal.confirmation import Confirmation, confirmation_text
from relayd.client.seal.hpke import seal_box
from relayd.client.seal.keys import OwnerKey, RoomKeys, UserKey
from relayd.client.sealing_errors import SealerSpent
from relayd.wire.ids import RandomBytes
from relayd.wire.sealed_shapes import SealedBody
from relayd.wire.sealing import SID_BYTES, EpochKeys
from relayd.wire.sealing_text import U32_END, Redacted, encode_base64url, labelled, u32

# What a sender may hear of itself: a ring holds 4,096 messages, so nothing older comes back.
_REMEMBERED: Final = 4096


class Sealer(Redacted):
    """Seals what one socket sends. Its sid is drawn here, never given by a server, and counters only go up.

    It cannot be copied or pickled, since a copy would count on its own. After a rekey it goes on in the new
    epoch with the same counters.
    """

    def __init__(self, keys: RoomKeys, user: UserKey, random_bytes: RandomBytes = os.urandom) -> None:
        """Draws the sid.

        Args:
            keys: the room's; they must be confirmed before anything is sealed.
            user: the pair whose public half is on this user's card.
            random_bytes: where the sid comes from.
        """
        self.sid = random_bytes(SID_BYTES)
        self._keys = keys
        self._user = user
        self._next: Counter[BodyType] = Counter()
        self._sent: dict[tuple[int, int], bytes] = {}  # (type, n) -> SHA-256 of `c`, the last 4,096

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuses: `copy`, `deepcopy` and `pickle` all come through here."""
        raise TypeError("a Sealer cannot be copied: two would use the same nonces")

    def message(self, message_id: str, body: object, t_ms: int) -> SealedBody:
        """Seals a message to all.

        Args:
            message_id: the frame's `id`; sent again after a reconnect, it is sealed anew under the same one.
            body: what it says, any JSON.
            t_ms: when it is said, ms since 1970 UTC.

        Raises:
            NotConfirmed: the keys are not confirmed yet.
            SealerSpent: 2^32 messages were sealed; open a new socket.
            SealingError: `body` cannot be said in JSON.
        """
        return self._seal(BodyType.MESSAGE, self._said(message_id, body, t_ms))

    def card(self, nick: str) -> SealedBody:
        """Seals this user's card, for `profile`; to be sealed again after a rekey, before anything else.

        Raises: as `message`.
        """
        return self._seal(BodyType.CARD, encode_json({"nick": nick, "hpke": self._user.public_text}))

    def signal(self, kind: str, data: object) -> SealedBody:
        """Seals a signal, for the `data` of one of kind `sealed`.

        Raises: as `message`.
        """
        return self._seal(BodyType.SIGNAL, encode_json({"kind": kind, "data": data}))

    def key_confirmation(self, owner: OwnerKey, t_ms: int) -> SealedBody:
        """Signs that the present keys are the present ones, for the `data` of a signal of kind `sealed`.

        Args:
            owner: the owner's pair.
            t_ms: ms on a clock that only goes up.

        Raises: as `message`.
        """
        keys, slot = self._reserve(BodyType.SIGNAL)
        signature = encode_base64url(owner.sign(confirmation_text(keys, slot, t_ms)))
        data = Confirmation(t_ms, signature)
        return self._seal_at(keys, slot, encode_json({"kind": KEY_CONFIRMATION, "data": data}))

    def direct(self, to: bytes, message_id: str, body: object, t_ms: int) -> SealedBody:
        """Seals a message to one user, and to this user's own other tabs.

        Args:
            to: the receiver's card key, 32 bytes.
            message_id: as for `message`.
            body: as for `message`.
            t_ms: as for `message`.

        Raises:
            BadKey: nothing can be sealed to the receiver's key.
            SealingError: as `message`.
        """
        padded = pad(self._said(message_id, body, t_ms))
        keys, slot = self._reserve(BodyType.DIRECT)
        own = self._user.public
        boxes = {
            name: encode_base64url(seal_box(padded, key, direct_info(keys, slot, own, key)))
            for name, key in (("box", to), ("own", own))
        }
        return self._seal_at(keys, slot, encode_json({"to": encode_base64url(to), **boxes}))

    def has_sent(self, kind: BodyType, body: SealedBody) -> bool:
        """Whether `body` is exactly what this sealer made, for those kinds that a server sends back."""
        return self._sent.get((kind, body.n)) == hashlib.sha256(body.c.encode()).digest()

    def _said(self, message_id: str, body: object, t_ms: int) -> bytes:
        return encode_json({"id": message_id, "by": self._user.public_text, "t": t_ms, "body": body})

    def _seal(self, kind: BodyType, plaintext: bytes) -> SealedBody:
        keys, slot = self._reserve(kind)
        return self._seal_at(keys, slot, plaintext)

    def _reserve(self, kind: BodyType) -> tuple[EpochKeys, Slot]:
        """Takes the next slot; it counts as used from here on, whatever fails afterwards."""
        keys = self._keys.current
        n = self._next[kind]
        if n >= U32_END:
            raise SealerSpent("this connection has sealed all it can; a new one is needed")
        self._next[kind] = n + 1
        return keys, Slot(kind, self.sid, n)

    def _seal_at(self, keys: EpochKeys, slot: Slot, plaintext: bytes) -> SealedBody:
        text = encode_base64url(seal_at(keys, slot, plaintext))
        if slot.kind is not BodyType.SIGNAL:
            self._sent[slot.kind, slot.n] = hashlib.sha256(text.encode()).digest()
            if len(self._sent) > _REMEMBERED:
                del self._sent[next(iter(self._sent))]
        return SealedBody(e=keys.epoch, s=encode_base64url(slot.sid), n=slot.n, c=text)


def direct_info(keys: EpochKeys, slot: Slot, sender: bytes, to: bytes) -> bytes:
    """What a direct message's boxes are bound to.

    `"relay/1 direct" || 0 || salt || u32(e) || sid || u64(n) || sender's key || key it is sealed to`.
    """
    place = keys.salt + u32(keys.epoch) + slot.sid + slot.n.to_bytes(8, "big")
    return labelled("direct", place + sender + to)
