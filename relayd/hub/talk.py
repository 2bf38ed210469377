"""What clients say on their sockets, as the gateways pass it on: one handler for each kind of item.

A mistake is told to the socket that made it, as an `error` frame or, before it is in a room, a close code.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from relayd.bus.messages import (
    Attached,
    Batch,
    Behind,
    FileWork,
    Gone,
    Join,
    Leave,
    Moderation,
    OfferFile,
    Reached,
    Refused,
    Report,
    Say,
    SetProfile,
    Signal,
    Signalled,
    Silent,
    Spoiled,
)
from relayd.errors import (
    Idle,
    Left,
    Muted,
    RelayError,
    StaleEpoch,
    TooManyConnections,
)
from relayd.hub.files import Files
from relayd.hub.lobby import Arrival
from relayd.hub.moderation import ModerationCommands
from relayd.hub.outgoing import Outgoing
from relayd.hub.sealed import SealedRooms
from relayd.hub.service import RoomService
from relayd.rooms import view
from relayd.rooms.limits import AddressRateLimiter, per_minute
from relayd.rooms.member import Connection, Member
from relayd.rooms.refusals import FRAME, JOIN
from relayd.rooms.room import Admission, Missed, Room, Ticket
from relayd.settings import Settings
from relayd.wire import commands, events, ids
from relayd.wire.ids import RandomBytes
from relayd.wire.rest import Invite

log = logging.getLogger("relayd.hub")

MAX_USERS_LISTED = 200  # in a `joined` frame; REST pages the rest


class Talk:
    """Hears batches and acts on them.

    Args:
        service: the rooms.
        outgoing: what is said to gateways; the caller flushes it after each batch.
        files: what is done about those.
        random_bytes: for session keys and user ids.
    """

    def __init__(self, service: RoomService, outgoing: Outgoing, files: Files, random_bytes: RandomBytes) -> None:
        self._service = service
        self._files = files
        self._outgoing = outgoing
        self._random = random_bytes
        service.lobby.enter = self._enter
        self._joins = AddressRateLimiter(per_minute(service.settings.limits.join_rate))
        self._counts = service.counts
        self._sealed = SealedRooms(service, outgoing)
        self._handlers: dict[type, Callable[[Connection, Any, float], None]] = {
            Say: self._say,
            Signal: self._signal,
            SetProfile: self._set_profile,
            Moderation: self._moderate,
            Leave: self._leave,
            Gone: self._gone,
            OfferFile: self._offer,
            FileWork: self._file_work,
            Spoiled: files.spoiled,
            Behind: files.fall_behind,
        }
        self._gateway_handlers: dict[type, Callable[[bytes, Any, float], None]] = {
            Join: self._join,
            Silent: self._silent,
            Report: service.take_report,
            Refused: lambda gateway, item, now: service.origins.refused(item.entries, now),
            Reached: lambda gateway, reached, now: service.on_reached(gateway, reached),
        }
        self._moderation = ModerationCommands(service, self._sealed)

    def change(self, settings: Settings) -> None:
        """Other settings hold from now on."""
        self._joins.change(per_minute(settings.limits.join_rate))
        self._sealed.change(settings)

    def hear(self, batch: Batch, now: float) -> None:
        """Acts on everything a gateway's sockets said in one turn."""
        if batch.gateway in self._service.lost_gateways:
            return  # its clients have come back elsewhere, or will
        for item in batch.items:
            try:
                self._take(batch.gateway, item, now)
            except Exception:  # a fault of ours with one item must not cost what others have said
                log.exception("an item of the kind %s was not handled", type(item).__name__)

    def _take(self, gateway: bytes, item: Any, now: float) -> None:
        handler = self._handlers.get(type(item))
        if handler is None:
            self._gateway_handlers[type(item)](gateway, item, now)
            return
        connection = self._service.connections.get((gateway, item.number))
        if connection is not None:
            handler(connection, item, now)
        else:  # it waits in a lobby; or its room has let go of it, and the gateway will hear of that in a moment
            self._service.lobby.take(gateway, item, now)

    # Coming in. -------------------------------------------------------------------------------------------------

    def _join(self, gateway: bytes, item: Join, now: float) -> None:
        try:
            self._service.check_newcomers()
            self._service.closed.blocked.check(item.address)
            self._joins.spend(item.address, now)
            arrival = self._arrive(gateway, item, now)
            if arrival.room.must_wait(arrival.user_id, arrival.ticket, now, by_session=arrival.by_session):
                self._service.lobby.add(arrival, item.address, now)
                return
            admission = self._admit(arrival, now)
        except RelayError as error:
            self._service.origins.refuse(JOIN, error.code, self._service.origins.note(item.address), now)
            after_s = self._sealed.penalty_s(item, error, now)
            self._service.refuse_join(ids.RoomId(item.room_id), gateway, item.number, error, after_s)
            return
        self._welcome(arrival, admission, item.session, now)

    def _enter(self, arrival: Arrival, now: float) -> None:
        """Somebody joins who has waited in the lobby."""
        self._welcome(arrival, self._admit(arrival, now), "", now)

    def _arrive(self, gateway: bytes, item: Join, now: float) -> Arrival:
        networks = self._service.digests.networks(item.address)
        self._service.origins.remember(networks[0], item.address)
        self._service.egress.check(networks, now)
        room = self._service.room_or_absent(ids.RoomId(item.room_id))
        session = ids.parse_key(item.session)
        ticket = Ticket(
            ids.parse_key(item.key), session if session and session.kind == ids.SESSION else None, *networks
        )
        user_id, known = room.identify(ticket, lambda: ids.new_user_id(self._random), now)
        entry = self._sealed.let_in(room, user_id, item, now, by_session=known)
        return Arrival(
            gateway=gateway,
            number=item.number,
            room=room,
            ticket=ticket,
            user_id=user_id,
            by_session=known,
            epoch=room.sealing_epoch,
            profile=entry.profile,
            sid=entry.sid,
            since_epoch=item.since_epoch,
            since_seq=item.since_seq,
        )

    def _admit(self, arrival: Arrival, now: float) -> Admission:
        room, user_id = arrival.room, arrival.user_id
        self._service.check_profile_rate(room, user_id, arrival.profile, now)
        self._service.check_seat(room, user_id)
        return room.admit(user_id, arrival.ticket, arrival.profile, arrival.gateway, arrival.number, now)

    def _welcome(self, arrival: Arrival, admission: Admission, session: str, now: float) -> None:
        room, member = arrival.room, admission.member
        self._service.connections[arrival.gateway, arrival.number] = admission.connection
        self._counts.joins += 1
        if admission.evicted is not None:
            self._service.drop([admission.evicted], TooManyConnections())
        key = session if admission.by_session else self._new_session(room, admission)
        self._service.rings.expire(room.ring, now)
        missed = room.missed(member, arrival.since_epoch, arrival.since_seq)
        if arrival.since_epoch:
            self._counts.resumes["recovered" if missed.recovered else "incomplete" if missed.lost else "unknown"] += 1
        joined = events.encode(self._joined(room, admission, key, missed, arrival, now))
        self._sealed.raise_frame_limit(room)
        frame_bytes = self._sealed.frame_bytes(room) if member.is_owner else 0
        is_back = arrival.since_epoch == room.meta.epoch
        since_seq = max(arrival.since_seq, member.joined_seq) if is_back else None
        after = self._service.attendance.after_joined(room, since_seq, missed.frames, now)
        frames = [joined, *after, *self._service.lobby.frames_for(member, room)]
        attached = Attached(arrival.number, member.user_id, room.seq, frames, arrival.sid, frame_bytes)
        self._charge_join(room, member, sum(map(len, attached.frames)), now)
        self._outgoing.to_gateway(room.meta.room_id, arrival.gateway, attached)
        self._service.presence_changed(room, now)

    def _charge_join(self, room: Room, member: Member, size: int, now: float) -> None:
        egress = self._service.egress
        egress.charge(member.networks, size, now)
        egress.charge_room(room, size, now)
        if room.presence.hides(member.user_id):
            egress.charge_entry(room, member, now)

    def _new_session(self, room: Room, admission: Admission) -> str:
        key = ids.new_key(ids.SESSION, self._random)
        room.add_session(admission.member, ids.digest_of(key))
        return key

    def _joined(
        self, room: Room, admission: Admission, session: str, missed: Missed, arrival: Arrival, now: float
    ) -> events.Joined:
        member = admission.member
        return events.Joined(
            you=events.You(member.user_id, session, member.role),
            room=view.details(room, now, joined=True),
            users=[msgspec.Raw(entry) for entry in view.entries(room, MAX_USERS_LISTED)],
            epoch=room.meta.epoch,
            seq=room.seq,
            recovered=missed.recovered,
            missed=missed.lost,
            rekey=self._sealed.unheard(room, member, arrival.since_epoch, arrival.since_seq),
        )

    # Speaking. --------------------------------------------------------------------------------------------------

    def _offer(self, connection: Connection, item: OfferFile, now: float) -> None:
        self._say(connection, item.say, now, item.file)

    def _say(self, connection: Connection, item: Say, now: float, file: commands.FileOffer | None = None) -> None:
        room, member = connection.room, connection.member
        connection.active_at = now
        size = len(item.body)
        try:
            if member.muted:
                raise Muted
            self._service.check_rate(connection, size, now, signal=False, to_all=item.to is None)
            digest = self._service.digests.message_id(item.id)
            before = member.said(digest, now)
            if before is not None:
                if file is not None:
                    self._files.offer_again(connection, file, item.to, now)
                seq, after = (None, before.seq) if before.direct else (before.seq, None)
                self._reply(connection, events.Ok(item.id, seq, after))
                return
            if room.slow_s:
                room.check_slow_mode(member, now)
            _check_epoch(room, item)
            receiver = room.member(item.to) if item.to is not None else None
            if file is not None:
                self._files.offer(connection, file, item.to, now)
        except RelayError as error:
            self._refuse(connection, error, item.id, None if file is None else file.fid)
            return
        self._service.attendance.announce_card(room, connection, now)
        has_ids = room.forget_ids_at is not None
        said = room.say(member, digest, size, direct=receiver is not None, now=now)
        if not has_ids:
            self._service.reschedule(room)
        at_ms = int(now * 1000)
        if receiver is None:
            frame = events.message(said.seq, at_ms, member.user_id, item.id, item.body)
            self._service.rings.add(room.ring, said.seq, frame, now)
            self._outgoing.say(room, said.seq, frame)
            if file is not None:
                self._files.offered(room, file, said.seq)
        else:
            frame = events.direct_message(said.seq, at_ms, member.user_id, receiver.user_id, item.id, item.body)
            self._service.rings.add(room.ring, said.seq, frame, now, (member.user_id, receiver.user_id))
            both = receiver.connections if receiver is member else receiver.connections + member.connections
            self._outgoing.to_connections(both, frame)

    def _signal(self, connection: Connection, item: Signal, now: float) -> None:
        room, member = connection.room, connection.member
        connection.active_at = now
        try:
            if member.muted:
                raise Muted
            self._service.check_rate(connection, len(item.data), now, signal=True, to_all=item.to is None)
            _check_epoch(room, item)
            receiver = room.member(item.to) if item.to is not None else None
        except RelayError as error:
            self._refuse(connection, error, None)
            return
        data = msgspec.Raw(item.data)
        if receiver is None:
            frame = events.encode(events.SignalEvent(member.user_id, item.kind, data))
            self._outgoing.to_room(room.meta.room_id, Signalled(frame, connection.gateway, connection.number))
        else:
            frame = events.encode(events.SignalEvent(member.user_id, item.kind, data, receiver.user_id))
            self._outgoing.to_connections(receiver.connections, frame, droppable=True)

    def _set_profile(self, connection: Connection, item: SetProfile, now: float) -> None:
        room, member = connection.room, connection.member
        connection.active_at = now
        try:
            if not room.may_show(member.user_id, member.profile):
                raise Muted
            self._service.check_rate(connection, len(item.profile), now, signal=True)
            self._service.egress.check(member.networks, now)
            _check_epoch(room, item)
        except RelayError as error:
            self._refuse(connection, error, item.id)
            return
        before = member.profile
        room.show(connection, item.profile)
        if member.profile != before:
            self._service.egress.charge_entry(room, member, now)
        self._service.presence_changed(room, now)
        if item.id is not None:
            self._reply(connection, events.Ok(id=item.id))

    def _moderate(self, connection: Connection, item: Moderation, now: float) -> None:
        connection.active_at = now
        command = item.command
        try:
            self._moderation.check(connection.member, connection.room, command, now)
            # The answer goes first where the work takes the connection away.
            if isinstance(command, commands.Close):
                self._reply(connection, events.Ok(id=command.id))
            done = self._moderation.obey(connection.member, connection.room, command, now)
        except RelayError as error:
            self._refuse(connection, error, command.id)
            return
        if not isinstance(command, commands.Close):
            detail = done if isinstance(done, str) and done else None
            invite_key = done.invite_key if isinstance(done, Invite) else None
            self._reply(connection, events.Ok(id=command.id, detail=detail, invite_key=invite_key))

    def _file_work(self, connection: Connection, item: FileWork, now: float) -> None:
        connection.active_at = now
        command = item.command
        try:
            self._files.obey(connection, command, now)
        except RelayError as error:
            self._refuse(connection, error, command.id, command.fid)
            return
        if command.id is not None:
            self._reply(connection, events.Ok(command.id))

    # Going out. -------------------------------------------------------------------------------------------------

    def _leave(self, connection: Connection, item: Leave, now: float) -> None:
        self._service.remove(connection.room, connection.member, Left(), now)

    def _gone(self, connection: Connection, item: Gone, now: float) -> None:
        self._service.forget(connection)
        connection.room.disconnect(connection, now)
        if connection.member.away:
            self._service.egress.charge_entry(connection.room, connection.member, now)
        self._service.presence_changed(connection.room, now)

    def _silent(self, gateway: bytes, item: Silent, now: float) -> None:
        """An extra connection that is silent for too long is closed; a user's only one is not."""
        for number, seconds in item.sockets:
            connection = self._service.connections.get((gateway, number))
            if connection is None:
                continue
            room = connection.room
            limit = room.meta.settings.idle_timeout
            if limit and seconds >= limit and len(connection.member.connections) > 1:
                room.disconnect(connection, now)
                self._service.drop([connection], Idle())

    # Answering. -------------------------------------------------------------------------------------------------

    def _reply(self, connection: Connection, event: events.Event) -> None:
        self._outgoing.to_connections([connection], events.encode(event))

    def _refuse(
        self, connection: Connection, error: RelayError, command_id: str | None, fid: str | None = None
    ) -> None:
        self._counts.refused[error.code] += 1
        # Active at this moment: what is refused was said.
        self._service.origins.refuse(FRAME, error.code, connection.address, connection.active_at)
        self._reply(connection, events.refusal(error, command_id, fid))


def _check_epoch(room: Room, item: Say | Signal | SetProfile) -> None:
    if item.epoch != room.sealing_epoch:
        raise StaleEpoch
