"""What a daemon does that has not enough of what the system gives: descriptors, processes."""

import contextlib
import os
import resource
import signal
import socket as sockets
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.control.conftest import Daemon

LIMIT = 256  # descriptors; a quarter is kept back
CLIENTS = 400


def few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))


@contextlib.contextmanager
def daemon(tmp_path, *arguments, **kwargs):
    one = Daemon(tmp_path, *arguments, **kwargs)
    try:
        yield one
    finally:
        assert one.end() == 0
        assert "Traceback" not in one.log.read_text()


class Client:
    """A connection that asks whether the server lives, and keeps the connection."""

    def __init__(self, base):
        place = urlsplit(base)
        self.socket = sockets.create_connection((place.hostname, place.port))
        self.socket.setblocking(False)
        self.socket.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.answered = False

    def look(self):
        if not self.answered:
            with contextlib.suppress(BlockingIOError):
                self.answered = self.socket.recv(65_536).startswith(b"HTTP/1.1 200 ")
        return self.answered


def until_still(clients):
    """How many are answered, once it stays so for two seconds."""
    count, since = -1, time.monotonic()
    until = since + 60
    while time.monotonic() - since < 2:
        now = sum(client.look() for client in clients)
        if now != count:
            count, since = now, time.monotonic()
        assert time.monotonic() < until
        time.sleep(0.05)
    return count


def processor_s(pid):
    """Processor time that a process and its children have taken."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    taken = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:13] for one in (pid, *children)]
    return sum(int(user) + int(system) for user, system in taken) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("workers", [0, 1])
def test_newcomers_wait_when_descriptors_run_out(tmp_path, workers):
    """Those inside are served, an admin gets in, the log has a line a process; when some leave, others are let in."""
    with daemon(tmp_path, "--workers", str(workers), preexec_fn=few_descriptors) as relayd:
        clients = [Client(relayd.base) for _ in range(CLIENTS)]
        inside = until_still(clients)
        assert LIMIT / 2 < inside < LIMIT
        before = processor_s(relayd.process.pid)
        room = relayd.json("create", "room")
        time.sleep(1)
        assert processor_s(relayd.process.pid) - before < 0.8
        assert relayd.log.read_text().count("newcomers wait") in range(1, 2 + workers)
        for client in [client for client in clients if client.answered][: inside // 2]:
            client.socket.close()
            clients.remove(client)
        deadline = time.monotonic() + 60
        while sum(client.look() for client in clients) < inside - 10:  # as many as before, or nearly
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert relayd.log.read_text().count("newcomers wait") in range(1, 2 + workers)
        for client in clients:
            client.socket.close()
        with relayd.join(room) as ann:
            ann.send("ping")
            ann.until("pong")


def test_a_worker_that_cannot_be_started(tmp_path):
    """It is tried again, and the daemon goes on meanwhile."""
    python = tmp_path / "python"
    python.symlink_to(Path(sys.executable).resolve())
    packages = [path for path in sys.path if path.endswith("site-packages")]
    program = "import sys; from relayd.cli.relayd import main; sys.argv[0] = 'relayd'; main()"
    environment = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *packages])}
    with daemon(tmp_path, "--workers", "1", program=[python, "-c", program], environment=environment) as relayd:
        python.rename(tmp_path / "away")
        children = Path(f"/proc/{relayd.process.pid}/task/{relayd.process.pid}/children")
        os.kill(int(children.read_text()), signal.SIGKILL)
        relayd.wait_for_log("no worker can be started: No such file or directory")
        assert relayd.json("status")["workers"] == 0
        (tmp_path / "away").rename(python)
        deadline = time.monotonic() + 60
        while relayd.json("status")["workers"] != 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
