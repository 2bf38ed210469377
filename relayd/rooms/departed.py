"""Sessions of users who have left, bounded over all rooms: without that, each join and leave would cost memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relayd.rooms.room import Room


class DepartedSessions:
    """All of them, in the order in which their users left; past the limit the oldest are forgotten.

    Args:
        most: sessions, over all rooms; 0 means no limit.
        share: the part of `most` that rooms made from one address (of IPv6, one /48) may have; 0 means no limit.

    Attributes:
        most, share: may be changed; they hold from the next user who leaves.
    """

    def __init__(self, most: int = 0, share: float = 0.0) -> None:
        self.most = most
        self.share = share
        self._rooms: dict[bytes, Room] = {}  # by digest of the session
        self._held: Counter[tuple[bytes, ...]] = Counter()  # by the largest network of the rooms' creators

    def __len__(self) -> int:
        """How many there are."""
        return len(self._rooms)

    def add(self, room: Room, digests: Iterable[bytes]) -> None:
        """A user has left that room, and can come back by these sessions. May forget others, of any room."""
        network = _network(room)
        for digest in digests:
            self.discard(digest)
            self._rooms[digest] = room
            self._held[network] += 1
        # The room's own oldest, not the address': to keep an order for each address would double the memory.
        while self._is_over_share(network) and (own := next(room.sessions.departed(), None)) is not None:
            room.forget_session(own)
        while self.most and len(self._rooms) > self.most:
            oldest = next(iter(self._rooms))
            self._rooms[oldest].forget_session(oldest)

    def discard(self, digest: bytes) -> None:
        """That session is forgotten, or its user is back; nothing happens if it is not here."""
        room = self._rooms.pop(digest, None)
        if room is None:
            return
        network = _network(room)
        self._held[network] -= 1
        if not self._held[network]:
            del self._held[network]

    def _is_over_share(self, network: tuple[bytes, ...]) -> bool:
        is_limited = bool(network and self.most and self.share)
        return is_limited and self._held[network] > max(1, int(self.most * self.share))


def _network(room: Room) -> tuple[bytes, ...]:
    return room.meta.creator[-1:]
