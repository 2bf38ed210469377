"""Rooms and seats in use: on the whole server, and by the networks from which rooms were made.

A room always has the seats of a small group, so that everyone invited to it finds one. Larger rooms get further seats
as people join: a `max` of 10,000 that nobody uses takes nothing from other rooms.
"""

from __future__ import annotations

from typing import NamedTuple

from relayd.errors import NoPlaces, Overloaded, RateLimited, RelayError
from relayd.settings import Limits
from relayd.wire.ids import RoomId

GUARANTEED_SEATS = 50  # of a room, as far as its `max` goes; the default of `rooms.max`
# Of IPv6, a /48 may hold so many times what a /64 may: it can be one stranger's, or a whole campus. Less than
# `SITE_FACTOR` of the rates, as 16 times 5 % would be nearly everything.
SITE_SHARES = 4
# Admins' reserve is never smaller than this, however small the server: enough for an urgent meeting or ten.
_RESERVED_ROOMS = 10
_RETRY_S = 60.0  # rooms end at any time; often enough for a person who waits

Creator = tuple[bytes, ...]  # digests of the networks of the address that made a room; () for an admin's room


def seats_of(members: int, max_users: int) -> int:
    """How many seats a room with that `max` uses while so many users are in it."""
    return max(members, min(max_users, GUARANTEED_SEATS))


class _Usage(NamedTuple):
    rooms: int = 0
    seats: int = 0

    def plus(self, rooms: int, seats: int) -> _Usage:
        return _Usage(self.rooms + rooms, self.seats + seats)


class Occupancy:
    """Counts rooms and seats."""

    def __init__(self) -> None:
        self._rooms: dict[RoomId, tuple[Creator, int]] = {}  # the seats of each
        self._total = _Usage()
        self._by_network: dict[bytes, _Usage] = {}  # networks that hold anything

    @property
    def rooms(self) -> int:
        """All rooms."""
        return self._total.rooms

    @property
    def seats(self) -> int:
        """The seats of all rooms."""
        return self._total.seats

    def seats_held(self, network: bytes) -> int:
        """The seats of rooms made from that network."""
        return self._by_network.get(network, _Usage()).seats

    def set(self, room_id: RoomId, creator: Creator, seats: int) -> None:
        """The room, which may be new, uses so many seats from now on."""
        before = self._rooms.get(room_id)
        if before is not None and before[1] == seats:
            return
        self._rooms[room_id] = (creator, seats)
        self._add(creator, 1 if before is None else 0, seats - (0 if before is None else before[1]))

    def remove(self, room_id: RoomId) -> None:
        """The room has ended."""
        creator, seats = self._rooms.pop(room_id)
        self._add(creator, -1, -seats)

    def check(
        self, limits: Limits, creator: Creator, *, rooms: int, seats: int, over_share: type[RelayError] = RateLimited
    ) -> None:
        """Refuse more rooms or seats than there are, for the server or for those who want them.

        Admins may use a reserve beyond what the server has for everyone.

        Args:
            limits: of the server.
            creator: who made the room, or is about to.
            rooms, seats: how many more; nothing is refused that takes none.
            over_share: the error for more than one address may hold.

        Raises:
            Overloaded, NoPlaces: the server has no more.
            RelayError: `over_share`.
        """
        for what, more, used, limit, least_reserve, error in (
            ("rooms", rooms, self.rooms, limits.max_rooms, _RESERVED_ROOMS, Overloaded),
            ("places", seats, self.seats, limits.max_places, _RESERVED_ROOMS * GUARANTEED_SEATS, NoPlaces),
        ):
            reserve = 0 if creator else max(least_reserve, int(limits.admin_reserve * limit))
            if limit and more > 0 and used + more > limit + reserve:
                detail = f"The server has {limit} {what} (limits.max_{what}), not enough of them left: try again later"
                raise error(detail, retry_after_s=_RETRY_S)
        for shares, network in zip((1, SITE_SHARES), creator, strict=False):
            self._check_share(limits, limits.address_share * shares, network, (rooms, seats), over_share)

    def _check_share(
        self, limits: Limits, share: float, network: bytes, more: tuple[int, int], over_share: type[RelayError]
    ) -> None:
        held = self._by_network.get(network, _Usage())
        # At least one room that is guaranteed its seats: else a small server would have none for anybody.
        for what, extra, used, limit, least in (
            ("rooms", more[0], held.rooms, limits.max_rooms, 1),
            ("places", more[1], held.seats, limits.max_places, GUARANTEED_SEATS),
        ):
            most = max(least, int(share * limit))
            if share and limit and extra > 0 and used + extra > most:
                detail = (
                    f"Rooms made from one address may have {most} {what} together (limits.address_share), and have "
                    f"{used}: end a room, or try again when one has ended"
                )
                raise over_share(detail, retry_after_s=_RETRY_S)

    def _add(self, creator: Creator, rooms: int, seats: int) -> None:
        self._total = self._total.plus(rooms, seats)
        for network in creator:
            held = self._by_network.get(network, _Usage()).plus(rooms, seats)
            if held.rooms:
                self._by_network[network] = held
            else:
                del self._by_network[network]
