"""Lobbies: in a room that has one, newcomers wait until somebody inside admits them.

Who waits has no seat and is no user of the room: it is told nothing, may send nothing but its profile, and is
forgotten with its connection. To be admitted is to join at that moment: what would refuse the join refuses it then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from math import inf
from typing import Any

import msgspec

from relayd.bus.messages import Gone, Leave, Sent, SetProfile, Waiting
from relayd.errors import (
    Denied,
    Forbidden,
    Left,
    LobbyFull,
    NoSuchRoom,
    NoSuchUser,
    NotAdmitted,
    Overloaded,
    RelayError,
    RoomClosed,
    StaleEpoch,
)
from relayd.hub.egress import Egress
from relayd.hub.outgoing import Outgoing
from relayd.rooms import view
from relayd.rooms.limits import ConnectionLimit
from relayd.rooms.member import Connection, Member, networks_of
from relayd.rooms.room import Room, Ticket
from relayd.settings import Limits
from relayd.wire import events
from relayd.wire.ids import RoomId, UserId

MAX_WAITING = 32  # in one room: what a person can look through
MAX_WAIT_S = 600.0
_RETRY_S = 60.0  # for a server on which too many wait

RefuseJoin = Callable[[RoomId, bytes, int, RelayError], None]  # (room, gateway, number of the socket, why)


class Arrival(msgspec.Struct, eq=False):
    """A join that may succeed.

    Attributes:
        number: of the socket, at that gateway.
        user_id: who joins.
        by_session: whether the session says so.
        epoch: of the sealing, whose secret the newcomer has shown to know.
        profile: JSON text; None leaves the present one.
        sid: see `Attached.sid`.
        since_epoch, since_seq: the last message received.
        forget_address: ends that it counts among those of its address that wait.
        ends_at: seconds, when it has waited for too long.
    """

    gateway: bytes
    number: int
    room: Room
    ticket: Ticket
    user_id: UserId
    by_session: bool
    epoch: int
    profile: bytes | None
    sid: bytes | None
    since_epoch: str
    since_seq: int
    forget_address: Callable[[], None] = lambda: None
    ends_at: float = 0.0

    @property
    def networks(self) -> tuple[bytes, ...]:
        """What its address counts for, as digests; see `addresses.prefixes`."""
        return networks_of(self.ticket.address, self.ticket.site)

    def check(self, now: float) -> None:
        """Let it pass if it could still join now, apart from the lobby, and from seats.

        Raises:
            NoSuchRoom, Forbidden: the key does not fit any more, the address is banned, or the room has new keys.
            Locked: the room is locked.
        """
        self.room.identify(self.ticket, lambda: self.user_id, now)
        if self.epoch != self.room.sealing_epoch:
            raise Forbidden("The room has new keys, and there are none for you")


class Lobby:
    """The newcomers who wait, of all rooms.

    Args:
        limits: of the server.
        outgoing: what gateways are told.
        egress: is charged for it.
        delay_s: how long changes in a room are collected before they are told; takes the room and the time.
        refuse_join: closes a socket that has not joined.

    Attributes:
        enter: joins somebody who has waited. Raises `RelayError`: not now; nothing has changed then.
    """

    def __init__(
        self,
        limits: Limits,
        outgoing: Outgoing,
        egress: Egress,
        delay_s: Callable[[Room, float], float],
        refuse_join: RefuseJoin,
    ) -> None:
        self.enter: Callable[[Arrival, float], None] = lambda arrival, now: None
        self._outgoing = outgoing
        self._egress = egress
        self._delay_s = delay_s
        self._refuse_join = refuse_join
        self._addresses = ConnectionLimit(0)
        self._sockets: dict[tuple[bytes, int], Arrival] = {}  # by gateway and number; longest waiting first
        self._rooms: dict[Room, dict[UserId, Arrival]] = {}  # those in which anybody waits
        self._untold: dict[Room, float] = {}  # rooms in which that has changed, and when it is to be told
        self.change(limits)

    def change(self, limits: Limits) -> None:
        """Other limits hold from now on."""
        self._most = limits.max_waiting
        share = int(limits.address_share * limits.max_waiting)
        self._addresses.most = max(MAX_WAITING, share) if share else 0

    # Coming and going. ------------------------------------------------------------------------------------------

    def add(self, arrival: Arrival, address: str, now: float) -> None:
        """A newcomer waits.

        Raises:
            LobbyFull, RateLimited, Overloaded: too many do, for the room, from the address, or on the server.
        """
        room = arrival.room
        if len(self._rooms.get(room, ())) >= MAX_WAITING:
            raise LobbyFull(f"{MAX_WAITING} newcomers wait for this room already: try again when some were admitted")
        if self._most and len(self._sockets) >= self._most:
            detail = f"{self._most} newcomers wait on this server already (limits.max_waiting): try again later"
            raise Overloaded(detail, retry_after_s=_RETRY_S)
        self._addresses.check(address)
        arrival.forget_address = self._addresses.add(address)
        arrival.ends_at = now + MAX_WAIT_S
        self._sockets[arrival.gateway, arrival.number] = arrival
        self._rooms.setdefault(room, {})[arrival.user_id] = arrival
        frame = events.encode(events.Waiting(view.details(room, now, joined=True)))
        self._outgoing.to_gateway(room.meta.room_id, arrival.gateway, Waiting(arrival.number, frame, arrival.sid))
        self._egress.charge(arrival.networks, len(frame), now)
        self._changed(room, now)

    def take(self, gateway: bytes, item: Any, now: float) -> None:
        """Somebody who waits has sent something, or is gone; of others, nothing is done."""
        arrival = self._sockets.get((gateway, item.number))
        if arrival is None:
            return
        if isinstance(item, SetProfile):
            self._set_profile(arrival, item, now)
        elif isinstance(item, Leave):
            self._turn_away(arrival, Left(), now)
        elif isinstance(item, Gone):
            self._remove(arrival, now)

    def admit(self, room: Room, user_id: str, now: float) -> None:
        """Joins somebody who waits.

        Raises:
            NoSuchUser: nobody of that id waits, or nobody who could still join.
            RelayError: not now (the room is full, locked, ...); the user goes on waiting.
        """
        arrival = self._find(room, user_id)
        try:
            arrival.check(now)
            self.enter(arrival, now)
        except (NoSuchRoom, Forbidden) as error:
            self._turn_away(arrival, error, now)
            detail = "the invite has ended, the address is banned, or the room has new keys"
            raise NoSuchUser(f"That user may not join any more: {detail}") from None
        self._remove(arrival, now)
        self.reconsider(room, now)  # the invite may be used up that others came by

    def deny(self, room: Room, user_id: str, now: float) -> Arrival:
        """Turns somebody away who waits.

        Raises:
            NoSuchUser: nobody of that id waits.
        """
        arrival = self._find(room, user_id)
        self._turn_away(arrival, Denied(), now)
        return arrival

    def reconsider(self, room: Room, now: float) -> None:
        """The room, or who may join it, has changed: those go who may not join any more; without a lobby all join."""
        for arrival in list(self._rooms.get(room, {}).values()):
            is_open = not room.meta.settings.lobby
            try:
                arrival.check(now)
                if is_open:
                    self.enter(arrival, now)
            except RelayError as error:
                if is_open or isinstance(error, NoSuchRoom | Forbidden):
                    self._turn_away(arrival, error, now)
                continue
            if is_open:
                self._remove(arrival, now)

    def end(self, room: Room, frame: bytes) -> None:
        """The room is over.

        Args:
            frame: what everyone in it is told.
        """
        for arrival in list(self._rooms.get(room, {}).values()):
            self._send(arrival, frame)
            self._turn_away(arrival, RoomClosed(), 0.0)
        self._untold.pop(room, None)

    def lose_gateway(self, gateway: bytes, now: float) -> None:
        """A gateway process is gone, and all its sockets with it."""
        for arrival in [one for one in self._sockets.values() if one.gateway == gateway]:
            self._remove(arrival, now)

    # Telling. ---------------------------------------------------------------------------------------------------

    def frames_for(self, member: Member, room: Room) -> list[bytes]:
        """What that member is told of who waits, right after joining: nothing, unless it is one who may admit."""
        return [self._frame(room)] if room.meta.settings.lobby and member.may_moderate else []

    def tell(self, room: Room, connections: Iterable[Connection], now: float) -> None:
        """Tells who waits."""
        receivers = list(connections)
        if receivers:
            frame = self._frame(room)
            self._outgoing.to_connections(receivers, frame)
            self._egress.charge_room(room, len(frame) * len(receivers), now)

    # Time. ------------------------------------------------------------------------------------------------------

    def start_empty(self, rooms: Iterable[Room], now: float) -> None:
        """Whoever waited at another process before has to come again: those inside are told that nobody waits yet."""
        for room in rooms:
            if room.meta.settings.lobby:
                self._changed(room, now)

    def next_due(self) -> float | None:
        """When `advance` has something to do next; None if never."""
        if not self._sockets and not self._untold:
            return None
        longest = [arrival.ends_at for arrival in islice(self._sockets.values(), 1)]
        return min(*longest, *self._untold.values(), inf)

    def advance(self, now: float) -> None:
        """Turns away who has waited for too long, and tells what has changed."""
        while self._sockets and (longest := next(iter(self._sockets.values()))).ends_at <= now:
            minutes = round(MAX_WAIT_S / 60)
            self._turn_away(longest, NotAdmitted(f"Nobody has admitted you within {minutes} minutes"), now)
        for room in [room for room, due in self._untold.items() if due <= now]:
            del self._untold[room]
            inside = [member for member in room.members.values() if member.may_moderate]
            self.tell(room, (connection for member in inside for connection in member.connections), now)

    # Inside. ----------------------------------------------------------------------------------------------------

    def _find(self, room: Room, user_id: str) -> Arrival:
        arrival = self._rooms.get(room, {}).get(UserId(user_id))
        if arrival is None:
            raise NoSuchUser("Nobody of that id waits to be admitted")
        return arrival

    def _set_profile(self, arrival: Arrival, item: SetProfile, now: float) -> None:
        room = arrival.room
        try:
            self._egress.check(arrival.networks, now)
            if item.epoch != room.sealing_epoch:
                raise StaleEpoch
        except RelayError as error:
            self._send(arrival, events.encode(events.refusal(error, item.id)))
            return
        arrival.profile = item.profile
        self._egress.charge(arrival.networks, len(item.profile), now)
        if item.id is not None:
            self._send(arrival, events.encode(events.Ok(id=item.id)))
        self._changed(room, now)

    def _changed(self, room: Room, now: float) -> None:
        if room not in self._untold:
            self._untold[room] = now + self._delay_s(room, now)

    def _frame(self, room: Room) -> bytes:
        waiting = self._rooms.get(room, {}).values()
        users = [view.newcomer(arrival.user_id, arrival.profile or b"{}") for arrival in waiting]
        return events.encode(events.RoomEvent("knocking", users=users))

    def _send(self, arrival: Arrival, frame: bytes) -> None:
        sent = Sent([arrival.number], frame, droppable=False)
        self._outgoing.to_gateway(arrival.room.meta.room_id, arrival.gateway, sent)

    def _turn_away(self, arrival: Arrival, error: RelayError, now: float) -> None:
        self._remove(arrival, now)
        self._refuse_join(arrival.room.meta.room_id, arrival.gateway, arrival.number, error)

    def _remove(self, arrival: Arrival, now: float) -> None:
        room = arrival.room
        del self._sockets[arrival.gateway, arrival.number], self._rooms[room][arrival.user_id]
        if not self._rooms[room]:
            del self._rooms[room]
        arrival.forget_address()
        self._changed(room, now)
