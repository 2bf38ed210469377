"""The service manager's protocols, against sockets that play its part."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from relayd.machine.stored_text import StoredText
from relayd.machine.systemd import Systemd


@pytest.fixture
def manager(tmp_path):
    """The socket on which a service manager hears."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


# Puts descriptors to the numbers from 3 on, names the process that the variables are for, and becomes the program.
BECOME = """
import json, os, sys
fds, variables, code = json.loads(sys.argv[1])
for number, fd in enumerate(fds, start=3):
    os.dup2(fd, number)
variables = {name: text.replace("PID", str(os.getpid())) for name, text in variables.items()}
os.execve(sys.executable, [sys.executable, "-c", code], {**os.environ, **variables})
"""


def started(code, fds, **variables):
    """What a process prints (JSON) that was started with these variables (PID: its own) and descriptors from 3 on."""
    done = subprocess.run(
        [sys.executable, "-c", BECOME, json.dumps([fds, variables, code])],
        pass_fds=fds,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


TAKE = """
import json, os, subprocess, sys
from relayd.machine.systemd import Systemd
systemd = Systemd.take(os.environ, os.getpid())
left = [name for name in os.environ if name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_"))]
child = subprocess.run([sys.executable, "-c", "import os; print(os.listdir('/proc/self/fd'))"],
    close_fds=False, capture_output=True, text=True).stdout
print(json.dumps([systemd.fds, systemd.watchdog_s, left, [str(fd) in eval(child) for fd in (4, 5)],
    systemd.environment()]))
"""


@pytest.fixture
def descriptors():
    """Three, under numbers that are free otherwise."""
    ends = [*os.pipe(), *os.pipe()]
    numbers = [os.dup2(end, 40 + end) for end in ends[:3]]
    yield numbers
    for fd in (*ends, *numbers):
        os.close(fd)


def test_takes_what_it_is_given(descriptors):
    """Descriptors by name, the watchdog's time; a child sees neither variables nor descriptors."""
    fds, watchdog_s, left, inherited, environment = started(
        TAKE,
        descriptors,
        LISTEN_PID="PID",
        LISTEN_FDS="3",
        LISTEN_FDNAMES="http:control:http",
        NOTIFY_SOCKET="/run/n",
        WATCHDOG_PID="PID",
        WATCHDOG_USEC="10000000",
    )
    assert fds == {"http": [3, 5], "control": [4]}
    assert watchdog_s == 10
    assert left == []
    assert inherited == [False, False]
    assert environment == {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "10000000"}


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"LISTEN_PID": "1", "LISTEN_FDS": "3", "WATCHDOG_PID": "1", "WATCHDOG_USEC": "5"},
        {"LISTEN_PID": "7", "LISTEN_FDS": "many", "WATCHDOG_USEC": "often"},
        {"LISTEN_FDS": "3"},
    ],
)
def test_what_is_meant_for_others_is_not_taken(variables):
    """Another process's descriptors and watchdog, or nonsense: nothing, and the variables are gone."""
    environment = {"HOME": "/root", **variables}
    systemd = Systemd.take(environment, 7)
    assert (systemd.fds, systemd.watchdog_s) == ({}, None)
    assert environment == {"HOME": "/root"}
    assert systemd.environment() == {}
    assert not systemd.notify(READY=1)


def test_tells(manager):
    """Fields are lines of one message; a value can't begin another."""
    systemd = Systemd(manager.getsockname())
    assert systemd.notify(READY=1, STATUS="3 rooms\nMAINPID=1")
    assert manager.recv(1000) == b"READY=1\nSTATUS=3 rooms MAINPID=1\n"


def test_tells_an_abstract_socket():
    """A name with @ is one in the abstract namespace (unix(7))."""
    name = f"relayd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        assert Systemd("@" + name).notify(WATCHDOG=1)
        assert listening.recv(100) == b"WATCHDOG=1\n"


def test_keeps_a_descriptor(manager):
    """The copy that systemd gets shares what is written later."""
    systemd = Systemd(manager.getsockname())
    memory = os.memfd_create("rooms")
    assert systemd.store_fd("snapshot", memory)
    message, (copy,), _, _ = socket.recv_fds(manager, 1000, 1)
    assert message == b"FDSTORE=1\nFDNAME=snapshot\n"
    os.pwrite(memory, b"later", 0)
    assert os.pread(copy, 5, 0) == b"later"
    os.close(memory)
    os.close(copy)
    assert systemd.remove_fd("snapshot")
    assert manager.recv(1000) == b"FDSTOREREMOVE=1\nFDNAME=snapshot\n"


def test_a_text_that_is_stored(manager):
    """Each one replaces the one before; the next process finds the last, and so does the one after it."""
    text = StoredText("settings")
    systemd = Systemd(manager.getsockname())
    copies = []
    for content in ("first", "secönd, and longer"):
        text.write(systemd, content)
        assert manager.recv(1000) == b"FDSTOREREMOVE=1\nFDNAME=settings\n"
        message, (copy,), _, _ = socket.recv_fds(manager, 1000, 1)
        assert message == b"FDSTORE=1\nFDNAME=settings\n"
        copies.append(copy)
    for _ in range(2):
        later = Systemd(fds={"settings": [os.dup(copies[1])], "rooms": [7]})
        assert text.take(later) == "secönd, and longer"
        assert later.fds == {"rooms": [7]}
        assert text.take(later) is None
    for copy in copies:
        os.close(copy)


def test_a_text_that_nobody_stores():
    """Without a service manager there is nothing to do."""
    StoredText("settings").write(Systemd(), "text")
    assert StoredText("settings").take(Systemd()) is None


def test_a_manager_that_is_busy(manager):
    """What is told again soon does not wait for it."""
    systemd = Systemd(manager.getsockname())
    started_at = time.monotonic()
    while systemd.mention(WATCHDOG=1):  # until its queue is full
        assert time.monotonic() - started_at < 30
    started_at = time.monotonic()
    assert not any(systemd.mention(WATCHDOG=1) for _ in range(20))
    assert time.monotonic() - started_at < 1  # waiting, as `notify` does, would take 20
    assert manager.recv(100) == b"WATCHDOG=1\n"
    assert systemd.mention(WATCHDOG=1)


def test_a_manager_that_is_gone(tmp_path, caplog):
    """Is logged, and does no harm."""
    assert not Systemd(str(tmp_path / "gone")).notify(READY=1)
    assert "READY" in caplog.text
