"""RoomService: everything that can be done to a room, whoever asks for it.

REST, the sockets' owner commands and the control API all come here; who may ask is settled before, at the door.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from relayd.bus.messages import Announced, Dropped, Ended, Reached, Report, Sent
from relayd.errors import (
    FieldProblem,
    InvalidFields,
    Kicked,
    NameReserved,
    NameTaken,
    NoPlaces,
    NoSuchMessage,
    NoSuchRoom,
    RateLimited,
    RelayError,
    RoomClosed,
)
from relayd.fields import check
from relayd.hub.attendance import Attendance
from relayd.hub.blocks import Closed
from relayd.hub.counts import Counts
from relayd.hub.egress import Egress
from relayd.hub.lobby import Lobby
from relayd.hub.origins import Origins
from relayd.hub.outgoing import Outgoing, by_gateway
from relayd.hub.reports import Reports
from relayd.registry.registry import Registry
from relayd.rooms import view
from relayd.rooms.departed import DepartedSessions
from relayd.rooms.digests import Digests
from relayd.rooms.expiry import lifetime
from relayd.rooms.invites import Invite as InviteState
from relayd.rooms.ledger import Ledger
from relayd.rooms.limits import room_allowance, user_allowance
from relayd.rooms.member import Connection, Member
from relayd.rooms.meta import RoomMeta, changed_meta
from relayd.rooms.ring import Rings
from relayd.rooms.room import Graces, Room, absent_room
from relayd.rooms.seal import Seal, kick_note
from relayd.rooms.seats import Creator, Occupancy, seats_of
from relayd.rooms.state import Draft, room_of
from relayd.settings import Settings
from relayd.wire import events, ids
from relayd.wire.ids import RandomBytes, RoomId, UserId
from relayd.wire.names import MAX_NAME_CHARS, ReservedNames, generated_name, name_key, normalise_name
from relayd.wire.rest import (
    Created,
    CreateInvite,
    CreateRoom,
    Details,
    EditRoom,
    Invite,
    InviteCreated,
    InviteList,
    RoomSettings,
    User,
)

_NAMES_TRIED = 20  # generated ones; with 700,000 to draw from, twenty in a row are taken only at 600,000 rooms


class ConnectionState(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A connection, as it goes from one hub to the next; see `Connection`."""

    gateway: bytes
    number: int
    room_id: RoomId
    user_id: UserId
    address: bytes
    active_at: float
    card: bytes | None = None


class RoomService:
    """The living rooms and what can be done to them.

    Args:
        settings: limits and defaults; may be replaced by assignment.
        registry: rooms' metadata.
        outgoing: what gateways are told.
        random_bytes: a cryptographic source of randomness.
        check_lag: raises `Overloaded` while the loop is late.
        ledger: where rooms enter their changes.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        outgoing: Outgoing,
        random_bytes: RandomBytes,
        check_lag: Callable[[], None],
        ledger: Ledger,
    ) -> None:
        self.settings = settings
        self.rooms: dict[RoomId, Room] = {}
        self.connections: dict[tuple[bytes, int], Connection] = {}  # by gateway and number
        self.on_report: Callable[[bytes, Report], None] = lambda gateway, report: None  # for who watches the processes
        self.reports = Reports(time.monotonic)
        self.counts = Counts()
        self.on_reached: Callable[[bytes, Reached], None] = lambda gateway, reached: None  # for a handover
        self.lost_gateways: set[bytes] = set()  # topics of those that are gone
        self._registry = registry
        self._outgoing = outgoing
        self._random = random_bytes
        self._check_lag = check_lag
        self._ledger = ledger
        self.digests = Digests(random_bytes(16))
        self.origins = Origins(settings, lambda: self.digests)
        self.closed = Closed(outgoing.publish, lambda: self.digests)
        self.occupancy = Occupancy()
        self._departed = DepartedSessions(settings.limits.max_departed_sessions, settings.limits.address_share)
        self._reserved_names = ReservedNames(settings.rooms.reserved_names)
        self.rings = Rings(settings.limits.max_ring)
        self.happened: Callable[..., None] = lambda event, room, **fields: None  # see Happenings.tell
        self.egress = Egress(settings.limits)
        self.attendance = Attendance(
            outgoing, self.rings, self.egress, self._happened, settings.timing.presence_interval
        )
        self.lobby = Lobby(settings.limits, outgoing, self.egress, self.attendance.delay_s, self.refuse_join)
        # For files, which end with the people and rooms they belong to.
        self.on_forgotten: Callable[[Connection], None] = lambda connection: None
        self.on_silenced: Callable[[Room, UserId, str], None] = lambda room, user_id, reason: None
        self.on_removed: Callable[[Room, int], None] = lambda room, seq: None
        self.on_files_off: Callable[[Room], None] = lambda room: None
        self.on_over: Callable[[Room], None] = lambda room: None
        self.past_messages, self.past_bytes = 0, 0  # of rooms that have ended
        self.rooms_created = 0
        self._absent = absent_room(random_bytes)  # in place of those that do not exist
        self._due: dict[RoomId, float] = {}  # what the registry has been told, to tell it changes only

    def _happened(self, event: str, room: Room, **fields: object) -> None:
        self.happened(event, room, **fields)

    def change(self, settings: Settings) -> None:
        """Other settings hold from now on: limits for everyone, what rooms are like for those to come."""
        self.settings = settings
        self.rings.max_bytes = settings.limits.max_ring
        self._departed.most, self._departed.share = settings.limits.max_departed_sessions, settings.limits.address_share
        self._reserved_names = ReservedNames(settings.rooms.reserved_names)
        self.attendance.interval_s = settings.timing.presence_interval
        self.egress.change(settings.limits)
        self.lobby.change(settings.limits)
        self.origins.change(settings)
        for room in self.rooms.values():
            room.allowance = room.budgets = None
            for member in room.members.values():
                member.allowance = None

    @property
    def departed_sessions(self) -> int:
        """Sessions of users who have left, over all rooms."""
        return len(self._departed)

    def check_newcomers(self) -> None:
        """Lets new rooms and joins pass.

        Raises:
            Overloaded: with a time to come back; those inside go on.
        """
        self._check_lag()

    # Finding. ---------------------------------------------------------------------------------------------------

    def find(self, reference: str) -> Room:
        """The room with that id or name.

        Raises:
            NoSuchRoom: there is none.
        """
        room = self.find_or_absent(reference)
        if room is self._absent:
            raise NoSuchRoom
        return room

    def find_or_absent(self, reference: str) -> Room:
        """The room with that id or name, or one that no key fits: refusing a key then takes the same time for both."""
        # Four times a name's length at most: as text before normalisation, which costs time past all sense.
        if len(reference) > 4 * MAX_NAME_CHARS:
            return self._absent
        return self.room_or_absent(ids.parse_room_id(reference) or self._registry.id_of(reference))

    def room_or_absent(self, room_id: RoomId | None) -> Room:
        """The room with that id, or one that no key fits."""
        return self.rooms.get(room_id or RoomId(b""), self._absent)

    # Making, changing, ending. ----------------------------------------------------------------------------------

    def create(self, body: CreateRoom, now: float, *, address: str | None, take_name: bool = False) -> Created:
        """Opens a room.

        Args:
            address: of its creator; None for an admin, who may use reserved names and the admins' reserve.
            take_name: rename another room that has the name.

        Raises:
            InvalidFields, NameTaken, NameReserved, NoPlaces, RateLimited, Overloaded, AddressBlocked, RoomsFrozen:
                nothing is made then.
        """
        self.check_newcomers()
        creator: Creator = () if address is None else self._check_creator(address)
        most = self.settings.rooms.max if body.max is None else self._checked_max(body.max)
        life = lifetime(body.expiration_date, now, now)
        name = normalise_name(body.name) if body.name is not None else self._free_name()
        if address is not None:
            self._check_reserved(name)
        self.occupancy.check(self.settings.limits, creator, rooms=1, seats=seats_of(0, most))
        owner_key, invite_key = ids.new_key(ids.OWNER, self._random), ids.new_key(ids.INVITE, self._random)
        meta = RoomMeta(
            room_id=ids.new_room_id(self._random),
            name=name,
            owner_id=ids.new_user_id(self._random),
            owner_digest=ids.digest_of(owner_key),
            invite_digest=ids.digest_of(invite_key),
            max_users=most,
            users_leave=life.users_leave,
            created_at=life.created_at,
            ends_at=life.ends_at,
            locked=False,
            settings=self._room_settings(self._default_settings(), body.settings),
            epoch=self._random(8).hex(),
            seal=_seal_of(body),
            creator=creator,
        )
        room = Room(meta, self._graces, self.settings.limits.max_connections_per_user, self._ledger, self._departed)
        if take_name:
            self._free(name, now)
        self._take_in(room)
        self.rooms_created += 1
        self.happened("room_created", room)
        expiration, ends = view.expiration(meta)
        return Created(
            name=name,
            id=ids.room_id_text(meta.room_id),
            expiration=expiration,
            expiration_date=ends,
            owner_id=meta.owner_id,
            owner_key=owner_key,
            invite_key=invite_key,
        )

    def _check_creator(self, address: str) -> Creator:
        self.closed.blocked.check(address)
        self.closed.check_creation()
        networks = self.digests.networks(address)
        self.origins.remember(networks[0], address)
        return networks

    def restore(self, draft: Draft, now: float) -> None:
        """Goes on with a room that another process had.

        Raises:
            NameTaken: two of them have one name.
        """
        most = self.settings.limits.max_connections_per_user
        room = room_of(draft, self._graces, most, self._ledger, now, self._departed)
        self._take_in(room)
        self.rings.adopt(room.ring, now)

    def readmit(self, state: ConnectionState) -> None:
        """A user of a restored room has that connection, as in the process before; nobody was told otherwise."""
        room = self.rooms[state.room_id]
        connection = room.readmit(
            state.user_id, state.gateway, state.number, state.address, state.active_at, state.card
        )
        self.connections[state.gateway, state.number] = connection
        self.reschedule(room)

    def connection_states(self) -> list[ConnectionState]:
        """All connections, for the process that goes on with them."""
        return [
            ConnectionState(
                one.gateway,
                one.number,
                one.room.meta.room_id,
                one.member.user_id,
                one.address,
                one.active_at,
                None if one.card is None else one.card.profile,
            )
            for one in self.connections.values()
        ]

    @property
    def _graces(self) -> Graces:
        return Graces(self.settings.rooms.leave_grace, self.settings.rooms.join_grace)

    def _take_in(self, room: Room) -> None:
        room_id, due_at = room.meta.room_id, room.due_at()
        self._registry.add(room.meta, due_at)
        self._ledger.head(room)
        self.rooms[room_id] = room
        self._due[room_id] = due_at
        self._count_seats(room)

    def details(self, room: Room, now: float) -> Details:
        """The room as everyone inside may see it."""
        return view.details(room, now)

    def edit(
        self,
        room: Room,
        body: EditRoom,
        now: float,
        *,
        networks: tuple[bytes, ...] = (),
        is_admin: bool = False,
        take_name: bool = False,
    ) -> Details:
        """Changes a room, and tells everyone inside; if nothing is to be changed, nobody.

        Args:
            networks: digests of those of the address that is charged for it; see `Digests.networks`.
            is_admin: whether reserved names and the admins' reserve may be used.
            take_name: rename another room that has the name.

        Raises:
            InvalidFields, NameTaken, NameReserved, NoPlaces, RateLimited: nothing is changed then.
        """
        changes: dict[str, Any] = {}
        if body.name is not msgspec.UNSET:
            changes["name"] = normalise_name(body.name)
        if body.max is not msgspec.UNSET:
            changes["max_users"] = self._checked_max(body.max)
        if body.expiration_date is not msgspec.UNSET:
            life = lifetime(body.expiration_date, room.meta.created_at, now)
            changes |= {"ends_at": life.ends_at, "users_leave": life.users_leave}
        if body.locked is not msgspec.UNSET:
            changes["locked"] = body.locked
        if body.settings is not msgspec.UNSET:
            changes["settings"] = self._room_settings(room.meta.settings, body.settings)
        meta = changed_meta(room.meta, **changes)
        if meta == room.meta:
            return view.details(room, now)
        if not is_admin:
            self._check_renamed(room, meta.name)
        more = seats_of(len(room.members), meta.max_users) - room.seats
        self.occupancy.check(self.settings.limits, () if is_admin else room.meta.creator, rooms=0, seats=more)
        if take_name and "name" in changes:
            self._free(meta.name, now, keeper=room)
        self.replace_meta(room, meta, now)
        if not room.meta.settings.files:
            self.on_files_off(room)
        details = view.details(room, now)
        size = self.announce(room, events.RoomEvent("updated", room=details))
        self.egress.charge(networks, size, now)
        self.egress.charge_room(room, size, now)
        self.happened("room_edited", room)
        return details

    def renew_invite(self, room: Room, now: float) -> Invite:
        """A fresh invite key; the old one lets nobody in any more."""
        key = ids.new_key(ids.INVITE, self._random)
        self.replace_meta(room, changed_meta(room.meta, invite_digest=ids.digest_of(key)), now)
        return Invite(key)

    def create_invite(self, room: Room, body: CreateInvite, now: float) -> InviteCreated:
        """A further key that lets newcomers in, within limits of its own.

        Raises:
            TooManyInvites: nothing is made then.
        """
        key = ids.new_key(ids.INVITE, self._random)
        ends_at = None if body.expires is None else now + body.expires
        invite_id = ids.new_invite_id(self._random)
        invite = InviteState(invite_id, ids.digest_of(key), body.label, body.uses, 0, ends_at)
        room.add_invite(invite, now)
        return InviteCreated(invite_id, key, "", body.uses, body.uses, body.expires, body.label)

    def invites(self, room: Room, now: float) -> InviteList:
        """Those that still let somebody in, without their keys."""
        return InviteList([view.invite(invite, now) for invite in room.invites.good(now)])

    def revoke_invite(self, room: Room, invite_id: str, now: float) -> None:
        """That invite lets nobody in any more; who came by it stays, who waits in the lobby by it does not.

        Raises:
            NoSuchInvite: there is none, or it has ended.
        """
        room.revoke_invite(invite_id, now)
        self.lobby.reconsider(room, now)

    def terminate(self, room: Room, reason: str) -> None:
        """Ends the room: everyone inside is told why and disconnected, and nothing is left of it."""
        room_id = room.meta.room_id
        frame = events.encode(events.RoomEvent("closed", reason=reason))
        self._outgoing.to_room(room_id, Ended(frame, RoomClosed.close, RoomClosed.code))
        self.lobby.end(room, frame)
        self.rings.clear(room.ring)
        self._registry.remove(room_id)
        self.past_messages += room.messages
        self.past_bytes += room.data_volume
        self.counts.rooms_ended[reason] += 1
        self.happened("room_closed", room, reason=reason)
        self.on_over(room)
        self._ledger.close(room)
        del self.rooms[room_id], self._due[room_id]
        self.occupancy.remove(room_id)
        room.forget_sessions()
        self.attendance.forget(room)
        for member in room.members.values():
            for connection in member.connections:
                self.forget(connection)

    def replace_meta(self, room: Room, meta: RoomMeta, now: float) -> None:
        """The room is another from now on.

        Raises:
            NameTaken: nothing is changed then.
        """
        self._registry.change(meta, room.due_at())
        room.change(meta, now)
        if not room.ring.kept_s:
            self.rings.clear(room.ring)
        self._count_seats(room)
        self.reschedule(room)
        self.lobby.reconsider(room, now)

    def check_seat(self, room: Room, user_id: UserId) -> None:
        """Lets a user join who finds a seat.

        Raises:
            NoPlaces: the room needs one more than it is guaranteed, and the server, or the room's creator, has none.
        """
        more = room.seats_to_join(user_id)
        if more:
            limits, creator = self.settings.limits, room.meta.creator
            self.occupancy.check(limits, creator, rooms=0, seats=more, over_share=NoPlaces)

    def _count_seats(self, room: Room) -> None:
        self.occupancy.set(room.meta.room_id, room.meta.creator, room.seats)

    def _check_reserved(self, name: str) -> None:
        if name in self._reserved_names:
            raise NameReserved

    def _check_renamed(self, room: Room, name: str) -> None:
        if name_key(name) != name_key(room.meta.name):  # an owner may keep a name that an admin gave the room
            self._check_reserved(name)

    def _free(self, name: str, now: float, keeper: Room | None = None) -> None:
        """Rename the room that has the name, unless it is `keeper`; its people are told."""
        room_id = self._registry.id_of(name)
        holder = None if room_id is None else self.rooms[room_id]
        if holder is not None and holder is not keeper:
            self.edit(holder, EditRoom(name=self._free_name()), now, is_admin=True)

    def _checked_max(self, most: int) -> int:
        limit = self.settings.limits.max_members
        if limit and most > limit:
            raise _wrong("max", f"is more than this server's limit of {limit}")
        return most

    def _default_settings(self) -> RoomSettings:
        rooms = self.settings.rooms
        return RoomSettings(rooms.files, rooms.max_file, rooms.resume, rooms.idle_timeout)

    def _room_settings(self, before: RoomSettings, given: dict[str, Any]) -> RoomSettings:
        if not given:
            return before
        try:
            wanted = check(RoomSettings, msgspec.to_builtins(before) | given)
        except InvalidFields as wrong:
            problems = tuple(FieldProblem(f"settings.{name}", detail) for name, detail in wrong.problems)
            detail = "; ".join(f"{problem.field}: {problem.detail}" for problem in problems)
            raise InvalidFields(detail, problems=problems) from None
        if wanted.max_file > self.settings.rooms.max_file:
            raise _wrong("settings.max_file", f"is more than this server's limit of {self.settings.rooms.max_file}")
        return wanted

    def _free_name(self) -> str:
        for _ in range(_NAMES_TRIED):
            name = generated_name(self._random)
            if self._registry.id_of(name) is None:
                return name
        raise NameTaken("No free name was found; give one")

    # People. ----------------------------------------------------------------------------------------------------

    def users(self, room: Room, after: str) -> list[User]:
        """A page of users."""
        return view.users(room, after)

    def kick(self, room: Room, user_id: str, *, ban: bool, now: float) -> str:
        """Removes a user, who may have left already: then nobody comes back by the user's sessions.

        Returns:
            What whoever did it should know, or "".

        Raises:
            NoSuchUser, InvalidFields: nobody is put out.
        """
        member = room.members.get(UserId(user_id))
        if member is None:
            room.kick_departed(UserId(user_id), ban=ban)
            self.happened("user_kicked", room, user=user_id, ban=ban)
            self.lobby.reconsider(room, now)
            return kick_note(room.meta.seal)
        self.attendance.introduce(room, member, now)
        connections = room.kick(member, ban=ban, now=now)
        self.happened("user_kicked", room, user=user_id, ban=ban)
        self.on_silenced(room, member.user_id, "left")
        self.drop(connections, Kicked())
        self.presence_changed(room, now)
        self.lobby.reconsider(room, now)
        return kick_note(room.meta.seal)

    def promote(self, room: Room, user_id: str, *, is_moderator: bool, now: float) -> None:
        """Makes a user a moderator, or a plain member again, also one who has left and may come back.

        Raises:
            NoSuchUser, InvalidFields: see `Room.set_moderator`.
        """
        room.set_moderator(UserId(user_id), is_moderator=is_moderator)
        self.happened("user_promoted" if is_moderator else "user_demoted", room, user=user_id)
        self.presence_changed(room, now)
        member = room.members.get(UserId(user_id))
        if is_moderator and member is not None and room.meta.settings.lobby:
            self.lobby.tell(room, member.connections, now)

    def deny(self, room: Room, user_id: str, *, ban: bool, now: float) -> None:
        """Turns a newcomer away who waits in the lobby.

        Args:
            ban: also refuse newcomers from that address until the room ends.

        Raises:
            NoSuchUser: nobody of that id waits.
        """
        arrival = self.lobby.deny(room, user_id, now)
        if ban:
            room.ban_address(arrival.ticket.address)
            self.lobby.reconsider(room, now)

    def refuse_join(
        self, room_id: RoomId, gateway: bytes, number: int, error: RelayError, after_s: float = 0.0
    ) -> None:
        """Closes a socket that has not joined, after so many seconds."""
        self.counts.joins_refused[error.code] += 1
        if error.retry_after_s is not None:
            frame = events.encode(events.refusal(error, None))
            self._outgoing.to_gateway(room_id, gateway, Sent([number], frame, droppable=False))
        dropped = Dropped([number], error.close, error.code, error.detail, after_s)
        self._outgoing.to_gateway(room_id, gateway, dropped)

    def mute(self, room: Room, user_id: str, *, muted: bool, now: float) -> None:
        """Takes or gives back a user's word, also of one who has left and may come back.

        Raises:
            NoSuchUser: nobody has that id, here or among those who left and are remembered.
        """
        room.set_muted(UserId(user_id), muted=muted)
        if muted:
            self.on_silenced(room, UserId(user_id), "withdrawn")
        self.presence_changed(room, now)

    def remove_message(self, room: Room, seq: int, by: UserId, now: float) -> None:
        """Everyone in the room is told to show that message no more, and nobody is sent it later.

        Args:
            seq: of a message to all. Whether it was one is known for as long as it is kept only.

        Raises:
            NoSuchMessage: the room has not come that far.
        """
        if seq > room.seq:
            raise NoSuchMessage
        place = room.take_place()
        # Whoever has not heard the message hears in its place that it is removed, as no place may be left out.
        if self.rings.replace(room.ring, seq, events.removed(seq, seq, by)):
            self._ledger.replaced(room, seq)
        frame = events.removed(place, seq, by)
        self.rings.add(room.ring, place, frame, now)
        self._outgoing.say(room, place, frame)
        self.egress.charge_room(room, len(frame) * room.connections, now)
        self.on_removed(room, seq)

    def remove(self, room: Room, member: Member, error: RelayError, now: float) -> None:
        """The user goes, with all connections, which are closed for that reason."""
        self.attendance.introduce(room, member, now)
        self.egress.charge_entry(room, member, now)
        connections = room.leave(member, now)
        self.on_silenced(room, member.user_id, "left")
        self.drop(connections, error)
        self.presence_changed(room, now)

    def drop(self, connections: list[Connection], error: RelayError) -> None:
        """Closes connections that their room has let go of already."""
        for gateway, group in by_gateway(connections).items():
            numbers = [connection.number for connection in group]
            self._outgoing.to_gateway(
                group[0].room.meta.room_id, gateway, Dropped(numbers, error.close, error.code, error.detail)
            )
            for connection in group:
                self.forget(connection)

    def forget(self, connection: Connection) -> None:
        """That socket says nothing here any more."""
        self.connections.pop((connection.gateway, connection.number), None)
        if connection.files is not None:
            self.on_forgotten(connection)

    def check_rate(self, connection: Connection, size: int, now: float, *, signal: bool, to_all: bool = False) -> None:
        """Books something that was said, for its user and for the room.

        Args:
            to_all: it goes to everyone in the room.

        Raises:
            RateLimited: it was too much.
        """
        room = connection.room
        self._book(room, connection.member, size, now, signal=signal)
        if to_all:
            budgets = room.budgets or self.egress.budgets(room)
            budgets.deliveries.spend(now, room.connections)

    def check_profile_rate(self, room: Room, user_id: UserId, profile: bytes | None, now: float) -> None:
        """Books the profile of a join as a signal, where it changes how a user looks who is in the room.

        What newcomers show is not booked: they are bounded by `limits.join_rate`, and nobody who comes back after an
        outage, as everybody else then does, is refused for it.

        Raises:
            RateLimited: it was too much.
        """
        member = room.members.get(user_id)
        if member is not None and profile not in (None, member.profile) and room.may_show(user_id, member.profile):
            self._book(room, member, len(profile or b""), now, signal=True)

    def _book(self, room: Room, member: Member, size: int, now: float, *, signal: bool) -> None:
        own, shared = member.allowance, room.allowance
        if own is None:
            own = member.allowance = user_allowance(self.settings.limits.rate, now)
        if shared is None:
            shared = room.allowance = room_allowance(self.settings.limits.rate, now)
        # What the room then refuses stays booked for the user: that was an attempt, too.
        if signal:
            wait_s = own.take_signal(size, now) or shared.take_signal(size, now)
        else:
            wait_s = own.take_message(size, now) or shared.take_message(size, now)
        if wait_s:
            raise RateLimited(retry_after_s=wait_s)

    def check_command_rate(self, room: Room, now: float, *, by_owner: bool = True) -> None:
        """Books a command of the room's owner, whichever way it came, or of a moderator.

        Raises:
            RateLimited: there were too many.
        """
        budgets = self.egress.budgets(room)
        (budgets.owner_commands if by_owner else budgets.moderator_commands).spend(now, 1)

    def take_report(self, gateway: bytes, report: Report, now: float) -> None:
        """A gateway says how it fares."""
        self.reports.take(gateway, report)
        self.origins.write_lines(now)
        self.on_report(gateway, report)

    def lose_gateway(self, gateway: bytes, now: float) -> None:
        """A gateway process is gone, and all its sockets with it: their users are away."""
        self.lost_gateways.add(gateway)
        self.reports.lose(gateway)
        for connection in [one for one in self.connections.values() if one.gateway == gateway]:
            self.forget(connection)
            connection.room.disconnect(connection, now)
            self.presence_changed(connection.room, now)
        self.lobby.lose_gateway(gateway, now)

    def announce(self, room: Room, event: events.Event) -> int:
        """Everyone in the room is told something about it.

        Returns:
            How many bytes that is, over all of them.
        """
        frame = events.encode(event)
        self._outgoing.to_room(room.meta.room_id, Announced(frame))
        return len(frame) * room.connections

    def presence_changed(self, room: Room, now: float) -> None:
        """Somebody came, went or changed: told to the others soon, and perhaps it changes when the room ends."""
        self.attendance.changed(room, now)
        self._count_seats(room)
        self.reschedule(room)

    # Time. ------------------------------------------------------------------------------------------------------

    def pause_graces(self, now: float) -> None:
        """In no room does anybody lose a place, or the room its end, while nobody can come back."""
        for room in self.rooms.values():
            room.pause_graces(now)
            self.reschedule(room)

    def resume_graces(self, now: float) -> None:
        """They count on from now."""
        for room in self.rooms.values():
            room.resume_graces(now)
            self.reschedule(room)

    def reschedule(self, room: Room) -> None:
        """The registry is told when something next happens to the room, if that has changed."""
        due_at, room_id = room.due_at(), room.meta.room_id
        if self._due.get(room_id) != due_at:
            self._due[room_id] = due_at
            self._registry.set_due(room_id, due_at)

    def next_due(self) -> float | None:
        """When `advance` has something to do next; None if never."""
        dues = (
            self._registry.next_due(),
            self.rings.next_due(),
            self.attendance.next_due(),
            self.lobby.next_due(),
            self.closed.next_due(),
        )
        return min((due for due in dues if due is not None), default=None)

    def advance(self, now: float) -> None:
        """Lets everything happen that is due: presence told, users gone, warnings, ends."""
        for room_id in self._registry.due(now):
            self._advance_room(self.rooms[room_id], now)
        self.rings.advance(now)
        self.attendance.advance(now)
        self.lobby.advance(now)
        self.closed.advance(now)

    def _advance_room(self, room: Room, now: float) -> None:
        due = room.advance(now)
        for user_id in due.gone:
            self.on_silenced(room, user_id, "left")
        if due.over:
            self.terminate(room, due.over)
            return
        if due.warning_s is not None:
            self.announce(room, events.RoomEvent("expiring", in_=due.warning_s))
        self.presence_changed(room, now)


def _wrong(field: str, reason: str) -> InvalidFields:
    return InvalidFields(f"{field}: {reason}", problems=(FieldProblem(field, reason),))


def _seal_of(body: CreateRoom) -> Seal | None:
    if body.password is not None:
        # Can't happen: the doors put an access part in its place. Else the room would be open for all to read.
        raise RelayError
    return None if body.access is None else Seal(body.access)
