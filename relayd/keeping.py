"""The rooms that an earlier process has left with the service manager, and the place for those to come."""

from __future__ import annotations

import logging
from typing import NamedTuple, Self

from relayd.hub import snapshot
from relayd.hub.memlog import MemoryLog, Unreadable
from relayd.hub.snapshot import Kept
from relayd.machine.clock import SteadyClock
from relayd.machine.systemd import Systemd

log = logging.getLogger("relayd")

NAME = "rooms"  # of the descriptor in systemd's store


def keep_rooms(systemd: Systemd, memory: MemoryLog) -> bool:
    """The next start is to find what is in there; False if nobody keeps it. What is kept already stays as it is."""
    return systemd.store_fd(NAME, memory.fd)


def forget_rooms(systemd: Systemd) -> None:
    """The next start is to find none."""
    systemd.remove_fd(NAME)


class Rooms(NamedTuple):
    """What a process starts with.

    Attributes:
        clock: by which all rooms live.
        kept: those to go on with; None where nobody would keep them.
    """

    clock: SteadyClock
    kept: Kept | None

    @classmethod
    def take(cls, systemd: Systemd) -> Self:
        """What systemd has, or an empty beginning that it keeps from now on.

        What cannot be read is given up, and the log says so: a daemon without its old rooms is better than none.
        """
        for fd in reversed(systemd.fds.pop(NAME, [])):
            try:
                memory = MemoryLog.open(fd)
                clock = SteadyClock(memory.clock_offset_s)
                kept = snapshot.read(memory, clock())
            except Unreadable as why:
                log.error("the rooms of before cannot be read, so this is an empty start: %s", why)  # noqa: TRY400
                continue
            log.info("going on with %d rooms", len(kept.drafts))
            return cls(clock, kept)
        return cls.new(systemd)

    @classmethod
    def new(cls, systemd: Systemd) -> Self:
        """An empty beginning."""
        clock = SteadyClock()
        memory = MemoryLog.new(clock.offset_s)
        forget_rooms(systemd)
        if keep_rooms(systemd, memory):
            return cls(clock, snapshot.read(memory, clock()))
        memory.close()
        return cls(clock, None)
