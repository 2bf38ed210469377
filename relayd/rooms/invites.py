"""Invites: further keys of a room that let newcomers in, each with limits of its own, to be revoked one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from relayd.errors import NoSuchInvite, TooManyInvites
from relayd.wire.ids import Credential

MAX_INVITES = 100  # of one room, those that still let somebody in


class Invite(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One invite.

    Attributes:
        id: public inside the room; names it to its owner.
        digest: of its key.
        label: the owner's words for it.
        uses: how many newcomers it lets in; None for any number.
        used: how many it has let in.
        ends_at: seconds; None if it ends with the room.
    """

    id: str
    digest: bytes
    label: str
    uses: int | None
    used: int
    ends_at: float | None

    def __repr__(self) -> str:
        """Without the digest and the label."""
        return f"Invite(id={self.id!r})"

    @property
    def uses_left(self) -> int | None:
        """How many newcomers it still lets in; None for any number."""
        return None if self.uses is None else self.uses - self.used

    def is_good(self, now: float) -> bool:
        """Whether it still lets somebody in."""
        return self.uses_left != 0 and (self.ends_at is None or now < self.ends_at)


class Invites:
    """Those of one room."""

    __slots__ = ("_by_digest",)

    def __init__(self, invites: Iterable[Invite] = ()) -> None:
        self._by_digest = {invite.digest: invite for invite in invites}  # the oldest first

    def __iter__(self) -> Iterator[Invite]:
        return iter(self._by_digest.values())

    def good(self, now: float) -> list[Invite]:
        """Those that still let somebody in, the oldest first; the others are forgotten."""
        self._by_digest = {digest: one for digest, one in self._by_digest.items() if one.is_good(now)}
        return list(self)

    def add(self, invite: Invite, now: float) -> None:
        """One more.

        Raises:
            TooManyInvites: the room has as many as it may.
        """
        if len(self.good(now)) >= MAX_INVITES:
            raise TooManyInvites(f"This room has {MAX_INVITES} invites already; revoke one first")
        self._by_digest[invite.digest] = invite

    def find(self, credential: Credential | None, now: float) -> Invite | None:
        """The invite of that key, if it still lets somebody in."""
        # By digest, not in constant time: how far a digest agrees says nothing of the key, which has 128 random bits.
        invite = None if credential is None else self._by_digest.get(credential.digest)
        return invite if invite is not None and invite.is_good(now) else None

    def use(self, credential: Credential | None) -> bool:
        """It lets a newcomer in; whether there is such an invite."""
        invite = None if credential is None else self._by_digest.get(credential.digest)
        if invite is None:
            return False
        self._by_digest[invite.digest] = msgspec.structs.replace(invite, used=invite.used + 1)
        return True

    def revoke(self, invite_id: str, now: float) -> None:
        """It lets nobody in any more.

        Raises:
            NoSuchInvite: there is none of that id, or it has ended.
        """
        invite = next((one for one in self.good(now) if one.id == invite_id), None)
        if invite is None:
            raise NoSuchInvite
        del self._by_digest[invite.digest]

    def clear(self) -> bool:
        """None lets anybody in any more; whether there were any."""
        had = bool(self._by_digest)
        self._by_digest.clear()
        return had
