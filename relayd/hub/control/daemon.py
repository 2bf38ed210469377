"""The control API's daemon as a whole: how it fares, what happens, new settings, its end."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from tornado.iostream import StreamClosedError

from relayd.errors import InvalidFields, SettingsError
from relayd.hub.control.handler import ControlHandler, Verb
from relayd.hub.control.peers import Tier
from relayd.hub.happenings import Watcher
from relayd.wire import control

LAST_LINE_S = 10.0  # for one who was too slow to take what is left and be told so
_CUT_OFF = b'{"event":"cut_off","reason":"more happened than was read; watch again"}\n'


class StatusReport(ControlHandler):
    """`/v1/status`."""

    def _read(self) -> None:
        self.write_struct(self.desk.steering.status())

    verbs: ClassVar = {"GET": Verb("status", Tier.OBSERVE, _read)}


class SettingsReport(ControlHandler):
    """`/v1/settings`: those that hold."""

    def _read(self) -> None:
        self.write_json(self.desk.steering.settings_json())

    def _set(self) -> None:
        self.write_struct(self.desk.steering.set_log_level(self.take(control.SetSettings).log_level))

    verbs: ClassVar = {"GET": Verb("settings", Tier.OBSERVE, _read), "PATCH": Verb("set", Tier.ADMIN, _set)}


class MetricsReport(ControlHandler):
    """`/v1/metrics`: as Prometheus finds them, also where `metrics` is not set."""

    def _read(self) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(self.desk.steering.metrics_text())

    verbs: ClassVar = {"GET": Verb("metrics", Tier.OBSERVE, _read)}


class Reload(ControlHandler):
    """`/v1/reload`: what it would change, and doing so."""

    def _look(self) -> None:
        try:
            self.write_struct(self.desk.steering.pending())
        except SettingsError as wrong:
            raise _refusal(wrong, "a reload would change nothing") from wrong

    def _reload(self) -> None:
        try:
            self.write_struct(self.desk.steering.reload())
        except SettingsError as wrong:
            raise _refusal(wrong, "the old settings stay") from wrong

    verbs: ClassVar = {"GET": Verb("pending", Tier.OBSERVE, _look), "POST": Verb("reload", Tier.ADMIN, _reload)}


def _refusal(wrong: SettingsError, so: str) -> InvalidFields:
    return InvalidFields(f"{'; '.join(wrong.problems)}; {so}")


class Probe(ControlHandler):
    """`/v1/probe`."""

    def _make(self) -> None:
        self.write_struct(self.desk.steering.probe(), 201)

    verbs: ClassVar = {"POST": Verb("probe", Tier.OBSERVE, _make)}


class Drain(ControlHandler):
    """`/v1/drain`."""

    def _drain(self) -> None:
        asked = self.take(control.Drain)
        self.write_struct(self.desk.steering.drain(asked.over, forget=asked.forget), 202)

    verbs: ClassVar = {"POST": Verb("drain", Tier.ADMIN, _drain)}


class Stop(ControlHandler):
    """`/v1/stop`: a drain that takes no time."""

    def _stop(self) -> None:
        self.write_struct(self.desk.steering.drain(0.0, forget=self.take(control.Stop).forget), 202)

    verbs: ClassVar = {"POST": Verb("stop", Tier.ADMIN, _stop)}


class Upgrade(ControlHandler):
    """`/v1/upgrade`."""

    async def _upgrade(self) -> None:
        self.write_struct(await self.desk.steering.upgrade())

    verbs: ClassVar = {"POST": Verb("upgrade", Tier.ADMIN, _upgrade)}


class Watch(ControlHandler):
    """`/v1/watch`: what happens, a line of JSON each, until somebody has enough."""

    async def _watch(self) -> None:
        reference = self.get_query_argument("room", "")
        room_id = self.room(reference).meta.room_id if reference else None
        self.set_header("Content-Type", "application/jsonl")
        self._watcher = watcher = self.desk.happenings.watch(room_id)
        try:
            await self.flush()  # the headers: from here on nothing is missed
            await self._tell(watcher)
        except StreamClosedError:
            return
        except TimeoutError:
            self.detach().close()  # reads nothing at all: it learns by an answer that does not end as one should
        finally:
            self.desk.happenings.unwatch(watcher)

    async def _tell(self, watcher: Watcher) -> None:
        while not watcher.over.is_set():
            await watcher.stirred.wait()
            self.write(watcher.take())
            await self._flush(watcher)
        self.write(watcher.take())
        if watcher.too_slow:
            self.write(_CUT_OFF)
        await self.finish()

    async def _flush(self, watcher: Watcher) -> None:
        """Until the watcher has read, as long as it likes; once it is over, for some seconds more."""
        flush, over = asyncio.ensure_future(self.flush()), asyncio.ensure_future(watcher.over.wait())
        await asyncio.wait((flush, over), return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        await asyncio.wait_for(flush, LAST_LINE_S)

    def on_connection_close(self) -> None:
        """Whoever watched has gone."""
        if self._watcher is not None:
            self._watcher.end()

    _watcher: Watcher | None = None
    verbs: ClassVar = {"GET": Verb("watch", Tier.OBSERVE, _watch)}
