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


def very_few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def scraped(path):
    """The status of an answer to Prometheus."""
    with sockets.socket(sockets.AF_UNIX) as prometheus:
        prometheus.settimeout(30)
        prometheus.connect(str(path))
        prometheus.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return prometheus.recv(65_536)[9:12]


@pytest.mark.parametrize("begins", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_admins_get_in_past_a_flood(tmp_path, begins):
    """With 64 descriptors, all that clients can have in use: the control socket and the metrics are served."""
    metrics = tmp_path / "metrics.sock"
    with daemon(tmp_path, environment={"RELAYD_METRICS": f"unix:{metrics}"}, preexec_fn=very_few_descriptors) as relayd:
        place = urlsplit(relayd.base)
        flood = []
        for _ in range(200):
            flood.append(sockets.create_connection((place.hostname, place.port)))
            flood[-1].send(begins)
        relayd.wait_for_log("newcomers wait")
        for _ in range(5):
            assert scraped(metrics) == b"200"
            assert relayd.json("status")["rooms"] == 0
        room = relayd.json("create", "room")
        assert [one["id"] for one in relayd.json("list", "rooms")] == [room["id"]]
        for one in flood:
            one.close()


def test_metrics_do_not_use_up_the_reserve(tmp_path):
    """A program of this machine that opens connections to them without end keeps no admin out."""
    metrics = tmp_path / "metrics.sock"
    with daemon(tmp_path, environment={"RELAYD_METRICS": f"unix:{metrics}"}, preexec_fn=few_descriptors) as relayd:
        flood = [sockets.socket(sockets.AF_UNIX) for _ in range(CLIENTS)]
        for one in flood:
            one.connect(str(metrics))
            one.send(b"GET /metrics HTTP/1.1\r\n")
        clients = [Client(relayd.base) for _ in range(CLIENTS)]
        until_still(clients)
        assert relayd.json("status")["rooms"] == 0
        for one in (*flood, *(client.socket for client in clients)):
            one.close()


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
