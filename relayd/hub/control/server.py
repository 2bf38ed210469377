"""The control API as it runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from tornado.web import Application, RequestHandler

from relayd.errors import NotFound
from relayd.http.handler import JsonHandler
from relayd.http.passwords import Passwords
from relayd.http.stream import Timeouts
from relayd.hub.control import daemon, order, rooms
from relayd.hub.control.handler import ControlHandler, Desk, Steering
from relayd.hub.control.listener import ControlListener
from relayd.hub.control.peers import Tiers
from relayd.hub.hub import Hub
from relayd.hub.private import PrivateServer
from relayd.settings import Settings

log = logging.getLogger("relayd.control")

# Who may connect here is trusted further than a stranger: a body that is too large is read to its end, up to this.
_MAX_DROPPED_BYTES = 64 * 1024 * 1024
_MAX_CONNECTIONS = 100  # a person has one or two; fewer than the descriptors that are kept back for them
_TIMEOUTS = Timeouts(write=None)  # those who watch may read as late as they like: see Watch
_LAST_LINES_S = 1.0  # for those who watch to read them

_ROOM = r"/v1/rooms/([^/]+)"

ROUTES: list[tuple[str, type[ControlHandler]]] = [
    (r"/v1/status", daemon.StatusReport),
    (r"/v1/settings", daemon.SettingsReport),
    (r"/v1/watch", daemon.Watch),
    (r"/v1/reload", daemon.Reload),
    (r"/v1/probe", daemon.Probe),
    (r"/v1/drain", daemon.Drain),
    (r"/v1/stop", daemon.Stop),
    (r"/v1/upgrade", daemon.Upgrade),
    (r"/v1/limits", order.Limits),
    (r"/v1/blocks", order.Blocks),
    (r"/v1/blocks/(.+)", order.OneBlock),
    (r"/v1/freeze", order.Freeze),
    (r"/v1/metrics", daemon.MetricsReport),
    (r"/v1/rooms", rooms.Rooms),
    (r"/v1/announcements", rooms.Announcements),
    (_ROOM, rooms.Room),
    (_ROOM + r"/messages", rooms.Messages),
    (_ROOM + r"/passes", rooms.Passes),
    (_ROOM + r"/bans", order.Bans),
    (_ROOM + r"/users", rooms.Users),
    (_ROOM + r"/users/([^/]+)", rooms.User),
]


class ControlServer:
    """Serves admins.

    Args:
        settings: for the groups.
        listener: where; closed with it.
        hub: what is controlled.
        steering: the daemon as a whole.
    """

    def __init__(self, settings: Settings, listener: ControlListener, hub: Hub, steering: Steering) -> None:
        self._listener = listener
        self._happenings = hub.happenings
        self._tiers = Tiers(settings.control_groups)
        self._passwords = Passwords()
        desk = {"desk": Desk(hub.service, hub.admin, hub.happenings, self._tiers, self._passwords, steering)}
        application = Application(
            [(pattern, handler, desk) for pattern, handler in ROUTES],
            default_handler_class=NothingHere,
            log_function=_log_request,
        )
        self._server = PrivateServer(
            application,
            [listener.socket],
            max_body_bytes=_MAX_DROPPED_BYTES,
            max_connections=_MAX_CONNECTIONS,
            timeouts=_TIMEOUTS,
        )

    def start(self) -> None:
        """Lets admins in."""
        self._server.accept()

    def stop(self) -> None:
        """Lets nobody in any more; who is in, is answered."""
        self._server.stop()

    def change(self, settings: Settings) -> None:
        """Other groups from now on."""
        self._tiers.change(settings.control_groups)

    async def close(self) -> None:
        """Serves nobody any more."""
        self._server.stop()
        self._happenings.tell("stopped")
        self._happenings.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_LINES_S):
                await self._happenings.all_gone.wait()
        self._passwords.close()
        await self._server.close_all_connections()
        self._listener.close()


class NothingHere(JsonHandler):
    """Every address that is none."""

    def get(self) -> None:
        """Says so."""
        raise NotFound

    head = post = put = patch = delete = options = get


def _log_request(handler: RequestHandler) -> None:
    log.debug("%s %d %.1fms", handler.request.method, handler.get_status(), 1000 * handler.request.request_time())
