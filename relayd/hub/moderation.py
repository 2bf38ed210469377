"""The commands by which the owner and the moderators of a room keep order: who may give which, and what it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from relayd.errors import OwnerOnly
from relayd.hub.sealed import SealedRooms
from relayd.hub.service import RoomService
from relayd.rooms.member import Member
from relayd.rooms.room import Room
from relayd.wire import commands
from relayd.wire.rest import EditRoom

_MODERATORS_MAY_EDIT = {"locked"}


class _Rule(NamedTuple):
    """One command.

    Attributes:
        obey: does it for a member of a room; what it returns is told to that member.
        moderators: whether they may give it, too.
    """

    obey: Callable[[Member, Room, Any, float], object]
    moderators: bool = False


class ModerationCommands:
    """What `Moderation` items ask for.

    Args:
        service: the rooms.
        sealed: the next epochs of sealed rooms.
    """

    def __init__(self, service: RoomService, sealed: SealedRooms) -> None:
        self._service = service
        self._rules: dict[type, _Rule] = {
            commands.Kick: _Rule(self._kick, moderators=True),
            commands.Mute: _Rule(self._mute, moderators=True),
            commands.Unmute: _Rule(self._unmute, moderators=True),
            commands.Admit: _Rule(self._admit, moderators=True),
            commands.Deny: _Rule(self._deny, moderators=True),
            commands.Remove: _Rule(self._remove, moderators=True),
            commands.Edit: _Rule(self._edit, moderators=True),
            commands.Promote: _Rule(self._promote),
            commands.Demote: _Rule(self._demote),
            commands.Close: _Rule(lambda member, room, command, now: service.terminate(room, "terminated")),
            commands.Rekey: _Rule(lambda member, room, command, now: sealed.rekey(room, command, now)),
        }

    def check(self, member: Member, room: Room, command: commands.ModerationCommand, now: float) -> None:
        """Lets a command pass that its member may give, and books it.

        Raises:
            OwnerOnly: the member may not, or not to that user.
            RateLimited: there were too many. The owner can always end the room.
        """
        moderators_may = self._rules[type(command)].moderators
        if moderators_may and not member.may_moderate:
            raise OwnerOnly("Only the owner and moderators of the room may do that")
        if not moderators_may and not member.is_owner:
            raise OwnerOnly
        if isinstance(command, commands.Kick | commands.Mute | commands.Unmute):
            room.check_authority(member, command.user)
        if isinstance(command, commands.Edit) and not member.is_owner and _edited(command) != _MODERATORS_MAY_EDIT:
            raise OwnerOnly("A moderator may change `locked` and nothing else of the room")
        if not isinstance(command, commands.Close):
            self._service.check_command_rate(room, now, by_owner=member.is_owner)

    def obey(self, member: Member, room: Room, command: commands.ModerationCommand, now: float) -> object:
        """Does it.

        Returns:
            What the member should know: a sentence, an `Invite`, or something else that is of no interest.

        Raises:
            RelayError: it is not done.
        """
        return self._rules[type(command)].obey(member, room, command, now)

    def _kick(self, member: Member, room: Room, command: commands.Kick, now: float) -> object:
        return self._service.kick(room, command.user, ban=command.ban, now=now)

    def _mute(self, member: Member, room: Room, command: commands.Mute, now: float) -> None:
        self._service.mute(room, command.user, muted=True, now=now)

    def _unmute(self, member: Member, room: Room, command: commands.Unmute, now: float) -> None:
        self._service.mute(room, command.user, muted=False, now=now)

    def _promote(self, member: Member, room: Room, command: commands.Promote, now: float) -> None:
        self._service.promote(room, command.user, is_moderator=True, now=now)

    def _demote(self, member: Member, room: Room, command: commands.Demote, now: float) -> None:
        self._service.promote(room, command.user, is_moderator=False, now=now)

    def _admit(self, member: Member, room: Room, command: commands.Admit, now: float) -> None:
        self._service.lobby.admit(room, command.user, now)

    def _deny(self, member: Member, room: Room, command: commands.Deny, now: float) -> None:
        self._service.deny(room, command.user, ban=command.ban, now=now)

    def _remove(self, member: Member, room: Room, command: commands.Remove, now: float) -> None:
        self._service.remove_message(room, command.seq, member.user_id, now)

    def _edit(self, member: Member, room: Room, command: commands.Edit, now: float) -> None:
        self._service.egress.check(member.networks, now)
        body = EditRoom(command.name, command.max, command.expiration_date, command.locked, command.settings)
        self._service.edit(room, body, now, networks=member.networks)


def _edited(command: commands.Edit) -> set[str]:
    """The fields that it gives."""
    fields = msgspec.structs.asdict(command)
    return {name for name, value in fields.items() if name != "id" and value is not msgspec.UNSET}
