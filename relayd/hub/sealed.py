"""Sealed rooms in the hub: who gets in, which epoch holds, and the way into the next one."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from relayd.bus.messages import FrameLimit, Join, Rekeyed
from relayd.errors import Forbidden, RelayError, StaleEpoch
from relayd.hub.outgoing import Outgoing, by_gateway
from relayd.hub.service import RoomService
from relayd.rooms.guessing import Guessing
from relayd.rooms.member import Member
from relayd.rooms.meta import changed_meta
from relayd.rooms.room import Room
from relayd.rooms.seal import check_rekey, frame_users, read_card, rekey_bytes
from relayd.settings import Settings
from relayd.wire import commands, events
from relayd.wire.ids import UserId
from relayd.wire.rest import Invite


class Entry(NamedTuple):
    """What somebody comes in with.

    Attributes:
        profile: JSON text; None leaves the present one.
        sid: of the sealed card, which the connection keeps to; b"" if it came without. None in an open room.
    """

    profile: bytes | None
    sid: bytes | None


class SealedRooms:
    """What sealed rooms need beyond others.

    Args:
        service: the rooms.
        outgoing: what gateways are told.
    """

    def __init__(self, service: RoomService, outgoing: Outgoing) -> None:
        self._service = service
        self._outgoing = outgoing
        self._guessing = Guessing(service.settings.limits.proof_rate)

    def change(self, settings: Settings) -> None:
        """Other settings hold from now on."""
        self._guessing.change(settings.limits.proof_rate)

    # Coming in. -------------------------------------------------------------------------------------------------

    def let_in(self, room: Room, user_id: UserId, item: Join, now: float, *, by_session: bool) -> Entry:
        """Lets those pass who have shown that they know the room's secret.

        Raises:
            Forbidden: the proof is wrong or missing.
            RateLimited: too many wrong ones came from there.
            NotSealed, StaleEpoch: the profile is no sealed card of the present epoch.
        """
        seal = room.meta.seal
        if seal is None:
            return Entry(item.profile, None)
        # Whoever was inside a moment ago has proved it; whoever was given a box since has the owner's word.
        if not (by_session and (user_id in room.members or room.has_box(user_id))):
            if not item.proof:
                raise Forbidden
            self._guessing.check(item.address, item.room_id, now)
            if not seal.fits(item.proof):
                raise Forbidden
        if item.profile is None:
            return Entry(None, b"")
        card = read_card(item.profile)
        if card.epoch == seal.epoch:
            return Entry(item.profile, card.sid)
        if by_session:
            # Sealed before its sender could hear of the new epoch, which this very join tells.
            return Entry(None, card.sid)
        raise StaleEpoch

    def unheard(self, room: Room, member: Member, since_epoch: str, since_seq: int) -> events.Rekey | msgspec.UnsetType:
        """How the present epoch began, for whoever has not heard it."""
        if room.rekeying is None:
            return msgspec.UNSET
        same_numbering = since_epoch == room.meta.epoch
        return room.rekeying.unheard_by(member.user_id, since_seq if same_numbering else 0)

    def penalty_s(self, item: Join, error: RelayError, now: float) -> float:
        """How late to answer whoever was not let in: a wrong proof is booked, and costs time."""
        if not isinstance(error, Forbidden) or not item.proof:
            return 0.0
        return min(
            self._guessing.fail(item.address, item.room_id, now),
            # Before it ends as a join that took too long.
            self._service.settings.timing.join_timeout / 2,
        )

    def frame_bytes(self, room: Room) -> int:
        """The longest frame that the room's owner may send beyond the ordinary: keys for everyone; 0 if there are none.

        It grows with the users whom the room knows, so that an owner alone in a room cannot fill megabytes with a
        frame that never ends.
        """
        seal = room.meta.seal
        return rekey_bytes(frame_users(room.known_number)) if seal is not None and seal.has_owner_pair else 0

    def raise_frame_limit(self, room: Room) -> None:
        """After a join: the owner's connections may send a longer frame if keys for everyone need one.

        It is sent before anyone, the owner too, can learn of the user who came.
        """
        known = room.known_number
        owner = room.members.get(room.meta.owner_id)
        if owner is None or not self.frame_bytes(room) or frame_users(known) == frame_users(known - 1):
            return
        for gateway, group in by_gateway(owner.connections).items():
            limit = FrameLimit([connection.number for connection in group], self.frame_bytes(room))
            self._outgoing.to_gateway(room.meta.room_id, gateway, limit)

    # The next epoch. --------------------------------------------------------------------------------------------

    def rekey(self, room: Room, command: commands.Rekey, now: float) -> Invite | None:
        """Begins the next epoch, and puts out who is not to read on: all of it, or nothing.

        Returns:
            The new invite key if one was asked for. Only the owner's client gets it, which makes the new link of it.

        Raises:
            CannotRekey, StaleEpoch, InvalidFields, NoSuchUser: nothing has changed then.
        """
        seal = check_rekey(room.meta.seal, command, room.meta.owner_id)
        if command.kick is not None:
            self._service.kick(room, command.kick, ban=False, now=now)
        for member in [one for one in room.members.values() if one.user_id not in command.boxes]:
            left_out = room.kick(member, ban=False, now=now)
            self._service.on_silenced(room, member.user_id, "left")
            self._service.drop(left_out, Forbidden("The room has new keys, and there are none for you"))
        known = room.known_users()
        boxes = {UserId(user): box for user, box in command.boxes.items() if user in known}
        room.rekey(command.epoch, command.check, boxes)
        self._service.replace_meta(room, changed_meta(room.meta, seal=seal.next(command)), now)
        # Those who resume get their own box with it, see Room.missed.
        frame = events.rekeyed(room.seq, command.epoch, command.check, None)
        self._service.rings.add(room.ring, room.seq, frame, now)
        inside: dict[str, str] = {user: box for user, box in boxes.items() if user in room.members}
        self._outgoing.to_room(room.meta.room_id, Rekeyed(room.seq, command.epoch, command.check, inside))
        self._service.happened("room_rekeyed", room, epoch=command.epoch)
        self._service.presence_changed(room, now)
        return self._service.renew_invite(room, now) if command.renew_invite else None
