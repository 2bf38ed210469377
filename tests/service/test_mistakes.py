"""What an administrator's mistakes cost: a clear message, and no room."""

import contextlib
import os
import re
import time

import pytest

from tests.service.nested import SERVICE, SOCKETS, until
from tests.service.test_service import join, restarted

TYPO = 'workers = "lots"\n'
PROBLEM = "/etc/relayd/relayd.toml: workers: "


def settings(system, text):
    file = system.root / "etc/relayd/relayd.toml"
    file.unlink(missing_ok=True)  # it may be a pipe
    file.write_text(text)
    file.chmod(0o644)


def rooms(system):
    return [room["name"] for room in system.relayctl("list", "rooms")]


def problem_lines(system):
    """Lines of relayd's own that name the problem."""
    return [line for line in system.journal().splitlines() if PROBLEM in line]


@contextlib.contextmanager
def socket_drop_in(system, unit, text):
    """An addition to a socket unit, as `systemctl edit` makes it; taken away again."""
    file = system.root / f"etc/systemd/system/{unit}.d/override.conf"
    file.parent.mkdir()
    try:
        yield lambda text: (file.write_text(text), system.systemctl("daemon-reload"))
    finally:
        file.unlink(missing_ok=True)
        file.parent.rmdir()
        system.systemctl("daemon-reload")
        system.end()


# Invalid settings. ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (TYPO, "relayd.toml: workers: "),
        ("[rooms\n", "relayd.toml: not valid TOML: "),
        ('listne = ["127.0.0.1:1"]\n', "relayd.toml: listne: "),
        ('public_url = "chat.example.org"\n', "relayd.toml: public_url: "),
        (None, "relayd.toml: cannot be read: No such file or directory"),
        ("0600", "relayd.toml: cannot be read: Permission denied"),
        ("mkfifo", "relayd.toml: cannot be read: not a regular file"),
        ("/dev/zero", "relayd.toml: cannot be read: not a regular file"),
    ],
)
async def test_a_restart_with_invalid_settings_keeps_the_rooms(system, text, problem):
    """With the settings of before, which is reported everywhere; corrected, they hold and nothing is reported."""
    system.begin("[rooms]\nmax = 7\n")
    room = system.relayctl("create", "room", "precious")
    async with contextlib.AsyncExitStack() as people:
        ann = await join(system, room)
        people.push_async_callback(ann.socket.close)
        make_invalid(system.root / "etc/relayd/relayd.toml", text)
        before = system.main_pid
        system.systemctl("restart", SERVICE)
        restarted(system, before)
        again = await join(system, room, session=ann.session)
        people.push_async_callback(again.socket.close)
        assert again.id == ann.id
    assert rooms(system) == ["precious"]
    assert system.relayctl("config", "show")["rooms"]["max"] == 7
    (reported,) = system.relayctl("status")["settings_problems"]
    assert problem in reported
    assert problem in system.run("relayctl", "status").stdout
    assert problem in system.journal("--priority=err")
    assert problem in system.show("StatusText")
    findings = [one for one in system.relayctl("doctor", code=1) if one["state"] == "problem"]
    assert [problem in one["what"] for one in findings] == [True]
    settings(system, "[rooms]\nmax = 8\n")
    system.systemctl("reload", SERVICE)
    assert system.relayctl("config", "show")["rooms"]["max"] == 8
    assert system.relayctl("status")["settings_problems"] == []
    assert [one for one in system.relayctl("doctor") if one["state"] == "problem"] == []


def make_invalid(file, text):
    """Writes that; without text, removes the file; with a mode, closes it to relayd; or makes it a pipe or a device."""
    if text is None:
        file.unlink()
    elif text in ("mkfifo", "/dev/zero"):
        file.unlink()
        os.mkfifo(file, 0o644) if text == "mkfifo" else file.symlink_to(text)
    elif text == "0600":
        file.chmod(0o600)
    else:
        file.write_text(text)


@pytest.mark.parametrize("end", ["restart", "kill", "upgrade"])
def test_the_settings_of_before_are_those_of_the_last_reload(system, end):
    """Whatever the next process comes from."""
    system.begin("[rooms]\nmax = 7\n")
    system.relayctl("create", "room", "precious")
    settings(system, "[rooms]\nmax = 8\n")
    system.systemctl("reload", SERVICE)
    if end == "upgrade":
        before = system.main_pid
        system.relayctl("upgrade")
        restarted(system, before)
    settings(system, TYPO)
    before = system.main_pid
    if end == "kill":
        system.signal("KILL", before)
    else:
        system.systemctl("restart", SERVICE)
    restarted(system, before)
    assert rooms(system) == ["precious"]
    assert system.relayctl("config", "show")["rooms"]["max"] == 8


def test_a_refused_reload_is_reported(service):
    """The settings stay, and status says what a restart would find."""
    settings(service, TYPO)
    service.systemctl("reload", SERVICE, code=1)
    assert [PROBLEM in line for line in service.relayctl("status")["settings_problems"]] == [True]
    settings(service, "")
    service.systemctl("reload", SERVICE)
    assert service.relayctl("status")["settings_problems"] == []


def curl(system, *arguments):
    """Status and body of an answer by TCP."""
    done = system.run("curl", "-sS", "-m", "20", "-w", "\n%{http_code}", *arguments, "http://127.0.0.1:8080/healthz")
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


@pytest.mark.parametrize("correct", ["start", "restart", "by itself", "a request"])
def test_invalid_settings_and_a_request(system, correct):
    """The sockets stay, clients are refused, one line says why, and what is corrected starts."""
    system.end()
    settings(system, TYPO)
    system.mark()
    assert "failed because" in system.run("systemctl", "start", SERVICE, code=1).stderr
    until(lambda: system.show("SubState") == "running")
    for _ in range(30):
        status, body = curl(system)
        assert status == 503
        assert "settings" in body
        assert PROBLEM not in body
    assert PROBLEM in system.run("relayctl", "status", code=1).stderr
    assert PROBLEM in system.show("StatusText")
    assert len(problem_lines(system)) == 1
    assert "127.0.0.1" not in system.journal()
    assert system.systemctl("is-active", *SOCKETS).split() == ["active"] * len(SOCKETS)
    assert system.show("NRestarts") == "1"
    settings(system, "workers = 2\n")
    if correct == "a request":
        assert curl(system)[0] == 200
    elif correct != "by itself":
        system.systemctl(correct, SERVICE)
        assert system.relayctl("status")["state"] == "running"
    until(lambda: curl(system)[0] == 200)
    assert system.relayctl("status")["settings_problems"] == []
    assert len(system.children(system.main_pid)) == 2


def test_invalid_settings_time_and_again(system):
    """Each restart by hand fails and says why; another problem than before is reported, too."""
    system.end()
    system.mark()
    for count in (1, 2):
        settings(system, TYPO)
        assert "failed because" in system.run("systemctl", "restart", SERVICE, code=1).stderr
        assert len(problem_lines(system)) == count
        until(lambda: system.show("SubState") == "running")
    settings(system, "[rooms]\nmax = -1\n")
    until(lambda: "invalid settings: /etc/relayd/relayd.toml: rooms.max: " in system.journal("--priority=err"))
    assert "rooms.max" in system.run("relayctl", "status", code=1).stderr
    system.systemctl("stop", SERVICE)
    assert system.show("Result") == "success"
    assert system.show("NFileDescriptorStore") == "0"


def test_waiting_for_valid_settings(system):
    """relayd lives through the watchdog's time and a SIGHUP, and restarts the service no more than once."""
    system.begin(TYPO, "[Service]\nWatchdogSec=3\n", code=1)
    until(lambda: system.show("SubState") == "running")
    waiting = system.main_pid
    system.signal("HUP", waiting)
    time.sleep(8)
    assert (system.main_pid, system.show("NRestarts")) == (waiting, "1")
    settings(system, "")
    system.signal("HUP", waiting)
    until(lambda: curl(system)[0] == 200)
    assert system.main_pid == waiting


def test_settings_of_before_without_rooms(system):
    """Nothing would be lost: the restart fails, as an administrator expects."""
    system.begin("")
    settings(system, TYPO)
    system.run("systemctl", "restart", SERVICE, code=1)
    until(lambda: system.show("SubState") == "running")
    assert curl(system)[0] == 503


# Sockets. -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_changing_the_port(system):
    """As docs/admin.md has it, twenty times in a row."""
    system.begin()
    system.relayctl("create", "room", "precious")
    with socket_drop_in(system, "relayd-tcp.socket", "") as edit:
        for port in range(9000, 9020):
            edit(f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{port}\n")
            system.systemctl("restart", "relayd.socket")
            assert '"ok"' in system.run("curl", "-sS", f"http://127.0.0.1:{port}/healthz").stdout
            assert rooms(system) == ["precious"]


@pytest.mark.parametrize("unit", [*SOCKETS[1:], "relayd-metrics.socket"])
def test_one_socket(system, unit):
    """Whatever is done to one of the others than relayd.socket: no room is lost, and all can be opened again."""
    system.systemctl("enable", unit)
    system.begin()
    try:
        system.relayctl("create", "room", "precious")
        for verb in ("stop", "restart", "disable --now", "mask --now"):
            system.systemctl(*verb.split(), unit, code=None)
            assert system.systemctl("is-active", SERVICE) == "active"
            system.systemctl("unmask", unit)
            system.systemctl("restart", "relayd.socket")
            assert rooms(system) == ["precious"]
            assert system.relayctl("status")["addresses"] == ["http://127.0.0.1:8080", "unix:/run/relayd/http.sock"]
    finally:
        system.systemctl("disable", unit)


def test_stopping_all(service):
    """One unit is enough, and nothing starts relayd again."""
    service.relayctl("create", "room")
    service.systemctl("stop", "relayd.socket")
    units = (SERVICE, *SOCKETS)
    assert service.systemctl("is-active", *units, code=None).split() == ["inactive"] * len(units)
    assert service.run("curl", "-s", "http://127.0.0.1:8080/", code=None).returncode == 7
    service.systemctl("start", SERVICE)
    assert rooms(service) == []
    assert service.systemctl("is-active", *units).split() == ["active"] * len(units)


def test_without_tcp(service):
    """As docs/admin.md has it."""
    service.relayctl("create", "room", "precious")
    service.systemctl("mask", "--now", "relayd-tcp.socket")
    try:
        service.systemctl("restart", SERVICE)
        assert service.run("curl", "-s", "http://127.0.0.1:8080/", code=None).returncode == 7
        assert rooms(service) == ["precious"]
        assert [one for one in service.relayctl("doctor") if one["state"] == "problem"] == []
    finally:
        service.systemctl("unmask", "relayd-tcp.socket")


def test_a_port_that_is_taken(system):
    """relayd serves the Unix socket, and doctor names the one that is closed; the rooms stay when it is opened."""
    system.end()
    with system.running("python3", "-m", "http.server", "--bind", "127.0.0.1", "8080"):
        until(lambda: not system.run("curl", "-so", "/dev/null", "http://127.0.0.1:8080", code=None).returncode)
        system.begin()
        assert system.systemctl("is-active", *SOCKETS, code=None).split() == ["active", "failed", "active"]
        assert system.relayctl("status")["addresses"] == ["unix:/run/relayd/http.sock"]
        curl = system.run("curl", "-sS", "--unix-socket", "/run/relayd/http.sock", "http://localhost/healthz")
        assert '"ok"' in curl.stdout
        system.relayctl("create", "room", "precious")
        found = [one for one in system.relayctl("doctor", code=None) if "relayd-tcp.socket" in one["what"]]
        assert [one["state"] for one in found] == ["warning"]
    system.systemctl("restart", "relayd.socket")
    assert rooms(system) == ["precious"]
    assert system.relayctl("status")["addresses"] == ["http://127.0.0.1:8080", "unix:/run/relayd/http.sock"]


def test_no_control_socket(system):
    """relayd serves its clients, and root finds it where the log says."""
    system.begin()
    system.relayctl("create", "room", "precious")
    with socket_drop_in(system, "relayd-control.socket", "") as edit:
        edit("[Socket]\nSocketGroup=no-such-group\n")
        system.systemctl("restart", "relayd.socket")
        until(lambda: system.show("SubState") == "running")
        assert '"ok"' in system.run("curl", "-sS", "http://127.0.0.1:8080/healthz").stdout
        (told,) = re.findall(r"relayctl (--socket \S+)", system.journal("--priority=warning"))
        assert [room["name"] for room in system.relayctl(*told.split(), "list", "rooms")] == ["precious"]


def test_no_socket_at_all(system):
    """relayd says so, tries again, and is there once there is one."""
    system.end()
    with socket_drop_in(system, "relayd.socket", "") as edit, contextlib.ExitStack() as stack:
        edit("[Socket]\nSocketGroup=no-such-group\n")
        stack.enter_context(system.running("python3", "-m", "http.server", "--bind", "127.0.0.1", "8080"))
        until(lambda: not system.run("curl", "-so", "/dev/null", "http://127.0.0.1:8080", code=None).returncode)
        with pytest.raises(AssertionError, match=r"Job for relayd\.service failed"):
            system.begin()
        assert "relayd: listen: 127.0.0.1:8080: may not be opened by this process; if systemd" in system.journal()
        stack.close()
        system.systemctl("start", "relayd-tcp.socket")
        until(lambda: "relayd listening on http://127.0.0.1:8080\n" in system.journal())


# Ends. ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["stop", "drain"])
async def test_an_end_by_relayctl_keeps_the_rooms(system, verb):
    """systemd starts relayd again, and who was told to come back does; the output says so before it happens."""
    system.begin()
    room = system.relayctl("create", "room", "precious")
    before = system.main_pid
    async with contextlib.AsyncExitStack() as people:
        ann = await join(system, room)
        people.push_async_callback(ann.socket.close)
        printed = system.run("relayctl", verb).stdout.splitlines()
        assert printed == [
            "Closing 1 connection. systemd starts relayd again and restores 1 room.",
            "relayd has ended.",
        ]
        assert (await ann.closed())[0] == 4500
        restarted(system, before)
        again = await join(system, room, session=ann.session)
        people.push_async_callback(again.socket.close)
        assert again.id == ann.id
    assert rooms(system) == ["precious"]


@pytest.mark.parametrize("verb", ["stop", "drain"])
async def test_an_end_that_forgets(system, verb):
    """People are told that the room is over, and nothing of it is left."""
    system.begin()
    room = system.relayctl("create", "room", "precious")
    before = system.main_pid
    ann = await join(system, room)
    printed = system.run("relayctl", verb, "--forget").stdout.splitlines()
    assert printed == ["Closing 1 connection. 1 room will be deleted.", "relayd has ended."]
    assert await ann.closed() == (4010, "room_closed")
    restarted(system, before)
    assert rooms(system) == []


@pytest.mark.slow
async def test_a_long_drain_keeps_everybody(system):
    """Those who are sent away first cannot come back until the end: neither their places nor their rooms time out."""
    system.begin("[rooms]\nleave_grace = 1\nresume = 0\n")  # places are kept for 10 s
    made = [system.relayctl("create", "room", f"r{number}") for number in range(20)]
    before = system.main_pid
    async with contextlib.AsyncExitStack() as stack:
        people = [await join(system, room) for room in made]
        for one in people:
            stack.push_async_callback(one.socket.close)
        gone = await join(system, made[0], "bob")  # away already
        await gone.socket.close()
        system.relayctl("drain", "--over", "16s")
        restarted(system, before)
        assert len(rooms(system)) == 20
        for one, room in zip(people, made, strict=True):
            again = await join(system, room, session=one.session)
            stack.push_async_callback(again.socket.close)
            assert again.id == one.id


@pytest.mark.slow
async def test_a_long_drain_that_forgets(system):
    """The rooms end one after the other."""
    system.begin()
    made = [system.relayctl("create", "room", f"r{number}") for number in range(8)]
    people = [await join(system, room) for room in made]
    done = system.relayctl("drain", "--over", "4s", "--forget")
    assert (done["rooms"], done["kept"], done["connections"]) == (8, False, 8)
    assert [await one.closed() for one in people] == [(4010, "room_closed")] * 8
    assert rooms(system) == []


# Starts. --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_many_restarts(system):
    """No limit on how often: neither restarts by hand nor crashes lose rooms."""
    system.begin()
    system.relayctl("create", "room", "precious")
    for number in range(13):
        before = system.main_pid
        if number % 2:
            system.signal("KILL", before)
        else:
            system.systemctl("restart", SERVICE)
        restarted(system, before)
        assert rooms(system) == ["precious"]


@pytest.mark.parametrize("end", ["TERM", "INT", "QUIT", "ABRT", "systemctl kill", "daemon-reexec"])
def test_ended_by_hand(system, end):
    """By whatever signal: the rooms are there again."""
    system.begin()
    system.relayctl("create", "room", "precious")
    before = system.main_pid
    if end == "daemon-reexec":
        system.systemctl("daemon-reexec")
        system.systemctl("restart", SERVICE)
    elif end == "systemctl kill":
        system.systemctl("kill", SERVICE)
    else:
        system.signal(end, before)
    restarted(system, before)
    assert rooms(system) == ["precious"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    ["ExecStart=\nExecStart=/usr/bin/relayd --confg x", "ExecStart=\nExecStart=/usr/bin/no-relayd"],
)
def test_a_unit_that_cannot_start(system, wrong):
    """However often systemd tries: rooms and sockets are there once the unit is corrected."""
    system.begin()
    system.relayctl("create", "room", "precious")
    file = system.root / f"etc/systemd/system/{SERVICE}.d/wrong.conf"
    file.parent.mkdir()
    file.write_text(f"[Service]\nDynamicUser=no\n{wrong}\n")
    system.systemctl("daemon-reload")
    system.run("systemctl", "restart", SERVICE, code=1)
    until(lambda: int(system.show("NRestarts")) > 11, timeout=60)
    assert system.systemctl("is-active", *SOCKETS).split() == ["active"] * len(SOCKETS)
    file.unlink()
    system.systemctl("daemon-reload")
    system.systemctl("restart", SERVICE)
    assert rooms(system) == ["precious"]


def test_a_request_while_it_cannot_start(system):
    """A connection that waits does not start it more often than systemd's own pause allows."""
    system.begin(unit="[Service]\nExecStart=\nExecStart=/usr/bin/false\n", code=1)
    with system.running("curl", "-s", "http://127.0.0.1:8080/"):
        until(lambda: int(system.show("NRestarts")) >= 5)
    assert system.systemctl("is-active", *SOCKETS).split() == ["active"] * len(SOCKETS)
    assert len(re.findall(r"Main process exited", system.journal())) <= int(system.show("NRestarts")) + 2
