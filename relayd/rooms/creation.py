"""Who may create rooms: anyone, those with a key, or only admins (who use the control socket and are not asked)."""

from __future__ import annotations

from relayd.errors import NoKey, NotPermitted
from relayd.settings import Rooms
from relayd.wire.ids import CREATE, parse_key


class CreationPolicy:
    """What the settings say about it.

    Args:
        rooms: `rooms.create` and `rooms.create_keys` of these count; may be replaced by `change`.
    """

    def __init__(self, rooms: Rooms) -> None:
        self.change(rooms)

    def change(self, rooms: Rooms) -> None:
        """Other settings hold from now on."""
        self._who = rooms.create
        self._digests = [bytes.fromhex(digest) for digest in rooms.create_keys]

    def check(self, key: str | None) -> None:
        """Let a request pass that may create a room.

        Args:
            key: text of the key that came with it; None if none did.

        Raises:
            NoKey: it has no key, and needs one.
            NotPermitted: the key is none of those, or no key helps.
        """
        if self._who == "anyone":
            return
        if self._who == "nobody":
            raise NotPermitted("Only the admins of this server create rooms")
        if key is None:
            raise NoKey("A key is needed to create rooms on this server: Authorization: Bearer <key>")
        credential = parse_key(key)
        # All of them are compared, so that the time says nothing of which one is near.
        fits = [credential is not None and credential.fits(digest) for digest in self._digests]
        if credential is None or credential.kind != CREATE or not any(fits):
            raise NotPermitted("That key does not let you create rooms on this server")
