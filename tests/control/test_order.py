"""Against abuse: limits and refusals, blocked addresses, handles, many rooms closed, no new rooms, a report."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import socket as sockets
import subprocess
import tarfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import websockets
from websockets.sync.client import connect

from relayd.settings import Limits, setting_paths
from tests.control.conftest import BIN, Person, clean_environment

# Clients say where they come from, as a proxy on this machine would.
PROXIED = 'trusted_proxies = ["127.0.0.1"]\n'
ANN, BOB, EVE = "192.0.2.1", "192.0.2.2", "2001:db8:1:2::7"


@pytest.fixture(params=["0", "2"], ids=["in one process", "with workers"])
def proxied(make_daemon, request):
    """A daemon whose clients have addresses of their own."""
    daemon = make_daemon("--workers", request.param)
    daemon.config.write_text(PROXIED)
    daemon.ctl("reload")
    wait_until(lambda: seen_from(daemon, ANN) == ANN)
    return daemon


def seen_from(daemon, address):
    """The address that every worker takes for the client's."""
    token = json.loads(subprocess.run(
        ["curl", "-s", "--unix-socket", daemon.socket, "-X", "POST", "http://relayd/v1/probe"],
        capture_output=True, text=True, check=True,
    ).stdout)["token"]  # fmt: skip
    found = set()
    for _ in range(8):
        request = urllib.request.Request(f"{daemon.base}/healthz", headers={"Authorization": f"Bearer {token}"})
        request.add_header("X-Forwarded-For", address)
        with urllib.request.urlopen(request, timeout=20) as answer:
            found.add(json.loads(answer.read()).get("seen", {}).get("address"))
    return found.pop() if len(found) == 1 else None


def ask(daemon, address, path="/", body=None):
    """Status and body of an answer to somebody."""
    request = urllib.request.Request(daemon.base + path, data=body, headers={"X-Forwarded-For": address})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def create(daemon, address, name):
    status, body = ask(daemon, address, "/api/v1/room", f"name={name}".encode())
    assert status == 201, body
    return json.loads(body)


@contextlib.contextmanager
def joined(daemon, room, address, nick="ann"):
    url = f"{daemon.base.replace('http', 'ws')}/{room['id']}"
    with connect(url, compression=None, additional_headers={"X-Forwarded-For": address}) as socket:
        person = Person(socket)
        person.send("join", key=room["invite_key"], profile={"nick": nick})
        person.joined = person.until("joined")
        yield person


def wait_until(holds, timeout=30):
    until = time.monotonic() + timeout
    while not (found := holds()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def refused(daemon):
    """By what was asked and reason."""
    return {(one["refused"], one["reason"]): one["count"] for one in daemon.json("limits")["refused"]}


def row(daemon, **having):
    return next((one for one in daemon.json("limits")["addresses"] if having.items() <= one.items()), None)


# Handles. -----------------------------------------------------------------------------------------------------------


def test_one_handle_everywhere(proxied):
    """Of a room's creator, a user, a refusal in the log, a ban; and no address anywhere."""
    room = create(proxied, ANN, "tea")
    with joined(proxied, room, ANN), joined(proxied, room, "2001:db8:1:2::9", "eve") as eve:
        (made,) = proxied.json("list", "rooms")
        users = {one["profile"]["nick"]: one["address"] for one in proxied.json("list", "users", "tea")}
        handle = made["created_by"]
        assert re.fullmatch("a_[0-9a-f]{12}", handle)
        assert users["ann"] == handle != users["eve"]
        assert proxied.json("get", "room", "tea")["created_by"] == handle
        assert ask(proxied, ANN, "/nowhere")[0] == 404
        assert ask(proxied, EVE, "/nowhere")[0] == 404
        log = proxied.wait_for_log(f"refused=request reason=not_found from={handle} count=")
        proxied.wait_for_log(f"refused=request reason=not_found from={users['eve']} count=")  # the same /64
        found = row(proxied, address=handle)
        assert (found["rooms"], found["users"], found["connections"], found["refused"]) == (1, 1, 1, 1)
        proxied.ctl("kick", "tea", eve.id, "-ban")
        bans = proxied.json("list", "bans", "tea")["bans"]
        assert {"kind": "address", "who": users["eve"]} in bans
        assert {"kind": "session", "who": ""} in bans
        shown = proxied.ctl("limits").stdout + proxied.ctl("list", "bans", "tea").stdout + log
        assert handle in shown
        for address in (ANN, EVE, "2001:db8"):
            assert address not in shown


def test_addresses_where_they_are_wanted(proxied):
    """With log_addresses the same places show them, and both they and handles can be given."""
    proxied.config.write_text(PROXIED + "log_addresses = true\n")
    proxied.ctl("reload")
    room = create(proxied, ANN, "tea")
    with joined(proxied, room, BOB):
        assert proxied.json("get", "room", "tea")["created_by"] == ANN
        wait_until(lambda: row(proxied, address=BOB, users=1))
        wait_until(lambda: ask(proxied, BOB, "/nowhere") and f"address={BOB} count=" in proxied.log.read_text())
        assert len(proxied.json("list", "rooms", "-created-by", ANN)) == 1
        assert proxied.json("list", "rooms", "-created-by", BOB) == []


def test_rooms_by_creator(proxied):
    """By handle, address, IPv6 /64 and /48, and those of admins; anything else is refused."""
    for address, name in ((ANN, "one"), (EVE, "two"), ("2001:db8:1:3::1", "three")):
        create(proxied, address, name)
    proxied.ctl("create", "room", "four")

    def names(who):
        return [one["name"] for one in proxied.json("list", "rooms", "-created-by", who)]

    assert names(ANN) == names(f"::ffff:{ANN}") == ["one"]
    assert names(proxied.json("get", "room", "two")["created_by"]) == ["two"]
    assert names("2001:db8:1:2::") == names("2001:db8:1:2::/64") == ["two"]
    assert names("2001:db8:1::/48") == ["two", "three"]
    assert names("admin") == ["four"]
    for wrong in ("nobody", "192.0.2.0/24", "a_12", "2001:db8::/32"):
        assert "created_by" in proxied.wrong("list", "rooms", "-created-by", wrong, code=1)


# Blocks. ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["address", "network", "handle"])
def test_block(proxied, how):
    """Chats are closed with 4019, requests and handshakes get 403; others notice nothing, and it ends."""
    room = create(proxied, ANN, "tea")
    with joined(proxied, room, EVE, "eve") as eve, joined(proxied, room, BOB, "bob") as bob:
        handle = next(one["address"] for one in proxied.json("list", "users", "tea") if one["profile"]["nick"] == "eve")
        target = {"address": EVE, "network": "2001:db8:1::/48", "handle": handle}[how]
        blocked = proxied.json("block", target, "-for", "1h")
        assert eve.closed() == 4019
        assert eve.socket.protocol.close_reason == "blocked"
        status, body = ask(proxied, "2001:db8:1:2::ffff", "/")
        assert (status, json.loads(body)["code"]) == (403, "blocked")
        assert ask(proxied, EVE, "/api/v1/room", b"name=more")[0] == 403
        with pytest.raises(websockets.InvalidStatus) as refusal, joined(proxied, room, EVE):
            pass
        assert refusal.value.response.status_code == 403
        assert ask(proxied, BOB)[0] == 200
        bob.send("message", id="1", body="still here")
        bob.until("message", id="1")
        assert [one["target"] for one in proxied.json("list", "blocks")] == [blocked["target"]]
        assert blocked["target"] in proxied.ctl("list", "blocks").stdout
        assert proxied.json("status")["blocks"] == 1
        assert "Blocked" in proxied.ctl("status").stdout
        wait_until(lambda: refused(proxied).get(("handshake", "blocked"), 0) >= 1)
        proxied.ctl("unblock", target)
        wait_until(lambda: ask(proxied, EVE)[0] == 200)
        with joined(proxied, room, EVE):
            pass
        assert proxied.ctl("list", "blocks").stderr == "Nothing is blocked.\n"


def test_block_of_a_peer(own_daemon):
    """Of one that comes by itself: at its connection. The control socket works on."""
    own_daemon.ctl("block", "127.0.0.1")
    wait_until(lambda: refuses(own_daemon))
    with sockets.create_connection(("127.0.0.1", int(own_daemon.base.rpartition(":")[2]))) as silent:
        silent.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        silent.settimeout(20)
        answer = silent.recv(4096)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 403 ")
    wait_until(lambda: refused(own_daemon).get(("connection", "blocked")))
    own_daemon.ctl("create", "room", "tea")
    own_daemon.ctl("unblock", "127.0.0.1")
    wait_until(lambda: not refuses(own_daemon))


def refuses(daemon):
    try:
        return ask(daemon, ANN)[0] == 403
    except OSError:  # closed before it was asked
        return True


def test_block_ends_by_itself(own_daemon):
    own_daemon.ctl("block", "127.0.0.1", "-for", "1s")
    wait_until(lambda: not own_daemon.json("list", "blocks"))
    wait_until(lambda: not refuses(own_daemon))


def test_no_blocks(proxied):
    """What is none, too wide, a proxy, or not blocked: one line that says so."""
    for target in ("0.0.0.0/0", "banana", "192.0.2.1/24", "::/0"):
        assert "target: " in proxied.wrong("block", target, code=1)
    assert "trusted proxy" in proxied.wrong("block", "127.0.0.1", code=1)
    assert "is not blocked" in proxied.wrong("unblock", ANN, code=1)
    assert "no time" in proxied.wrong("block", ANN, "-for", "ever", code=2)
    assert proxied.json("list", "blocks") == []


def test_a_new_worker_knows_blocks(make_daemon):
    """kill -9 of the only worker: the next one refuses, too."""
    daemon = make_daemon("--workers", "1")
    daemon.config.write_text(PROXIED)
    daemon.ctl("reload")
    daemon.ctl("block", ANN)
    wait_until(lambda: ask(daemon, ANN)[0] == 403)
    pid = daemon.process.pid
    (worker,) = worker_pids(pid)
    os.kill(worker, 9)
    wait_until(lambda: worker_pids(pid) not in ([], [worker]))
    wait_until(lambda: _status(daemon, BOB) == 200)
    assert _status(daemon, ANN) == 403


def _status(daemon, address):
    try:
        return ask(daemon, address)[0]
    except OSError:
        return 0


def worker_pids(pid):
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# Refusals. ----------------------------------------------------------------------------------------------------------


def test_everything_refused_is_counted(make_daemon):
    """Heads, handshakes, requests, rooms, joins and frames, each by reason, in `limits` and in the metrics."""
    daemon = make_daemon("--workers", "1")
    daemon.config.write_text("[limits]\nmessage_rate = 1\ncreate_rate = 1\n")
    daemon.ctl("reload")
    room = daemon.json("create", "room", "tea")
    port = int(daemon.base.rpartition(":")[2])
    with sockets.create_connection(("127.0.0.1", port)) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 10_000 + b"\r\n\r\n")
        raw.settimeout(20)
        while raw.recv(4096):
            pass
    with pytest.raises(websockets.InvalidStatus):
        connect(f"ws://127.0.0.1:{port}/{room['id']}", origin="https://elsewhere.example")
    wait_until(lambda: ask(daemon, ANN, "/api/v1/room", b"max=1")[0] == 429)
    with daemon.join(room) as ann:
        for number in range(20):
            ann.send("message", id=str(number), body="x")
        ann.until("error", code="rate_limited")
    with connect(f"ws://127.0.0.1:{port}/{room['id']}") as socket:
        stranger = Person(socket)
        stranger.send("join", key="ri_AAAAAAAAAAAAAAAAAAAAAA", profile={})
        assert stranger.closed() == 4004
    with connect(f"ws://127.0.0.1:{port}/{room['id']}") as socket:
        stranger = Person(socket)
        stranger.send("message", id="1", body="first")
        assert stranger.closed() == 4000
    wanted = {
        ("head", "head_too_large"),
        ("handshake", "wrong_origin"),
        ("room", "rate_limited"),
        ("frame", "rate_limited"),
        ("join", "no_such_room"),
        ("join", "protocol_error"),
    }
    wait_until(lambda: wanted <= refused(daemon).keys())
    metrics = subprocess.run(
        ["curl", "-s", "--unix-socket", daemon.socket, "http://relayd/v1/metrics"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for what, reason in wanted:
        assert re.search(rf'relayd_refused_total{{reason="{reason}",refused="{what}"}} [1-9]', metrics), (what, reason)


def test_limits(proxied):
    """Each limit that there is, what is used of it and by whom, in 80 columns."""
    room = create(proxied, ANN, "tea")
    with joined(proxied, room, BOB), joined(proxied, room, BOB, "bob"):
        wait_until(lambda: row(proxied, connections=2))
        found = {one["limit"]: one for one in proxied.json("limits")["limits"]}
        assert found.keys() == {f"limits.{path}" for path, _ in setting_paths(Limits)} - {"limits.message_rate"}
        assert (found["limits.max_rooms"]["value"], found["limits.max_rooms"]["used"]) == (50_000, 1)
        assert found["limits.max_places"]["used"] == 50
        assert found["limits.max_connections_per_address"]["used"] == 2
        assert found["limits.address_share"]["by"] == room_creator(proxied)
        text = proxied.ctl("limits").stdout
        assert max(map(len, text.splitlines())) <= 80
        for heading in ("LIMIT", "REFUSED", "ADDRESS"):
            assert heading in text


def room_creator(daemon):
    return daemon.json("list", "rooms")[0]["created_by"]


# Rooms. -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def rooms(own_daemon):
    """Six rooms, three of which are spam."""
    for name in ("spam1", "Spam2", "spam-3", "tea", "notspam", "late spam"):
        own_daemon.ctl("create", "room", name)
    return own_daemon


def names(daemon):
    return sorted(one["name"] for one in daemon.json("list", "rooms"))


def test_close_rooms(rooms):
    """Those with the whole name; first on trial, which changes nothing."""
    tried = rooms.ctl("close", "rooms", "-match", "spam*", "--dry-run").stdout
    assert "Would close 3 rooms with 0 users." in tried
    assert len(names(rooms)) == 6
    assert len(rooms.json("close", "rooms", "-match", "spam*", "--dry-run")["would_close"]) == 3
    done = rooms.ctl("close", "rooms", "-match", "spam*", "-yes").stdout
    assert "Closed 3 rooms with 0 users." in done
    assert names(rooms) == ["late spam", "notspam", "tea"]
    assert "There are no such rooms." in rooms.ctl("close", "rooms", "-match", "spam*", "-yes").stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["-yes"], 2),
        (["-match", ""], 2),
        (["-match", "*", "-yes"], 2),
        (["-match", "**?*", "-yes"], 2),
        (["-match", "*", "-yes", "-all"], 2),
        (["-match", "spam*"], 2),  # nobody to ask
        (["-match", "*a*", "-yes"], 1),  # fits every room
        (["-created-by", "admin", "-yes"], 1),
        (["-created-by", "", "-yes"], 2),
    ],
)
def test_close_no_rooms_by_mistake(rooms, arguments, code):
    """Neither without saying which, nor all of them, nor unasked."""
    rooms.ctl("close", "rooms", *arguments, code=code)
    assert len(names(rooms)) == 6


def test_close_all_rooms_on_purpose(rooms):
    rooms.ctl("close", "rooms", "-created-by", "admin", "-all", "-yes")
    assert names(rooms) == []


@pytest.mark.parametrize(("answer", "left"), [("n", 6), ("", 6), ("y", 3)])
def test_close_rooms_asks(rooms, answer, left):
    """A person at a terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [BIN / "relayctl", "--socket", rooms.socket, "close", "rooms", "-match", "spam*"],
        stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment(),
    )  # fmt: skip
    os.write(master, f"{answer}\n".encode())
    _, said = process.communicate(timeout=30)
    os.close(master)
    os.close(slave)
    assert "End 3 rooms with 0 users?" in said
    assert len(names(rooms)) == left


# No new rooms. ------------------------------------------------------------------------------------------------------


def test_freeze(proxied):
    """503 for strangers, not for admins; chats work on; status, limits and doctor show it."""
    room = create(proxied, ANN, "tea")
    with joined(proxied, room, ANN):
        proxied.ctl("freeze")
        status, body = ask(proxied, BOB, "/api/v1/room", b"name=more")
        assert (status, json.loads(body)["code"]) == (503, "rooms_frozen")
        with joined(proxied, room, BOB):
            pass
        proxied.ctl("create", "room", "mine")
        assert proxied.json("status")["frozen"] is True
        assert "unfreeze" in proxied.ctl("status").stdout
        assert proxied.json("limits")["frozen"] is True
        found = [one for one in json.loads(doctor(proxied)) if one["check"] == "rooms"]
        assert [one["state"] for one in found] == ["warning"]
        since = proxied.json("freeze")["since"]
        assert proxied.json("freeze")["since"] == since
        wait_until(lambda: refused(proxied).get(("room", "rooms_frozen")))
        proxied.ctl("unfreeze")
        create(proxied, BOB, "more")
        assert proxied.json("status")["frozen"] is False


def doctor(daemon):
    command = [BIN / "relayctl", "--socket", daemon.socket, "-o", "json", "doctor"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=clean_environment()).stdout


# A report. ----------------------------------------------------------------------------------------------------------


def test_report(make_daemon, tmp_path):
    """All that helps, and nothing that is somebody's: names, keys, addresses, hosts, messages, paths."""
    daemon = make_daemon()
    digest = "ab" * 32
    daemon.config.write_text(
        PROXIED
        + 'public_url = "https://canary-public.example"\nallowed_hosts = ["canary-host.example"]\n'
        + 'allowed_origins = ["https://canary-origin.example"]\nlog_addresses = true\n'
        + f'[rooms]\ncreate_keys = ["{digest}"]\nreserved_names = ["canary-reserved"]\nmax = 77\n'
    )
    daemon.ctl("reload")
    room = create_as(daemon, "192.0.2.77", "canary-room")
    with joined(daemon, room, "2001:db8:77::1", "canary-nick") as ann:
        ann.send("message", id="1", body="canary-body")
        ann.until("message", id="1")
        daemon.ctl("block", "198.51.100.66")
        file = tmp_path / "report.tar.gz"
        assert daemon.json("report", "-file", file)["file"] == str(file)
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as archive:
        found = {one.name.rpartition("/")[2]: archive.extractfile(one).read().decode() for one in archive.getmembers()}
    assert found.keys() == {"about.json", "status.json", "settings.json", "limits.json", "metrics.txt", "doctor.txt"}
    text = "".join(found.values())
    secrets = ["canary", digest, "192.0.2.77", "2001:db8", "198.51.100", "127.0.0.1", room["id"], room["owner_key"]]
    for secret in (*secrets, room["invite_key"], str(daemon.directory), sockets.gethostname()):
        assert secret not in text, secret
    assert not re.search("a_[0-9a-f]{12}", text)
    assert json.loads(found["settings.json"])["rooms"]["max"] == 77
    assert json.loads(found["settings.json"])["log_level"] == "info"
    assert json.loads(found["status.json"])["rooms"] == 1
    assert json.loads(found["about.json"])["relayctl"]
    assert "relayd_refused_total" in found["metrics.txt"]
    assert "accept queue" in found["doctor.txt"]
    assert "File exists" in daemon.wrong("report", "-file", file, code=1)


def create_as(daemon, address, name):
    return wait_until(lambda: create(daemon, address, name))


def test_many_refusals_are_few_lines(proxied):
    """A thousand in a moment, from several threads: two lines for each reason at most."""

    def hammer():
        for _ in range(100):
            ask(proxied, BOB, "/nowhere")

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: refused(proxied).get(("request", "not_found")) == 400)
    lines = [line for line in proxied.log.read_text().splitlines() if "reason=not_found" in line]
    assert 1 <= len(lines) <= 2
