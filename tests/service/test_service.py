"""The units as systemd runs them."""

import json
import os
import re
import shutil
import socket as sockets
import subprocess
import threading
import time

import pytest
import websockets
from conftest import Peer

from tests.service.nested import PROJECT, SERVICE, SOCKETS, until

UNIT = (PROJECT / "systemd" / SERVICE).read_text()
CANNOT_CONNECT = 7  # curl's exit code
SHORT_WATCHDOG = "[Service]\nWatchdogSec=2\n"


async def join(service, room, nick="ann", **fields):
    """Somebody in the room, over relayd's Unix socket."""
    socket = await websockets.unix_connect(str(service.http), f"ws://localhost/{room['id']}", compression=None)
    peer = Peer(socket)
    await peer.send("join", **{"key": room["invite_key"], "profile": {"nick": nick}, **fields})
    peer.joined = await peer.until("joined", timeout=30)
    return peer


def restarted(service, before):
    """Waits until relayd runs as another process than that, and answers."""
    until(lambda: service.main_pid not in (0, before) and service.show("SubState") == "running")
    assert service.relayctl("status")["pid"] == service.main_pid


# Its start and its end. -----------------------------------------------------------------------------------------


async def test_runs(service):
    """It is ready only once it listens; people reach it by TCP and by its Unix socket, admins by theirs."""
    assert service.show("SubState") == "running"
    assert service.show("StatusText") == "0 rooms, 0 connections"
    assert '"ok"' in service.run("curl", "-sS", "http://127.0.0.1:8080/healthz").stdout
    status = service.relayctl("status")
    assert status["pid"] == service.main_pid
    assert status["addresses"] == ["http://127.0.0.1:8080", "unix:/run/relayd/http.sock"]
    room = service.relayctl("create", "room")
    ann, bob = await join(service, room), await join(service, room, "bob")
    await ann.say("1", "hello")
    assert (await bob.until("message"))["body"] == "hello"
    await ann.socket.close()
    await bob.socket.close()


async def test_stop(service):
    """People are told to come back, nothing is left, and the next who connects starts it again."""
    room = service.relayctl("create", "room")
    ann = await join(service, room)
    service.systemctl("stop", SERVICE)
    assert (await ann.closed())[0] == 4500
    assert service.show("ActiveState") == "inactive"
    assert service.show("Result") == "success"
    assert not (service.root / "run/relayd-bus").exists()
    assert service.systemctl("is-active", *SOCKETS).split() == ["active"] * len(SOCKETS)
    assert service.relayctl("status")["rooms"] == 0
    assert service.show("SubState") == "running"


async def test_a_drain_takes_the_time_it_is_given(system):
    """Longer than TimeoutStopSec: systemd waits, as it is asked to."""
    system.begin("[timing]\ndrain = 4\n", "[Service]\nTimeoutStopSec=1\n")
    room = system.relayctl("create", "room")
    people = [await join(system, room, str(number)) for number in range(8)]
    system.systemctl("stop", SERVICE)
    assert [(await one.closed())[0] for one in people] == [4500] * 8
    assert system.show("Result") == "success"
    assert "stopped" in system.journal()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_restart_turns_nobody_away(system, workers):
    """People who open rooms without a pause, through a restart: each gets one, sooner or later."""
    unlimited = "[limits]\ncreate_rate = 0\ncreate_rate_per_hour = 0\naddress_share = 0\n"
    system.begin(f"workers = {workers}\n{unlimited}")
    answers, over = [], threading.Event()

    def open_rooms():
        while not over.is_set():
            with sockets.socket(sockets.AF_UNIX) as socket:
                socket.settimeout(60)
                socket.connect(str(system.http))
                head = "POST /api/v1/room HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                socket.sendall(head.encode())
                answers.append(socket.makefile("rb").readline().decode().strip())

    people = [threading.Thread(target=open_rooms) for _ in range(4)]
    for one in people:
        one.start()
    until(lambda: len(answers) > 20)
    before = system.main_pid
    system.systemctl("restart", SERVICE)
    restarted(system, before)
    count = len(answers)
    until(lambda: len(answers) > count + 20)
    over.set()
    for one in people:
        one.join()
    assert set(answers) == {"HTTP/1.1 201 Created"}


# Settings. ------------------------------------------------------------------------------------------------------


def test_reload(service):
    """`systemctl reload` is done when the new settings hold; with wrong ones it fails and says why."""
    file, before = service.root / "etc/relayd/relayd.toml", service.main_pid
    file.write_text("[rooms]\nmax = 7\n")
    service.systemctl("reload", SERVICE)
    assert service.relayctl("config", "show")["rooms"]["max"] == 7
    file.write_text("[rooms]\nmax = -1\n")
    service.systemctl("reload", SERVICE, code=1)
    assert "relayd.toml: rooms.max: " in service.journal()
    assert service.relayctl("config", "show")["rooms"]["max"] == 7
    assert (service.show("SubState"), service.main_pid) == ("running", before)


def test_listen_has_no_effect(system):
    """systemd's sockets are those that count, and the log says so, as a warning."""
    system.begin('listen = ["127.0.0.1:9999"]\n')
    assert re.fullmatch(
        "relayd listen has no effect: systemd holds the sockets, http://127.0.0.1:8080 unix:.*\n",
        system.journal("--priority=warning"),
    )
    assert "\nrelayd listening on http://127.0.0.1:8080\n" in system.journal()


# What goes wrong. -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_kill(system, workers):
    """kill -9: it is started anew, and no worker of the old one is left."""
    system.begin(f"workers = {workers}\n")
    before, old = system.main_pid, system.children(system.main_pid)
    assert len(old) == workers
    system.signal("KILL", before)
    restarted(system, before)
    until(lambda: not any((system.root / f"proc/{pid}").exists() for pid in old))


def test_a_hub_that_stands_still(system):
    """The watchdog ends it, and it is started anew."""
    system.begin(unit=SHORT_WATCHDOG)
    before = system.main_pid
    system.signal("STOP", before)
    restarted(system, before)
    assert "Watchdog timeout" in system.journal()


def test_a_loop_that_turns_is_well(system):
    """Nothing is restarted while all is well, through several of the watchdog's times."""
    system.begin("workers = 1\n", "[Service]\nWatchdogSec=1\n")
    before = system.main_pid
    time.sleep(3)
    assert (system.main_pid, system.show("NRestarts")) == (before, "0")


@pytest.mark.slow
def test_a_worker_that_stands_still_is_replaced(system):
    """By relayd itself, in the watchdog's time."""
    system.begin("workers = 2\n")
    main, old = system.main_pid, system.children(system.main_pid)
    system.signal("STOP", old[0])
    until(lambda: len(new := system.children(main)) == 2 and old[0] not in new)
    assert (system.main_pid, system.show("NRestarts")) == (main, "0")


@pytest.mark.slow
def test_a_worker_that_is_not_replaced(system):
    """If that takes longer than the watchdog's time, all begins anew: it is fed only while every worker answers."""
    system.begin("workers = 2\n", SHORT_WATCHDOG)
    main = system.main_pid
    system.signal("STOP", system.children(main)[0])
    restarted(system, main)
    assert "Watchdog timeout" in system.journal()


# What it may do. ------------------------------------------------------------------------------------------------


def test_hardening(system):
    """At most 0.5 of systemd's exposure, and the unit gives a reason for each thing that is found."""
    done = system.run("systemd-analyze", "security", "--no-pager", "--threshold=5", SERVICE)
    found = re.findall(r"^✗ (\S+)", done.stdout, re.MULTILINE)
    assert found
    assert [name for name in found if f"\n# {name}: " not in UNIT] == []


def test_hardening_as_read_from_the_file():
    """As much by the file alone, without what a running systemd adds to it."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    command = ("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=5", f"systemd/{SERVICE}")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze has no --offline")
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"^✗ (\S+)", done.stdout, re.MULTILINE)
    assert found
    assert [name for name in found if f"\n# {name}: " not in UNIT] == []


def test_units_are_valid(system):
    """systemd finds no fault with them."""
    names = [path.name for path in (PROJECT / "systemd").iterdir() if path.suffix in (".service", ".socket")]
    done = system.run("systemd-analyze", "verify", "--man=no", *names)
    assert done.stdout + done.stderr == ""


def test_who_may_use_relayctl(service):
    """Root, and members of relayd-admin, as whom the log names them; nobody else."""
    service.run("useradd", "--no-create-home", "--groups", "relayd-admin", "alice", code=None)
    service.run("useradd", "--no-create-home", "bob", code=None)
    for name, code in {"alice": 0, "bob": 1}.items():
        uid = service.run("id", "-u", name).stdout.strip()
        done = service.run(
            *("setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups"), "relayctl", "create", "room", code=code
        )
        assert ("only root and members of the group relayd-admin may connect" in done.stderr) == (code == 1)
        assert (f"uid={uid} " in service.journal()) == (code == 0)


def test_observers(system):
    """A group that may only look: doctor says that its members cannot connect, and docs/admin.md how they can."""
    system.begin('[control_groups]\nobserve = ["watchers"]\n')
    system.run("groupadd", "watchers", code=None)
    system.run("useradd", "--no-create-home", "--groups", "watchers", "wanda", code=None)
    system.run("useradd", "--no-create-home", "--groups", "relayd-admin", "alice", code=None)
    system.systemctl("reload", SERVICE)
    wanda, alice = (("setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups") for name in ("wanda", "alice"))
    assert "relayd-admin" in system.run(*wanda, "relayctl", "status", code=1).stderr
    found = [one for one in system.relayctl("doctor", code=1) if one["state"] == "problem"]
    assert [(one["check"], "wanda" in one["what"], "alice" in one["what"]) for one in found] == [
        ("groups", True, False)
    ]
    system.relayctl("create", "room", "precious")
    page = (PROJECT / "docs/admin.md").read_text()
    shown = re.search(r"^```text\n(groupadd relayd-control\n.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]
    edit = re.search(r"^systemctl edit relayd-control.socket\n\n(.*?\n)\n", shown, re.MULTILINE | re.DOTALL)
    directory = system.root / "etc/systemd/system/relayd-control.socket.d"
    directory.mkdir()
    try:
        (directory / "override.conf").write_text(edit[1])
        system.systemctl("daemon-reload")
        system.run("sh", "-euc", shown.replace(edit[0], "").replace("bob", "wanda"))
        assert [room["name"] for room in system.relayctl("list", "rooms")] == ["precious"]
        assert "precious" in system.run(*wanda, "relayctl", "list", "rooms").stdout
        assert "watchers" not in system.run(*wanda, "relayctl", "close", "room", "precious", code=1).stderr
        system.run(*alice, "relayctl", "close", "room", "precious")
        assert [one for one in system.relayctl("doctor") if one["state"] == "problem"] == []
    finally:
        system.end()
        shutil.rmtree(directory)
        system.systemctl("daemon-reload")


@pytest.mark.parametrize(
    ("name", "way", "code"),
    [
        ("www-data", ("--unix-socket", "/run/relayd/http.sock"), 0),
        ("nobody", ("--unix-socket", "/run/relayd/http.sock"), CANNOT_CONNECT),
        ("nobody", (), 0),
    ],
)
def test_who_gets_to_the_unix_socket(service, name, way, code):
    """The proxy, whose X-Forwarded-For is believed there; no other user. By TCP all get in, and are not believed."""
    user = ("setpriv", f"--reuid={name}", "--regid", service.run("id", "-g", name).stdout.strip(), "--init-groups")
    service.run(*user, "curl", "-sS", *way, "http://127.0.0.1:8080/healthz", code=code)


def test_workers_inherit_nothing(system):
    """No listening socket, no way to speak for the service."""
    system.begin("workers = 1\n")
    (worker,) = system.children(system.main_pid)
    shared = sockets_of(system, system.main_pid) & sockets_of(system, worker)
    assert shared == set()
    environment = (system.root / f"proc/{worker}/environ").read_bytes().decode().split("\0")
    assert [name for name in environment if name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_"))] == []


def sockets_of(system, pid):
    """The sockets that a process in there has, besides that of its log."""
    directory = system.root / f"proc/{pid}/fd"
    return {os.readlink(fd) for fd in directory.iterdir() if int(fd.name) > 2 and "socket:" in os.readlink(fd)}


def test_nothing_can_be_written(service):
    """Not by relayd, wherever it would try; and what it holds is not dumped."""
    enter = ("nsenter", f"--target={service.main_pid}", "--mount", "touch")
    for directory in ("/etc", "/usr", "/var", "/home", "/tmp", "/var/tmp", "/etc/relayd"):
        done = service.run(*enter, f"{directory}/written", code=1)
        assert "Read-only file system" in done.stderr or "Permission denied" in done.stderr, done.stderr
    limits = (service.root / f"proc/{service.main_pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)
    assert json.loads(service.show("MemorySwapMax")) == 0
