"""The daemon as a whole, as an admin or a signal steers it: new settings, how it fares, its end."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from relayd import __version__
from relayd.errors import CannotUpgrade, SettingsError
from relayd.hub.hub import Hub
from relayd.keeping import forget_rooms, keep_rooms
from relayd.logs import change_logging
from relayd.machine.process import children, resident_bytes
from relayd.machine.systemd import Systemd
from relayd.settings import FIXED, Settings, changes
from relayd.startup import Start
from relayd.upgrade import HandOver, Upgraded
from relayd.wire import control
from relayd.wire.rest import rfc3339

log = logging.getLogger("relayd")

T = TypeVar("T")

_LAST_ANSWERS_S = 0.25  # for requests that were begun
_ENDING_S = 20.0  # for what comes after a drain: closing handshakes, and the end of workers


class Helm:
    """Steers a daemon.

    Args:
        start: the settings it started with, and where they come from.
        hub: its rooms.
        addresses: where it listens.
        load: reads the settings anew from where they came from.
        stop: set when it is to end.
        systemd: is told when it takes new settings, and when it ends.
        hand_over: lets another process take over.

    Attributes:
        settings: those that hold.
        on_settings: called with new settings, for parts that the hub doesn't reach.
        hold_newcomers: lets nobody in any more, if whoever comes can wait for the next daemon; else None.
    """

    def __init__(
        self,
        start: Start,
        hub: Hub,
        addresses: list[str],
        load: Callable[[], Settings],
        stop: asyncio.Event,
        systemd: Systemd,
        hand_over: HandOver,
    ) -> None:
        self.on_settings: list[Callable[[Settings], None]] = []
        self.hold_newcomers: Callable[[], None] | None = None
        self._settings = start.settings
        self._problems = start.problems  # of the settings when they were last read
        self._hub = hub
        self._addresses = addresses
        self._load = load
        self._stop = stop
        self._systemd = systemd
        self._hand_over = hand_over
        self._upgrading: asyncio.Task[Upgraded] | None = None
        self._started_at, self._started_boottime = time.time(), _since_boot()
        self._draining: asyncio.Task[None] | None = None
        self._forgetting = self._is_terminating = False

    @property
    def settings(self) -> Settings:
        """Those that hold."""
        return self._settings

    @property
    def trouble(self) -> str:
        """What an administrator is to be told in each status, in a line; "" if all is well."""
        return f"invalid settings, earlier ones hold: {'; '.join(self._problems)}" if self._problems else ""

    def act(self, work: Callable[[float], T]) -> T:
        """Does something to the rooms, and tells the gateways."""
        return self._hub.act(work)

    def base(self) -> tuple[str, str]:
        """Scheme and host for links: those of `public_url`, else of the first TCP listener."""
        if self._settings.public_url:
            public = urlsplit(self._settings.public_url)
            return public.scheme, public.netloc
        tcp = next((urlsplit(address) for address in self._addresses if address.startswith("http")), None)
        if tcp is None:
            return "http", "localhost"
        # Listening everywhere is no name to be called by; what's sure is that it can be reached from here.
        host = f"localhost:{tcp.port}" if tcp.hostname in ("0.0.0.0", "::") else tcp.netloc  # noqa: S104
        return tcp.scheme, host

    def status(self) -> control.Status:
        """How it fares."""
        gateways, pid = self._hub.admin.gateways(), os.getpid()
        return control.Status(
            version=__version__,
            state="draining" if self._hub.draining else "running",
            pid=pid,
            started=rfc3339(self._started_at),
            uptime=round(_since_boot() - self._started_boottime, 3),
            addresses=self._addresses,
            memory=sum(map(resident_bytes, (pid, *children(pid)))),
            workers=len(gateways),
            gateways=gateways,
            settings_problems=list(self._problems),
            keeps_rooms=self._hub.log is not None,
            frozen=self._hub.service.closed.frozen_since is not None,
            blocks=len(self._hub.service.closed.blocks),
            unreadable_headers=self._hub.admin.unreadable_headers(),
            **self._hub.admin.counts(),
        )

    def settings_json(self) -> bytes:
        """The settings that hold."""
        return msgspec.json.encode(self._settings)

    def metrics_text(self) -> bytes:
        """The metrics, in Prometheus' text format."""
        # Imported late: most servers are not asked, or have a listener for it.
        from prometheus_client import generate_latest  # noqa: PLC0415

        from relayd.hub.metrics import registry  # noqa: PLC0415

        return generate_latest(registry(self._hub, len(self._hub.admin.gateways())))

    def probe(self) -> control.Probe:
        """A token for a request that is told how it arrives."""
        return control.Probe(self._hub.probe())

    # New settings. ----------------------------------------------------------------------------------------------

    def pending(self) -> control.Reloaded:
        """What a reload would change now.

        Raises:
            SettingsError: some settings are wrong.
        """
        return control.Reloaded(self._changes(self._load()))

    def reload(self) -> control.Reloaded:
        """Takes the settings anew; what can't change while it runs stays as it is.

        Raises:
            SettingsError: some are wrong, and nothing is changed.
        """
        self._keep_rooms()
        # The time is asked for by Type=notify-reload (systemd 253); those before it pass over it.
        self._systemd.notify(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
        try:
            wanted = self._load()
        except SettingsError as wrong:
            self._problems = tuple(wrong.problems)
            raise
        else:
            self._problems = ()
            return self._take(wanted)
        finally:
            self._systemd.notify(READY=1)

    def set_log_level(self, level: str) -> control.Reloaded:
        """Logs from that level on, here and in every gateway, until the settings are taken anew."""
        return self._take(msgspec.structs.replace(self._settings, log_level=level))

    def _take(self, wanted: Settings) -> control.Reloaded:
        found = self._changes(wanted)
        fixed = {name: getattr(self._settings, name) for name in FIXED}
        self._settings = msgspec.structs.replace(wanted, **fixed)
        if any(change.applied for change in found):
            change_logging(self._settings)
            self._hub.change(self._settings)
            for tell in self.on_settings:
                tell(self._settings)
        for change in found:
            log.info("%s: %s", change.setting, "changed" if change.applied else "changes with the next start only")
        return control.Reloaded(found)

    def _changes(self, wanted: Settings) -> list[control.Change]:
        return [
            control.Change(path, before, after, applied=path not in FIXED)
            for path, before, after in changes(self._settings, wanted)
        ]

    def on_hangup(self) -> None:
        """SIGHUP: like `reload`, and the log says what is wrong."""
        try:
            if not self.reload().changes:
                log.info("reloaded, and no setting has changed")
        except SettingsError as wrong:
            for problem in wrong.problems:
                log.error("not reloaded, the old settings stay: %s", problem)  # noqa: TRY400 - no mistake of ours

    # The end. ---------------------------------------------------------------------------------------------------

    def drain(self, over_s: float, *, forget: bool = False) -> control.Draining:
        """Lets nobody in any more, sends everyone away within that time, then ends.

        Args:
            over_s: seconds it may take.
            forget: end the rooms, which the service manager keeps for the next start otherwise, if it can.

        Raises:
            Restarting: the rooms are to end, and another process is about to take them over.
        """
        if forget:
            self._hub.act(lambda now: None)
        else:
            self._keep_rooms()
        if self._draining is not None:
            self._draining.cancel()
        self._forgetting = forget
        counts = self._hub.admin.counts()
        connections, kept = counts["connections"], self._hub.log is not None and not forget
        log.info("draining over %.0f s, %d connections", over_s, connections)
        self._draining = asyncio.get_running_loop().create_task(self._drain(over_s, forget=forget))
        return control.Draining(over_s, connections, counts["rooms"], kept)

    async def _drain(self, over_s: float, *, forget: bool) -> None:
        if not over_s and self.hold_newcomers is not None:
            # Nobody is turned away by a daemon that is about to be replaced: who has come is answered, others wait.
            self.hold_newcomers()
            await asyncio.sleep(_LAST_ANSWERS_S)
        await self._hub.drain(over_s, forget=forget)
        if forget:
            forget_rooms(self._systemd)
        self._stop.set()

    async def upgrade(self) -> control.Upgraded:
        """Lets the relayd that is installed by now take over; this one ends.

        Raises:
            CannotUpgrade, IncompatibleVersion, IncompatibleRooms: why it cannot, and this one goes on.
        """
        loop = asyncio.get_running_loop()
        self._upgrading = loop.create_task(self._hand_over.run())
        try:
            upgraded = await self._upgrading
        except asyncio.CancelledError:
            raise CannotUpgrade("relayd was told to end") from None
        log.info("relayd %s has taken over, pid %d", upgraded.version, upgraded.pid)
        loop.call_later(_LAST_ANSWERS_S, self._stop.set)  # with time for this one
        return control.Upgraded(upgraded.version, upgraded.pid)

    def on_terminate(self) -> None:
        """SIGTERM: drains, also where relayctl asked for a drain that takes longer; a second one ends at once."""
        if self._upgrading is not None:
            self._upgrading.cancel()
        if self._is_terminating:
            self._stop.set()
            return
        self._is_terminating = True
        over_s = self._settings.timing.drain
        # Longer than TimeoutStopSec of the unit allows, if it must be.
        self._systemd.notify(EXTEND_TIMEOUT_USEC=round((over_s + _ENDING_S) * 1e6))
        self.drain(over_s, forget=self._forgetting)

    def _keep_rooms(self) -> None:
        """Has systemd keep them, once more: what it has it ignores, and a masked unit has made it drop what it had."""
        if self._hub.log is not None:
            keep_rooms(self._systemd, self._hub.log)


def _since_boot() -> float:
    """As SteadyClock counts: on while the machine sleeps, so that what the clock was set by can be told."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
