"""Who asks, by the kernel's word, and what they may do."""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import socket as sockets
import struct
from enum import IntEnum
from typing import NamedTuple

from relayd.settings import ControlGroups

log = logging.getLogger("relayd.control")

_SO_PEERGROUPS = 59  # linux/asm-generic/socket.h; Python has no name for it
_UCRED, _GID = struct.Struct("iII"), struct.Struct("I")  # struct ucred of unix(7), and gid_t
_MAX_OPTION_BYTES = 1024  # Python's own limit of getsockopt: 256 groups


class Tier(IntEnum):
    """What somebody may do; each includes those before."""

    NOTHING = 0
    OBSERVE = 1  # look
    OPERATE = 2  # work with rooms and users
    ADMIN = 3  # work with the daemon


class Peer(NamedTuple):
    """The process at the other end, as it was when it connected."""

    pid: int
    uid: int
    groups: frozenset[int]


def peer_of(socket: sockets.socket) -> Peer:
    """Who has connected to this socket: SO_PEERCRED shows the primary group only, SO_PEERGROUPS all others."""
    pid, uid, gid = _UCRED.unpack(socket.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, _UCRED.size))
    more = b""
    # ERANGE: in more than 256 groups. Then only the primary one counts, which can only be too little.
    with contextlib.suppress(OSError):
        more = socket.getsockopt(sockets.SOL_SOCKET, _SO_PEERGROUPS, _MAX_OPTION_BYTES)
    return Peer(pid, uid, frozenset((gid, *(group for (group,) in _GID.iter_unpack(more)))))


class Tiers:
    """Which group gives which tier.

    Args:
        groups: by name or number; those that do not exist give nothing.
    """

    def __init__(self, groups: ControlGroups) -> None:
        self.change(groups)

    def change(self, groups: ControlGroups) -> None:
        """Other groups from now on."""
        named = {Tier.ADMIN: groups.admin, Tier.OPERATE: groups.operate, Tier.OBSERVE: groups.observe}
        self._by_group: dict[int, Tier] = {}
        for tier, names in named.items():  # the highest first: whoever is in two groups has that
            for name in names:
                number = group_number(name)
                if number is None:
                    log.info("control_groups.%s: there is no group %s here", tier.name.lower(), name)
                else:
                    self._by_group.setdefault(number, tier)
        self._names = {tier: ", ".join(names) for tier, names in named.items()}

    def of(self, peer: Peer) -> Tier:
        """What that peer may do. Root and the daemon's own user could do it all without asking."""
        if peer.uid in (0, os.geteuid()):
            return Tier.ADMIN
        return max((self._by_group.get(group, Tier.NOTHING) for group in peer.groups), default=Tier.NOTHING)

    def groups_for(self, tier: Tier) -> str:
        """The groups whose members may do what takes that tier, for a person to read."""
        return ", ".join(names for other, names in self._names.items() if other >= tier and names) or "none is set"


def group_number(name: str) -> int | None:
    """The number of a group given by name or number; None if it does not exist."""
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def socket_group(groups: ControlGroups) -> int | None:
    """The group of the control socket itself: the one that is set, or the first of the others that exists."""
    names = (groups.socket,) if groups.socket else (*groups.admin, *groups.operate, *groups.observe)
    return next((number for number in map(group_number, names) if number is not None), None)
