"""The daemon as a whole: status, new settings, its end; help, config, completion, version."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
import tomllib

import pytest
import websockets
from websockets.sync.client import connect

from relayd.settings import Settings, setting_paths
from tests.control.conftest import BIN, run_ctl


def test_status(daemon, room):
    """Counts of now and since the start, and how the process fares."""
    with daemon.join(room) as ann, daemon.join(room, "bob") as bob:
        ann.send("message", id="1", body={"kind": "text", "text": "x" * 100})
        bob.until("message")
        time.sleep(1.2)  # gateways report every second
        found = daemon.json("status")
    assert (found["users"], found["connections"], found["state"]) == (2, 2, "running")
    assert found["deliveries"] >= 2
    assert found["messages"] >= 1
    assert found["bytes"] >= 100
    assert found["pid"] == daemon.process.pid
    assert found["memory"] > 2**20
    assert found["workers"] == len(found["gateways"]) == 1
    assert found["addresses"] == [daemon.base]
    assert 0 < found["uptime"] < 600
    text = daemon.ctl("status").stdout
    for name in "Version State Uptime Rooms Users Connections Messages Memory Workers".split():
        assert f"\n{name}" in f"\n{text}"


def test_counts_outlive_rooms(daemon):
    """What was said in a room that has ended still counts."""
    before = daemon.json("status")
    daemon.json("create", "room", "brief")
    daemon.ctl("send", "brief", "hello")
    daemon.ctl("close", "room", "brief")
    after = daemon.json("status")
    assert after["messages"] == before["messages"] + 1
    assert after["rooms_created"] == before["rooms_created"] + 1
    assert after["rooms"] == before["rooms"]


def test_reload(own_daemon):
    """It says what has changed, what needs a restart, and from then on the new settings hold."""
    assert own_daemon.ctl("reload").stdout == "Reloaded; no setting has changed.\n"
    own_daemon.config.write_text("workers = 2\n[limits]\nmax_members = 60\n[rooms]\nmax = 7\n")
    changes = {change["setting"]: change for change in own_daemon.json("reload")["changes"]}
    assert changes["limits.max_members"] == {
        "setting": "limits.max_members",
        "before": 10_000,
        "after": 60,
        "applied": True,
    }
    assert changes["workers"]["applied"] is False
    assert "max_members" not in own_daemon.ctl("reload").stdout
    assert "workers: 0 -> 2 (needs a restart)" in own_daemon.ctl("reload").stdout
    own_daemon.wrong("create", "room", "-max", "61", code=1)
    assert own_daemon.json("get", "room", own_daemon.json("create", "room")["id"])["max"] == 7
    shown = own_daemon.json("config", "show")
    assert (shown["limits"]["max_members"], shown["workers"]) == (60, 0)
    assert "limits.max_members = 60" in own_daemon.ctl("config", "show").stdout


def test_reload_reaches_those_who_are_inside(own_daemon):
    """A limit holds for people who came before it."""
    room = own_daemon.json("create", "room")
    with own_daemon.join(room) as ann:
        ann.send("message", id="before", body={})
        ann.until("message")
        own_daemon.config.write_text("[limits]\nmessage_rate = 0.2\n")
        assert "message_rate" in own_daemon.ctl("reload").stdout
        for number in range(4):
            ann.send("message", id=f"after {number}", body={})
        assert ann.until("error")["code"] == "rate_limited"


def test_reload_of_wrong_settings(own_daemon):
    """All mistakes are named in one line, and the old settings stay."""
    own_daemon.config.write_text("[limits]\nmax_romms = 3\nmax_members = 'many'\n")
    line = own_daemon.wrong("reload", code=1)
    assert "did you mean max_rooms" in line
    assert "max_members" in line
    assert "the old settings stay" in line
    assert own_daemon.json("config", "show")["limits"]["max_members"] == 10_000


def test_hangup_reloads(own_daemon):
    """SIGHUP does what reload does, and the log says what came of it."""
    own_daemon.config.write_text("log_level = 'debug'\n")
    own_daemon.process.send_signal(signal.SIGHUP)
    own_daemon.wait_for_log("log_level: changed")
    assert own_daemon.json("config", "show")["log_level"] == "debug"
    own_daemon.config.write_text("log_level = 'loud'\n")
    own_daemon.process.send_signal(signal.SIGHUP)
    own_daemon.wait_for_log("not reloaded, the old settings stay")
    assert own_daemon.json("config", "show")["log_level"] == "debug"


@pytest.mark.parametrize("workers", ["0", "2"])
def test_drain(make_daemon, workers):
    """Not ready, nobody new, everyone sent away within the time and told when to come back; then exit code 0."""
    daemon = make_daemon("--workers", workers)
    room = daemon.json("create", "room", "-max", "40")
    joins = [daemon.join(room, f"p{index}") for index in range(12)]
    people = [join.__enter__() for join in joins]
    codes: list[tuple[float, int]] = []
    hints: list[int] = []
    started_at = time.monotonic()

    def leave(person):
        hints.append(person.until("room", event="restarting")["retry_in_ms"])
        codes.append((time.monotonic() - started_at, person.closed()))

    threads = [threading.Thread(target=leave, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    assert "within 6 s" in daemon.ctl("drain", "-over", "6s", "-no-wait").stdout
    ready = subprocess.run(["curl", "-s", "-i", f"{daemon.base}/readyz"], capture_output=True, text=True, check=True)
    assert "503" in ready.stdout.splitlines()[0]
    assert "retry-after" in ready.stdout.lower()
    assert "shutting down" in daemon.wrong("create", "room", code=1)
    with pytest.raises(websockets.ConnectionClosed, match="1013"), daemon.join(room, "late"):
        pass
    assert daemon.json("status")["state"] == "draining"
    for thread in threads:
        thread.join()
    assert {code for _, code in codes} == {4500}
    times = sorted(at for at, _ in codes)
    assert 2 < times[-1] - times[0] < 6 + 2  # spread, not all at once, and none later than was said
    assert min(hints) >= 1000
    assert len(set(hints)) > 6
    assert daemon.process.wait(timeout=10) == 0
    assert not daemon.socket.exists()
    for join in joins:
        join.__exit__(None, None, None)


def test_newcomers_while_draining(own_daemon):
    """A join is answered with the time to come back, and 1013."""
    room = own_daemon.json("create", "room")
    with own_daemon.join(room):
        own_daemon.ctl("drain", "-over", "1h", "-no-wait")
        with connect(f"{own_daemon.base.replace('http', 'ws')}/{room['id']}", compression=None) as socket:
            socket.send(json.dumps({"type": "join", "key": room["invite_key"], "profile": {}}))
            told = json.loads(socket.recv(timeout=20))
            assert (told["type"], told["code"]) == ("error", "draining")
            assert told["retry_after_ms"] > 3_500_000
            with pytest.raises(websockets.ConnectionClosed, match="1013"):
                socket.recv(timeout=20)
        own_daemon.ctl("stop")  # a drain can be cut short
    assert own_daemon.process.wait(timeout=10) == 0


def test_stop_waits_for_the_end(own_daemon):
    """When the command has ended, so has relayd: with 0, its socket gone."""
    assert "has ended" in own_daemon.ctl("stop").stdout
    assert own_daemon.process.wait(timeout=10) == 0
    assert not own_daemon.socket.exists()
    line = own_daemon.wrong("status", code=3)
    assert "start one with" in line


def test_terminate_drains(own_daemon):
    """SIGTERM sends people away with 4500, each with a time of its own to come back, and ends with 0."""
    room = own_daemon.json("create", "room")
    with own_daemon.join(room) as ann, own_daemon.join(room) as bob:
        own_daemon.process.send_signal(signal.SIGTERM)
        hints = [person.until("room", event="restarting")["retry_in_ms"] for person in (ann, bob)]
        assert min(hints) >= 1000
        assert hints[0] != hints[1]  # drawn from 5,000
        assert (ann.closed(), bob.closed()) == (4500, 4500)
    assert own_daemon.process.wait(timeout=10) == 0


@pytest.mark.parametrize("over", ["soon", "2 weeks", "-1", "25h"])
def test_wrong_times(daemon, over):
    """A time that is none, or longer than any room lives."""
    daemon.wrong("drain", "-over", over, code=1 if over == "25h" else 2)


def test_help(daemon):
    """Every command with a line on each, that fits a terminal; each with an example of its own."""
    commands = json.loads(run_ctl("help", "-o", "json").stdout)
    words = {command["command"] for command in commands}
    assert {"create room", "get room", "list rooms", "edit room", "close room", "list users", "kick"} <= words
    assert {"announce", "send", "status", "top", "watch", "reload", "drain", "stop", "version"} <= words
    assert {"config show", "config check", "config defaults", "completion", "help"} <= words
    text = run_ctl("help").stdout
    for command in commands:
        assert f"  {command['command']} " in text
        assert command["summary"]
        told = run_ctl(*command["command"].split(), "--help").stdout
        assert "Example: relayctl" in told
        assert run_ctl(*command["command"].split(), "-help").stdout == told
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "drain" in run_ctl("help", "drain").stdout
    assert run_ctl(code=2).stderr.startswith("Usage: relayctl")


def test_version():
    """Its own version, which needs no relayd."""
    assert run_ctl("version").stdout.startswith("relayctl ")
    assert json.loads(run_ctl("version", "-o", "json").stdout)["version"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    """A script for each shell."""
    assert "relayctl" in run_ctl("completion", shell).stdout


def test_completion_in_bash(daemon, room):
    """Commands, and rooms' names, as bash asks for them."""
    environment = {
        "_RELAYCTL_COMPLETE": "bash_complete",
        "RELAYD_CONTROL": str(daemon.socket),
        "PATH": "/usr/bin:/bin",
    }

    def complete(words, index):
        done = subprocess.run(
            [BIN / "relayctl"],
            env=environment | {"COMP_WORDS": words, "COMP_CWORD": str(index)},
            capture_output=True,
            text=True,
            check=True,
        )
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert complete("relayctl sta", 1) == ["status"]
    assert complete("relayctl get room ", 3) == [room["name"]]
    daemon.ctl("block", "203.0.113.7")
    assert complete("relayctl unblock 203", 2) == ["203.0.113.7/32"]
    daemon.ctl("unblock", "203.0.113.7")


def test_config_defaults():
    """It changes nothing as it is, and uncommented it is what holds by default."""
    text = run_ctl("config", "defaults").stdout
    assert not any(tomllib.loads(text)["limits"]["message_rate"])
    keys = [line.partition(" = ")[0].lstrip("#") for line in text.splitlines() if line[:1] == "#" and line[1:2] != " "]
    paths = [path for path, _ in setting_paths(Settings) if path != "limits.message_rate"]
    assert sorted(keys) == sorted(path.rpartition(".")[2] for path in paths)
    values = json.loads(run_ctl("config", "defaults", "-o", "json").stdout)
    assert values["limits.max_rooms"] == 50_000


def test_config_check(tmp_path):
    """Good: 0. Wrong: 1, with every mistake."""
    file = tmp_path / "relayd.toml"
    uncommented = [line.lstrip("#") for line in run_ctl("config", "defaults").stdout.splitlines() if line[:2] != "# "]
    file.write_text("\n".join(uncommented))
    assert "fine" in run_ctl("config", "check", file).stdout
    file.write_text("[limits]\nmax_romms = 3\nmax_members = 'many'\n")
    done = run_ctl("config", "check", file, code=1)
    assert len(done.stderr.splitlines()) == 2
    assert json.loads(run_ctl("config", "check", file, "-o", "json", code=1).stdout)["ok"] is False
    assert "cannot be read" in run_ctl("config", "check", tmp_path / "nothing", code=1).stderr
