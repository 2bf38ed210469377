"""One socket for IPv4 and IPv6, as systemd makes it (`ListenStream=8080`): each address counts for itself."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket as sockets
import subprocess

import pytest
from handed_in import daemon_with
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.control.conftest import BIN, Person


class DualStack:
    """A relayd behind such a socket, asked from one address or another."""

    def __init__(self, directory, settings, workers="0"):
        (directory / "relayd.toml").write_text(settings)
        with contextlib.ExitStack() as stack:
            plain = stack.enter_context(sockets.create_server(("127.0.0.1", 0)))
            both = stack.enter_context(sockets.create_server(("::", 0), family=sockets.AF_INET6, dualstack_ipv6=True))
            self.port = both.getsockname()[1]
            named = [(plain, "http"), (both, "http")]
            self.daemon = daemon_with(directory, named, "--workers", workers, variables={})

    def request(self, method, path, source="127.0.0.1", body=None, to="127.0.0.1", **headers):
        """Status and JSON of an answer; header names with `_` for `-`."""
        connection = http.client.HTTPConnection(to, self.port, timeout=30, source_address=(source, 0))
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): text for name, text in headers.items()}
            connection.request(method, path, body=body, headers=named)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None

    def create(self, source="127.0.0.1", **kwargs):
        return self.request("POST", "/api/v1/room", source, body=b"", **kwargs)

    @contextlib.contextmanager
    def join(self, room, source="127.0.0.1", **headers):
        """A socket that has asked to join from there."""
        # Closed by its transport; by this, too, if there is no handshake.
        with sockets.create_connection(("127.0.0.1", self.port), 30, source_address=(source, 0)) as raw:
            named = {name.replace("_", "-"): text for name, text in headers.items()}
            url = f"ws://127.0.0.1:{self.port}/{room['id']}"
            with connect(url, sock=raw, compression=None, additional_headers=named) as socket:
                person = Person(socket)
                person.send("join", key=room["invite_key"], profile={"nick": "x"})
                yield person

    def ban(self, room, user_id):
        path = f"/api/v1/{room['id']}/users/{user_id}?ban=true"
        assert self.request("DELETE", path, Authorization=f"Bearer {room['owner_key']}")[0] == 204


@pytest.fixture
def dual_stack(tmp_path):
    """Starts one with those settings, and ends it."""
    made = []

    def start(settings="", workers="0"):
        made.append(DualStack(tmp_path, settings, workers))
        return made[-1]

    yield start
    for one in made:
        assert one.daemon.end() == 0
        assert "Traceback" not in one.daemon.log.read_text()


WORKERS = pytest.mark.parametrize("workers", ["0", "2"])


@WORKERS
def test_rates(dual_stack, workers):
    """Three rooms from one address are one too many, and the next address has its own two."""
    relay = dual_stack("limits.create_rate = 2\n", workers)
    sources = ["127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.3"]
    assert [relay.create(source)[0] for source in sources] == [201, 201, 429, 201]
    assert relay.create("::1", to="::1")[0] == 201


@WORKERS
def test_a_ban(dual_stack, workers):
    """It bars the address it was of, and no other."""
    relay = dual_stack("", workers)
    _, room = relay.create()
    with relay.join(room, "127.0.0.2") as bob:
        relay.ban(room, bob.until("joined")["you"]["id"])
        assert bob.closed() == 4011
    with relay.join(room, "127.0.0.2") as again:
        assert again.closed() == 4004
    with relay.join(room, "127.0.0.3") as carol:
        carol.until("joined")


def test_connections(dual_stack):
    """So many of each address."""
    relay = dual_stack("limits.max_connections_per_address = 1\n")
    _, room = relay.create()
    with relay.join(room, "127.0.0.2") as ann, relay.join(room, "127.0.0.3") as bob:
        ann.until("joined")
        bob.until("joined")
        with pytest.raises(InvalidStatus) as refused, relay.join(room, "127.0.0.2"):
            pass
    assert refused.value.response.status_code == 429


def test_passwords(dual_stack):
    """Deriving one costs the address that asks for it."""
    relay = dual_stack("limits.proof_rate = 1\n")

    def create(source):
        return relay.request("POST", "/api/v1/room", source, b'{"password":"pw"}', Content_Type="application/json")[0]

    assert [create(source) for source in ("127.0.0.2", "127.0.0.2", "127.0.0.3")] == [201, 429, 201]


@WORKERS
@pytest.mark.parametrize("trusted", ["127.0.0.1", "127.0.0.0/8", "::ffff:127.0.0.1", "::ffff:127.0.0.0/104"])
def test_a_trusted_proxy(dual_stack, workers, trusted):
    """It is known by its address, however it is written, and believed what it says, over REST and WebSocket alike."""
    relay = dual_stack(f'trusted_proxies = ["{trusted}"]\nlimits.create_rate = 1\n', workers)
    hops = ["192.0.2.7", "::ffff:192.0.2.7", "192.0.2.8", "64:ff9b::192.0.2.8", "::ffff:192.0.2.9, ::ffff:127.0.0.1"]
    answers = [relay.create(X_Forwarded_For=hop) for hop in hops]
    assert [status for status, _ in answers] == [201, 429, 201, 429, 201]
    room = answers[0][1]
    with relay.join(room, X_Forwarded_For="::ffff:192.0.2.7") as bob:
        relay.ban(room, bob.until("joined")["you"]["id"])
    with relay.join(room, X_Forwarded_For="192.0.2.7") as again:
        assert again.closed() == 4004
    with relay.join(room, X_Forwarded_For="::ffff:192.0.2.8") as carol:
        carol.until("joined")


@pytest.mark.parametrize(("trusted", "said"), [("", "is not believed"), ("127.0.0.1", "127.0.0.1 may forge addresses")])
def test_doctor_sees_that_there_is_no_proxy(dual_stack, trusted, said):
    """By its own address, which relayd tells as IPv4."""
    relay = dual_stack(f'trusted_proxies = ["{trusted}"]\n' if trusted else "")
    relay.daemon.config.write_text(f'public_url = "http://127.0.0.1:{relay.port}"\n{relay.daemon.config.read_text()}')
    relay.daemon.ctl("reload")
    done = subprocess.run(
        [BIN / "relayctl", "--socket", relay.daemon.socket, "-o", "json", "doctor"],
        capture_output=True,
        text=True,
        check=False,
    )
    (what,) = [one["what"] for one in json.loads(done.stdout) if one["check"] == "addresses"]
    assert what.startswith("clients come without a proxy")
    assert said in what


def test_who_is_not_trusted(dual_stack):
    """Says what he likes, and counts as who he is."""
    relay = dual_stack('trusted_proxies = ["127.0.0.9"]\nlimits.create_rate = 1\n')
    assert [relay.create(X_Forwarded_For=f"192.0.2.{number}")[0] for number in (1, 2)] == [201, 429]
