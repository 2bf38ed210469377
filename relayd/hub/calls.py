"""Calls that REST makes: who may ask is settled here, what is done is RoomService's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from relayd.bus.messages import (
    Answer,
    Call,
    CreateInvite,
    CreateRoom,
    EditRoom,
    EndRoom,
    Fault,
    KickUser,
    ListInvites,
    ListUsers,
    ReadRoom,
    RenewInvite,
    RevokeInvite,
)
from relayd.errors import RelayError
from relayd.hub.service import RoomService
from relayd.rooms.limits import AddressRateLimiter, Window, per_hour, per_minute
from relayd.rooms.room import Room
from relayd.settings import Limits, Settings
from relayd.wire import ids
from relayd.wire.rest import UserPage

_OwnersCall = EditRoom | EndRoom | KickUser | RenewInvite | CreateInvite | ListInvites | RevokeInvite
_USER_BYTES = 80  # of a user's entry, besides the profile


class Calls:
    """Answers calls.

    Args:
        service: the rooms.
    """

    def __init__(self, service: RoomService) -> None:
        self._service = service
        self._creations = AddressRateLimiter(*_creation_rates(service.settings.limits))
        self._handlers: dict[type, Callable[[Any, float], Any]] = {
            CreateRoom: self._create,
            ReadRoom: lambda call, now: service.details(self._room_of(call, now), now),
            EditRoom: self._edit,
            EndRoom: lambda call, now: service.terminate(self._owned(call, now), "terminated"),
            ListUsers: self._list_users,
            KickUser: lambda call, now: service.kick(self._commanded(call, now), call.user, ban=call.ban, now=now),
            RenewInvite: lambda call, now: service.renew_invite(self._commanded(call, now), now),
            CreateInvite: lambda call, now: service.create_invite(self._commanded(call, now), call.body, now),
            ListInvites: lambda call, now: service.invites(self._owned(call, now), now),
            RevokeInvite: lambda call, now: service.revoke_invite(self._commanded(call, now), call.invite, now),
        }

    def change(self, settings: Settings) -> None:
        """Other settings hold from now on."""
        self._creations.change(*_creation_rates(settings.limits))

    def answer(self, call: Call, now: float) -> Answer:
        """Does what is asked; an error is an answer, too."""
        request = call.request
        try:
            result = self._handlers[type(request)](request, now)
        except RelayError as error:
            problems = [(problem.field, problem.detail) for problem in error.problems]
            return Answer(call.number, b"", Fault(error.code, error.detail, error.retry_after_s, problems))
        return Answer(call.number, msgspec.json.encode(result), None)

    def _create(self, call: CreateRoom, now: float) -> Any:
        self._creations.spend(call.address, now)
        return self._service.create(call.body, now, address=call.address)

    def _edit(self, call: EditRoom, now: float) -> Any:
        room, networks = self._commanded(call, now), self._service.digests.networks(call.address)
        self._service.egress.check(networks, now)
        return self._service.edit(room, call.body, now, networks=networks)

    def _list_users(self, call: ListUsers, now: float) -> Any:
        room, networks = self._room_of(call, now), self._service.digests.networks(call.address)
        self._service.egress.check(networks, now)
        page = UserPage(self._service.users(room, call.after))
        self._service.egress.charge(networks, sum(len(user.profile) + _USER_BYTES for user in page.users), now)
        return page

    def _room_of(self, call: ReadRoom | ListUsers, now: float) -> Room:
        room = self._service.find_or_absent(call.room)
        room.check_key(ids.parse_key(call.key), now)
        return room

    def _owned(self, call: _OwnersCall, now: float) -> Room:
        room = self._service.find_or_absent(call.room)
        room.require_owner(ids.parse_key(call.key), now)
        return room

    def _commanded(self, call: _OwnersCall, now: float) -> Room:
        """The room, if its owner may give one more command."""
        room = self._owned(call, now)
        self._service.check_command_rate(room, now)
        return room


def _creation_rates(limits: Limits) -> tuple[Window, ...]:
    return per_minute(limits.create_rate), per_hour(limits.create_rate_per_hour)
