"""What admins can do beyond what owners can: see all rooms, speak in any, announce, count."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from relayd.errors import FieldProblem, InvalidFields, NoSuchRoom, SealedRoom, TooLarge
from relayd.hub import usage
from relayd.hub.outgoing import Outgoing
from relayd.hub.service import RoomService
from relayd.registry.registry import Registry
from relayd.rooms import view
from relayd.rooms.access import PASS_VALID_S
from relayd.rooms.digests import NETWORK_BYTES
from relayd.rooms.room import Room
from relayd.wire import control, events, ids
from relayd.wire.ids import RandomBytes, RoomId, UserId, room_id_text
from relayd.wire.names import name_key

# Who says what an admin says. No user's id looks like that, so nobody inside a room can pass for it.
ADMIN = "admin"

_SHOWN_AMBIGUOUS = 3
_RATE_S = 1.0  # a rate is taken over at least so long

_SORT_KEYS: dict[str, Callable[[Room], Any]] = {
    "name": lambda room: name_key(room.meta.name),
    "id": lambda room: room.meta.room_id,
    "users": lambda room: len(room.members),
    "max": lambda room: room.meta.max_users,
    "connections": lambda room: room.connections,
    "messages": lambda room: room.messages,
    "data_volume": lambda room: room.data_volume,
    "date": lambda room: room.meta.created_at,
    "time_alive": lambda room: -room.meta.created_at,
    "expiration_date": lambda room: room.meta.ends_at,
}
SORT_FIELDS = (*_SORT_KEYS, "message_rate")


class Wanted(msgspec.Struct, frozen=True):
    """Which rooms a listing shows, and in which order.

    Attributes:
        match: part of the name, ignoring case.
        pattern: the whole name, ignoring case, with `*`, `?` and `[...]` as in a shell.
        created_by: see `Origins.matcher`.
        min_users: only rooms with at least so many.
        locked, sealed: only those that are, or are not.
        sort: one of `SORT_FIELDS`; oldest first without it.
        limit: how many at most; 0 means all.
    """

    match: str = ""
    pattern: str = ""
    created_by: str = ""
    min_users: int = 0
    locked: bool | None = None
    sealed: bool | None = None
    sort: str = "date"
    reverse: bool = False
    limit: int = 0


class Rates:
    """Messages a second of each room, over the time since somebody looked last, a second at least."""

    def __init__(self) -> None:
        self._at: float | None = None
        self._counts: dict[RoomId, int] = {}
        self._rates: dict[RoomId, float] = {}

    def take(self, rooms: Mapping[RoomId, Room], now: float) -> dict[RoomId, float]:
        """The rates now; those of rooms that are new since the last look count from their creation."""
        if self._at is None or now - self._at >= _RATE_S:
            self._rates = {room_id: self._rate(room, now) for room_id, room in rooms.items()}
            self._counts = {room_id: room.messages for room_id, room in rooms.items()}
            self._at = now
        return self._rates

    def _rate(self, room: Room, now: float) -> float:
        since = max(self._at or 0.0, room.meta.created_at)
        return (room.messages - self._counts.get(room.meta.room_id, 0)) / max(now - since, _RATE_S)


class Admin:
    """The hub's side of the control API.

    Args:
        service: the rooms.
        registry: for ids that are only begun.
        outgoing: what gateways are told.
        random_bytes: for message ids.
    """

    def __init__(self, service: RoomService, registry: Registry, outgoing: Outgoing, random_bytes: RandomBytes) -> None:
        self._service = service
        self._registry = registry
        self._outgoing = outgoing
        self._random = random_bytes
        self._rates = Rates()

    def find(self, reference: str) -> Room:
        """The room with that id or name, or the only one whose id begins like that. A name goes first.

        Raises:
            NoSuchRoom, AmbiguousRoom: there is none, or more than one.
        """
        try:
            return self._service.find(reference)
        except NoSuchRoom:
            bounds = control.prefix_bounds(reference)
            found = self._registry.ids_between(*bounds, most=_SHOWN_AMBIGUOUS) if bounds else []
        if len(found) > 1:
            raise control.ambiguous(reference, [room_id_text(room_id) for room_id in found])
        if not found:
            raise NoSuchRoom(f"There is no room {reference!r}")
        return self._service.rooms[found[0]]

    # Listing. ---------------------------------------------------------------------------------------------------

    def select(self, wanted: Wanted, now: float) -> list[Room]:
        """The rooms that are wanted, in that order."""
        rooms = [room for room in self._service.rooms.values() if _fits(room, wanted, now)]
        if wanted.pattern:
            fits = re.compile(fnmatch.translate(name_key(wanted.pattern))).match
            rooms = [room for room in rooms if fits(name_key(room.meta.name))]
        if wanted.created_by:
            is_creator = self._service.origins.matcher(wanted.created_by)
            rooms = [room for room in rooms if is_creator(room.meta.creator)]
        if wanted.sort == "message_rate":
            rates = self._rates.take(self._service.rooms, now)
            rooms.sort(key=lambda room: rates.get(room.meta.room_id, 0.0), reverse=wanted.reverse)
        else:
            rooms.sort(key=_SORT_KEYS[wanted.sort], reverse=wanted.reverse)
        return rooms[: wanted.limit] if wanted.limit else rooms

    def rows(self, rooms: Iterable[Room], now: float) -> list[control.RoomRow]:
        """Those of these rooms that still live, as a listing shows them."""
        rates = self._rates.take(self._service.rooms, now)
        return [
            control.row_of(view.details(room, now), rates.get(room.meta.room_id, 0.0), self.created_by(room))
            for room in rooms
            if room.meta.room_id in self._service.rooms
        ]

    def created_by(self, room: Room) -> str:
        """Who made the room: an address or its handle, or `admin`."""
        return self._service.origins.creator(room.meta.creator)

    def users(self, room: Room, after: str) -> list[control.User]:
        """A page of users."""
        name = self._service.origins.name
        return [
            control.User(
                user.id, user.role, user.profile, user.away, user.muted, name(room.members[UserId(user.id)].address)
            )
            for user in self._service.users(room, after)
        ]

    def bans(self, room: Room) -> list[control.Ban]:
        """What is banned in the room, the oldest first."""
        name = self._service.origins.name
        return [
            control.Ban("address", name(digest)) if len(digest) == NETWORK_BYTES else control.Ban("session", "")
            for digest in room.bans
        ]

    # Speaking. --------------------------------------------------------------------------------------------------

    def say(self, room: Room, text: str, now: float) -> control.Said:
        """Says something in the room's order, as `admin`: it counts, and whoever lost the connection gets it later.

        Raises:
            SealedRoom: nobody but its members can.
            TooLarge: more than a message may have.
        """
        if view.details(room, now).sealed:
            raise SealedRoom(
                "The room is sealed: whoever has not its link (and password) can say nothing in it; announce reaches it"
            )
        body = msgspec.json.encode({"kind": "text", "text": text})
        if len(body) > self._service.settings.limits.max_message:
            raise TooLarge(f"A message has at most {self._service.settings.limits.max_message} bytes here")
        room.say_from_outside(len(body), now)
        frame = events.message(room.seq, int(now * 1000), ADMIN, self._random(8).hex(), body)
        self._service.rings.add(room.ring, room.seq, frame, now)
        self._outgoing.say(room, room.seq, frame)
        return control.Said(room_id_text(room.meta.room_id), room.seq, len(room.members))

    def mint_pass(self, room: Room, now: float) -> control.Pass:
        """A key that lets one newcomer into the room, once and soon, even if it is locked."""
        key = ids.new_key(ids.INVITE, self._random)
        room.add_pass(ids.digest_of(key), now)
        return control.Pass(room_id_text(room.meta.room_id), key, PASS_VALID_S)

    def announce(self, rooms: Iterable[Room], text: str) -> control.Announced:
        """Tells everyone in these rooms, outside of their order."""
        count = users = 0
        for room in rooms:
            self._service.announce(room, events.RoomEvent("announcement", text=text))
            self._service.happened("announcement", room)
            count += 1
            users += len(room.members)
        return control.Announced(count, users)

    def rooms_for(self, reference: str | None) -> list[Room]:
        """That room, or all."""
        return list(self._service.rooms.values()) if reference is None else [self.find(reference)]

    # Counting. --------------------------------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """Rooms, people and what was said, now and since the start."""
        service, users, messages, volume = self._service, 0, 0, 0
        # In one go: this is asked again and again, and of 20,000 rooms each sum of its own took 5 ms.
        for room in service.rooms.values():
            users += len(room.members)
            messages += room.messages
            volume += room.data_volume
        return {
            "rooms": len(service.rooms),
            "rooms_created": service.rooms_created,
            "places": service.occupancy.seats,
            "users": users,
            "connections": len(service.connections),
            "messages": service.past_messages + messages,
            "bytes": service.past_bytes + volume,
            "deliveries": service.reports.total().deliveries,
        }

    def gateways(self) -> list[control.GatewayStatus]:
        """What each gateway last said of itself."""
        return [
            control.GatewayStatus(
                report.connections,
                report.tally.deliveries,
                report.waiting_bytes,
                report.tally.slow_closed,
                round(report.lag_s, 4),
            )
            for _, report, _ in self._service.reports
        ]

    def limits(self, now: float) -> control.LimitsReport:
        """Each limit, what is used of it, what was refused, and the addresses that have or do most."""
        return usage.limits_report(self._service, now)

    def unreadable_headers(self) -> dict[str, int]:
        """Forwarded headers of trusted proxies that could not be read since the start, by name."""
        return self._service.reports.total().unreadable_headers


def check_sort(field: str) -> str:
    """Lets a field pass by which rooms can be sorted.

    Raises:
        InvalidFields: naming those that can.
    """
    if field not in SORT_FIELDS:
        reason = f"is one of {', '.join(SORT_FIELDS)}"
        raise InvalidFields(f"sort: {reason}", problems=(FieldProblem("sort", reason),))
    return field


def _fits(room: Room, wanted: Wanted, now: float) -> bool:
    return (
        (not wanted.match or name_key(wanted.match) in name_key(room.meta.name))
        and len(room.members) >= wanted.min_users
        and wanted.locked in (None, room.meta.locked)
        and (wanted.sealed is None or wanted.sealed == view.details(room, now).sealed)
    )
