"""What one client can make an HTTP server read, keep and wait for: heads, pipelines and answers that are not read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket as sockets
from pathlib import Path

import pytest
from conftest import relay_with
from rawsocket import handshake, open_tcp

from relayd.gateway import app
from relayd.http.stream import MIN_WRITTEN_BYTES, Timeouts
from relayd.machine.listeners import USER_TIMEOUT_S, Listeners

NO_ROOM = "7f9c24e8-3b12-4fef-91e0-5b2f60f1a0aa"
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
LIMIT = 8192


def padded(beginning: bytes, size: int) -> bytes:
    """A head of that many bytes, of one long header."""
    return beginning + b"X: ".ljust(size - len(beginning) - 4, b"x") + b"\r\n\r\n"


async def answers(reader: asyncio.StreamReader) -> list[tuple[int, dict[bytes, bytes], bytes]]:
    """All answers until the server closes the connection, each as status, headers and body."""
    data, found = b"", []
    async with asyncio.timeout(30):
        while piece := await reader.read(65_536):
            data += piece
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        size = int(headers.get(b"content-length", b"0"))
        found.append((int(first.split()[1]), headers, data[:size]))
        data = data[size:]
    return found


async def refusal(reader: asyncio.StreamReader) -> tuple[int, str]:
    """The only answer before the connection is closed, a problem: its status and code."""
    ((status, headers, body),) = await answers(reader)
    told = json.loads(body)
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"connection"].lower() == b"close"
    assert told["status"] == status
    return status, told["code"]


@pytest.fixture
async def places(tmp_path):
    """Every HTTP server of a daemon, by name: how to connect to it."""
    metrics = f"unix:{tmp_path}/metrics.sock"
    async with relay_with(metrics=metrics, control=f"{tmp_path}/control.sock") as relay:
        host, port = relay.base.removeprefix("http://").split(":")
        yield {
            "gateway": lambda: asyncio.open_connection(host, int(port)),
            "control": lambda: asyncio.open_unix_connection(f"{tmp_path}/control.sock"),
            "metrics": lambda: asyncio.open_unix_connection(f"{tmp_path}/metrics.sock"),
        }


HEADS = {
    "one long header": padded(GET, LIMIT + 1),
    "60 KB of If-None-Match": GET + b'If-None-Match: "' + b'a", "' * 12_000 + b'"\r\n\r\n',
    "many short headers": GET + b"a1:b\r\n" * 10_000 + b"\r\n",
    "a head without an end": GET + b"X: " + b"x" * 200_000,
    "a long path": b"GET /" + b"a" * LIMIT + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "blank lines": b"\r" * 9_000,
    "a WebSocket handshake": padded(handshake(f"/{NO_ROOM}").removesuffix(b"\r\n"), LIMIT + 1),
    "an upload": padded(b"POST /api/v1/room HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n", LIMIT + 1),
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("server", ["gateway", "control", "metrics"])
async def test_a_large_head_is_refused(places, caplog, server, name):
    """With an answer that arrives, though the client is still sending; nothing is logged."""
    reader, writer = await places[server]()
    writer.write(HEADS[name])
    assert await refusal(reader) == (431, "head_too_large")
    writer.close()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("server", ["gateway", "control", "metrics"])
async def test_the_largest_head(places, server):
    """One of exactly 8 KiB is served, also one byte at a time."""
    reader, writer = await places[server]()
    head = padded(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", LIMIT)
    assert len(head) == LIMIT
    for byte in head:
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    ((status, _, body),) = await answers(reader)
    assert (status, json.loads(body)["code"]) == (404, "not_found")
    writer.close()


async def test_a_client_that_only_writes_at_first(places):
    """It sends 4 MiB before it reads, and still finds the answer."""
    reader, writer = await places["gateway"]()
    for _ in range(64):
        writer.write(b"x" * 65_536)
        await asyncio.wait_for(writer.drain(), 10)
    assert await refusal(reader) == (431, "head_too_large")
    writer.close()


async def test_a_second_head_is_bounded_too(places):
    """In a pipeline the answers before it arrive."""
    reader, writer = await places["gateway"]()
    writer.write((GET + b"\r\n") * 3 + padded(GET, LIMIT + 1) + GET + b"\r\n")
    assert [status for status, _, _ in await answers(reader)] == [200, 200, 200, 431]
    writer.close()


@pytest.mark.parametrize(
    "body",
    [
        b"5;" + b"x" * 100 + b"\r\nhello\r\n0\r\n\r\n",  # a chunk extension
        b"5;a=b\r\nhello\r\n0\r\n\r\n",
        b"0" * 100 + b"5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nTrailer: a\r\n\r\n",
        b"5\r\nhello\r\n0\r\n" + b"a:b\r\n" * 20_000 + b"\r\n",
    ],
)
async def test_extensions_and_trailers_are_refused(places, body):
    """With a problem, and without reading all of them first."""
    reader, writer = await places["gateway"]()
    writer.write(b"POST /api/v1/room HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    assert await refusal(reader) == (400, "malformed")
    writer.close()


async def test_an_unreadable_head_is_answered_with_a_problem(places):
    """Not with Tornado's empty 400, which a client that is still sending could lose."""
    reader, writer = await places["gateway"]()
    writer.write(b"POST /api/v1/room HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000)
    assert await refusal(reader) == (400, "malformed")
    writer.close()


async def test_heads_that_do_not_end(monkeypatch):
    """1,000 of them are closed after a while, each with an answer; others are served meanwhile."""
    monkeypatch.setattr(app, "_TIMEOUTS", Timeouts(head=3))
    async with relay_with(limits__max_connections_per_address=0) as relay:
        peers = [await open_tcp(relay) for _ in range(1_000)]
        for number, (_, writer) in enumerate(peers):
            writer.write(padded(GET, number + 100)[:-4])
        assert (await relay.request("GET", "/healthz")).code == 200
        assert [await refusal(reader) for reader, _ in peers] == [(408, "request_timeout")] * 1_000


async def test_a_slow_head_and_a_quiet_connection(monkeypatch):
    """Bytes now and then do not prolong the time for a head; a kept connection may be quiet for longer than that."""
    monkeypatch.setattr(app, "_TIMEOUTS", Timeouts(head=2, idle=30))
    async with relay_with() as relay:
        kept_reader, kept = await open_tcp(relay)
        kept.write(GET + b"\r\n")
        await kept_reader.readuntil(b"}")
        reader, writer = await open_tcp(relay)
        silent_reader, _ = await open_tcp(relay)

        async def trickle() -> None:
            while True:
                writer.write(b"X")
                await asyncio.sleep(0.2)

        trickling = asyncio.ensure_future(trickle())
        assert await refusal(reader) == (408, "request_timeout")
        trickling.cancel()
        assert await asyncio.wait_for(silent_reader.read(), 10) == b""  # nothing was asked, so nothing is answered
        await asyncio.sleep(1)
        kept.write(GET)
        await asyncio.sleep(0.1)
        kept.write(b"Connection: close\r\n\r\n")
        assert [status for status, _, _ in await answers(kept_reader)] == [200]


async def test_a_quiet_connection_is_closed(monkeypatch):
    """After its own time."""
    monkeypatch.setattr(app, "_TIMEOUTS", Timeouts(idle=2))
    async with relay_with() as relay:
        reader, writer = await open_tcp(relay)
        writer.write(GET + b"\r\n")
        assert [status for status, _, _ in await answers(reader)] == [200]


# Answers that are not read. ---------------------------------------------------------------------------------------


def open_connections(relay) -> int:
    """Established connections at the server's end, as the kernel lists them."""
    port = f":{int(relay.base.rpartition(':')[2]):04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    mine = Path(f"/proc/{os.getpid()}/fd")
    inodes = {os.readlink(entry) for entry in mine.iterdir() if entry.is_symlink()}
    rows = [line.split() for line in lines]
    # A set: what changes while the kernel lists it may be listed twice.
    return len({f"socket:[{row[9]}]" for row in rows if row[1].endswith(port) and row[3] == "01"} & inodes)


async def test_answers_that_nobody_reads(monkeypatch):
    """Their connections are closed; of a pipeline no more is answered than fits into the system's buffers."""
    monkeypatch.setattr(app, "_TIMEOUTS", Timeouts(write=2))
    async with relay_with() as relay:
        loop, peers = asyncio.get_running_loop(), []
        host, port = relay.base.removeprefix("http://").split(":")
        for _ in range(20):
            peer = sockets.socket()
            peer.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
            peer.setblocking(False)
            await loop.sock_connect(peer, (host, int(port)))
            peers.append(peer)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    while True:
                        await loop.sock_sendall(peer, b"GET /web/style.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
        assert open_connections(relay) == 20
        async with asyncio.timeout(30):
            while open_connections(relay):
                await asyncio.sleep(0.1)
        for peer in peers:
            peer.close()


async def test_a_slow_reader_gets_all(monkeypatch):
    """As long as it reads more in the time than the least that it must."""
    monkeypatch.setattr(app, "_TIMEOUTS", Timeouts(write=3))
    async with relay_with() as relay:
        reader, writer = await open_tcp(relay, receive_bytes=4096)
        requests = 100
        request = b"GET /web/style.css HTTP/1.1\r\nHost: localhost\r\n"
        writer.write((request + b"\r\n") * (requests - 1) + request + b"Connection: close\r\n\r\n")
        loop = asyncio.get_running_loop()
        began, got = loop.time(), b""
        while piece := await asyncio.wait_for(reader.read(65_536), 30):
            got += piece
            if loop.time() - began < 8:
                await asyncio.sleep(len(piece) / MIN_WRITTEN_BYTES / 4)
        assert got.count(b"HTTP/1.1 200 OK") == requests


# Connections of one address. --------------------------------------------------------------------------------------


async def first_line(reader: asyncio.StreamReader) -> bytes:
    """The beginning of an answer; b"" if the connection is closed without one."""
    try:
        return (await asyncio.wait_for(reader.readline(), 10))[:12]
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("path", [f"/{NO_ROOM}", f"/{NO_ROOM}?x"])
async def test_connections_of_one_address(path):
    """Chats and half-sent requests count; those past the limit are refused; who closes one may open another."""
    async with relay_with(limits__max_connections_per_address=3) as relay:
        chat_reader, chat = await open_tcp(relay)
        chat.write(handshake(path))
        assert await first_line(chat_reader) == b"HTTP/1.1 101"
        _, half = await open_tcp(relay)
        half.write(GET)
        kept_reader, kept = await open_tcp(relay)
        kept.write(GET + b"\r\n")
        assert await first_line(kept_reader) == b"HTTP/1.1 200"
        reader, writer = await open_tcp(relay)
        writer.write(handshake(path))
        ((status, headers, body),) = await answers(reader)
        assert (status, headers[b"retry-after"], json.loads(body)["code"]) == (429, b"5", "rate_limited")
        bare_reader, _ = await open_tcp(relay)
        assert await first_line(bare_reader) == b""
        for open_one in (chat, half):
            open_one.transport.abort()
        async with asyncio.timeout(10):
            while True:
                reader, writer = await open_tcp(relay)
                writer.write(handshake(path))
                if await first_line(reader) == b"HTTP/1.1 101":
                    break
                writer.close()


async def test_every_connection_is_given_back():
    """However it ends: 20 times more than may be open at a time."""
    async with relay_with(limits__max_connections_per_address=2) as relay:
        ends = [
            (GET + b"Connection: close\r\n\r\n", b"HTTP/1.1 200"),
            (handshake("/nowhere"), b"HTTP/1.1 404"),
            (handshake(f"/{NO_ROOM}", Sec_WebSocket_Version="8"), b"HTTP/1.1 426"),
            (padded(GET, 70_000), b"HTTP/1.1 431"),
            (b"\x16\x03\x01\r\n\r\n", b"HTTP/1.1 400"),
            (handshake(f"/{NO_ROOM}"), b"HTTP/1.1 101"),
            (handshake(f"/{NO_ROOM}?x"), b"HTTP/1.1 101"),
        ]
        for data, wanted in ends * 6:
            async with asyncio.timeout(20):
                while True:
                    reader, writer = await open_tcp(relay)
                    writer.write(data)
                    got = await first_line(reader)
                    writer.transport.abort()
                    if got == wanted:
                        break
                    assert got in (b"HTTP/1.1 429", b""), (data[:40], got)  # the one before is not gone yet


async def test_connections_of_a_proxy_are_not_its_own():
    """Chats count by the client that it names, requests by none."""
    settings = {"limits__max_connections_per_address": 1, "trusted_proxies": ["127.0.0.1"]}
    async with relay_with(**settings) as relay:
        for number in range(5):
            reader, writer = await open_tcp(relay)
            writer.write(handshake(f"/{NO_ROOM}", X_Forwarded_For=f"203.0.113.{number}"))
            assert await first_line(reader) == b"HTTP/1.1 101"
            kept_reader, kept = await open_tcp(relay)
            kept.write(GET + b"\r\n")
            assert await first_line(kept_reader) == b"HTTP/1.1 200"
        reader, writer = await open_tcp(relay)
        writer.write(handshake(f"/{NO_ROOM}", X_Forwarded_For="203.0.113.1"))
        assert await first_line(reader) == b"HTTP/1.1 429"


async def test_a_peer_that_is_gone():
    """The system ends a connection whose peer acknowledges nothing, whoever has made the listening socket."""
    bound = Listeners.bind("listen", ["127.0.0.1:0", "[::1]:0"])
    made = sockets.create_server(("127.0.0.1", 0))
    taken = Listeners.take([os.dup(made.fileno())])
    for listener in (*bound.sockets, *taken.sockets):
        with sockets.create_connection(listener.getsockname()[:2]):
            listener.setblocking(True)
            connection, _ = listener.accept()
            with connection:
                assert connection.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT) == USER_TIMEOUT_S * 1000
    for one in (bound, taken, made):
        one.close()
