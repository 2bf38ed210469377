"""Rooms and connections outlive the process, where systemd keeps what it is given."""

import contextlib

import pytest

from tests.service.nested import SERVICE
from tests.service.test_service import join, restarted


async def back(service, room, session, since=0):
    """Somebody who comes back; the frame that says so."""
    return await join(service, room, session=session, since={"epoch": room["epoch"], "seq": since})


async def test_rooms_go_on(service):
    """Over restart and kill -9; stop forgets them."""
    room = service.relayctl("create", "room")
    ann = await join(service, room)
    room["epoch"], session = ann.joined["epoch"], ann.session
    for seq, end in enumerate((lambda: service.systemctl("restart", SERVICE), None), 1):
        await ann.say(str(seq))
        await ann.until("message", id=str(seq))
        before = service.main_pid
        if end is None:
            service.signal("KILL", before)
        else:
            end()
        restarted(service, before)
        assert "going on with 1 rooms" in service.journal()
        before_ann, ann = ann, await back(service, room, session, seq - 1)
        assert (ann.joined["recovered"], ann.joined["missed"], ann.joined["seq"]) == (True, 0, seq)
        assert (await ann.until("message"))["id"] == str(seq)
        await before_ann.socket.close()
    service.systemctl("stop", SERVICE)
    await ann.socket.close()
    service.systemctl("start", SERVICE)
    assert service.relayctl("status")["rooms"] == 0


@pytest.mark.parametrize("workers", [0, 2])
async def test_upgrade(system, workers):
    """People stay connected; systemd goes with the next process, feeds on its signs of life, and keeps its rooms."""
    system.begin(f"workers = {workers}\n", "[Service]\nWatchdogSec=4\n")
    room = system.relayctl("create", "room")
    async with contextlib.AsyncExitStack() as peers:
        ann, bob = await join(system, room), await join(system, room, "bob")
        peers.push_async_callback(ann.socket.close)
        peers.push_async_callback(bob.socket.close)
        for turn in range(2):
            before = system.main_pid
            upgraded = system.relayctl("upgrade")
            restarted(system, before)
            assert upgraded["pid"] == system.main_pid
            await ann.say(str(turn))
            assert (await bob.until("message", timeout=30))["id"] == str(turn)
        assert system.show("NRestarts") == "0"
        assert "only permitted" not in system.journal()
        assert "not our child" not in system.journal()
        before = system.main_pid
        system.signal("KILL", before)  # which systemd notices of its own child only
        restarted(system, before)
        room["epoch"] = ann.joined["epoch"]
        again = await back(system, room, ann.session)
        peers.push_async_callback(again.socket.close)
        assert [(await again.until("message", timeout=30))["id"] for _ in range(2)] == ["0", "1"]
