"""Another process takes over while people chat: nobody is disconnected, nothing is lost, nothing is heard twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

import pytest
import websockets
from faults.world import chatter, everyone_heard, talkers

from relayd.client import Knocking, RoomDetails, create, join
from relayd.gateway.acceptor import unmask
from relayd.wire.frames import Opcode, encode_masked
from survive.asker import Asker
from survive.crowd import Person
from survive.keeper import Keeper, until
from tests.conftest import Relay
from tests.cutter import heard
from tests.sealed.sealed_people import people

RELAYCTL = Path(sys.executable).with_name("relayctl")

ANY_NUMBER_OF_ROOMS = {
    f"RELAYD_LIMITS_{name}": "0" for name in ("CREATE_RATE", "CREATE_RATE_PER_HOUR", "ADDRESS_SHARE")
}

# What differs in a relayd that was installed meanwhile: only the next process is started with --take-over.
NEXT = """
import os, sys
if "--take-over" in sys.orig_argv:
    fault = open(os.environ["NEXT_FAULT"]).read()
    if fault == "format":
        import relayd.upgrade
        relayd.upgrade.FORMAT += 1
    elif fault == "state":
        import relayd.hub.memlog
        relayd.hub.memlog.VERSION += 1
    elif fault == "death":
        os._exit(3)
    elif fault == "late death":
        import relayd.hub.hub
        relayd.hub.hub.Hub.readmit = lambda *arguments: os._exit(3)
"""


async def relayctl(keeper: Keeper, *arguments: str, code: int = 0) -> dict:
    process = await asyncio.create_subprocess_exec(
        *(RELAYCTL, "--socket", str(keeper.control), "-o", "json", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == code, (process.returncode, out, err)
    return json.loads(out) if not code else {"error": err.decode()}


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_nobody_notices(keeper: Keeper, workers):
    """Twice in a row, in the middle of a lively talk."""
    await keeper.start("--workers", workers)
    relay = Relay(keeper.base)
    room = await relay.create()
    async with talkers(keeper.base, room, 20) as inside:
        talk = asyncio.create_task(chatter(inside, 3.0, rate=10))
        pid = keeper.process.pid
        for _ in range(2):
            await asyncio.sleep(0.5)
            upgraded = await relayctl(keeper, "upgrade")
            assert upgraded["pid"] != pid
            pid = upgraded["pid"]
        await everyone_heard(inside, await talk)
        assert [person.resumes for person in inside] == [0] * 20
    await relay.close()


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_no_request_fails(keeper: Keeper, workers):
    """On a connection that a proxy keeps, or on a new one; nor is a kept one closed, as that might cross a request."""
    await keeper.start("--workers", workers, **ANY_NUMBER_OF_ROOMS, RELAYD_ROOMS_JOIN_GRACE="1")
    async with contextlib.AsyncExitStack() as stack:
        busy, idle, fresh = ([Asker(keeper.base, keeps=keeps) for _ in range(4)] for keeps in (True, True, False))
        everyone = [*busy, *idle, *fresh]
        for asker in everyone:
            stack.callback(asker.close)
        asking = [asyncio.create_task(asker.run(every_s=0.003)) for asker in busy]
        asking += [asyncio.create_task(asker.run(every_s=0.02)) for asker in fresh]
        for task in asking:
            stack.callback(task.cancel)
        for _ in range(3):
            for asker in idle:
                await asker.ask()
            await relayctl(keeper, "upgrade")
        before = [asker.answers.total() for asker in everyone]
        for asker in idle:
            await asker.ask()
        await until(lambda: all(asker.answers.total() > was for asker, was in zip(everyone, before, strict=True)))
    assert [set(asker.answers) for asker in everyone] == [{"201"}] * len(everyone)
    assert [asker.connections for asker in (*busy, *idle)] == [1] * 8


@pytest.mark.slow
async def test_a_thousand_do_not_notice(keeper: Keeper):
    """200 rooms of five: 0 disconnected, 0 messages lost, 0 heard twice, one order."""
    await keeper.start(**ANY_NUMBER_OF_ROOMS, RELAYD_LIMITS_JOIN_RATE="0")
    relay = Relay(keeper.base)
    crowd: list[Person] = []
    for number in range(0, 200, 20):
        rooms = await asyncio.gather(*(relay.create() for _ in range(20)))
        names = [(room, f"p{number}-{at}-{index}") for at, room in enumerate(rooms) for index in range(5)]
        crowd += await asyncio.gather(*(Person.join(keeper.base, room, name) for room, name in names))
    upgrading = asyncio.create_task(relayctl(keeper, "upgrade"))
    loop = asyncio.get_running_loop()
    ends_at, turns = loop.time() + 4, 0
    while not upgrading.done() or loop.time() < ends_at:
        for index in range(10):  # each says something once a second, spread over it
            for person in crowd[index::10]:
                person.say()
            await asyncio.sleep(0.1)
        turns += 1
    await upgrading
    await until(lambda: not any(person.in_doubt for person in crowd))
    await until(lambda: all(len(person.heard) == 5 * turns for person in crowd))
    assert not any(person.lost for person in crowd)
    for person in crowd:
        assert [seq for seq, _ in person.heard] == list(range(1, 5 * turns + 1))
        assert len({id_ for _, id_ in person.heard}) == 5 * turns
    for person in crowd:
        person.close()
    await relay.close()


async def test_what_is_half_said_is_said_after_it(keeper: Keeper):
    """A frame, and a message, that was under way in pieces; somebody who has not joined yet; a sealed room's sid."""
    await keeper.start()
    relay = Relay(keeper.base)
    room = await relay.create()
    ann, early = await relay.join(room, "ann"), await relay.connect(room["id"])
    frame = encode_masked(Opcode.TEXT, b'{"type":"message","id":"1","body":"in two pieces"}', bytes(4), unmask)
    ann.socket.transport.write(frame[:20])
    _, (owner, bob) = await people(relay, "owner", "bob")
    await relay.details(room)
    await relayctl(keeper, "upgrade")
    ann.socket.transport.write(frame[20:])
    assert (await ann.until("message"))["body"] == "in two pieces"
    await early.send("join", key=room["invite_key"], profile={"nick": "early"})
    assert (await early.recv())["type"] == "joined"
    assert (await ann.until("presence"))["users"] == 2
    said = await owner.said("1", "still sealed")
    assert said["seq"] == 1
    assert bob.open(await bob.peer.until("message"), card_of=owner) == "still sealed"
    await relay.close()


async def test_a_slow_reader_comes_back(keeper: Keeper):
    """What waits for it in the old process cannot be handed over: it is read to its end, then 4500."""
    await keeper.start(RELAYD_LIMITS_MESSAGE_RATE="0", RELAYD_LIMITS_MAX_OUTBOX=str(2**26))
    relay = Relay(keeper.base)
    room = await relay.create()
    ann, slow = await relay.join(room, "ann"), await relay.connect(room["id"], max_queue=1)
    await slow.send("join", key=room["invite_key"], profile={"nick": "slow"})
    slow.joined = await slow.recv()
    for number in range(200):  # 12 MB: past what the kernels' buffers take
        await ann.say(str(number), "x" * 60_000)
        await ann.until("message", id=str(number))
    await relayctl(keeper, "upgrade")
    while not any(user["id"] == slow.id and user["away"] for user in (await ann.until("presence"))["changed"]):
        pass
    heard = []
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            heard.append(json.loads(await asyncio.wait_for(slow.socket.recv(), 30)))
    assert slow.socket.close_code == 4500
    assert [frame["seq"] for frame in heard if frame["type"] == "message"] == list(range(1, 201))
    again = await relay.join(room, session=slow.session, since={"epoch": slow.joined["epoch"], "seq": 200})
    assert (again.id, again.joined["recovered"], again.joined["missed"]) == (slow.id, True, 0)
    await relay.close()


async def test_who_waits_in_a_lobby_waits_again(keeper: Keeper):
    """With 4500 they come again, to the new process; the owner, who stays, is told who waits there."""
    await keeper.start()
    made = await create(keeper.base, settings={"lobby": True})
    told: list[RoomDetails] = []
    async with join(made.link, "ann", owner=made.owner) as ann, asyncio.timeout(50):
        joining = asyncio.create_task(join(made.link, "bob", on_waiting=told.append).__aenter__())
        while [user.nick for user in ann.knocking] != ["bob"]:
            await heard(ann, Knocking, timeout=20)
        (before,) = ann.knocking
        await relayctl(keeper, "upgrade")
        while [user.nick for user in ann.knocking] != ["bob"] or ann.knocking[0].id == before.id:
            await heard(ann, Knocking, timeout=20)
        assert len(told) == 2
        await ann.admit(ann.knocking[0])
        bob = await joining
        assert bob.me.nick == "bob"
        await bob.leave()


async def test_a_lobby_is_empty_after_it(keeper: Keeper):
    """The owner is told so, also where nobody comes again."""
    await keeper.start()
    relay = Relay(keeper.base)
    room = await relay.create(settings={"lobby": True})
    ann, bob = await relay.join(room, owner=True), await relay.connect(room["id"])
    await bob.send("join", key=room["invite_key"], profile={"nick": "bob"})
    while not (await ann.until("room", event="knocking"))["users"]:
        pass
    await relayctl(keeper, "upgrade")
    assert await bob.closed() == (4500, "restarting")
    assert (await ann.until("room", event="knocking"))["users"] == []
    await relay.close()


async def test_files_start_again(keeper: Keeper):
    """Who serves or receives a file has to come back, as its client knows how to go on then."""
    await keeper.start()
    relay = Relay(keeper.base)
    room = await relay.create()
    ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
    file = {"fid": "A" * 22, "size": 10, "chunk": 10}
    await ann.send("message", id="f", body={}, file=file)
    await ann.until("message", id="f")
    await relayctl(keeper, "upgrade")
    assert await ann.closed() == (4500, "restarting")
    while not any(user["id"] == ann.id and user["away"] for user in (await bob.until("presence"))["changed"]):
        pass
    again = await relay.join(room, session=ann.session)
    await again.send("serve", id="s", **file)
    await again.until("ok", id="s")
    await relay.close()


async def test_rooms_are_kept_after_it(keeper: Keeper):
    """The service manager hears which process is the main one, and after kill -9 of that rooms go on again."""
    await keeper.start()
    relay = Relay(keeper.base)
    room = await relay.create()
    ann = await relay.join(room, "ann")
    upgraded = await relayctl(keeper, "upgrade")
    await until(lambda: keeper.main_pid == upgraded["pid"])
    await ann.say("1")
    await ann.until("message", id="1")
    status = await relayctl(keeper, "status")
    assert (status["pid"], status["rooms"], status["connections"]) == (upgraded["pid"], 1, 1)
    await asyncio.wait_for(keeper.process.wait(), 30)
    await keeper.restart(signal.SIGKILL)
    again = await relay.join(room, session=ann.session, since={"epoch": ann.joined["epoch"], "seq": 0})
    assert (await again.until("message"))["id"] == "1"
    await relay.close()


# A process that is given up by the processor at the worst moment.
SLOW = """
import sys, time
if "--take-over" not in sys.orig_argv:
    from relayd.machine.systemd import Systemd
    notify = Systemd.notify
    def slowly(systemd, *fds, **fields):
        if "MAINPID" in fields:
            time.sleep(1)
        return notify(systemd, *fds, **fields)
    Systemd.notify = slowly
"""


async def test_the_service_manager_hears_the_main_process_only(keeper: Keeper, tmp_path: Path):
    """The next one waits with what it has to say until the manager knows it, and then has the watchdog's full time."""
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    await keeper.start(PYTHONPATH=str(tmp_path), WATCHDOG_USEC="60000000")
    upgraded = await relayctl(keeper, "upgrade")
    named = {"MAINPID": str(upgraded["pid"])}
    await until(lambda: named in keeper.told and "READY" in keeper.told[-1])
    said = [set(told) for told in keeper.told[keeper.told.index(named) :]]
    stored = [{"FDSTOREREMOVE", "FDNAME"}, {"FDSTORE", "FDNAME"}]
    assert said == [{"MAINPID"}, {"WATCHDOG"}, *stored, {"READY", "STATUS"}]
    assert not keeper.ignored


FAULTS = {
    "settings": (1, "max_roms"),
    "format": (5, "cannot take over the connections of relayd", "a restart keeps the rooms"),
    "state": (6, "cannot read the rooms of relayd", "a restart ends them"),
    "death": (1, "it has ended"),
    "late death": (1, "it has ended"),
}


async def test_the_old_one_goes_on(keeper: Keeper, tmp_path: Path):
    """If the next one cannot start, cannot read what there is, or dies: it is said why, and nobody notices."""
    config, fault = tmp_path / "relayd.toml", tmp_path / "fault"
    config.write_text("")
    (tmp_path / "sitecustomize.py").write_text(NEXT)
    await keeper.start("--config", str(config), PYTHONPATH=str(tmp_path), NEXT_FAULT=str(fault))
    relay, asker = Relay(keeper.base), Asker(keeper.base, keeps=True)
    room = await relay.create()
    async with talkers(keeper.base, room, 5) as inside:
        for name, (code, *told) in FAULTS.items():
            assert await asker.ask() == "201"
            fault.write_text(name)
            config.write_text("[limits]\nmax_roms = 5\n" if name == "settings" else "")
            talk = asyncio.create_task(chatter(inside, 1.0, rate=10, name=name))
            refused = await relayctl(keeper, "upgrade", code=code)
            assert [text for text in told if text not in refused["error"]] == []
            assert "this one goes on" in refused["error"]
            await talk
        assert [person.resumes for person in inside] == [0] * 5
        await everyone_heard(inside, 0)
    assert await asker.ask() == "201"
    assert asker.connections == 1
    asker.close()
    assert (await relayctl(keeper, "status"))["pid"] == keeper.process.pid
    newcomer = await relay.join(room, "newcomer")
    await newcomer.say("1")
    await newcomer.until("message", id="1")
    await keeper.restart(signal.SIGKILL)
    assert (await relay.join(room, session=newcomer.session)).id == newcomer.id
    await relay.close()


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize("with_room", [True, False])
async def test_what_is_closed_stays_closed(keeper: Keeper, workers, with_room):
    """Blocks of addresses and of handles, their ends, and that strangers create no rooms; handles stay the same."""
    await keeper.start("--workers", workers, RELAYD_TRUSTED_PROXIES="127.0.0.1")
    relay = Relay(keeper.base)

    async def status(address: str, path: str = "/healthz", **kwargs) -> int:
        return (await relay.request(path=path, headers={"X-Forwarded-For": address}, **kwargs)).code

    create = {"method": "POST", "path": "/api/v1/room", "body": {"name": "tea"}}
    assert await status("192.0.2.1", **create) == 201
    (room,) = await relayctl(keeper, "list", "rooms")
    if not with_room:
        await relayctl(keeper, "close", "room", "tea")
    await relayctl(keeper, "block", room["created_by"])
    await relayctl(keeper, "block", "192.0.2.3", "-for", "1h")
    await relayctl(keeper, "freeze")
    before = await relayctl(keeper, "list", "blocks")
    await relayctl(keeper, "upgrade")
    assert await relayctl(keeper, "list", "blocks") == before
    assert [await status(f"192.0.2.{number}", method="GET") for number in (1, 2, 3)] == [403, 200, 403]
    assert await status("192.0.2.2", **create) == 503
    await relayctl(keeper, "unfreeze")
    await relayctl(keeper, "unblock", room["created_by"])
    create["body"] = {"name": "again"}
    assert await status("192.0.2.1", **create) == 201
    (made,) = [one for one in await relayctl(keeper, "list", "rooms") if one["name"] == "again"]
    assert made["created_by"] == room["created_by"]
    await relay.close()
