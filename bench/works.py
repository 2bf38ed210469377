"""The works: what servers are made to do, and what is measured while they do it."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

from bench import generator, peers
from bench.generator import http_request
from bench.machine import cpu_seconds, pss_kib
from bench.peers import Peer, Running

Sample = dict[str, Any]

SETTLE_S = 1.0  # for what joining set off: presence, collected garbage
SIZE = 160  # bytes of the frame that a client sends, where a work does not vary it
ONE_ROOM, MANY_ROOMS = (1, 1000), (200, 5)


@dataclasses.dataclass(frozen=True)
class Shape:
    """Who talks to whom, and how much.

    Attributes:
        in_flight: messages under way at once, where no rate is given: enough that the server never waits.
    """

    rooms: int
    members: int
    speakers: int = 1
    in_flight: int = 4
    size: int = SIZE
    rate: float = 0
    seconds: float = 3

    def options(self, message: str) -> list[str]:
        """For `load`."""
        pace = ["-q", str(self.rate)] if self.rate else ["-k", str(self.in_flight)]
        return ["-m", message, "-s", str(self.speakers), "-t", str(self.seconds), *pace]


def one_room(members: int = 1000, **changes: Any) -> Shape:
    """Everyone in one room, four messages under way."""
    return Shape(1, members, speakers=min(members, 50), **changes)


def many_rooms(rooms: int = 200, members: int = 5, **changes: Any) -> Shape:
    """Small rooms, everyone speaks, one message under way in each."""
    return Shape(rooms, members, speakers=members, in_flight=rooms, **changes)


def talk(server: Running, shape: Shape) -> Sample:
    """Messages, fanned out."""
    options = server.load_options(shape.rooms, shape.members) + shape.options(server.peer.talk.message(shape.size))
    with generator.load(options, server.port) as load:
        time.sleep(SETTLE_S)
        before, began = cpu_seconds(server.pids), time.monotonic()
        result = load.go()
        used, took = cpu_seconds(server.pids) - before, time.monotonic() - began
    if result["delivered"] < result["expected"] or load.joining["lost"] or result["lost"]:
        result["incomplete"] = result["expected"] - result["delivered"]
    return {
        **dataclasses.asdict(shape),
        **result,
        "deliveries_per_s": result["in_time"] / result["seconds"],
        "messages_per_s": result["in_time"] / shape.members / result["seconds"],
        "cpu_us_per_delivery": used * 1e6 / max(1, result["delivered"]),
        "server_busy": used / took,
    }


def join(server: Running, rooms: int = 400, members: int = 5, at_once: int = 100) -> Sample:
    """Everyone joins, a hundred at once."""
    options = [*server.load_options(rooms, members), "-c", str(at_once)]
    before = cpu_seconds(server.pids)
    with generator.load(options, server.port) as load:
        used, joining = cpu_seconds(server.pids) - before, load.joining
    return {
        **joining,
        "joins_per_s": joining["joined"] / joining["join_s"],
        "cpu_us_per_join": used * 1e6 / max(1, joining["joined"]),
    }


def crowd(server: Running, members: int = 5000) -> Sample:
    """All join one room: how many presence frames each is sent a second."""
    options = [*server.load_options(1, members), "-c", "100", "-e", '"type":"presence"']
    with generator.load(options, server.port) as load:
        time.sleep(SETTLE_S)
        result = load.go()
    seconds = load.joining["join_s"] + SETTLE_S
    # Joining one after the other, the average one is there for half the time.
    mean = result["counted"] / load.joining["joined"] / (seconds / 2)
    return {
        **load.joining,
        "joins_per_s": load.joining["joined"] / load.joining["join_s"],
        "presence_most_per_s": result["counted_most"],
        "presence_mean_per_s": mean,
    }


def hold(server: Running, connections: int, *, settle_s: float = 2, hold_s: float = 0) -> Sample:
    """Everyone joins and says nothing, five in a room.

    Args:
        hold_s: for which CPU time is counted. relayd pings after 20 to 30 s, others later or never.
    """
    rooms = connections // 5
    options = server.load_options(rooms, 5)
    time.sleep(0.5)
    empty = pss_kib(server.pids)
    with generator.load(options, server.port) as load:
        time.sleep(settle_s)
        full = pss_kib(server.pids)
        before = cpu_seconds(server.pids)
        time.sleep(hold_s)
        used = cpu_seconds(server.pids) - before
    return {
        "connections": load.joining["joined"],
        "lost": load.joining["lost"],
        "empty_mib": empty / 1024,
        "kib_per_connection": (full - empty) / load.joining["joined"],
        "cpu_percent": 100 * used / hold_s if hold_s else None,
    }


def request(server: Running, raw: bytes, seconds: float = 2) -> Sample:
    """One request again and again, over 16 connections."""
    before = cpu_seconds(server.pids)
    result = generator.ask(raw, server.port, connections=16, seconds=seconds)
    used = cpu_seconds(server.pids) - before
    return {
        **result,
        "answers_per_s": result["answered"] / result["seconds"],
        "cpu_us_per_answer": used * 1e6 / max(1, result["answered"]),
    }


_CREATE_BODY = json.dumps({"max": 5}).encode()
CREATE = http_request("POST", "/api/v1/room", _CREATE_BODY)


def create(server: Running) -> Sample:
    """Rooms are made; a bare handler gets the same request."""
    raw = CREATE if server.peer.name == "relayd" else http_request("POST", "/empty", _CREATE_BODY)
    return request(server, raw)


def details(server: Running) -> Sample:
    """A room's details are asked for; a bare handler gets a request of the same length, nearly."""
    if server.peer.name != "relayd":
        return request(server, http_request("GET", "/empty", key="ri_" + 22 * "x"))
    room_id, key = peers.make_rooms(server.port, server.directory, 1, 5).read_text().split()
    return request(server, http_request("GET", f"/api/v1/{room_id}", key=key))


def fill(server: Running, rooms: int) -> None:
    """Has so many rooms live beside those that are worked with."""
    generator.ask(CREATE, server.port, connections=16, answers=rooms)


def run_talk(peer: Peer, shape: Shape, arguments: tuple[str, ...] = ()) -> Sample:
    """`talk`, on a server of its own."""
    with peers.running(peer, arguments) as server:
        return talk(server, shape)
