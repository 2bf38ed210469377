"""Whether systemd has the rooms for the next start: relayctl knows, and deletes none by mistake."""

import contextlib

import pytest

from tests.service.nested import SERVICE
from tests.service.test_mistakes import rooms
from tests.service.test_service import join, restarted

EXTRA = "run/systemd/system/relayd.service.d/mistake.conf"  # gone with `daemon-reload` after it is removed

# What an administrator does -> what relayctl says of it.
MISTAKES = {
    "mask": "whose unit is masked",
    "[Service]\nExecStart=/usr/bin/relayd\n": "whose unit is bad-setting",
    "[Service]\nFileDescriptorStoreMax=0\n": "FileDescriptorStoreMax is 0",
    "[Service]\nFileDescriptorStoreMax=1\n": "FileDescriptorStoreMax is 1",
    "[Service]\nRestart=on-failure\n": "Restart=on-failure in the unit relayd.service does not start relayd again",
}


@contextlib.contextmanager
def mistake(system, what):
    """Makes it, and corrects it."""
    file = system.root / EXTRA
    if what == "mask":
        system.systemctl("mask", "--runtime", SERVICE)
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(what)
        system.systemctl("daemon-reload")
    try:
        yield
    finally:
        if what == "mask":
            system.systemctl("unmask", "--runtime", SERVICE)
        else:
            file.unlink()
            system.systemctl("daemon-reload")


def found_about_rooms(system):
    """State and text of the line of `relayctl doctor`."""
    (line,) = [one for one in system.relayctl("doctor", code=None) if one["check"] == "rooms"]
    return line["state"], line["what"]


@pytest.mark.parametrize("what", MISTAKES, ids=lambda what: what.splitlines()[-1])
def test_a_unit_that_keeps_no_rooms(system, what):
    """`stop` and `drain` refuse, doctor reports it, and once it is corrected systemd keeps the rooms again."""
    system.begin()
    system.relayctl("create", "room", "precious")
    before = system.main_pid
    assert found_about_rooms(system) == ("ok", "systemd keeps them for the next start")
    with mistake(system, what):
        for verb in ("stop", "drain"):
            refused = system.run("relayctl", verb, code=1).stderr
            assert "this would delete 1 room, as " in refused
            assert MISTAKES[what] in refused
            assert f"to delete them: relayctl {verb} --forget" in refused
        state, text = found_about_rooms(system)
        assert state == ("ok" if "Restart" in what else "problem")
        assert "Restart" in what or MISTAKES[what] in text
        assert rooms(system) == ["precious"]
    system.relayctl("reload")
    assert found_about_rooms(system)[0] == "ok"
    system.relayctl("stop")
    restarted(system, before)
    assert rooms(system) == ["precious"]


def test_an_upgrade_of_which_systemd_would_not_hear(system):
    """systemd would take the process that hands over for the whole service, and end it."""
    system.begin()
    system.relayctl("create", "room", "precious")
    before = system.main_pid
    with mistake(system, "mask"):
        refused = system.run("relayctl", "upgrade", code=1).stderr
        assert "this would delete 1 room, as systemd takes no messages from relayd.service" in refused
        assert system.main_pid == before
    system.relayctl("upgrade")
    restarted(system, before)
    assert rooms(system) == ["precious"]


@pytest.mark.parametrize("end", ["restart", "relayctl"])
def test_what_systemd_has_lost(system, end):
    """Masking the unit made systemd drop the rooms; after it, any orderly end gives them to systemd once more."""
    system.begin()
    system.relayctl("create", "room", "precious")
    with mistake(system, "mask"):
        pass
    assert found_about_rooms(system) == (
        "problem",
        "a restart or a crash would delete them: systemd has lost what it kept of relayd.service",
    )
    assert "relayctl reload has it kept again" in system.run("relayctl", "stop", code=1).stderr
    before = system.main_pid
    if end == "restart":
        system.systemctl("restart", SERVICE)
    else:
        system.relayctl("reload")
        system.relayctl("stop")
    restarted(system, before)
    assert rooms(system) == ["precious"]


async def test_a_restart_that_is_cancelled(system):
    """The process ends all the same, and nothing starts it again: `stop` says so; another restart keeps the rooms."""
    system.begin("[timing]\ndrain = 600\n")
    room = system.relayctl("create", "room", "precious")
    before = system.main_pid
    async with contextlib.AsyncExitStack() as people:
        ann = await join(system, room)
        people.push_async_callback(ann.socket.close)
        system.systemctl("restart", "--no-block", SERVICE)
        system.systemctl("cancel")
        assert system.show("ActiveState") == "deactivating"
        assert "relayd.service is being stopped" in system.run("relayctl", "stop", code=1).stderr
        system.systemctl("restart", "--no-block", SERVICE)
        assert "restores 1 room" in system.run("relayctl", "stop").stdout
        assert (await ann.closed())[0] == 4500
    restarted(system, before)
    assert rooms(system) == ["precious"]


@pytest.mark.parametrize("command", ["restart", "stop"])
async def test_an_end_during_a_long_drain(system, command):
    """systemctl need not wait for it."""
    system.begin()
    room = system.relayctl("create", "room", "precious")
    before = system.main_pid
    async with contextlib.AsyncExitStack() as people:
        ann = await join(system, room)
        people.push_async_callback(ann.socket.close)
        assert system.relayctl("drain", "--over", "1h", "--no-wait")["kept"]
        assert system.show("ActiveState") == "active"
        system.systemctl(command, SERVICE)
        assert (await ann.closed())[0] == 4500
    if command == "restart":
        restarted(system, before)
        assert rooms(system) == ["precious"]
