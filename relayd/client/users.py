"""Who is in the room, kept up to date from what the server tells."""

from __future__ import annotations

import msgspec

from relayd.wire.sealing_text import encode_base64url


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody in the room, as known at one moment.

    Attributes:
        id: the server's name for them, the same as long as the room lives.
        nick: what they call themselves; "" if not known. Nobody checks that it is theirs alone.
        role: `owner`, `moderator` or `member`.
        away: their connection is lost, the place kept for a while.
        muted: they may listen only.
        key: their card's public key in a sealed room (32 bytes), else b"".
        profile: all they say of themselves.
    """

    id: str
    nick: str = ""
    role: str = "member"
    away: bool = False
    muted: bool = False
    key: bytes = b""
    profile: dict[str, object] = {}

    @property
    def is_owner(self) -> bool:
        """Whether they made the room."""
        return self.role == "owner"

    @property
    def is_moderator(self) -> bool:
        """Whether the owner has made them one: they may kick, ban and mute, remove messages and lock the room."""
        return self.role == "moderator"

    @property
    def tag(self) -> str:
        """Four characters that tell two people of one nick apart: of the key if sealed, else of the id.

        A glance, not a proof: whoever must be sure compares safety codes.
        """
        return encode_base64url(self.key)[:4] if self.key else self.id.removeprefix("u_")[:4]


class Change(msgspec.Struct, frozen=True):
    """What became of the roster: who came, who went (as last known), who looks different (before, now)."""

    joined: list[User]
    left: list[User]
    changed: list[tuple[User, User]]


class Roster:
    """Users by id, in the order they came."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}
        self._past: dict[str, User] = {}  # those who left, for what they said that comes late
        self._left: set[str] = set()  # ids told as left since the list was given: a late page may still have them
        self.count = 0  # as the server says; more than are known here while pages are on their way

    def all(self) -> list[User]:
        """Everyone known, in the order they came."""
        return list(self._users.values())

    def departed(self) -> list[User]:
        """Users who were here and are not any more, as last known, in the order they left."""
        return [user for user_id, user in self._past.items() if user_id not in self._users]

    def get(self, user_id: str) -> User | None:
        """The user with that id, if here."""
        return self._users.get(user_id)

    def has_seen(self, user_id: str) -> bool:
        """Whether that user is or was here."""
        return user_id in self._users or user_id in self._past or not user_id.startswith("u_")

    def has_left(self, user_id: str) -> bool:
        """Whether that user was here and is not any more."""
        return user_id in self._past and user_id not in self._users

    def known(self, user_id: str) -> User:
        """The user with that id as last known; one without a nick if never seen.

        `admin`, whom a server lets speak in an open room, is no user and called so.
        """
        stranger = User(id=user_id, nick="" if user_id.startswith("u_") else user_id)
        return self._users.get(user_id) or self._past.get(user_id) or stranger

    def replace(self, users: list[User], count: int) -> Change:
        """Starts anew with a list; what differs from before is told as if it had happened one by one.

        A list may be cut short: then nobody who is not on it is taken for gone.
        """
        before, self._left = self._users, set()
        whole = count <= len(users)
        self._users = {} if whole else dict(before)
        change = self.update(users, [], users, count)
        gone = [user for user_id, user in before.items() if user_id not in self._users]
        self._past.update((user.id, user) for user in gone)
        known = [user for user in change.joined if user.id not in before]
        differing = [(before[user.id], user) for user in users if user.id in before and before[user.id] != user]
        return Change(known, gone, differing)

    def add_page(self, users: list[User]) -> Change:
        """Takes those of a later page who are not known and have not left meanwhile."""
        return self.update([user for user in users if user.id not in self._left], [], [], self.count)

    def update(self, joined: list[User], left: list[str], changed: list[User], count: int) -> Change:
        """Takes what a presence frame tells. Whoever is known already has not joined, only changed."""
        self.count = count
        self._past.update((user_id, self._users[user_id]) for user_id in left if user_id in self._users)
        gone = [user for user_id in left if (user := self._users.pop(user_id, None)) is not None]
        self._left.update(left)
        # A user with several cards has an entry for each; the last entry is the present state.
        told = {user.id: user for user in (*joined, *changed)}
        new = [told[user_id] for user_id in dict.fromkeys(user.id for user in joined) if user_id not in self._users]
        different = [(before, user) for user in told.values() if (before := self._users.get(user.id)) != user]
        self._users.update(told)
        self._left.difference_update(told)
        return Change(new, gone, [(before, user) for before, user in different if before is not None])
