"""What a run is made of: for each work, which servers do it in a round."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator
from typing import Any

from bench import files, peers, works
from bench.peers import BARE, LIMIT_EACH, LIMIT_TURN, NATS, NODE_WS, RELAYD, SOCKET_IO, Peer, others_here
from bench.works import Sample, Shape, many_rooms, one_room

MEMBERS = (10, 100, 1000, 3000)
SPREADS = ((1, 1000), (10, 100), (50, 20), (200, 5), (500, 2))
SIZES = (160, 1024, 4096, 16384)
CONNECTIONS = (1000, 3000, 10_000)
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of what saturates relayd
FEW, MANY = 100, 20_000  # rooms that live beside those worked with
IDLE = 10_000


@dataclasses.dataclass(frozen=True)
class Job:
    """One server's part of a work.

    Attributes:
        call: does it; what was measured, several things if a server is used for several.
        case: what sets it apart from the server's other jobs of this work.
    """

    work: str
    server: str
    call: Callable[[], Sample]
    case: str = ""


def room(state: Samples) -> Iterator[Job]:
    """One room of 1,000."""
    for peer in (RELAYD, LIMIT_TURN, *others_here()):
        yield _talk("room", peer, one_room())


def rooms(state: Samples) -> Iterator[Job]:
    """200 rooms of 5, all talking."""
    for peer in (RELAYD, LIMIT_EACH, *others_here()):
        yield _talk("rooms", peer, many_rooms())


def latency(state: Samples) -> Iterator[Job]:
    """The same at half of what saturates relayd."""
    for peer in (RELAYD, LIMIT_EACH):
        yield _talk("latency", peer, many_rooms(rate=state.saturation() / 2))


def joins(state: Samples) -> Iterator[Job]:
    """400 rooms of 5 are joined; to bare Tornado and Node ws a handshake is all."""
    for peer in (RELAYD, BARE, *(peer for peer in (NATS, NODE_WS) if not peer.missing())):
        yield Job("joins", peer.name, _on(peer, works.join))


def crowd(state: Samples) -> Iterator[Job]:
    """5,000 join one room."""
    yield Job("crowd", "relayd", _on(RELAYD, works.crowd))


def create(state: Samples) -> Iterator[Job]:
    """`POST /api/v1/room`, and an empty handler."""
    for peer in (RELAYD, BARE):
        yield Job("create", peer.name, _on(peer, works.create))


def details(state: Samples) -> Iterator[Job]:
    """`GET /api/v1/<room>`, and an empty handler."""
    for peer in (RELAYD, BARE):
        yield Job("details", peer.name, _on(peer, works.details))


def workers(state: Samples) -> Iterator[Job]:
    """One room of 1,000, with the gateways in processes of their own; all on one core.

    As fast as it goes, a server that is slower to answer finds fewer messages waiting that can share a write; so
    once more at a rate, where none has to wait.
    """
    half = state.median("messages_per_s", "room", "relayd") / 2 if state.of("room", "relayd") else 100.0
    for case, shape in (("", one_room()), ("at half", one_room(rate=half))):
        for count in (0, 1, 2):
            call = _bind(works.run_talk, RELAYD, shape, ("--workers", str(count)))
            yield Job("workers", f"relayd, {count} workers", call, case)


def living(state: Samples) -> Iterator[Job]:
    """Everything above, beside few and many living rooms."""
    parts: dict[str, Callable[[peers.Running], Sample]] = {
        "room": lambda server: works.talk(server, one_room(seconds=2)),
        "rooms": lambda server: works.talk(server, many_rooms(seconds=2)),
        "latency": lambda server: works.talk(server, many_rooms(seconds=2, rate=state.saturation() / 2)),
        "joins": works.join,
        "create": works.create,
        "details": works.details,
    }

    def all_parts(count: int) -> Sample:
        with peers.running(RELAYD) as server:
            works.fill(server, count)
            return {name: part(server) for name, part in parts.items()}

    for count in (FEW, MANY):
        yield Job("living", f"relayd, {count} rooms", _bind(all_parts, count))


def idle(state: Samples) -> Iterator[Job]:
    """10,000 connections that say nothing, over one round of pings."""
    yield Job("idle", "relayd", _on(RELAYD, lambda server: works.hold(server, IDLE, settle_s=20, hold_s=25)))


def file(state: Samples) -> Iterator[Job]:
    """A file to one receiver, and to ten; a relay of bytes with nothing around them does the same."""
    for receivers in (1, 10):
        case = "" if receivers == 1 else f"{receivers} receivers"
        for peer in (RELAYD, files.TCP):
            yield Job("file", f"{peer.name}, {case}" if case else peer.name, _bind(files.carry, peer, receivers))
    for kind in ("open", "sealed"):
        yield Job("file", f"relayd, {kind}, by the Python library", _bind(files.carry_by_library, kind))


def beside(state: Samples) -> Iterator[Job]:
    """What is said in a room through which a file goes."""
    yield Job("beside", "relayd", files.talk_beside)


def members(state: Samples) -> Iterator[Job]:
    """One room of more and more."""
    for count in MEMBERS:
        for peer in (RELAYD, LIMIT_TURN, *others_here()):
            yield _talk("members", peer, one_room(count, in_flight=max(4, 400 // count), seconds=1.5), str(count))


def spread(state: Samples) -> Iterator[Job]:
    """1,000 connections in fewer or more rooms."""
    for count, size in SPREADS:
        for peer in (RELAYD, LIMIT_TURN):
            shape = many_rooms(count, size, seconds=1.5) if count > 4 else one_room(seconds=1.5)
            yield _talk("spread", peer, shape, f"{count} x {size}")


def sizes(state: Samples) -> Iterator[Job]:
    """Larger and larger messages, in one room of 200."""
    for size in SIZES:
        for peer in (RELAYD, LIMIT_TURN):
            yield _talk("sizes", peer, one_room(200, size=size, seconds=1.5), str(size))


def rates(state: Samples) -> Iterator[Job]:
    """200 x 5 at more and more messages a second."""
    for share in SHARES:
        for peer in (RELAYD, LIMIT_EACH, *(peer for peer in (NATS, NODE_WS) if not peer.missing())):
            yield _talk("rates", peer, many_rooms(rate=share * state.saturation(), seconds=2), str(share))


def memory(state: Samples) -> Iterator[Job]:
    """More and more connections that say nothing."""
    for count in CONNECTIONS:
        for peer in (RELAYD, *(peer for peer in (NATS, NODE_WS, SOCKET_IO) if not peer.missing()), BARE):
            yield Job("memory", peer.name, _on(peer, lambda server, count=count: works.hold(server, count)), str(count))


# In this order in each round. TARGETS are what ratios are made of, so they are run in every round; the others show
# how cost grows.
TARGETS = (room, rooms, latency, joins, crowd, create, details, workers, living, idle, file, beside)
GROWTH = (members, spread, sizes, rates, memory)
WORKS = {work.__name__: work for work in (*TARGETS, *GROWTH)}


class Samples:
    """What was measured so far."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples

    def of(self, work: str, server: str, case: str = "") -> list[Sample]:
        """Those of that job, a round each."""
        return [one for one in self.samples if (one["work"], one["server"], one["case"]) == (work, server, case)]

    def median(self, name: str, work: str, server: str, case: str = "") -> float:
        """Of one number over all rounds."""
        return statistics.median(one[name] for one in self.of(work, server, case))

    def saturation(self) -> float:
        """Messages a second that keep relayd busy in 200 rooms of 5; those of the first round, so that all agree."""
        first = self.of("rooms", "relayd")
        return first[0]["messages_per_s"] if first else 10_000.0


def _talk(work: str, peer: Peer, shape: Shape, case: str = "") -> Job:
    return Job(work, peer.name, _bind(works.run_talk, peer, shape), case)


def _on(peer: Peer, call: Callable[[peers.Running], Sample]) -> Callable[[], Sample]:
    def run() -> Sample:
        with peers.running(peer) as server:
            return call(server)

    return run


def _bind(call: Callable[..., Sample], *arguments: Any) -> Callable[[], Sample]:
    return lambda: call(*arguments)
