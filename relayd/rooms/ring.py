"""What was said in the last moments, for members whose connection was lost. Never more than that."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from relayd.wire.events import MESSAGE_START
from relayd.wire.ids import UserId

MAX_MESSAGES = 4_096
MAX_BYTES = 256 * 1024
MAX_AUTHORS = 64  # of those who have left
MAX_AUTHORS_BYTES = 64 * 1024  # a profile has 1 KiB at most


class Author(NamedTuple):
    """Somebody who has left, and of whom there is something that others may still have to hear.

    Attributes:
        entry: JSON text, as others saw them.
        joined_seq: the last seq before they came.
        last_seq: of the last thing they said; of a direct message the seq it came after.
        at: seconds, when that was said.
        cards: in a sealed room, JSON texts of all their cards, the newest last.
        announced_seq: see `Member.announced_seq`.
    """

    entry: bytes
    joined_seq: int
    last_seq: int
    at: float
    cards: tuple[bytes, ...] = ()
    announced_seq: int = -1

    def is_unknown(self, seq: int) -> bool:
        """Whether a member who has received nothing since the message `seq` may lack them, or one of their cards.

        The connection may have been lost between the message `seq` and a presence frame right after it. In a sealed
        room messages cannot be read without that frame, so there the answer is yes.
        """
        came_later = self.joined_seq >= seq and self.last_seq >= seq
        return came_later or self.announced_seq > seq or (self.announced_seq == seq and bool(self.cards))

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.entry) + sum(map(len, self.cards))


class Kept(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One message.

    Attributes:
        mark: counts everything ever kept in this room; what a member's `joined_mark` is held against.
        seq: its place; of a direct message the seq it came after.
        at: seconds, when it was said.
        between: sender and receiver of a direct message; empty if it was for all.
        frame: payload of the text frame.
    """

    mark: int
    seq: int
    at: float
    between: tuple[UserId, ...]
    frame: bytes


class Ring:
    """The last messages of one room, bounded by age, number and bytes.

    Args:
        kept_s: seconds for which a message is kept; 0 keeps nothing.
    """

    __slots__ = ("_authors", "_authors_bytes", "_entries", "_written", "cleared", "kept_s", "last_seq", "mark", "size")

    def __init__(self, kept_s: float) -> None:
        self.kept_s = kept_s
        self.size = 0  # bytes of all frames in it, and of what is kept of authors
        self.mark = 0  # of the last one added
        self.last_seq = 0  # the highest seq added
        self.cleared = 0  # `mark` when it was last emptied at once
        self._written = 0  # `mark` when `unwritten` was last asked
        self._entries: deque[Kept] = deque()
        self._authors: dict[UserId, Author] = {}  # in the order they left
        self._authors_bytes = 0

    def add(self, seq: int, frame: bytes, now: float, between: tuple[UserId, ...] = ()) -> None:
        """A message was said."""
        self.mark += 1
        if not between:
            self.last_seq = seq
        if not self.kept_s:
            return
        entries = self._entries
        entries.append(Kept(self.mark, seq, now, between, frame))
        self.size += len(frame)
        too_old = now - self.kept_s
        while entries and (entries[0].at <= too_old or self.size > MAX_BYTES or len(entries) > MAX_MESSAGES):
            self._drop_oldest()

    def replace(self, seq: int, frame: bytes) -> bool:
        """Something else comes in place of a message to all, for those who have not heard it; whether it was here."""
        for index, entry in enumerate(self._entries):
            if entry.seq == seq and not entry.between and entry.frame.startswith(MESSAGE_START):
                self._entries[index] = msgspec.structs.replace(entry, frame=frame)
                self.size += len(frame) - len(entry.frame)
                return True
        return False

    def replaced(self, seqs: Iterable[int]) -> list[Kept]:
        """The entries at these places, as far as they are still kept."""
        wanted = set(seqs)
        return [entry for entry in self._entries if entry.seq in wanted and not entry.between]

    def expire(self, now: float) -> float | None:
        """Drops what is too old; returns when the next one will be, or None if nothing is left."""
        while self._entries and self._entries[0].at + self.kept_s <= now:
            self._drop_oldest()
        for user_id, author in list(self._authors.items()):
            if author.at + self.kept_s <= now:
                self._forget_author(user_id)
        return self._entries[0].at + self.kept_s if self._entries else None

    def clear(self) -> None:
        """Drops everything."""
        self._entries.clear()
        self._authors.clear()
        self.size = self._authors_bytes = 0
        self.cleared = self.mark

    def keep_author(self, user_id: UserId, author: Author) -> None:
        """The user leaves; how they looked is kept no longer than what they said."""
        if not self._entries:
            return
        self._forget_author(user_id)
        self._authors[user_id] = author
        self.size += author.size
        self._authors_bytes += author.size
        while len(self._authors) > MAX_AUTHORS or self._authors_bytes > MAX_AUTHORS_BYTES:
            self._forget_author(next(iter(self._authors)))

    def _forget_author(self, user_id: UserId) -> None:
        author = self._authors.pop(user_id, None)
        if author is not None:
            self.size -= author.size
            self._authors_bytes -= author.size

    def author(self, user_id: UserId) -> Author | None:
        """What the ring has of a user who has left."""
        return self._authors.get(user_id)

    def strangers(self, seq: int) -> dict[UserId, bytes]:
        """The authors who have left, perhaps to come again, and are unknown since `seq`: `Author.entry` of each."""
        return {user_id: author.entry for user_id, author in self._authors.items() if author.is_unknown(seq)}

    def entries(self) -> list[Kept]:
        """All that is kept, in order; counts as written down."""
        self._written = self.mark
        return list(self._entries)

    def unwritten(self) -> list[Kept]:
        """What came since it was last asked for, or for `entries`, as far as it is still kept; in order."""
        # Marks have no gaps: only the oldest entries are ever dropped.
        count = min(len(self._entries), self.mark - self._written)
        self._written = self.mark
        return [self._entries[index] for index in range(-count, 0)]

    def restore(self, entries: list[Kept], mark: int, last_seq: int) -> None:
        """Makes it what it was when these were its entries; does so once, while it is empty."""
        self.mark = self._written = mark
        self.last_seq = last_seq
        self._entries.extend(entries)
        self.size = sum(len(entry.frame) for entry in entries)
        while self.size > MAX_BYTES or len(self._entries) > MAX_MESSAGES:
            self._drop_oldest()

    def since(self, seq: int, joined_mark: int, user_id: UserId) -> list[Kept]:
        """What the user has not heard, in order: messages after `seq`, direct ones of its own from `seq` on.

        Args:
            joined_mark: `mark` when the user came; nothing up to it is for them.
        """
        return [entry for entry in self._newer(joined_mark) if _is_for(entry, user_id, seq)]

    def first_seq(self) -> int:
        """The oldest seq from which on all messages to all are here; one above the last if none is."""
        return next((entry.seq for entry in self._entries if not entry.between), self.last_seq + 1)

    def _newer(self, mark: int) -> Iterator[Kept]:
        return (entry for entry in self._entries if entry.mark > mark)

    def _drop_oldest(self) -> None:
        self.size -= len(self._entries.popleft().frame)


def _is_for(entry: Kept, user_id: UserId, seq: int) -> bool:
    return (user_id in entry.between and entry.seq >= seq) if entry.between else entry.seq > seq


class Rings:
    """The rings of all rooms: together they are bounded, and each is emptied in time though nothing is said.

    Args:
        max_bytes: over all rings; past it the largest is emptied. 0 means no limit.
    """

    def __init__(self, max_bytes: int) -> None:
        self.size = 0
        self.max_bytes = max_bytes
        self._rings: dict[Ring, None] = {}  # those that hold something
        self._due: list[tuple[float, int, Ring]] = []  # a heap with one entry for each of them; int breaks ties

    def add(self, ring: Ring, seq: int, frame: bytes, now: float, between: tuple[UserId, ...] = ()) -> None:
        """A message was said in the room of that ring."""
        before = ring.size
        ring.add(seq, frame, now, between)
        self.size += ring.size - before
        if ring.size and ring not in self._rings:
            self._rings[ring] = None
            heapq.heappush(self._due, (now + ring.kept_s, id(ring), ring))
        if self.max_bytes and self.size > self.max_bytes:
            self.clear(max(self._rings, key=lambda one: one.size))

    def replace(self, ring: Ring, seq: int, frame: bytes) -> bool:
        """See `Ring.replace`."""
        before = ring.size
        is_replaced = ring.replace(seq, frame)
        self.size += ring.size - before
        return is_replaced

    def keep_author(self, ring: Ring, user_id: UserId, author: Author) -> None:
        """A user leaves the room of that ring; see `Ring.keep_author`."""
        before = ring.size
        ring.keep_author(user_id, author)
        self.size += ring.size - before

    def adopt(self, ring: Ring, now: float) -> None:
        """A ring that holds something already."""
        self.size += ring.size
        if self.expire(ring, now) is not None:
            self._rings[ring] = None
            heapq.heappush(self._due, (now, id(ring), ring))

    def expire(self, ring: Ring, now: float) -> float | None:
        """Drops what is too old in one ring; see `Ring.expire`."""
        before = ring.size
        next_due = ring.expire(now)
        self.size += ring.size - before
        return next_due

    def clear(self, ring: Ring) -> None:
        """Empties a ring: its room is over, keeps nothing any more, or holds too much."""
        self.size -= ring.size
        ring.clear()
        # Its entry in the heap goes when it is due, or serves it again.

    def next_due(self) -> float | None:
        """When `advance` has something to do next."""
        return self._due[0][0] if self._due else None

    def advance(self, now: float) -> None:
        """Drops what is too old everywhere."""
        while self._due and self._due[0][0] <= now:
            _, _, ring = heapq.heappop(self._due)
            next_due = self.expire(ring, now)
            if next_due is None:
                self._rings.pop(ring, None)
            else:
                # A second at least, so that a busy room is not looked at for every message.
                heapq.heappush(self._due, (max(next_due, now + 1.0), id(ring), ring))
