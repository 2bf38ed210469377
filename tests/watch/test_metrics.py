"""What Prometheus is told by a daemon of two workers."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket as sockets
import subprocess
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.control.conftest import BIN, Person, clean_environment
from tests.perf.lockstep import HANDSHAKE, frame
from tests.watch.conftest import ROOT, Watched

WORKER = frozenset({("worker", "0")})
BODY = {"kind": "text", "text": "x" * 100}


@pytest.fixture(scope="module")
def busy(watched):
    """Something of everything has happened: who was there, and in which room."""
    room = watched.json("create", "room", "anns den", "-max", "2")
    address = f"{watched.base.replace('http', 'ws')}/{room['id']}"
    with watched.join(room) as ann, watched.join(room, "bob") as bob:
        for number in range(3):
            ann.send("message", id=f"{number}", body=BODY)
        seq = bob.until("message", id="2")["seq"]
        ann.send("kick", id="none", user="u_0000000000000000")
        assert ann.until("error")["code"] == "owner_only"
        for key in (room["invite_key"], "ri_AAAAAAAAAAAAAAAAAAAAAA"):
            with connect(address, compression=None) as socket:
                refused = Person(socket)
                refused.send("join", key=key, profile={"nick": "carol"})
                assert refused.closed() in (4009, 4004)
        for epoch in (bob.joined["epoch"], "an older one"):
            with connect(address, compression=None) as socket:
                Person(socket).send(
                    "join", session=bob.joined["you"]["session"], since={"epoch": epoch, "seq": seq - 1}
                )
                Person(socket).until("joined")
        with connect(address, compression=None) as socket:
            Person(socket).send("ping")
            assert Person(socket).closed() == 4000
        with pytest.raises(InvalidStatus):
            connect(address, origin="https://evil.example", compression=None)
        watched.wait(lambda: watched.value("relayd_deliveries_total") >= 6)
        yield watched, room, [ann, bob]


def test_counts_of_the_rooms(busy):
    """The hub's own counts are exact at every moment."""
    watched, _, _ = busy
    samples = {name: value for (name, labels), value in watched.samples().items() if not labels}
    assert samples["relayd_rooms"] == samples["relayd_rooms_created_total"] == 1
    assert samples["relayd_users"] == samples["relayd_connections"] == samples["relayd_places"] == 2
    assert samples["relayd_joins_total"] == 4
    assert samples["relayd_messages_total"] == 3
    assert 300 < samples["relayd_payload_bytes_total"] < 600
    assert 300 < samples["relayd_ring_bytes"] < 1500
    assert samples["relayd_draining"] == samples["relayd_bus_kept_back"] == samples["relayd_slow_readers"] == 0
    assert samples["relayd_workers"] == samples["relayd_workers_wanted"] == 2
    assert 0 <= samples["relayd_loop_lag_seconds"] < 30


def test_reasons(busy):
    """Who was turned away, and why; who came back, and how it went."""
    watched, _, _ = busy
    assert watched.value("relayd_joins_refused_total", reason="room_full") == 1
    assert watched.value("relayd_joins_refused_total", reason="no_such_room") == 1
    assert watched.value("relayd_joins_refused_total", reason="protocol_error") == 1
    assert watched.value("relayd_joins_refused_total", reason="locked") == 0
    assert watched.value("relayd_resumes_total", outcome="recovered") == 1
    assert watched.value("relayd_resumes_total", outcome="unknown") == 1
    assert watched.value("relayd_frames_refused_total", reason="owner_only") == 1
    assert watched.value("relayd_handshakes_refused_total", reason="wrong_origin") == 1


def test_workers_add_up(busy):
    """What workers count by themselves is there for each and in sum, and is what happened."""
    watched, _, _ = busy
    for name in ("deliveries", "delivered_bytes", "websockets_opened", "slow_consumers_closed"):
        assert watched.sum(f"relayd_worker_{name}_total") == watched.value(f"relayd_{name}_total"), name
    # Two heard three messages; what bob missed the second time came with `joined`, not by the fan-out.
    assert watched.value("relayd_deliveries_total") == 6
    assert 6 * 200 < watched.value("relayd_delivered_bytes_total") < 6 * 400
    assert watched.value("relayd_websockets_opened_total") == 7
    assert watched.sum("relayd_worker_connections") == 2
    samples = watched.samples()
    for worker in "01":
        assert samples["relayd_worker_resident_memory_bytes", frozenset({("worker", worker)})] > 2**20
        assert samples["relayd_worker_cpu_seconds_total", frozenset({("worker", worker)})] > 0
        assert 0 <= samples["relayd_worker_bus_lag_seconds", frozenset({("worker", worker)})] < 30


def test_fanout_latency(busy):
    """A histogram of each worker and of all: as many as there were turns with messages, in the time they took."""
    watched, _, _ = busy
    samples = watched.samples()
    buckets = [value for (name, _), value in samples.items() if name == "relayd_fanout_seconds_bucket"]
    assert buckets == sorted(buckets)
    count = samples["relayd_fanout_seconds_count", frozenset()]
    assert buckets[-1] == count == watched.sum("relayd_worker_fanout_seconds_count")
    assert 1 <= count <= 6  # a turn's messages are one event, heard by one worker or by both
    assert 0 < samples["relayd_fanout_seconds_sum", frozenset()] < 30 * count


def test_of_the_process(busy):
    """What any process exports."""
    watched, _, _ = busy
    assert 10 < watched.value("process_open_fds") < watched.value("process_max_fds")
    assert abs(watched.value("process_start_time_seconds") - watched.log.stat().st_ctime) < 3600
    assert watched.value("process_cpu_seconds_total") > 0
    assert watched.value("process_resident_memory_bytes") > 2**20


def test_nobody_is_named(busy):
    """Labels are workers and reasons: no room, user, nick, key or address."""
    watched, room, people = busy
    _, _, text = watched.ask()
    assert set(re.findall(r'[{,](\w+)="', text)) == {
        *("worker", "refused", "reason", "outcome", "le", "version", "python")
    }
    secrets = [room["id"], room["name"], room["invite_key"], "ann", "bob", "127.0.0.1", *(one.id for one in people)]
    assert [secret for secret in secrets if secret in text] == []


def test_each_has_its_row(busy):
    """docs/admin.md names every metric that is exported, and none that is not."""
    watched, _, _ = busy
    exported = {re.sub(r"_(bucket|count|sum)$", "", name) for name, _ in watched.samples()}
    rows = "".join(re.findall(r"^\| `(?:relayd|process)_.*$", (ROOT / "docs/admin.md").read_text(), re.MULTILINE))
    assert set(re.findall(r"\b(?:relayd|process)_\w+", rows)) == exported


def test_promtool_has_nothing_to_say(busy, promtool):
    watched, _, _ = busy
    _, content_type, text = watched.ask()
    assert content_type.startswith("text/plain; version=0.0.4")
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_openmetrics(watched):
    """Prometheus asks for it first."""
    status, content_type, text = watched.ask(Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert status == 200
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


def test_nothing_else_is_there(watched):
    """The metrics' listener has one address, and clients have none that leads to it."""
    assert watched.ask("HEAD")[0] == 200
    assert watched.ask("POST")[0] == 405
    assert watched.ask(path="/api/v1/room")[0] == watched.ask(path="/v1/status")[0] == 404
    with sockets.create_connection(("127.0.0.1", int(watched.base.rpartition(":")[2])), timeout=30) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert client.makefile("rb").readline().startswith(b"HTTP/1.1 404")


def test_slow_readers(tmp_path):
    """One who does not read is behind, then cut off; what waits for such people is a queue like any other."""
    # 2 MB more than the kernel takes for one who does not read: tcp(7), tcp_wmem. The limit is a little above that.
    more = int(Path("/proc/sys/net/ipv4/tcp_wmem").read_text().split()[2]) // 60_000 + 35
    limit = more * 61_000
    watched = Watched(tmp_path, settings=f"limits.message_rate = 0\nlimits.max_outbox = {limit}\n")

    def say(ann, *numbers):
        for number in numbers:
            ann.send("message", id=f"{number}", body="x" * 60_000)
            ann.until("message", id=f"{number}")

    try:
        room = watched.json("create", "room")
        with watched.join(room) as ann, sleeper(watched, room):
            say(ann, *range(more))
            watched.wait(lambda: watched.value("relayd_slow_readers") == 1)
            assert watched.value("relayd_worker_slow_readers", worker="0") == 1
            assert 65_536 < watched.value("relayd_waiting_bytes") <= limit
            say(ann, *range(more, 2 * more + 35))
            watched.wait(lambda: watched.value("relayd_slow_consumers_closed_total") == 1)
            watched.wait(lambda: watched.value("relayd_slow_readers") == 0)
    finally:
        assert watched.end() == 0


@contextlib.contextmanager
def sleeper(watched, room):
    """Somebody who joins and reads nothing more."""
    with sockets.socket() as narrow:
        narrow.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        narrow.settimeout(30)
        narrow.connect(("127.0.0.1", int(watched.base.rpartition(":")[2])))
        narrow.sendall(HANDSHAKE.format(room=room["id"]).encode())
        narrow.sendall(frame(type="join", key=room["invite_key"], profile={"nick": "sleeper"}))
        heard = b""
        while b'"joined"' not in heard:
            heard += narrow.recv(4096)
        yield


def test_sums_outlive_a_worker(tmp_path):
    """Whoever takes its place has its number and begins at 0; what it had counted stays in the sum, at any moment."""
    watched = Watched(tmp_path, "--workers", "1")
    of_worker = ("relayd_worker_deliveries_total", WORKER)

    def replaced():
        samples = watched.samples()
        assert samples["relayd_deliveries_total", frozenset()] == 1
        return samples.get(of_worker) == 0

    try:
        room = watched.json("create", "room")
        with watched.join(room) as ann:
            ann.send("message", id="1", body=BODY)
            watched.wait(lambda: watched.value("relayd_deliveries_total") == 1)
            children = Path(f"/proc/{watched.process.pid}/task/{watched.process.pid}/children").read_text().split()
            os.kill(int(children[0]), signal.SIGKILL)
        watched.wait(replaced)
        assert watched.value("relayd_fanout_seconds_count") == 1
    finally:
        assert watched.end() == 0


@pytest.mark.parametrize(
    "place", ["0.0.0.0:9180", "[::]:9180", "192.0.2.1:9180", "chat.example.org:9180", "9180", "unix:m"]
)
def test_nobody_else_may_reach_it(place):
    """What could be reached from another machine is refused, and what is no place."""
    done = _relayd("--check-config", RELAYD_METRICS=place)
    assert done.returncode == 78
    assert re.fullmatch(rf"relayd: environment: metrics: '{re.escape(place)}':? .*\n", done.stderr), done.stderr


@pytest.mark.parametrize("place", ["127.0.0.1:9180", "127.1.2.3:0", "[::1]:9180", "localhost:9180", "unix:/run/m.sock"])
def test_this_machine_may(place):
    assert _relayd("--check-config", RELAYD_METRICS=place).returncode == 0


def test_a_port_in_use(tmp_path):
    """One line that says which, and the control socket is gone again."""
    with sockets.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        control = tmp_path / "control.sock"
        done = _relayd("--listen", "127.0.0.1:0", "--control", control, RELAYD_METRICS=place)
    assert done.returncode == 1
    assert done.stderr == f"relayd: metrics: {place}: Address already in use\n"
    assert not control.exists()


def _relayd(*arguments, **environment):
    return subprocess.run(
        [BIN / "relayd", *arguments], env=clean_environment(**environment), capture_output=True, text=True, check=False
    )


def test_files(watched, tmp_path):
    """Bytes as they come and as they go, and what the receiver said in the end."""
    (tmp_path / "got").mkdir()
    (tmp_path / "file").write_bytes(os.urandom(100_000))
    environment = clean_environment(RELAY_SERVER=watched.base, XDG_STATE_HOME=str(tmp_path))
    command = {"env": environment, "text": True, "stdout": subprocess.PIPE}
    link = subprocess.run([BIN / "relay", "new"], check=True, **command).stdout.split()[0]
    before = watched.samples()
    receive = [BIN / "relay", "receive", link, "--files", tmp_path / "got", "--count", "1"]
    with subprocess.Popen(receive, stderr=subprocess.PIPE, **command) as receiving:
        try:
            assert "listening" in receiving.stderr.readline()  # whoever comes after an offer hears nothing of it
            subprocess.run([BIN / "relay", "send", link, "-f", tmp_path / "file"], check=True, **command)
            receiving.communicate(timeout=30)
            assert receiving.returncode == 0
        finally:
            receiving.kill()
    nothing = frozenset()
    received = ("relayd_files_total", frozenset({("outcome", "received")}))
    assert watched.samples()[received] == before[received] + 1
    # Sealed: each chunk has some bytes more.
    grown = watched.value("relayd_file_bytes_total") - before["relayd_file_bytes_total", nothing]
    assert 100_000 < grown < 101_000
    delivered = before["relayd_file_delivered_bytes_total", nothing] + grown
    watched.wait(lambda: watched.value("relayd_file_delivered_bytes_total") == delivered)
    assert watched.sum("relayd_worker_file_delivered_bytes_total") == delivered
    assert watched.value("relayd_payload_bytes_total") > before["relayd_payload_bytes_total", nothing] + grown


def test_an_upgrade(tmp_path):
    """The next process answers at the same place, counts from 0, and sees the people who stayed."""
    watched = Watched(tmp_path, "--workers", "1")
    try:
        room = watched.json("create", "room")
        with watched.join(room) as ann:
            ann.send("message", id="1", body=BODY)
            watched.wait(lambda: watched.value("relayd_deliveries_total") == 1)
            started_at = watched.value("process_start_time_seconds")
            watched.ctl("upgrade")
            watched.wait(lambda: watched.value("process_start_time_seconds") > started_at)
            watched.wait(lambda: watched.sum("relayd_worker_connections") == watched.value("relayd_workers") == 1)
            assert watched.value("relayd_connections") == 1
            ann.send("message", id="2", body=BODY)
            watched.wait(lambda: watched.value("relayd_deliveries_total") == 1)
    finally:
        watched.ctl("stop")
        assert watched.process.wait(30) == 0
