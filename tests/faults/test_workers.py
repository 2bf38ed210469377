"""Worker processes that die, stand still or come anew; the people inside lose nothing and hear nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest
import websockets

from tests.conftest import Relay
from tests.faults.world import chatter, everyone_heard, relayd, talkers

ROOM = {"max": 1000, "expiration_date": 1}


async def test_one_order_over_workers():
    """Members on different workers hear the same messages in the same order."""
    async with relayd("--workers", "2") as process:
        room = await process.create(**ROOM)
        async with talkers(process.base, room, 8) as people:
            said = await chatter(people, 2, rate=20)
            await everyone_heard(people, said)
            orders = {tuple(id_ for seq, id_ in person.heard if seq > people[-1].first_seq) for person in people}
            assert len(orders) == 1
            assert len(next(iter(orders))) == said


async def test_a_killed_worker_loses_nothing():
    """kill -9 of a worker under load: its clients resume on another; 0 lost, 0 twice."""
    async with relayd("--workers", "2") as process:
        room = await process.create(**ROOM)
        async with talkers(process.base, room, 12) as people:
            talking = asyncio.create_task(chatter(people, 4, rate=10))
            await asyncio.sleep(1)
            killed = process.signal_worker(0, signal.SIGKILL)
            said = await talking
            await everyone_heard(people, said)
            assert sum(person.resumes for person in people) >= 4  # about half had been there
            assert killed not in process.workers()
        assert any("ended code=-9" in line for line in process.log)
        assert not any("Traceback" in line for line in process.log)


async def test_who_waits_in_a_lobby_of_a_killed_worker_is_forgotten():
    """The owner, who joins again, is told of those who are still there, and can admit them."""
    async with relayd("--workers", "2") as process, contextlib.AsyncExitStack() as stack:
        relay = Relay(process.base)
        stack.push_async_callback(relay.close)
        room = await relay.create(settings={"lobby": True})
        ann = await relay.join(room, owner=True)
        waiting = [await relay.connect(room["id"]) for _ in range(12)]
        for number, peer in enumerate(waiting):
            await peer.send("join", key=room["invite_key"], profile={"nick": str(number)})
            await peer.until("waiting")
        process.signal_worker(0, signal.SIGKILL)
        ends = [asyncio.create_task(peer.socket.wait_closed()) for peer in waiting]
        await asyncio.wait(ends, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0.5)  # for the others that were on it
        left = [str(number) for number, end in enumerate(ends) if not end.done()]
        assert 0 < len(left) < len(waiting)
        ann = await relay.join(room, owner=True)
        users: list[dict] = []
        while [user["profile"]["nick"] for user in users] != left:
            users = (await ann.until("room", event="knocking"))["users"]
        await ann.send("admit", id="a", user=users[0]["id"])
        await ann.until("ok", id="a")
        await waiting[int(left[0])].until("joined")
        for end in ends:
            end.cancel()


async def test_a_worker_that_dies_is_replaced():
    """As many workers as before, soon after one has died."""
    async with relayd("--workers", "2") as process:
        before = set(process.workers())
        killed = process.signal_worker(0, signal.SIGKILL)
        async with asyncio.timeout(10):
            while len(set(process.workers()) - {killed}) < 2:
                await asyncio.sleep(0.05)
        assert len(before & set(process.workers())) == 1


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_worker_that_stands_still_loses_nothing():
    """kill -STOP of a worker for 20 s: it is found dead and replaced; its clients miss nothing."""
    async with relayd("--workers", "2") as process:
        room = await process.create(**ROOM)
        async with talkers(process.base, room, 8) as people:
            talking = asyncio.create_task(chatter(people, 24, rate=4))
            await asyncio.sleep(1)
            stopped = process.signal_worker(0, signal.SIGSTOP)
            await asyncio.sleep(20)
            if Path(f"/proc/{stopped}").exists():
                os.kill(stopped, signal.SIGCONT)
            said = await talking
            await everyone_heard(people, said)
        assert any("says nothing, killed" in line for line in process.log)


async def test_workers_that_die_at_once_end_the_daemon(tmp_path):
    """Five deaths at once in a row: the daemon gives up with an exit code that says so."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'relayd.gateway' in sys.orig_argv: sys.exit('broken on purpose')\n"
    )
    with pytest.raises(RuntimeError, match="giving up"):
        async with relayd("--workers", "1", PYTHONPATH=str(tmp_path)):
            pass


async def test_connections_are_spread_evenly():
    """With 1,000 connections no worker has more than 1.5 times its share."""
    async with relayd("--workers", "2") as process:
        before = [_sockets_of(pid) for pid in process.workers()]
        host, port = process.base.removeprefix("http://").split(":")
        room = await process.create()
        url = f"ws://{host}:{port}/{room['id']}"
        gate = asyncio.Semaphore(50)

        async def connect() -> websockets.ClientConnection:
            async with gate:
                return await websockets.connect(url, compression=None, ping_interval=None)

        connections = await asyncio.gather(*(connect() for _ in range(1000)))
        shares = [_sockets_of(pid) - had for pid, had in zip(process.workers(), before, strict=True)]
        for connection in connections:
            connection.transport.abort()
        assert sum(shares) >= 990
        assert max(shares) <= 1.5 * 500


def _sockets_of(pid: int) -> int:
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed while we look
            count += os.readlink(link).startswith("socket:")
    return count
