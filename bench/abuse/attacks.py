"""The attacks. Each prepares, calls `start`, and then goes on until it is cancelled.

`python -m bench.abuse.attacks NAME PORT SECONDS` runs one in a process of its own. It prints a line when the attack has
started, and one at the end: what it has done, as JSON.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import functools
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec
import uvloop

from bench.abuse.wire import (
    BINARY,
    PING,
    TEXT,
    Connection,
    Traffic,
    WebSocket,
    command,
    frame,
    make_room,
    request,
)
from bench.machine import GENERATOR_CORE
from relayd.client.seal.room import new_room

NICENESS = 10  # the honest clients on the same core come first
CLIENTS_PER_ADDRESS = 500
FLOOD_FRAMES = 4000  # of one write
NO_ROOM = "00000000-0000-4000-8000-000000000000"

_RETRY_S = 0.05  # after a client was closed or refused
_LIFE_S = 20.0  # a client that only holds what it has gives it up then
_SMALL_BUFFER_BYTES = 2048  # of the system, for a client that does not read

Room = dict[str, Any]


class Attack:
    """What an attack has at hand.

    Attributes:
        done: how often its clients completed each step, and how often they were closed or refused in it (`!`).
        started: set when it has prepared.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.traffic = Traffic()
        self.done: collections.Counter[str] = collections.Counter()
        self.started = asyncio.Event()

    def start(self) -> None:
        """From now on it counts what it does to others."""
        self.started.set()

    def room(self, **fields: Any) -> Room:
        """A room of its own."""
        return make_room(self.port, address_of(0), **fields)

    async def members(self, count: int, room: Room, **fields: Any) -> list[WebSocket]:
        """As many members as the server lets join, of `count`. They read, and ignore what they read."""
        some_at_a_time = asyncio.Semaphore(20)

        async def member(number: int) -> WebSocket | None:
            async with some_at_a_time:
                try:
                    return await Client(self, number).join(room, **fields)
                except (OSError, EOFError):
                    self.done["join!"] += 1
                    return None

        return [one for one in await asyncio.gather(*map(member, range(count))) if one is not None]

    async def repeat(self, count: int, step: Callable[..., Awaitable[None]], *args: Any, first: int = 0) -> None:
        """Has `count` clients take the step again and again, each time with new connections."""

        async def client(number: int) -> None:
            while True:
                client = Client(self, number)
                try:
                    await step(client, *args)
                    self.done[step.__name__] += 1
                except (OSError, EOFError):
                    self.done[f"{step.__name__}!"] += 1
                    await asyncio.sleep(_RETRY_S)
                finally:
                    client.close()

        await asyncio.gather(*(client(first + number) for number in range(count)))


class Client:
    """One of many; it closes what it has opened.

    Args:
        number: decides the address that it comes from.
    """

    def __init__(self, attack: Attack, number: int) -> None:
        self.port, self._traffic = attack.port, attack.traffic
        self._address = address_of(number)
        self._opened: list[Connection] = []
        self._reading: list[asyncio.Task[None]] = []

    async def connect(self) -> Connection:
        """A connection of HTTP."""
        opened = await Connection.open(self.port, self._address, self._traffic)
        self._opened.append(opened)
        return opened

    async def upgrade(self, room_id: str = NO_ROOM, *, receive_buffer: int = 0) -> WebSocket:
        """A WebSocket that has not joined."""
        opened = await WebSocket.to_room(
            self.port, room_id, self._address, self._traffic, receive_buffer=receive_buffer
        )
        self._opened.append(opened)
        return opened

    async def join(self, room: Room, key: str = "invite_key", **fields: Any) -> WebSocket:
        """A member that ignores what it reads from then on."""
        opened = await self.upgrade(room["id"])
        await opened.join(room[key], **fields)
        self.ignore(opened)
        return opened

    def ignore(self, opened: Connection) -> None:
        """Reads what comes, and nothing else is done with it."""
        task = asyncio.create_task(opened.discard())
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # closed: the sender finds out
        self._reading.append(task)

    async def flood(self, opened: Connection, data: bytes) -> None:
        """Sends that as fast as it is taken.

        Raises:
            OSError: the server has closed.
        """
        self.ignore(opened)
        while True:
            await opened.send(data)

    def close(self) -> None:
        """Closes everything, without a word."""
        for task in self._reading:
            task.cancel()
        for one in self._opened:
            one.abort()


def address_of(number: int) -> str:
    """Where client `number` comes from: loopback addresses, each with a few hundred clients."""
    return f"127.0.0.{2 + number // CLIENTS_PER_ADDRESS}"


# Nothing of these needs a key. ------------------------------------------------------------------------------------


async def fragments(client: Client, room: Room | None) -> None:
    """One message in empty fragments without end; by a member if there is a room."""
    opened = await client.upgrade() if room is None else await client.join(room)
    await opened.send(frame(TEXT, final=False))
    await client.flood(opened, frame(0, final=False) * FLOOD_FRAMES)


async def flood(client: Client, data: bytes) -> None:
    """Frames instead of a join; also after the server has begun to close."""
    await client.flood(await client.upgrade(), data)


async def flood_while_closing(client: Client, data: bytes) -> None:
    """A join that is refused, and frames instead of an answer to the close frame."""
    opened = await client.upgrade()
    await opened.send(command("join", key="ri_AAAAAAAAAAAAAAAAAAAAAA"))
    await client.flood(opened, data)


async def large_heads(client: Client) -> None:
    """Requests of 62 KB, most of it headers."""
    data = request("GET", "/healthz", headers=b"".join(b"a%d:b\r\n" % number for number in range(7000)))
    opened = await client.connect()
    while True:
        await opened.send(data)
        await opened.answer()


PINGS = frame(PING) * FLOOD_FRAMES
GARBAGE = frame(TEXT, b"{}") * FLOOD_FRAMES


async def empty_fragments(attack: Attack, clients: int, *, joined: bool) -> None:
    """Continuation frames that add nothing to a message."""
    room = attack.room() if joined else None
    attack.start()
    await attack.repeat(clients, fragments, room)


async def floods(attack: Attack, clients: int, step: Callable[..., Awaitable[None]], *args: Any) -> None:
    """Clients that need no preparation."""
    attack.start()
    await attack.repeat(clients, step, *args)


# Rooms of their own. ----------------------------------------------------------------------------------------------


async def slow_readers(attack: Attack, readers: int, size: int, period_s: float) -> None:
    """A room of members that stop reading, and one who sends them a long message now and then."""
    room = attack.room(max=readers + 1)
    some_at_a_time = asyncio.Semaphore(50)
    clients = [Client(attack, number) for number in range(readers)]

    async def reader(client: Client) -> None:
        async with some_at_a_time:
            try:
                opened = await client.upgrade(room["id"], receive_buffer=_SMALL_BUFFER_BYTES)
                await opened.send(command("join", key=room["invite_key"]))
                await opened.read()
                attack.done["reader"] += 1
            except (OSError, EOFError):
                attack.done["reader!"] += 1

    await asyncio.gather(*map(reader, clients))
    speaker = await Client(attack, readers).join(room)
    attack.start()
    for number in range(sys.maxsize):
        await speaker.send(command("message", id=str(number), body="x" * size))
        attack.done["message"] += 1
        await asyncio.sleep(period_s)


async def edit_and_reconnect(client: Client, room: Room) -> None:
    """The owner edits the room as often as one connection may, then comes back."""
    opened = await client.join(room, "owner_key")
    edits = (command("edit", id=str(number), max=5 + number % 2) for number in range(140))
    await opened.send(b"".join(edits))
    await asyncio.sleep(0.3)


async def patch(client: Client, room: Room) -> None:
    """The owner edits the room over REST."""
    opened = await client.connect()
    for number in range(sys.maxsize):
        await opened.send(request("PATCH", f"/api/v1/{room['id']}", {"max": 300 + number % 2}, room["owner_key"]))
        await opened.answer()


async def join_and_leave(client: Client, room: Room, profile: Any, pause_s: float = 0.0) -> None:
    """A newcomer who leaves again."""
    opened = await client.upgrade(room["id"])
    await opened.join(room["invite_key"], profile=profile)
    await opened.send(command("leave"))
    await asyncio.sleep(pause_s)


async def edits(attack: Attack, clients: int, members: int, step: Callable[..., Awaitable[None]]) -> None:
    """An owner who edits without a pause, in a room of so many members."""
    room = attack.room(max=300)
    joined = await attack.members(members, room)
    attack.done["members"] = len(joined)
    attack.start()
    await attack.repeat(clients, step, room)


async def large_joins(attack: Attack, clients: int, members: int, profile: Any) -> None:
    """Each join is answered with the profiles of all members."""
    room = attack.room(max=members + 100)
    joined = await attack.members(members, room, profile=profile)
    attack.done["members"] = len(joined)
    attack.start()
    await attack.repeat(clients, join_and_leave, room, profile)


async def profiles(attack: Attack, members: int, size: int, period_s: float) -> None:
    """Members who change a long profile as often as they may."""
    room = attack.room(max=members + 1)
    joined = await attack.members(members, room)
    attack.done["members"] = len(joined)
    attack.start()
    for number in range(sys.maxsize):
        change = command("profile", profile={"nick": f"{number:0{size}}"})
        await asyncio.gather(*(one.send(change) for one in joined), return_exceptions=True)
        attack.done["change"] += len(joined)
        await asyncio.sleep(period_s)


# Everything that a few thousand hostile sockets may do together. --------------------------------------------------


class Rooms:
    """Those that the mixture is about."""

    def __init__(self, attack: Attack) -> None:
        self.talking, self.changing, self.busy = (attack.room(max=1000) for _ in range(3))
        self.sealed = attack.room(max=500, access=msgspec.to_builtins(new_room().access))


async def slow_head(client: Client, rooms: Rooms) -> None:
    """A request head, a byte a second."""
    opened = await client.connect()
    await opened.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
    await _trickle(opened, b"a", 1.0)


async def slow_body(client: Client, rooms: Rooms) -> None:
    """A body, a byte a second."""
    opened = await client.connect()
    headers = b"Content-Type: application/json\r\nContent-Length: 60000\r\n"
    await opened.send(request("POST", "/api/v1/room", headers=headers))
    await _trickle(opened, b" ", 1.0)


async def no_join(client: Client, rooms: Rooms) -> None:
    """A WebSocket that waits until it is closed."""
    await (await client.upgrade()).discard()


async def no_reading(client: Client, rooms: Rooms) -> None:
    """A member that reads nothing of a room where much is sent."""
    opened = await client.upgrade(rooms.talking["id"], receive_buffer=_SMALL_BUFFER_BYTES)
    await opened.send(command("join", key=rooms.talking["invite_key"]))
    await asyncio.sleep(_LIFE_S)


async def talker(client: Client, rooms: Rooms) -> None:
    """Messages to those who read nothing."""
    await _act(await client.join(rooms.talking), lambda number: command("message", id=str(number), body="x" * 400), 0.5)


async def slow_frame(client: Client, rooms: Rooms) -> None:
    """A message, a byte at a time."""
    opened = await client.join(rooms.busy)
    for byte in command("message", id="slow", body="y" * 20000):
        await opened.send(bytes([byte]))
        await asyncio.sleep(0.1)


async def small_fragments(client: Client, rooms: Rooms) -> None:
    """A message of one-byte fragments."""
    opened = await client.join(rooms.busy)
    await opened.send(frame(TEXT, b'"', final=False))
    await _trickle(opened, frame(0, b"a", final=False) * 20, 0.2)


async def pings(client: Client, rooms: Rooms) -> None:
    """As many pings as are answered."""
    await _trickle(await client.join(rooms.busy), frame(PING, b"x" * 100) * 10, 0.33)


async def changes(client: Client, rooms: Rooms) -> None:
    """Changes of a profile of 800 bytes."""
    opened = await client.join(rooms.changing, profile={"nick": "a"})
    await _act(opened, lambda number: command("profile", profile={"nick": f"{number:0800}"}), 0.2)


async def visits(client: Client, rooms: Rooms) -> None:
    """Newcomers who leave."""
    await join_and_leave(client, rooms.changing, {"nick": "visitor"}, 0.5)


async def wrong_proofs(client: Client, rooms: Rooms) -> None:
    """A wrong password."""
    opened = await client.upgrade(rooms.sealed["id"])
    await opened.join(rooms.sealed["invite_key"], proof="A" * 43)


async def wrong_keys(client: Client, rooms: Rooms) -> None:
    """Requests with a key that does not exist."""
    opened = await client.connect()
    while True:
        await opened.send(request("GET", f"/api/v1/{NO_ROOM}", key="ri_AAAAAAAAAAAAAAAAAAAAAA"))
        await opened.answer()
        await asyncio.sleep(0.1)


async def wrong_commands(client: Client, rooms: Rooms) -> None:
    """Frames that are not understood."""
    await _trickle(await client.join(rooms.busy), frame(TEXT, b'{"type":"nonsense","x":%s}' % (b"1" * 1000)) * 5, 0.3)


async def file_offers(client: Client, rooms: Rooms) -> None:
    """Files that nobody has, and chunks that nobody asked for."""

    def action(number: int) -> bytes:
        fid = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
        offer = command("message", id=fid, body=1, file={"fid": fid, "size": 10**9, "chunk": 4096})
        return offer + command("accept", fid=fid, upto=8) + frame(BINARY, os.urandom(60))

    await _act(await client.join(rooms.busy), action, 0.3)


MIXTURE: dict[Callable[[Client, Rooms], Awaitable[None]], int] = {
    slow_head: 300,
    slow_body: 200,
    no_join: 200,
    no_reading: 200,
    changes: 200,
    slow_frame: 150,
    small_fragments: 150,
    pings: 150,
    wrong_keys: 120,
    visits: 100,
    wrong_proofs: 100,
    wrong_commands: 50,
    file_offers: 50,
    talker: 30,
}


async def mixture(attack: Attack, spread_s: float = 4.0) -> None:
    """All of them together; they begin within `spread_s`."""
    rooms = Rooms(attack)

    async def later(number: int, step: Callable[..., Awaitable[None]]) -> None:
        await asyncio.sleep(random.random() * spread_s)
        await attack.repeat(1, step, rooms, first=number)

    steps = [step for step, count in MIXTURE.items() for _ in range(count)]
    clients = asyncio.gather(*(later(number, step) for number, step in enumerate(steps)))
    await asyncio.sleep(spread_s)
    attack.start()
    await clients


async def _trickle(opened: Connection, data: bytes, pause_s: float) -> None:
    await _act(opened, lambda number: data, pause_s)


async def _act(opened: Connection, action: Callable[[int], bytes], pause_s: float) -> None:
    for number in range(sys.maxsize):
        await opened.send(action(number))
        await asyncio.sleep(pause_s)


LONG_PROFILE = {"nick": "x" * 980}

ATTACKS: dict[str, Callable[[Attack], Coroutine[Any, Any, None]]] = {
    "fragments-1": functools.partial(empty_fragments, clients=1, joined=False),
    "fragments-2": functools.partial(empty_fragments, clients=2, joined=False),
    "fragments-join": functools.partial(empty_fragments, clients=2, joined=True),
    "heads": lambda attack: floods(attack, 10, large_heads),
    "pings": lambda attack: floods(attack, 4, flood, PINGS),
    "garbage": lambda attack: floods(attack, 4, flood, GARBAGE),
    "closing": lambda attack: floods(attack, 4, flood_while_closing, PINGS),
    "slow-readers": functools.partial(slow_readers, readers=4000, size=60_000, period_s=2.0),
    "edits-socket": functools.partial(edits, clients=16, members=5, step=edit_and_reconnect),
    "edits-rest": functools.partial(edits, clients=4, members=200, step=patch),
    "joins": functools.partial(large_joins, clients=40, members=200, profile=LONG_PROFILE),
    "profiles": functools.partial(profiles, members=200, size=980, period_s=0.25),
    "mixture": mixture,
}


async def run(name: str, port: int, seconds: float) -> None:
    """Runs it for that time from its start, and prints what it has done."""
    attack = Attack(port)
    task = asyncio.create_task(ATTACKS[name](attack))
    started = asyncio.create_task(attack.started.wait())
    await asyncio.wait((task, started), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        started.cancel()
        await task
    print(json.dumps({"started": True}), flush=True)
    # Budgets begin full: what lasts is seen in the second half.
    await asyncio.sleep(seconds / 2)
    received, began = attack.traffic.received, time.monotonic()
    await asyncio.sleep(seconds / 2)
    told = {
        "sent": attack.traffic.sent,
        "received": attack.traffic.received,
        "received_per_s": (attack.traffic.received - received) / (time.monotonic() - began),
        "done": attack.done,
    }
    task.cancel()
    print(json.dumps(told), flush=True)
    # Without a farewell to thousands of connections: what remains is for the server to notice.
    os._exit(0)


def main() -> None:
    """`NAME PORT SECONDS`."""
    name, port, seconds = sys.argv[1:]
    os.nice(NICENESS)
    os.sched_setaffinity(0, {GENERATOR_CORE})
    uvloop.run(run(name, int(port), float(seconds)))


if __name__ == "__main__":
    main()
