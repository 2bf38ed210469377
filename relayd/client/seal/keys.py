"""The keys that a client holds: the owner's pair, the user's pair, and those of the room, epoch by epoch."""

from __future__ import annotations

import hmac
import os
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from relayd.client.sealing_errors import NewerEpoch, NotConfirmed, RekeyError, WrongEpoch, WrongSecret
from relayd.wire.ids import RandomBytes
from relayd.wire.sealing import (
    CHECK_BYTES,
    KEY_BYTES,
    SALT_BYTES,
    EpochKeys,
    PublicAccess,
    derive_epoch,
    owner_salt,
)
from relayd.wire.sealing_text import (
    Redacted,
    SealingError,
    decode_base64url,
    encode_base64url,
    require_length,
)

# Twice the longest time for which a server keeps messages (`resume`): what was sealed before a rekey comes within it.
ENDED_KEYS_KEPT_S: Final = 120.0


class OwnerKey(Redacted):
    """The owner's Ed25519 pair: its public half fixes the room's salt, its private half signs rekeys.

    Kept by the creator's client beside the owner key; it is never sent.

    Source: RFC 8032.
    """

    __slots__ = ("_private", "public")

    def __init__(self, private: bytes) -> None:
        """Takes the 32 private bytes; raises SealingError for another length."""
        require_length(private, KEY_BYTES, "owner's private key")
        self._private = Ed25519PrivateKey.from_private_bytes(private)
        self.public = self._private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, random_bytes: RandomBytes = os.urandom) -> OwnerKey:
        """A fresh pair."""
        return cls(random_bytes(KEY_BYTES))

    @property
    def salt(self) -> bytes:
        """The salt of this owner's room, 16 bytes. One pair serves one room, else two would share a salt."""
        return owner_salt(self.public)

    def private_bytes(self) -> bytes:
        """The 32 private bytes, to be kept where the owner key is."""
        return self._private.private_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature over `data`, 64 bytes."""
        return self._private.sign(data)


def signed_by(owner: bytes, signature: bytes, data: bytes) -> bool:
    """Whether `signature` (64 bytes) over `data` was made with the private half of `owner` (32 bytes)."""
    try:
        Ed25519PublicKey.from_public_bytes(owner).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


class UserKey(Redacted):
    """The X25519 pair of one user: its public half is on the card, all tabs share the private one.

    It belongs to the session: with another session, draw another, since receivers hold a key to one user.

    Source: RFC 7748.
    """

    __slots__ = ("private", "public")

    def __init__(self, private: bytes) -> None:
        """Takes the 32 private bytes; raises SealingError for another length."""
        require_length(private, KEY_BYTES, "user's private key")
        self.private = X25519PrivateKey.from_private_bytes(private)
        self.public = self.private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, random_bytes: RandomBytes = os.urandom) -> UserKey:
        """A fresh pair."""
        return cls(random_bytes(KEY_BYTES))

    def private_bytes(self) -> bytes:
        """The 32 private bytes, to be kept where the session is; they never leave the device."""
        return self.private.private_bytes_raw()

    @property
    def public_text(self) -> str:
        """The public half as base64url, 43 characters."""
        return encode_base64url(self.public)


class _End(NamedTuple):
    """Where an epoch ended.

    Attributes:
        seq: of the event that ended it.
        drop_at: when its keys are dropped, seconds on the caller's monotonic clock.
    """

    seq: int
    drop_at: float


class RoomKeys(Redacted):
    """A room's keys in the present epoch, and for 2 minutes in earlier ones. Made by `unlock` or `new_room`.

    Nothing is sealed or opened with an epoch's keys before the server has answered the epoch's check
    (`confirm`, or `advance` for a later epoch).
    """

    def __init__(self, access: PublicAccess, password_key: bytes | None, link_secret: bytes | None) -> None:
        """Derives the keys of `access.epoch`.

        Raises:
            SealingError: the salt is not the owner's, or as `derive_epoch`.
        """
        self.salt = decode_base64url(access.salt, SALT_BYTES, "salt")
        self.owner = None if access.owner is None else decode_base64url(access.owner, KEY_BYTES, "owner")
        if self.owner is not None and owner_salt(self.owner) != self.salt:
            raise SealingError("the server's salt is not that of the room's owner")
        self.epoch = access.epoch
        self._password_key = password_key
        self._epochs = {self.epoch: self.derive(self.epoch, link_secret)}
        self._confirmed = False
        self.newer_came = False  # something that was sealed in an epoch after the present one
        self._ends: dict[int, _End] = {}  # of the epochs before the present one whose keys are kept

    def derive(self, epoch: int, link_secret: bytes | None) -> EpochKeys:
        """The keys that the room would have in `epoch` with another link secret; nothing changes by it."""
        return derive_epoch(self.salt, epoch, password_key=self._password_key, link_secret=link_secret)

    @property
    def proof_text(self) -> str:
        """What goes into `join.proof`."""
        return self._epochs[self.epoch].proof_text

    @property
    def password(self) -> bool:
        """Whether a password is part of the keys."""
        return self._password_key is not None

    def confirm(self, access: PublicAccess) -> None:
        """Compares what `joined.room.access` answered; from then on the keys can be used.

        To be called after every join: after a reconnect too, the server must know the room's present check.

        Raises:
            WrongEpoch: the server is in another epoch; in a later one, `joined.rekey` has to be taken first.
            WrongSecret: check, salt or owner are not those of these keys.
        """
        self._confirmed = False
        if access.epoch != self.epoch:
            way = "behind" if access.epoch < self.epoch else "ahead of"
            raise WrongEpoch(f"the server is {way} the epoch of this client")
        owner = None if self.owner is None else encode_base64url(self.owner)
        same_room = (access.salt, access.owner) == (encode_base64url(self.salt), owner)
        if not same_room or not self._fits(self._epochs[self.epoch], access.check):
            raise WrongSecret("the password or the link does not fit this room")
        self._confirmed = True

    @staticmethod
    def _fits(keys: EpochKeys, check: str | None) -> bool:
        try:
            answered = decode_base64url(check or "", CHECK_BYTES, "check")
        except SealingError:
            return False
        return hmac.compare_digest(answered, keys.check)

    @property
    def current(self) -> EpochKeys:
        """The present epoch's keys, to seal with.

        Raises:
            NotConfirmed: the server has not answered the check yet.
        """
        if not self._confirmed:
            raise NotConfirmed("the server has not shown yet that it knows this room")
        return self._epochs[self.epoch]

    def at(self, epoch: int, place: int) -> EpochKeys:
        """The keys to open something with.

        Args:
            epoch: what the sealed body says.
            place: the frame's `seq`, or the last `seq` heard before a frame that has none.

        Raises:
            NotConfirmed: as `current`.
            NewerEpoch: the epoch is after the present one.
            WrongEpoch: the epoch was over at that place, or its keys are not known or dropped.
        """
        present = self.current
        if epoch == self.epoch:
            return present
        if epoch > self.epoch:
            self.newer_came = True
            raise NewerEpoch("sealed with newer keys of the room, which this client does not have")
        if epoch in self._epochs and place < self._ends[epoch].seq:
            return self._epochs[epoch]
        raise WrongEpoch("sealed in another epoch of the room")

    def drop_ended(self, now: float) -> None:
        """Drops the keys of every epoch whose successor began 2 minutes ago: nothing sealed in it opens any more.

        Args:
            now: seconds on the clock that `advance` was given.
        """
        for epoch in [epoch for epoch, end in self._ends.items() if now >= end.drop_at]:
            del self._epochs[epoch], self._ends[epoch]

    def advance(self, epoch: int, link_secret: bytes, check: str, place: int, *, now: float) -> None:
        """Goes on to a new epoch. `take_rekey` calls it, after verifying that the owner signed the secret.

        Args:
            epoch: the new one, above the present; more than one above after a long absence.
            link_secret: S of the new epoch, 16 bytes.
            check: what the server says C of the new epoch is.
            place: the `seq` of the event; what is sealed in an older epoch opens only before it.
            now: seconds on a monotonic clock, which decides when the older keys are dropped.

        Raises:
            RekeyError: it would go back, or the check does not fit. The present epoch stays.
        """
        if epoch <= self.epoch:
            raise RekeyError("the new epoch is not after the present one")
        keys = self.derive(epoch, link_secret)
        if not self._fits(keys, check):
            raise RekeyError("the server's check is not that of the new epoch")
        self._ends[self.epoch] = _End(place, now + ENDED_KEYS_KEPT_S)
        self._epochs[epoch] = keys
        self.epoch = epoch
        self._confirmed = True
        self.newer_came = False
