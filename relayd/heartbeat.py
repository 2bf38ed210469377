"""The daemon's sign of life to the service manager."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from relayd.machine.systemd import Systemd

ANSWERING_S = 5.0  # a gateway reports every second; one on a busy machine is late, and one that hangs says nothing
_STATUS_S = 10.0


class Heartbeat:
    """Feeds systemd's watchdog while all is well, and tells it in a line how the daemon fares.

    All is well while this loop turns and every gateway has reported over the bus lately. One that hangs is replaced
    by the supervisor before the watchdog's time is over; so it ends only a daemon that cannot help itself.

    Args:
        systemd: the service manager; without one nothing is done.
        gateways: how many there should be.
        status: the line.
    """

    def __init__(self, systemd: Systemd, gateways: int, status: Callable[[], str]) -> None:
        self._systemd = systemd
        self._gateways = gateways
        self._status = status
        self._loop = asyncio.get_running_loop()
        self._heard_at: dict[bytes, float] = {}  # by topic of a gateway
        # A quarter of the time, and not the half that sd_watchdog_enabled(3) advises: a beat may be missed while a
        # worker is replaced.
        self._every_s = min(_STATUS_S, (systemd.watchdog_s or _STATUS_S) / 4)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to tell."""
        if self._systemd.is_there:
            # One that has taken over has only what the process before left of the time.
            self._systemd.mention(WATCHDOG=1)
            self._timer = self._loop.call_later(self._every_s, self._beat)

    def hear(self, gateway: bytes) -> None:
        """A gateway has reported."""
        self._heard_at[gateway] = time.monotonic()

    def close(self) -> None:
        """Tells nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        now = time.monotonic()
        self._heard_at = {gateway: at for gateway, at in self._heard_at.items() if now - at < ANSWERING_S}
        if len(self._heard_at) >= self._gateways:
            self._systemd.mention(WATCHDOG=1, STATUS=self._status())
        else:
            self._systemd.mention(STATUS=f"{len(self._heard_at)} of {self._gateways} workers answer")
        self._timer = self._loop.call_later(self._every_s, self._beat)
