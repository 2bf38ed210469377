"""The rooms, written down in memory with every turn of the hub, so that another process can go on with them.

Each turn's changes are one frame of a `MemoryLog`, written before anybody hears of them: what a client was told, the
next process knows. Of each room everything is written now and then; what lies before the oldest such place is cut off.
So the log is bounded, nothing in it is old, and there is never a moment at which all rooms are written at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from relayd.hub.memlog import MemoryLog, Unreadable
from relayd.rooms import state
from relayd.rooms.ledger import Ledger
from relayd.rooms.room import Room
from relayd.wire.ids import RoomId

TIDY_S = 0.25  # how often it is looked whether something can be cut off
TURNOVER_S = 60.0  # a room is written anew when what was written of it is so old, and all are within as long again
SLACK_BYTES = 8 * 2**20  # a log no longer than that is left alone, and one of more than twice what lives is not

_encode = msgspec.msgpack.Encoder().encode


class Counters(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What the hub knows beside its rooms.

    Attributes:
        rooms_created: ever.
        past_messages, past_bytes: of rooms that have ended.
        digest_key: see `Digests`; of addresses, by which bans hold, and of the ids of messages.
    """

    rooms_created: int
    past_messages: int
    past_bytes: int
    digest_key: bytes


class Turn(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One frame of the log."""

    counters: Counters
    records: list[state.Record]


_decode = msgspec.msgpack.Decoder(Turn).decode


class Place(NamedTuple):
    """Where all of a room was last written: offset of the frame, its bytes, and when."""

    offset: int
    size: int
    at: float


class Kept(NamedTuple):
    """A log, and what it holds.

    Attributes:
        counters: None if nothing was ever written.
        drafts: of the living rooms.
        places: of the same, the oldest first.
    """

    log: MemoryLog
    counters: Counters | None
    drafts: dict[RoomId, state.Draft]
    places: dict[RoomId, Place]


def read(log: MemoryLog, now: float) -> Kept:
    """Everything in the log.

    Raises:
        Unreadable: it is damaged, or from a relayd that writes something else.
    """
    counters: Counters | None = None
    drafts: dict[RoomId, state.Draft] = {}
    places: dict[RoomId, Place] = {}
    for offset, payload in log.frames():
        try:
            turn = _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
            raise Unreadable(f"what stands at byte {offset} is not understood") from wrong
        counters = turn.counters
        for record in turn.records:
            if isinstance(record, state.RoomState) and record.is_first:
                room_id = record.meta.room_id
                drafts[room_id] = state.Draft(record)
                places.pop(room_id, None)
                places[room_id] = Place(offset, len(payload), now)
                continue
            room_id = record.meta.room_id if isinstance(record, state.RoomState) else record.room_id
            if isinstance(record, state.RoomClosed):
                drafts.pop(room_id, None)
                places.pop(room_id, None)
            elif room_id in drafts:  # else all of it comes later, and this is a rest of what was cut off
                drafts[room_id].take(record)
    return Kept(log, counters, drafts, places)


def write_all(log: MemoryLog, rooms: Iterable[Room], counters: Counters) -> None:
    """Writes all of these rooms into an empty log."""
    for room in rooms:
        log.append(_encode(Turn(counters, state.all_of(room))))
    log.commit()


class Snapshot:
    """Writes the log.

    Args:
        log: empty, or as `read` has found it.
        ledger: what has changed.
        places: as `read` has found them.
    """

    def __init__(self, log: MemoryLog, ledger: Ledger, places: dict[RoomId, Place]) -> None:
        self.log = log
        self._ledger = ledger
        self._places = places
        self._live_bytes = sum(place.size for place in places.values())
        self._timer: asyncio.TimerHandle | None = None

    def write(self, counters: Counters, now: float) -> None:
        """Writes what has changed; nobody may have heard of it yet."""
        rooms, closed = self._ledger.take()
        records: list[state.Record] = []
        new: list[RoomId] = []
        for room, unwritten in rooms.items():
            if room.meta.room_id in self._places:
                records += state.changes_of(room, unwritten)
            else:
                records += state.all_of(room)
                new.append(room.meta.room_id)
        for room_id in closed:
            if self._forget(room_id):
                records.append(state.RoomClosed(room_id))
        payload = _encode(Turn(counters, records))
        offset = self.log.append(payload)
        for room_id in new:
            self._remember(room_id, Place(offset, len(payload) // len(new), now))
        self.log.commit()

    def start(self, rooms: dict[RoomId, Room], counters: Callable[[], Counters], clock: Callable[[], float]) -> None:
        """Cuts off what is old from now on, again and again."""
        self.tidy(rooms, counters(), clock())
        self._timer = asyncio.get_running_loop().call_later(TIDY_S, self.start, rooms, counters, clock)

    def tidy(self, rooms: dict[RoomId, Room], counters: Counters, now: float) -> None:
        """Writes rooms anew whose place is old, or too far back, and cuts off what lies before the oldest one."""
        most = 1 + int(len(self._places) * TIDY_S / TURNOVER_S)
        while self._places and (most > 0 or self._is_too_long()):
            room_id, place = next(iter(self._places.items()))
            if now - place.at < TURNOVER_S and not self._is_too_long():
                break
            payload = _encode(Turn(counters, state.all_of(rooms[room_id])))
            offset = self.log.append(payload)
            self._forget(room_id)
            self._remember(room_id, Place(offset, len(payload), now))
            self._cut()
            most -= 1
        self._cut()
        self.log.commit()
        self.log.release()

    def stop(self) -> None:
        """Cuts off nothing for a while: somebody else reads it."""
        if self._timer is not None:
            self._timer.cancel()

    def _is_too_long(self) -> bool:
        return self.log.head - self.log.tail > 2 * self._live_bytes + SLACK_BYTES

    def _cut(self) -> None:
        self.log.tail = next(iter(self._places.values())).offset if self._places else self.log.head

    def _remember(self, room_id: RoomId, place: Place) -> None:
        self._places[room_id] = place
        self._live_bytes += place.size

    def _forget(self, room_id: RoomId) -> bool:
        place = self._places.pop(room_id, None)
        self._live_bytes -= place.size if place is not None else 0
        return place is not None

    def close(self) -> None:
        """Writes nothing any more; what is written stays with whoever keeps the descriptor."""
        self.stop()
        self._ledger.is_kept = False
        with contextlib.suppress(ValueError):
            self.log.close()
