"""Who may come in and who may do the owner's work: keys, sessions, bans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from relayd.errors import NoSuchRoom, OwnerOnly
from relayd.rooms.departed import DepartedSessions
from relayd.wire.ids import INVITE, OWNER, Credential, UserId

MAX_DEPARTED = 1024  # sessions of users who have left, by which they can come back as the same user
MAX_BANS = 4096
PASS_VALID_S = 30.0  # an admin's program joins at once; a person may have to type the room's password before
MAX_PASSES = 64


class Keys:
    """The digests of a room's two keys."""

    __slots__ = ("_invite", "_owner")

    def __init__(self, invite: bytes, owner: bytes) -> None:
        self._invite = invite
        self._owner = owner

    def __repr__(self) -> str:
        """Nothing of the keys."""
        return "Keys()"

    @property
    def invite(self) -> bytes:
        """Digest of the invite key."""
        return self._invite

    @property
    def owner(self) -> bytes:
        """Digest of the owner key."""
        return self._owner

    def is_owner(self, credential: Credential | None) -> bool:
        """Whether it is the owner key of this room; any other key that fits is the invite key.

        Raises:
            NoSuchRoom: it is neither.
        """
        if credential is not None and credential.kind == OWNER and credential.fits(self._owner):
            return True
        if credential is not None and credential.kind == INVITE and credential.fits(self._invite):
            return False
        raise NoSuchRoom

    def require_owner(self, credential: Credential | None) -> None:
        """Lets the owner key pass.

        Raises:
            OwnerOnly: it is the invite key.
            NoSuchRoom: it is neither.
        """
        if not self.is_owner(credential):
            raise OwnerOnly


class Passes:
    """Keys that let one newcomer in once, within `PASS_VALID_S`, even where the room is locked."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}  # digest -> when it ends

    def add(self, digest: bytes, now: float) -> None:
        """One more; the oldest goes when there are too many."""
        self._until[digest] = now + PASS_VALID_S
        while len(self._until) > MAX_PASSES:
            del self._until[next(iter(self._until))]

    def has(self, credential: Credential | None, now: float) -> bool:
        """Whether it is one that is still good."""
        # By digest, not in constant time: how far a digest agrees says nothing of the key, which has 128 random bits.
        return credential is not None and self._until.get(credential.digest, now) > now

    def spend(self, credential: Credential | None) -> None:
        """It has let somebody in."""
        if credential is not None:
            self._until.pop(credential.digest, None)


class Departure(NamedTuple):
    """How a user left.

    Attributes:
        addresses: digests of those that the user was last seen at, for a ban.
        lost_at: seconds, when the place of a user without connection ended; None of one who left by `leave`.
        profile: JSON text, of a muted user, who may not come back with another; b"" of others.
    """

    addresses: tuple[bytes, ...] = ()
    lost_at: float | None = None
    profile: bytes = b""


class Sessions:
    """Which session is which user: of those inside, and of a bounded number of those who have left.

    Args:
        all_departed: is told which sessions of users who have left are here no longer.
    """

    __slots__ = ("_all_departed", "_departed", "_departed_of", "_departures", "_inside")

    def __init__(self, all_departed: DepartedSessions | None = None) -> None:
        self._all_departed = DepartedSessions() if all_departed is None else all_departed
        self._inside: dict[bytes, UserId] = {}
        self._departed: dict[bytes, UserId] = {}  # in the order they left
        self._departed_of: dict[UserId, list[bytes]] = {}  # the same by user
        self._departures: dict[UserId, Departure] = {}  # of the same users

    def user_of(self, digest: bytes) -> UserId | None:
        """The user of the session with that digest."""
        return self._inside.get(digest) or self._departed.get(digest)

    def departed_users(self) -> Iterable[UserId]:
        """Those who have left and are remembered, in that order."""
        return self._departed_of

    @property
    def departed_number(self) -> int:
        """How many those are."""
        return len(self._departed_of)

    def departed(self) -> Iterator[bytes]:
        """The sessions of users who have left, in that order."""
        return iter(self._departed)

    def among_departed(self, digests: Iterable[bytes]) -> list[bytes]:
        """Those of these sessions whose users have left."""
        return [digest for digest in digests if digest in self._departed]

    def departed_of(self, user_id: UserId) -> list[bytes]:
        """The sessions by which a user who has left can come back."""
        return self._departed_of.get(user_id, [])

    def departure_of(self, user_id: UserId) -> Departure | None:
        """How the user left; None if not departed, or forgotten."""
        return self._departures.get(user_id)

    def add(self, digest: bytes, user_id: UserId) -> None:
        """The session is that of a user inside."""
        self._inside[digest] = user_id
        self.forget_departed(digest)

    def drop(self, digests: list[bytes]) -> None:
        """Forgets sessions at once."""
        for digest in digests:
            self._inside.pop(digest, None)
            self.forget_departed(digest)

    def depart(self, digests: list[bytes], departure: Departure) -> list[UserId]:
        """The user of these sessions has left, and may come back while there is room to remember.

        Returns:
            Users some of whose sessions are forgotten for it.
        """
        forgotten = []
        for digest in digests:
            user_id = self._inside.pop(digest, None)
            if user_id is not None:
                self._departed[digest] = user_id
                before = self._departed_of.pop(user_id, [])
                self._departed_of[user_id] = [*before, digest]
                self._departures[user_id] = departure
        while len(self._departed) > MAX_DEPARTED:
            forgotten.append(self.forget_departed(next(iter(self._departed))))
        return [user_id for user_id in forgotten if user_id is not None]

    def forget_departed(self, digest: bytes) -> UserId | None:
        """Forget a session of a user who has left; returns whose it was, None if it is not one."""
        user_id = self._departed.pop(digest, None)
        if user_id is not None:
            self._all_departed.discard(digest)
            self._departed_of[user_id].remove(digest)
            if not self._departed_of[user_id]:
                del self._departed_of[user_id], self._departures[user_id]
        return user_id


class Bans:
    """Sessions and addresses (as digests) that are refused until the room ends."""

    __slots__ = ("_refused",)

    def __init__(self) -> None:
        self._refused: dict[bytes, None] = {}

    def add(self, digests: list[bytes]) -> None:
        """Refuse these; the oldest bans go when there are too many."""
        self._refused.update(dict.fromkeys(digest for digest in digests if digest))
        while len(self._refused) > MAX_BANS:
            del self._refused[next(iter(self._refused))]

    def __contains__(self, digest: bytes) -> bool:
        """Whether it is refused."""
        return digest in self._refused

    def __iter__(self) -> Iterator[bytes]:
        """All that is refused, the oldest first."""
        return iter(self._refused)
