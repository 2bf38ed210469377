"""Clients that vanish, crawl, or all come at once."""

from __future__ import annotations

import asyncio
import json
import socket
import time

import pytest

from relayd import lag
from tests.conftest import Peer, relay_with
from tests.faults.world import Talker, chatter, everyone_heard, relayd, talkers

UNLIMITED = {
    "limits__message_rate": 0,
    "limits__join_rate": 0,
    "limits__max_connections_per_address": 0,
    "limits__egress_rate__address_bytes": 0,
}


class BlackHole:
    """A proxy that can stop passing anything on, in both directions, without closing a connection."""

    def __init__(self, base: str) -> None:
        self.target = base.removeprefix("http://").split(":")
        self.open = asyncio.Event()
        self.open.set()
        self._tasks: set[asyncio.Task] = set()

    async def __aenter__(self) -> BlackHole:
        self.server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.base = "http://{}:{}".format(*self.server.sockets[0].getsockname())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.server.close()
        for task in self._tasks:
            task.cancel()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        up_reader, up_writer = await asyncio.open_connection(*self.target)
        try:
            await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer))
        except OSError:
            pass
        finally:
            up_writer.close()
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self.open.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


async def test_a_client_cut_off_without_a_word():
    """No FIN comes: the pings find out, the place is kept, and `since` brings what was missed."""
    async with relay_with(timing__ping_interval=0.4, rooms__resume=60) as relay, BlackHole(relay.base) as hole:
        room = await relay.create()
        ann = await relay.join(room, "ann")
        bob = Talker(hole.base, room, "bob")
        await bob.inside.wait()
        await ann.until("presence", users=2)
        hole.open.clear()
        await ann.say("1")
        changed = (await ann.until("presence", timeout=10))["changed"]
        assert [user["away"] for user in changed] == [True]
        await ann.say("2")
        hole.open.set()
        await bob.heard_up_to(2)
        bob.check()
        assert [id_ for _, id_ in bob.heard] == ["1", "2"]
        await bob.leave()


async def test_a_thousand_come_back_at_once():
    """Each resumes as the same user and has missed nothing."""
    count = 1000
    async with relay_with(**UNLIMITED) as relay:
        room = await relay.create(max=count + 1, expiration_date=1)
        ann = await relay.join(room, "ann")
        gate = asyncio.Semaphore(100)

        async def come(**fields: object) -> Peer:
            async with gate:
                return await relay.join(room, **fields)

        crowd = await asyncio.gather(*(come() for _ in range(count)))
        for peer in crowd:
            peer.socket.transport.abort()
        since = {"epoch": ann.joined["epoch"], "seq": 0}
        await ann.say("1")
        back = await asyncio.gather(*(come(session=peer.session, since=since) for peer in crowd))
        assert [peer.id for peer in back] == [peer.id for peer in crowd]
        assert all(peer.joined["recovered"] for peer in back)
        assert {(await peer.until("message"))["id"] for peer in back} == {"1"}
        details = await relay.details(room)
        assert details["users"] == count + 1
        for peer in back:
            peer.socket.transport.abort()


async def _crawler(relay, room) -> socket.socket:
    """A member whose socket takes next to nothing."""
    host, port = relay.base.removeprefix("http://").split(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, (host, int(port)))
    handshake = (
        f"GET /{room['id']} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await loop.sock_sendall(sock, handshake.encode())
    assert b" 101 " in await loop.sock_recv(sock, 400)
    frame = json.dumps({"type": "join", "key": room["invite_key"]}).encode()
    await loop.sock_sendall(sock, bytes((0x81, 0x80 | len(frame), 0, 0, 0, 0)) + frame)
    return sock


async def test_a_crawling_reader_is_cut_off():
    """It is closed with 4508 at the bound of its queue; the others miss nothing and wait for nothing."""
    async with relay_with(**UNLIMITED, limits__max_outbox=262_144) as relay:
        room = await relay.create()
        ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
        slow = await _crawler(relay, room)
        await ann.until("presence", users=3)

        async def one_byte_a_second() -> None:
            while True:
                await asyncio.get_running_loop().sock_recv(slow, 1)
                await asyncio.sleep(1)

        reading = asyncio.create_task(one_byte_a_second())
        async with asyncio.timeout(20):
            number = 0
            while (await relay.details(room))["connections"] == 3:
                await ann.say(str(number), "x" * 60_000)
                for peer in (ann, bob):
                    assert (await peer.until("message"))["seq"] == number + 1
                number += 1
        reading.cancel()
        assert (await relay.details(room))["users"] == 3  # its place is kept
        assert number > 3
        slow.close()


async def test_signals_go_first():
    """Under pressure what may be dropped is dropped, and the connection stays."""
    async with relay_with(**UNLIMITED) as relay:
        room = await relay.create()
        ann = await relay.join(room, "ann")
        slow = await _crawler(relay, room)
        await ann.until("presence", users=2)
        for number in range(3_000):
            await ann.send("signal", kind="typing", data="x" * 1000)
            if number % 500 == 0:
                await ann.send("ping", id=str(number))
                await ann.until("pong", id=str(number))
        await ann.send("ping", id="end")
        await ann.until("pong", id="end")
        assert (await relay.details(room))["connections"] == 2  # 3 MB of signals and still there
        slow.close()


async def test_all_queues_together_are_bounded():
    """Past the total the longest queue is cut off, though none is at its own bound."""
    async with relay_with(**UNLIMITED, limits__max_outboxes=1_000_000, limits__max_outbox=2**26) as relay:
        room = await relay.create()
        ann = await relay.join(room, "ann")
        crawlers = [await _crawler(relay, room) for _ in range(8)]
        await ann.until("presence", users=9)
        async with asyncio.timeout(15):
            number = 0
            while (await relay.details(room))["connections"] == 9:
                await ann.say(str(number), "x" * 60_000)
                await ann.until("message", id=str(number))
                number += 1
        left = (await relay.details(room))["connections"]
        for crawler in crawlers:
            crawler.close()
        assert 1 < left < 9


async def test_who_says_too_much_is_slowed_then_sent_away(relay):
    """First an error with a time to wait, then no reading, then 4529; the others go on."""
    async with relay_with(limits__message_rate=5) as relay:
        room = await relay.create()
        ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")

        async def flood() -> None:
            for number in range(100_000):
                await ann.say(str(number), "x" * 100)

        flooding = asyncio.create_task(flood())
        error = await ann.until("error")
        assert error["code"] == "rate_limited"
        assert error["retry_after_ms"] > 0
        await bob.say("calm")
        assert (await bob.until("message", id="calm"))["from"] == bob.id
        assert await ann.closed(timeout=30) == (4529, "rate_limited")
        flooding.cancel()
        heard = [frame for frame in await bob.frames(0.3) if frame["type"] == "message"]
        assert len(heard) < 200  # of 100,000


async def test_a_late_loop_turns_newcomers_away(relay, monkeypatch):
    """Late by more than 250 ms: joins and rooms are refused with a time to come back; those inside go on."""
    monkeypatch.setattr(lag, "LATE_S", 0.25)  # as it is outside of tests
    room = await relay.create()
    ann = await relay.join(room, "ann")
    early = await relay.connect(room["id"])
    time.sleep(5)  # the daemon runs on this loop, which counts as late for half a second from then on
    await asyncio.sleep(0.15)
    refused = await relay.request("POST", "/api/v1/room", body={})
    assert (refused.code, int(refused.headers["Retry-After"]) >= 1) == (503, True)
    await early.send("join", key=room["invite_key"])
    error = await early.until("error")
    assert (error["code"], error["retry_after_ms"] > 0) == ("overloaded", True)
    assert await early.closed() == (1013, "overloaded")
    await ann.say("1")
    await ann.until("message", id="1")
    async with asyncio.timeout(10):
        while (await relay.request("POST", "/api/v1/room", body={})).code != 201:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_the_hub_is_restarted(workers, unused_tcp_port):
    """Clients are sent away with 4500 or 1012 and find the new one, where their room is no more."""
    listen = f"127.0.0.1:{unused_tcp_port}"
    async with relayd("--workers", workers, listen=listen) as process:
        room = await process.create()
        people = [Talker(process.base, room, f"p{index}") for index in range(4)]
        await asyncio.gather(*(person.inside.wait() for person in people))
        said = await chatter(people, 0.5)
        await everyone_heard(people, said)
    async with relayd("--workers", workers, listen=listen):
        async with asyncio.timeout(10):
            while not all(4004 in person.closes for person in people):
                await asyncio.sleep(0.05)
    for person in people:
        assert person.closes[0] in (4500, 1012)
        person.check()
        await person.leave()


async def test_people_on_bad_lines():
    """Connections cut at random while everyone talks: all is heard by all, once, in one order."""
    async with relay_with(**UNLIMITED) as relay:
        room = await relay.create(expiration_date=1)
        async with talkers(relay.base, room, 6) as people:
            talking = asyncio.create_task(chatter(people, 2.5, rate=20))
            for turn in range(20):
                await asyncio.sleep(0.1)
                person = people[turn % len(people)]
                if person.socket is not None:
                    person.socket.transport.abort()
            said = await talking
            await everyone_heard(people, said)
            assert sum(person.resumes for person in people) >= 10


@pytest.mark.parametrize("frame", ["nonsense", '{"type":"ping"}', b"binary", '{"type":"message","id":"1"}'], ids=repr)
async def test_who_only_asks_for_answers_is_sent_away(frame):
    """What only its sender hears of costs as much as a message; past the rate it ends in 4529."""
    async with relay_with(limits__message_rate=5) as relay:
        room = await relay.create()
        ann = await relay.join(room, "ann")

        async def flood() -> None:
            for _ in range(100_000):
                await ann.socket.send(frame)

        flooding = asyncio.create_task(flood())
        assert await ann.closed(timeout=30) == (4529, "rate_limited")
        flooding.cancel()
