"""Files: how many bytes a second go from one sender to its receivers, and how long what is said beside it takes.

Run as a program (`python -m bench.files KIND PORT ...`, on the generator's core) it is the clients: as little as can
be done in Python on sockets, one thread for all; or, for `open` and `sealed`, the Python library, which reads the file
from a disk in memory, writes it there, and takes its SHA-256 on both sides. What it measured it prints as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import select
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import peers
from bench.generator import HERE, on_core
from bench.machine import GENERATOR_CORE, cpu_seconds
from bench.peers import RELAYD, Peer, Running, Talk
from relayd.client import FileOffered, create, join

Sample = dict[str, Any]

SIZE = 512 * 2**20  # to one receiver; to each of more, a fourth of it
CHUNK = 61_440
WINDOW = 8
TALK_S = 0.01  # between two messages beside a file
SAID = 300

TCP = Peer("asyncio TCP", lambda port, directory: [sys.executable, str(HERE / "peers" / "tcp.py"), str(port)], Talk())

_HANDSHAKE = (
    "GET /{room} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_FID, _PASS = "AAECAwQFBgcICQoLDA0ODw", b"p" * 16
_RAW_FID = bytes(range(16))


# What is measured. ----------------------------------------------------------------------------------------------


def carry(peer: Peer, receivers: int, arguments: tuple[str, ...] = ()) -> Sample:
    """A file, to so many at once."""
    size = SIZE if receivers == 1 else SIZE // 4
    return _carried("relayd" if peer is RELAYD else "tcp", peer, receivers, size, arguments)


def carry_by_library(kind: str) -> Sample:
    """A file from one user of the Python library to another, in one process: `open` or `sealed`."""
    return _carried(kind, RELAYD, 1, SIZE, ())


def _carried(kind: str, peer: Peer, receivers: int, size: int, arguments: tuple[str, ...]) -> Sample:
    with peers.running(peer, arguments) as server:
        before, began = cpu_seconds(server.pids), time.monotonic()
        result = _clients(kind, server, str(receivers), str(size))
        used, took = cpu_seconds(server.pids) - before, time.monotonic() - began
    delivered = size * receivers
    return {
        **result,
        "receivers": receivers,
        "size": size,
        "mb_per_s": delivered / 1e6 / result["seconds"],
        "cpu_us_per_chunk": used * 1e6 / (delivered / CHUNK),
        "server_busy": used / took,
    }


def talk_beside() -> Sample:
    """What is said in a room, while a file goes through it as fast as it can."""
    with peers.running(RELAYD) as server:
        room = _make_room(server.port)
        with _start("relayd", server, "1", str(16 * SIZE), *room) as files:
            assert files.stdout is not None
            files.stdout.readline()  # it has begun
            result = _clients("talk", server, *room)
            if files.poll() is not None:
                raise ValueError("the file was there before all was said")
            files.kill()
    return result


def _clients(kind: str, server: Running, *arguments: str) -> Sample:
    with _start(kind, server, *arguments) as process:
        out, _ = process.communicate(timeout=300)
    return json.loads(out.splitlines()[-1])


def _start(kind: str, server: Running, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.files", kind, str(server.port), *arguments]
    return subprocess.Popen(
        [*on_core(GENERATOR_CORE), *command], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )


# The clients. ---------------------------------------------------------------------------------------------------


def _make_room(port: int) -> tuple[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    settings = {"max_file": 2**40}
    connection.request("POST", "/api/v1/room", json.dumps({"settings": settings}), {"Content-Type": "application/json"})
    room = json.loads(connection.getresponse().read())
    connection.close()
    return room["id"], room["invite_key"]


def _masked(payload: bytes, opcode: int) -> bytes:
    """A frame whose mask is zero, so that masking it changes nothing; the server does its part all the same."""
    length = len(payload)
    head = bytes([0x80 | opcode, 0x80 | length]) if length < 126 else struct.pack("!BBH", 0x80 | opcode, 0xFE, length)
    return head + bytes(4) + payload


class Member:
    """Somebody in a room."""

    def __init__(self, port: int, room_id: str, key: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = bytearray()
        self._room = bytearray(1 << 20)
        self.socket.sendall(_HANDSHAKE.format(room=room_id).encode())
        while b"\r\n\r\n" not in self._unread:
            self._unread += self.socket.recv(4096)
        del self._unread[: self._unread.index(b"\r\n\r\n") + 4]
        self.say(type="join", key=key, profile={"nick": "ann"})
        self.hear("joined")

    def say(self, **fields: Any) -> None:
        self.socket.sendall(_masked(json.dumps(fields).encode(), 1))

    def hear(self, type_: str, **fields: Any) -> dict[str, Any]:
        while True:
            for opcode, payload in self.read():
                if opcode == 1:
                    event = json.loads(bytes(payload))
                    if event["type"] == type_ and all(event.get(name) == value for name, value in fields.items()):
                        return event

    def read(self) -> Iterator[tuple[int, memoryview]]:
        """What one recv brings: opcode and payload of each frame that is whole now."""
        count = self.socket.recv_into(self._room)
        if not count:
            raise ConnectionError("the server closed")
        data = bytes(self._unread) + self._room[:count] if self._unread else memoryview(self._room)[:count]
        at, view = 0, memoryview(data)
        while True:
            frame = _frame(view, at)
            if frame is None:
                break
            opcode, body, at = frame
            yield opcode, view[body:at]
        self._unread = bytearray(view[at:])


def _frame(view: memoryview, at: int) -> tuple[int, int, int] | None:
    """Opcode, begin and end of the payload of the frame there, if it is whole."""
    if len(view) - at < 4:
        return None
    length, body = view[at + 1], at + 2
    if length == 126:
        length, body = int.from_bytes(view[at + 2 : at + 4], "big"), at + 4
    end = body + length
    return (view[at] & 15, body, end) if end <= len(view) else None


class Sender:
    """Sends what it is asked for, as its socket takes it."""

    def __init__(self, member: Member, size: int) -> None:
        self.member = member
        self._size = size
        self._last = (size - 1) // CHUNK
        self._data = os.urandom(CHUNK)
        self._due: list[tuple[int, int, int]] = []  # stream, next, upto
        self._at: dict[int, int] = {}
        self._rest: list[memoryview] = []
        member.say(type="message", id="f", body={"kind": "file"}, file={"fid": _FID, "size": size, "chunk": CHUNK})
        member.hear("message", id="f")

    @property
    def busy(self) -> bool:
        return bool(self._rest or self._due)

    def read(self) -> None:
        for opcode, payload in self.member.read():
            event = json.loads(bytes(payload)) if opcode == 1 else {}
            if event.get("event") == "send":
                stream, upto = event["stream"], event["upto"]
                self._due.append((stream, self._at.get(stream, event["from"]), upto))
                self._at[stream] = upto
            elif event.get("type") == "error":
                raise ValueError(event)

    def write(self) -> None:
        """As much as goes without waiting."""
        while self.busy:
            if not self._rest:
                self._rest = self._next_chunk()
            try:
                sent = self.member.socket.sendmsg(self._rest, (), socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            while self._rest and sent >= len(self._rest[0]):
                sent -= len(self._rest.pop(0))
            if self._rest:
                self._rest[0] = self._rest[0][sent:]

    def _next_chunk(self) -> list[memoryview]:
        stream, index, upto = self._due[0]
        if index + 1 == upto:
            self._due.pop(0)
        else:
            self._due[0] = (stream, index + 1, upto)
        last = index == self._last
        data = memoryview(self._data)[: self._size - index * CHUNK if last else CHUNK]
        head = struct.pack("!BBI16s16sQ", 1, last, stream, _RAW_FID, _PASS, index)
        length = len(head) + len(data)
        size = bytes([0x80 | length]) if length < 126 else struct.pack("!BH", 0xFE, length)
        return [memoryview(b"\x82" + size + bytes(4) + head), data]


class Receiver:
    """Counts what it gets, and grants a window."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.got = 0
        self._chunks = self._granted = 0
        member.say(type="accept", fid=_FID, upto=WINDOW)

    def read(self) -> None:
        for opcode, payload in self.member.read():
            if opcode == 2:
                self._chunks += 1
                self.got += len(payload) - 46
        if self._chunks - self._granted >= 2:
            self._granted = self._chunks
            self.member.say(type="grant", fid=_FID, upto=self._chunks + WINDOW)


def _relayd(port: int, receivers: int, size: int, *room: str) -> Sample:
    room_id, key = room or _make_room(port)
    sender = Sender(Member(port, room_id, key), size)
    members = [Receiver(Member(port, room_id, key)) for _ in range(receivers)]
    began = time.monotonic()
    print("{}", flush=True)
    poll = select.poll()
    poll.register(sender.member.socket, select.POLLIN)
    readers: dict[int, Callable[[], None]] = {one.member.socket.fileno(): one.read for one in members}
    readers[sender.member.socket.fileno()] = sender.read
    for one in members:
        poll.register(one.member.socket, select.POLLIN)
    while any(one.got < size for one in members):
        poll.modify(sender.member.socket, select.POLLIN | (select.POLLOUT if sender.busy else 0))
        for fileno, events in poll.poll():
            if events & select.POLLIN:
                readers[fileno]()
            if events & select.POLLOUT:
                sender.write()
    return {"seconds": time.monotonic() - began}


def _tcp(port: int, receivers: int, size: int) -> Sample:
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(receivers)]
    for one in sockets:
        one.sendall(b"r")
    time.sleep(0.2)
    sender = socket.create_connection(("127.0.0.1", port))
    sender.sendall(b"s")
    room, data, left = bytearray(1 << 20), memoryview(os.urandom(65536)), size
    got = dict.fromkeys((one.fileno() for one in sockets), 0)
    by_fileno = {one.fileno(): one for one in sockets}
    poll = select.poll()
    for one in sockets:
        poll.register(one, select.POLLIN)
    poll.register(sender, select.POLLOUT)
    began = time.monotonic()
    while any(count < size for count in got.values()):
        for fileno, _ in poll.poll():
            if fileno != sender.fileno():
                got[fileno] += by_fileno[fileno].recv_into(room)
                continue
            with contextlib.suppress(BlockingIOError):
                left -= sender.send(data[: min(left, len(data))], socket.MSG_DONTWAIT)
            if not left:
                poll.unregister(sender)
    return {"seconds": time.monotonic() - began}


def _talk(port: int, room_id: str, key: str) -> Sample:
    ann, bob = Member(port, room_id, key), Member(port, room_id, key)
    took = []
    for number in range(SAID):
        began = time.monotonic()
        ann.say(type="message", id=f"m{number}", body={"kind": "text", "text": "x" * 100})
        bob.hear("message", id=f"m{number}")
        took.append(time.monotonic() - began)
        ann.hear("message", id=f"m{number}")
        time.sleep(TALK_S)
    cuts = statistics.quantiles(took, n=100)
    return {"p50_ms": cuts[49] * 1000, "p99_ms": cuts[98] * 1000, "said": SAID}


def _library(port: int, size: int, *, sealed: bool) -> Sample:
    return asyncio.run(_transfer(f"http://127.0.0.1:{port}", size, sealed=sealed))


async def _transfer(server: str, size: int, *, sealed: bool) -> Sample:
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, ASYNC240
    made = await create(server, sealed=sealed)
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        path = Path(directory, "file")
        with open(path, "wb") as file:  # noqa: PTH123, ASYNC230 - nothing else goes on yet
            file.write(os.urandom(1 << 20) * (size >> 20))
        async with join(made.link, "ann") as ann, join(made.link, "bob") as bob:
            await ann.offer(path)
            async for event in bob:
                if isinstance(event, FileOffered):
                    began = time.monotonic()
                    await bob.accept(event, directory)
                    return {"seconds": time.monotonic() - began}
    raise ConnectionError("the room is over")


if __name__ == "__main__":
    kind, port_, *rest = sys.argv[1:]
    if kind == "talk":
        print(json.dumps(_talk(int(port_), *rest)))
    elif kind in ("open", "sealed"):
        print(json.dumps(_library(int(port_), int(rest[1]), sealed=kind == "sealed")))
    else:
        numbers = [int(rest[0]), int(rest[1])]
        print(json.dumps((_relayd if kind == "relayd" else _tcp)(int(port_), *numbers, *rest[2:])))
