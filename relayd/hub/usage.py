"""What is used of each limit, and by whom: added up when an admin asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from relayd.hub.service import RoomService
from relayd.rooms.refusals import WHAT
from relayd.settings import Limits, setting_paths, value_of
from relayd.wire import control

MAX_ADDRESSES = 20  # shown; of a distributed attack more would not help either


class _ByNetwork(NamedTuple):
    """What addresses have and do, by the digest of their smallest network."""

    rooms: Counter[bytes]
    seats: Counter[bytes]
    users: Counter[bytes]
    connections: Counter[bytes]
    refused: Counter[bytes]


class _Use(NamedTuple):
    """How much of a limit is used, and by whom; see `control.LimitUse`."""

    used: float
    by: str


def limits_report(service: RoomService, now: float) -> control.LimitsReport:
    """The answer to `GET /v1/limits`. It looks at each room and each connection once."""
    found = _by_network(service, now)
    uses = _uses(service, found)
    limits = service.settings.limits
    totals = service.origins.refusals.totals
    return control.LimitsReport(
        limits=[
            control.LimitUse(f"limits.{path}", _value(limits, path), *uses.get(path, (None, "")))
            for path, _ in setting_paths(Limits)
            if path != "message_rate"
        ],
        refused=[
            control.RefusedRow(what, reason, count)
            for (what, reason), count in sorted(totals.items(), key=lambda item: (WHAT.index(item[0][0]), -item[1]))
        ],
        addresses=_addresses(service, found),
        blocks=len(service.closed.blocks),
        frozen=service.closed.frozen_since is not None,
    )


def _value(limits: Limits, path: str) -> float:
    table, _, name = path.rpartition(".")
    # The one table that a number may stand for.
    return float(getattr(limits.rate, name) if table == "message_rate" else value_of(limits, path))


def _by_network(service: RoomService, now: float) -> _ByNetwork:
    found = _ByNetwork(Counter(), Counter(), Counter(), Counter(), service.origins.refusals.recent(now))
    for room in service.rooms.values():
        for network in room.meta.creator[:1]:
            found.rooms[network] += 1
            found.seats[network] += room.seats
        for member in room.members.values():
            found.users[member.address] += 1
    for connection in service.connections.values():
        found.connections[connection.address] += 1
    return found


def _addresses(service: RoomService, found: _ByNetwork) -> list[control.AddressRow]:
    """Those that lead in anything, by what they have of it; at first those that were refused most."""
    leading: dict[bytes, None] = {}
    for counter in (found.refused, found.rooms, found.connections):
        leading |= dict.fromkeys(network for network, _ in counter.most_common(MAX_ADDRESSES) if network)
    rows = [
        control.AddressRow(service.origins.name(network), *(counter[network] for counter in found))
        for network in leading
    ]
    return sorted(rows, key=lambda row: (row.refused, row.rooms, row.connections), reverse=True)[:MAX_ADDRESSES]


def _uses(service: RoomService, found: _ByNetwork) -> dict[str, _Use]:
    """By the setting's path below `limits`."""
    name, limits = service.origins.name, service.settings.limits
    reports = [one.report for one in service.reports]
    rooms = service.rooms.values()
    shares = [(found.rooms, limits.max_rooms), (found.seats, limits.max_places)]
    share = max((_share(counter, most, name) for counter, most in shares), default=_Use(0, ""))
    return {
        "max_rooms": _Use(service.occupancy.rooms, "server"),
        "max_places": _Use(service.occupancy.seats, "server"),
        "address_share": share,
        "max_departed_sessions": _Use(service.departed_sessions, "server"),
        "max_members": _Use(_most(len(room.members) for room in rooms), "room"),
        "max_connections": _Use(_most(report.connections for report in reports), "gateway"),
        "max_connections_per_address": _top(found.connections, name),
        "max_ring": _Use(service.rings.size, "server"),
        "max_outboxes": _Use(_most(report.waiting_bytes for report in reports), "gateway"),
    }


def _share(counter: Counter[bytes], most: int, name: Callable[[bytes], str]) -> _Use:
    top = _top(counter, name)
    return _Use(round(top.used / most, 4) if most else 0, top.by)


def _top(counter: Counter[bytes], name: Callable[[bytes], str]) -> _Use:
    return next((_Use(count, name(network)) for network, count in counter.most_common(1)), _Use(0, ""))


def _most(numbers: Iterable[int]) -> int:
    return max(numbers, default=0)
