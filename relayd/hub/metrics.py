"""What Prometheus is told: read where it is counted anyway, at the moment it asks.

Nothing here names a room, a user or an address: labels are workers by number and reasons by code, so there are few
of them however long the server runs. docs/admin.md has a row for each name.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from relayd import __version__
from relayd.bus.messages import Tally, added
from relayd.histogram import BOUNDS_S, Histogram
from relayd.hub.hub import Hub
from relayd.hub.reports import Reported
from relayd.machine import descriptors
from relayd.machine.process import open_descriptors, resident_bytes, started_at
from relayd.rooms.refusals import WHAT


class View(NamedTuple):
    """What one scrape sees: all of it is from the same moment."""

    hub: Hub
    workers: int
    counts: Mapping[str, int]
    reports: list[Reported]
    total: Tally


class Family(NamedTuple):
    """One metric of the server as a whole."""

    name: str
    help: str
    read: Callable[[View], float]


class Labelled(NamedTuple):
    """A counter by reason: one label."""

    name: str
    help: str
    label: str
    read: Callable[[View], Mapping[str, int]]


class OfWorker(NamedTuple):
    """One metric of each worker: its label is the worker's number."""

    name: str
    help: str
    read: Callable[[Reported], float]


def _blocks(view: View) -> int:
    return len(view.hub.service.closed.blocks)


def _is_frozen(view: View) -> bool:
    return view.hub.service.closed.frozen_since is not None


_GAUGES = (
    Family("relayd_rooms", "Rooms that live.", lambda view: view.counts["rooms"]),
    Family("relayd_places", "Seats of all rooms, which limits.max_places bounds.", lambda view: view.counts["places"]),
    Family("relayd_users", "Users with a place in a room, connected or away.", lambda view: view.counts["users"]),
    Family("relayd_connections", "Connections that have joined.", lambda view: view.counts["connections"]),
    Family("relayd_blocks", "Addresses and networks that admins have blocked.", _blocks),
    Family("relayd_frozen", "1 while only admins may create rooms.", _is_frozen),
    Family("relayd_draining", "1 while the server sends its clients away.", lambda view: view.hub.draining),
    Family("relayd_ring_bytes", "Kept for users who come back.", lambda view: view.hub.service.rings.size),
    Family("relayd_bus_kept_back", "Events that a worker's full pipe holds up.", lambda view: view.hub.kept_back),
    Family("relayd_loop_lag_seconds", "How late the hub's loop is.", lambda view: view.hub.lag_s),
    Family("relayd_workers", "Gateways that have reported.", lambda view: len(view.reports)),
    Family("relayd_workers_wanted", "Gateways there should be.", lambda view: view.workers),
    Family(
        "relayd_waiting_bytes",
        "Written to slow readers and not taken yet.",
        lambda view: sum(one.report.waiting_bytes for one in view.reports),
    ),
    Family(
        "relayd_slow_readers", "Readers that are behind.", lambda view: sum(one.report.slow for one in view.reports)
    ),
)
_STARTED_AT = started_at()

# Under these names every program exports them. prometheus-client's own reader of them finds nothing where a unit has
# ProcSubset=pid, as ours has: it looks for the time of the boot in /proc/stat.
_PROCESS_GAUGES = (
    Family("process_resident_memory_bytes", "Memory of the process with the rooms.", lambda view: resident_bytes()),
    Family("process_start_time_seconds", "When it began, since 1970.", lambda view: _STARTED_AT),
    Family("process_open_fds", "Descriptors it has open.", lambda view: open_descriptors()),
    Family("process_max_fds", "Descriptors it may have.", lambda view: descriptors.limit()),
)
_COUNTERS = (
    Family("process_cpu_seconds", "Processor time of the process with the rooms.", lambda view: time.process_time()),
    Family("relayd_rooms_created", "Rooms made.", lambda view: view.counts["rooms_created"]),
    Family("relayd_joins", "Joins that succeeded.", lambda view: view.hub.counts.joins),
    Family("relayd_messages", "Messages accepted.", lambda view: view.counts["messages"]),
    Family("relayd_payload_bytes", "Bytes accepted, of messages and files.", lambda view: view.counts["bytes"]),
    Family("relayd_file_bytes", "Bytes of files accepted.", lambda view: view.hub.counts.file_bytes),
    Family("relayd_deliveries", "Messages written, once for each reader.", lambda view: view.total.deliveries),
    Family("relayd_delivered_bytes", "Bytes of frames of those.", lambda view: view.total.delivered_bytes),
    Family("relayd_file_delivered_bytes", "Bytes of files written to receivers.", lambda view: view.total.file_bytes),
    Family("relayd_websockets_opened", "WebSockets opened.", lambda view: view.total.opened),
    Family("relayd_slow_consumers_closed", "Readers cut off as too slow.", lambda view: view.total.slow_closed),
    Family(
        "relayd_unreadable_headers",
        "Forwarded headers of trusted proxies that could not be read.",
        lambda view: sum(view.total.unreadable_headers.values()),
    ),
)
_LABELLED = (
    Labelled("relayd_rooms_ended", "Rooms that ended.", "reason", lambda view: view.hub.counts.rooms_ended),
    Labelled(
        "relayd_joins_refused",
        "Joins refused.",
        "reason",
        lambda view: added(view.hub.counts.joins_refused, view.total.joins_refused),
    ),
    Labelled("relayd_resumes", "Joins that asked what they missed.", "outcome", lambda view: view.hub.counts.resumes),
    Labelled("relayd_files", "What receivers said of a file.", "outcome", lambda view: view.hub.counts.files),
    Labelled("relayd_frames_refused", "Refused of those inside.", "reason", lambda view: view.hub.counts.refused),
    Labelled("relayd_handshakes_refused", "WebSocket handshakes refused.", "reason", lambda view: view.total.refused),
)
_WORKER_GAUGES = (
    OfWorker("relayd_worker_connections", "WebSockets it has, joined or not.", lambda one: one.report.connections),
    OfWorker("relayd_worker_rooms", "Rooms that have somebody there.", lambda one: one.report.rooms),
    OfWorker("relayd_worker_slow_readers", "Readers that are behind.", lambda one: one.report.slow),
    OfWorker("relayd_worker_waiting_bytes", "Written and not taken yet.", lambda one: one.report.waiting_bytes),
    OfWorker("relayd_worker_loop_lag_seconds", "How late its loop is.", lambda one: one.report.lag_s),
    OfWorker("relayd_worker_bus_lag_seconds", "How long its report was under way.", lambda one: one.bus_lag_s),
    OfWorker("relayd_worker_resident_memory_bytes", "Memory of its process.", lambda one: one.report.memory),
)
_WORKER_COUNTERS = (
    OfWorker("relayd_worker_cpu_seconds", "Processor time of its process.", lambda one: one.report.cpu_s),
    OfWorker("relayd_worker_deliveries", "Messages written.", lambda one: one.report.tally.deliveries),
    OfWorker("relayd_worker_delivered_bytes", "Bytes of those.", lambda one: one.report.tally.delivered_bytes),
    OfWorker("relayd_worker_file_delivered_bytes", "Bytes of files.", lambda one: one.report.tally.file_bytes),
    OfWorker("relayd_worker_websockets_opened", "WebSockets opened.", lambda one: one.report.tally.opened),
    OfWorker("relayd_worker_slow_consumers_closed", "Readers cut off.", lambda one: one.report.tally.slow_closed),
)
# Those that an alert asks for: a rate begins with the second value.
_FIRST_REFUSALS = tuple((what, reason) for what in WHAT for reason in ("rate_limited", "blocked", "forbidden"))
_FANOUT = "From a message's place in its room's order to its last copy handed to the kernel, per turn, room and worker."


class RelayCollector(Collector):
    """Reads the metrics.

    Args:
        hub: whose.
        workers: gateways there should be.
    """

    def __init__(self, hub: Hub, workers: int) -> None:
        self._hub = hub
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        """All families."""
        reports = self._hub.service.reports
        view = View(self._hub, self._workers, self._hub.admin.counts(), list(reports), reports.total())
        yield _labelled(GaugeMetricFamily, "relayd_build_info", "The version.", _VERSIONS, [(_VERSIONS.values(), 1)])
        for family in (*_GAUGES, *_PROCESS_GAUGES):
            yield GaugeMetricFamily(family.name, family.help, family.read(view))
        for family in _COUNTERS:
            yield CounterMetricFamily(family.name, family.help, family.read(view))
        for by in _LABELLED:
            yield _labelled(
                CounterMetricFamily, by.name, by.help, (by.label,), (((key,), n) for key, n in by.read(view).items())
            )
        totals = self._hub.service.origins.refusals.totals
        refused = {**dict.fromkeys(_FIRST_REFUSALS, 0), **totals}
        yield _labelled(
            CounterMetricFamily, "relayd_refused", "What was refused.", ("refused", "reason"), refused.items()
        )
        for kind, families in ((GaugeMetricFamily, _WORKER_GAUGES), (CounterMetricFamily, _WORKER_COUNTERS)):
            for of in families:
                values = (((str(one.number),), of.read(one)) for one in view.reports)
                yield _labelled(kind, of.name, of.help, ("worker",), values)
        yield _histogram("relayd_fanout_seconds", (), [((), view.total.fanout)])
        yield _histogram(
            "relayd_worker_fanout_seconds",
            ("worker",),
            [((str(one.number),), one.report.tally.fanout) for one in view.reports],
        )


def registry(hub: Hub, workers: int) -> CollectorRegistry:
    """Everything that is exported."""
    made = CollectorRegistry()
    made.register(RelayCollector(hub, workers))
    return made


_VERSIONS = {"version": __version__, "python": platform.python_version()}


def _labelled(
    kind: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    help_: str,
    labels: Iterable[str],
    values: Iterable[tuple[Iterable[str], float]],
) -> Metric:
    family = kind(name, help_, labels=tuple(labels))
    for of, value in values:
        family.add_metric(tuple(of), value)
    return family


def _histogram(name: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], Histogram]]) -> Metric:
    family = HistogramMetricFamily(name, _FANOUT, labels=labels)
    bounds = [*map(str, BOUNDS_S), "+Inf"]
    for of, histogram in values:
        # Prometheus' buckets count all that were within their bound, those of the smaller ones included.
        family.add_metric(of, list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.sum_s)
    return family
