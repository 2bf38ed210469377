"""Making a sealed room, and getting into one."""

from __future__ import annotations

import os

import msgspec

from relayd.client.seal.keys import OwnerKey, RoomKeys
from relayd.client.seal.link import Link
from relayd.client.sealing_errors import Downgrade, LinkError, PasswordNeeded
from relayd.wire.ids import RandomBytes
from relayd.wire.sealing import (
    SALT_BYTES,
    Access,
    PublicAccess,
    access_of,
    derive_epoch,
    derive_password_key,
    draw_secret,
)
from relayd.wire.sealing_text import Redacted, SealingError, decode_base64url


class NewRoom(Redacted, msgspec.Struct, frozen=True):
    """All that a creator's client makes before it asks the server for a room.

    Attributes:
        access: goes into `POST /room`.
        keys: the room's; to be confirmed after joining, as everyone's.
        owner: to be kept with the owner key.
        secret: the link secret, 16 bytes.
    """

    access: Access
    keys: RoomKeys
    owner: OwnerKey
    secret: bytes

    def link(self, invite_key: str) -> Link:
        """The link to share, once the server has answered with the invite key."""
        return Link(invite_key=invite_key, password=self.access.password, secret=self.secret)


def new_room(password: str | None = None, random_bytes: RandomBytes = os.urandom) -> NewRoom:
    """Keys for a new sealed room: an owner pair, and a link secret beside every password.

    With a password it takes as long as `relayd.wire.sealing.stretch`: 0.2 to 0.4 s.

    Raises:
        SealingError: the password is empty, too long or no text.
    """
    owner = OwnerKey.generate(random_bytes)
    secret = draw_secret(random_bytes)
    password_key = None if password is None else derive_password_key(password, owner.salt)
    first = derive_epoch(owner.salt, 0, password_key=password_key, link_secret=secret)
    access = access_of(first, owner=owner.public, password=password is not None)
    return NewRoom(access, RoomKeys(access.public(0), password_key, secret), owner, secret)


def room_is_sealed(link: Link, access: PublicAccess | None) -> bool:
    """Whether the room behind `link` is to be treated as sealed.

    Args:
        link: what the person followed.
        access: what the server says in the room's details; None if it shows an open room.

    Raises:
        Downgrade: the link promises a secret or password that the server says there is none of, or the
            reverse.
    """
    if not link.sealed:
        return access is not None
    if access is None:
        raise Downgrade("the link is of a sealed room, but the server shows an open one")
    if access.password != link.password:
        raise Downgrade("link and server disagree on whether the room has a password")
    return True


def require_secret(link: Link, access: PublicAccess) -> None:
    """Refuses a link that was cut off: no proof must be made of the password alone for a room with a link secret.

    Raises:
        LinkError: the room needs a link secret and the link has none.
    """
    if link.secret is None and (access.secret or not access.password):
        raise LinkError("the link lacks the secret of this sealed room: open the whole link, to its last character")


def unlock(link: Link, access: PublicAccess, password: str | None = None) -> RoomKeys:
    """The keys of the room behind `link`, in the epoch that the server says.

    With a password it takes as long as `relayd.wire.sealing.stretch`. Whether the secret is right shows when
    the server answers the join: `RoomKeys.confirm`.

    Args:
        link: what the person followed; an unmarked one is taken up to sealed if the server says so.
        access: the public part from the room's details.
        password: what the person typed, or None.

    Raises:
        Downgrade: as `room_is_sealed`.
        PasswordNeeded: the room has a password and none is given.
        LinkError: the room needs a link secret and the link has none.
        SealingError: the salt is not the owner's, or the password is empty or too long.
    """
    if room_is_sealed(link, access):
        require_secret(link, access)
    if access.password and password is None:
        raise PasswordNeeded("this room has a password")
    if not access.password and password is not None:
        raise SealingError("this room has no password")
    password_key = None
    if password is not None:
        password_key = derive_password_key(password, decode_base64url(access.salt, SALT_BYTES, "salt"))
    return RoomKeys(access, password_key, link.secret)
