"""Who may do what: real users and groups, by the kernel's word."""

from __future__ import annotations

import grp  # noqa: F401 - relayctl imports it and pwd late: as a user who may not be able to read any module
import json
import os
import pwd  # noqa: F401
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayd.cli import relayctl
from relayd.hub.control.peers import Peer, Tier, Tiers, socket_group
from relayd.settings import ControlGroups
from tests.control.conftest import Daemon

TIERS = ("socket", "observe", "operate", "admin")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("setpriv", "useradd", "groupadd", "curl"))),
    reason="needs root, setpriv, useradd and groupadd, to become other people",
)


class People:
    """A user, and a group for each tier; the daemon knows the groups by name."""

    def __init__(self, daemon: Daemon, user: str, groups: dict[str, str]) -> None:
        self.daemon = daemon
        self.user = user
        self.groups = groups

    def ask(self, method: str, path: str, *tiers: str, body: str = "") -> tuple[int, dict]:
        """What the user is answered as a member of these groups."""
        done = subprocess.run(
            [
                *("setpriv", "--reuid", self.user, "--regid", "nogroup"),
                *("--groups", ",".join(self.groups[tier] for tier in tiers) or "nogroup"),
                *("curl", "-s", "-w", "\n%{http_code}", "--unix-socket", self.daemon.socket, "-X", method),
                *("-d", body, f"http://relayd{path}"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        answer, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(answer) if answer else {}


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    name = f"rt{os.getpid()}"
    groups = {tier: f"{name}{tier[:3]}" for tier in TIERS}
    for group in groups.values():
        subprocess.run(["groupadd", "--system", group], check=True)
    subprocess.run(["useradd", "--system", "--no-create-home", name], check=True)
    with tempfile.TemporaryDirectory(prefix="relayd-test-") as text:
        directory = Path(text)
        directory.chmod(0o755)
        lines = [f'{tier} = "{groups[tier]}"' if tier == "socket" else f'{tier} = ["{groups[tier]}"]' for tier in TIERS]
        (directory / "relayd.toml").write_text("\n".join(["[control_groups]", *lines]))
        daemon = Daemon(directory)
        try:
            yield People(daemon, name, groups)
        finally:
            daemon.end()
            subprocess.run(["userdel", name], check=True)
            for group in groups.values():
                subprocess.run(["groupdel", group], check=False)


# What each request takes, and what the log calls it.
REQUESTS = [
    ("GET", "/v1/status", "observe", ""),
    ("GET", "/v1/rooms", "observe", ""),
    ("GET", "/v1/rooms/tea", "observe", ""),
    ("GET", "/v1/rooms/tea/users", "observe", ""),
    ("GET", "/v1/settings", "observe", ""),
    ("GET", "/v1/reload", "observe", ""),
    ("POST", "/v1/probe", "observe", "probe"),
    ("POST", "/v1/rooms", "operate", "create_room"),
    ("PATCH", "/v1/rooms/tea", "operate", "edit_room"),
    ("DELETE", "/v1/rooms/tea", "operate", "close_room"),
    ("DELETE", "/v1/rooms/tea/users/u_0", "operate", "kick"),
    ("POST", "/v1/rooms/tea/messages", "operate", "send"),
    ("POST", "/v1/rooms/tea/passes", "operate", "pass"),
    ("POST", "/v1/announcements", "operate", "announce"),
    ("POST", "/v1/reload", "admin", "reload"),
    ("PATCH", "/v1/settings", "admin", "set"),
    ("POST", "/v1/drain", "admin", "drain"),
    ("POST", "/v1/stop", "admin", "stop"),
]


@pytest.mark.parametrize(("method", "path", "needed", "verb"), REQUESTS)
def test_tiers(people, method, path, needed, verb):
    """Below the tier: 403, which names the groups that may, and a line in the log. At it: anything else."""
    below = TIERS[: TIERS.index(needed)]
    for tier in below:
        status, answer = people.ask(method, path, "socket", tier, body="over=x")
        assert (status, answer["code"]) == (403, "not_permitted")
        assert people.groups[needed] in answer["detail"]
    if verb:
        people.daemon.wait_for_log(f"verb={verb} room=- result=not_permitted")  # written once it is answered
    for tier in TIERS[TIERS.index(needed) :]:
        if path in ("/v1/stop", "/v1/drain"):
            continue  # see test_admin_stops: once it is enough
        assert people.ask(method, path, "socket", tier, body="over=x")[0] != 403


def test_outside_of_the_groups(people):
    """Without the socket's group nobody gets as far as to ask."""
    assert people.ask("GET", "/v1/status")[0] == 0
    assert people.ask("GET", "/v1/status", "admin")[0] == 0


def test_primary_group_counts(people):
    """SO_PEERGROUPS does not show it, SO_PEERCRED does."""
    done = subprocess.run(
        [
            *("setpriv", "--reuid", people.user, "--regid", people.groups["observe"]),
            *("--groups", people.groups["socket"], "curl", "-s", "--unix-socket", people.daemon.socket),
            "http://relayd/v1/status",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["state"] == "running"


def test_audit_log(people):
    """Who, in which process, did what, where, and what came of it; nothing that was said, and no key."""
    status, created = people.ask("POST", "/v1/rooms", "socket", "operate", body="name=audited")
    assert status == 201
    people.ask("POST", "/v1/rooms/audited/messages", "socket", "operate", body="text=hush")
    people.ask("POST", "/v1/announcements", "socket", "operate", body="text=hush")
    people.ask("DELETE", "/v1/rooms/audited", "socket", "operate")
    people.ask("DELETE", "/v1/rooms/audited", "socket", "operate")
    log = people.daemon.wait_for_log("verb=close_room room=- result=no_such_room")
    uid = subprocess.run(["id", "-u", people.user], capture_output=True, text=True, check=True).stdout.strip()
    for verb, room, result in (
        ("create_room", created["id"], "ok"),
        ("send", created["id"], "ok"),
        ("announce", "all", "ok"),
        ("close_room", created["id"], "ok"),
        ("close_room", "-", "no_such_room"),
    ):
        lines = [line for line in log.splitlines() if f"verb={verb} room={room} result={result}" in line]
        assert lines
        assert f"uid={uid} pid=" in lines[-1]
    assert "hush" not in log
    assert created["owner_key"] not in log
    assert created["invite_key"] not in log
    assert "audited" not in log


def test_reads_are_not_logged(people):
    people.ask("GET", "/v1/rooms", "socket", "observe")
    assert "list_rooms" not in people.daemon.log.read_text()


def test_permission_denied_names_the_group(people, capsys):
    """relayctl says in one line which group to join, also where the directory hides the socket."""
    relayctl.run(["--socket", str(people.daemon.socket), "status"])
    capsys.readouterr()
    os.seteuid(65_534)
    try:
        code = relayctl.run(["--socket", str(people.daemon.socket), "status"])
    finally:
        os.seteuid(0)
    said = capsys.readouterr().err
    assert code == 1
    assert len(said.splitlines()) == 1
    assert "permission denied" in said
    assert people.groups["socket"] in said


def test_reload_changes_the_groups(people):
    """A group that is taken out may do no more."""
    assert people.ask("GET", "/v1/status", "socket", "observe")[0] == 200
    before = people.daemon.config.read_text()
    people.daemon.config.write_text(before.replace(f'observe = ["{people.groups["observe"]}"]', ""))
    people.daemon.ctl("reload")
    assert people.ask("GET", "/v1/status", "socket", "observe")[0] == 403
    people.daemon.config.write_text(before)
    people.daemon.ctl("reload")
    assert people.ask("GET", "/v1/status", "socket", "observe")[0] == 200


def test_admin_stops(people):
    """The highest tier ends the daemon; last, as it is this module's."""
    assert people.ask("POST", "/v1/stop", "socket", "admin")[0] == 202
    assert people.daemon.process.wait(timeout=10) == 0


def test_tier_of_several_groups():
    """The highest counts; a group without a tier, or that does not exist, gives none."""
    tiers = Tiers(ControlGroups(observe=("7",), operate=("8",), admin=("9", "no-such-group-anywhere")))
    assert tiers.of(Peer(1, 4321, frozenset({7, 8}))) is Tier.OPERATE
    assert tiers.of(Peer(1, 4321, frozenset({1}))) is Tier.NOTHING
    assert tiers.of(Peer(1, 0, frozenset({1}))) is Tier.ADMIN
    assert tiers.of(Peer(1, os.geteuid(), frozenset())) is Tier.ADMIN


def test_socket_group():
    """The one that is set, else the first of the others that exists."""
    assert socket_group(ControlGroups(socket="5")) == 5
    assert socket_group(ControlGroups(admin=("no-such-group-anywhere",), operate=("6",))) == 6
    assert socket_group(ControlGroups(admin=())) is None
