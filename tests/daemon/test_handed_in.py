"""What a service manager hands in, and what it is told: by a test that plays its part."""

import os
import queue
import re
import signal
import socket as sockets
import threading

import pytest
from handed_in import daemon_with

from relayd.errors import CannotListen
from relayd.machine.listeners import Listeners, listening
from tests.control.conftest import Daemon


class Manager:
    """Holds the sockets of a relayd that it has started."""

    def __init__(self, directory, *arguments):
        (directory / "run").mkdir()
        self.told = sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM)
        self.told.bind(str(directory / "notify"))
        self._heard = queue.SimpleQueue()
        # Like systemd it hears at once: its queue holds ten, and a busy machine is slow to come back to the test.
        self._hearing = threading.Thread(target=self._hear)
        self._hearing.start()
        self.tcp = sockets.create_server(("127.0.0.1", 0))
        self.http = sockets.socket(sockets.AF_UNIX)
        self.http.bind(str(directory / "http.sock"))
        self.http.listen()
        self.control = sockets.socket(sockets.AF_UNIX)
        self.control.bind(str(directory / "run" / "control.sock"))
        self.control.listen()
        self.other = sockets.create_server(("127.0.0.1", 0))
        named = [(self.tcp, "http"), (self.control, "control"), (self.http, "http"), (self.other, "other")]
        variables = {"NOTIFY_SOCKET": str(directory / "notify"), "WATCHDOG_USEC": "800000"}
        self.daemon = daemon_with(directory, named, *arguments, variables=variables)

    def hears(self, pattern):
        """Waits until it is told something like that."""
        while not re.search(pattern, self._heard.get(timeout=30)):
            pass

    def _hear(self):
        while told := self.told.recv(1000):
            self._heard.put(told.decode())

    def close(self):
        self.told.shutdown(sockets.SHUT_RD)
        self._hearing.join()
        for socket in (self.told, self.tcp, self.http, self.control, self.other):
            socket.close()


@pytest.fixture(params=["0", "1"])
def manager(tmp_path, request):
    """With relayd in one process, and with a worker."""
    manager = Manager(tmp_path, "--workers", request.param)
    yield manager
    manager.daemon.end()
    manager.close()
    assert "Traceback" not in manager.daemon.log.read_text()


def test_serves_what_it_is_handed(manager, tmp_path):
    """At the manager's sockets and nowhere else; they are there when it has ended."""
    daemon = manager.daemon
    manager.hears("^READY=1\nSTATUS=0 rooms, 0 connections\n$")
    addresses = [f"http://127.0.0.1:{manager.tcp.getsockname()[1]}", f"unix:{tmp_path}/http.sock"]
    assert daemon.json("status")["addresses"] == addresses
    room = daemon.json("create", "room")
    with daemon.join(room) as ann:
        ann.send("message", id="1", body="hello")
        ann.until("message")
    log = daemon.log.read_text()
    assert "listen has no effect: systemd holds the sockets, " in log
    assert "systemd hands in other, and there is no use for it" in log
    assert daemon.end() == 0
    manager.hears("^STOPPING=1\n")
    assert (tmp_path / "http.sock").exists()
    assert daemon.socket.exists()
    with sockets.create_connection(manager.tcp.getsockname()):  # waits for whoever comes next
        pass


def test_tells_of_settings_and_of_its_life(manager):
    """A reload has a beginning and an end, also one that fails; the watchdog hears from it again and again."""
    daemon = manager.daemon
    daemon.config.write_text("[rooms]\nmax = 7\n")
    daemon.ctl("reload")
    manager.hears(r"^RELOADING=1\nMONOTONIC_USEC=\d+\n$")
    manager.hears("^READY=1\n$")
    daemon.config.write_text("[rooms]\nmax = -7\n")
    daemon.ctl("reload", code=1)
    manager.hears("^RELOADING=1\n")
    manager.hears("^READY=1\n$")
    for _ in range(3):
        manager.hears(
            "^WATCHDOG=1\nSTATUS=0 rooms, 0 connections; invalid settings, earlier ones hold: .*rooms.max.*\n$"
        )
    daemon.config.write_text("[rooms]\nmax = 7\n")
    daemon.ctl("reload")
    manager.hears("^WATCHDOG=1\nSTATUS=0 rooms, 0 connections\n$")


def test_lines_for_the_journal(tmp_path):
    """With the number by which it knows how bad each is, and without a time, which it has itself."""
    log = tmp_path / "log"
    log.touch()
    place = f"{log.stat().st_dev}:{log.stat().st_ino}"
    daemon = Daemon(tmp_path, environment={"JOURNAL_STREAM": place})
    daemon.config.write_text("[rooms]\nmax = -7\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_log("\n<3>relayd not reloaded, the old settings stay: ")
    assert daemon.end() == 0
    lines = log.read_text().splitlines()
    assert f"<6>relayd listening on {daemon.base}" in lines
    assert [line for line in lines if not re.match(r"<[36]>relayd\S* ", line)] == []


def test_what_does_not_listen(tmp_path):
    """Is refused with a line that says what it is."""
    ours, theirs = sockets.socketpair()
    with pytest.raises(CannotListen, match=r"descriptor \d+, handed in by systemd, does not listen; is Accept=yes"):
        listening(ours.detach())
    theirs.close()
    reading, writing = os.pipe()
    with pytest.raises(CannotListen, match=r"descriptor \d+, handed in by systemd, is no socket: "):
        listening(reading)
    os.close(reading)
    os.close(writing)


def test_files_of_sockets(tmp_path):
    """Its own is removed with it, somebody else's stays."""
    path = tmp_path / "http.sock"
    Listeners.bind("listen", [f"unix:{path}"]).close()
    assert not path.exists()
    with sockets.socket(sockets.AF_UNIX) as held:
        held.bind(str(path))
        held.listen()
        Listeners.take([os.dup(held.fileno())]).close()
    assert path.exists()


def test_no_permission(tmp_path):
    """Names the place, and what it is for."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    place = f"unix:{tmp_path}/http.sock"
    os.seteuid(65_534)
    try:
        with pytest.raises(CannotListen, match=f"listen: {place}: Permission denied"):
            Listeners.bind("listen", [place])
    finally:
        os.seteuid(0)
