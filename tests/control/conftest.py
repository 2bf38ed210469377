"""A real relayd process and real relayctl processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket as sockets
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.sync.client import ClientConnection, connect

BIN = Path(sys.executable).parent


class Daemon:
    """A relayd of its own directory: its socket, its settings, its log."""

    def __init__(self, directory: Path, *arguments: str, **kwargs: Any) -> None:
        self.directory = directory
        self.socket = directory / "run" / "control.sock"
        self.log = directory / "log"
        self.config = directory / "relayd.toml"
        self.config.touch()
        self._arguments = arguments
        self._program = kwargs.pop("program", [BIN / "relayd"])
        self._environment = clean_environment(**kwargs.pop("environment", {}))
        self._kwargs = kwargs
        self.start()

    def start(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *self._program,
                    *("--listen", "127.0.0.1:0"),
                    *("--control", self.socket),
                    *("--config", self.config),
                    *self._arguments,
                ],
                stderr=log,
                env=self._environment,
                **self._kwargs,
            )
        self.wait_for_log("listening on http")
        self.base = re.findall(r"listening on (http://[\d.:]+)", self.log.read_text())[-1]

    def wait_for_log(self, text: str, timeout: float = 20) -> str:
        """The log, once it has that text."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            log = self.log.read_text()
            if text in log:
                return log
            assert self.process.poll() is None or text in self.log.read_text(), self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(f"{text!r} is not in the log:\n{self.log.read_text()}")

    def ctl(self, *arguments: Any, code: int = 0, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        """relayctl, run to its end, which must be with that code."""
        return run_ctl("--socket", self.socket, *arguments, code=code, **kwargs)

    def json(self, *arguments: Any, **kwargs: Any) -> Any:
        """What relayctl prints with -o json."""
        return json.loads(self.ctl("-o", "json", *arguments, **kwargs).stdout)

    def wrong(self, *arguments: Any, code: int, **kwargs: Any) -> str:
        """The one line that relayctl says when something is wrong, and nothing else."""
        done = self.ctl(*arguments, code=code, **kwargs)
        lines = done.stderr.splitlines()
        assert done.stdout == ""
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("relayctl: ")
        return lines[0]

    @contextlib.contextmanager
    def join(self, room: dict[str, Any], nick: str = "ann", key: str = "") -> Iterator[Person]:
        """Somebody in the room."""
        with connect(f"{self.base.replace('http', 'ws')}/{room['id']}", compression=None) as socket:
            person = Person(socket)
            person.send("join", key=key or room["invite_key"], profile={"nick": nick})
            person.joined = person.until("joined")
            yield person

    def requests(self, requests: Iterable[tuple[str, str, str]]) -> Iterator[bytes]:
        """The bodies of the answers to many requests (method, path, form) on one connection."""
        with sockets.socket(sockets.AF_UNIX) as raw:
            raw.connect(str(self.socket))
            answers = raw.makefile("rb")
            for method, path, form in requests:
                head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(form)}\r\n"
                raw.sendall(f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}".encode())
                assert answers.readline().startswith(b"HTTP/1.1 2")
                length = 0
                while (line := answers.readline()) != b"\r\n":
                    length = int(line.split()[1]) if line.lower().startswith(b"content-length:") else length
                yield answers.read(length)

    def create_rooms(self, count: int) -> list[dict[str, Any]]:
        """Many rooms, with names made up."""
        return [json.loads(body) for body in self.requests([("POST", "/v1/rooms", "max=1")] * count)]

    def close_rooms(self, ids: list[str]) -> None:
        for _ in self.requests(("DELETE", f"/v1/rooms/{one}", "") for one in ids):
            pass

    def end(self) -> int:
        """Ends it; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


class Person:
    """One WebSocket, by the `websockets` library."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.joined: dict[str, Any] = {}

    @property
    def id(self) -> str:
        return self.joined["you"]["id"]

    def send(self, type_: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": type_, **fields}))

    def until(self, type_: str, **fields: Any) -> dict[str, Any]:
        """The next frame of that type with these fields."""
        while True:
            frame = json.loads(self.socket.recv(timeout=10))
            if frame["type"] == type_ and all(frame.get(name) == value for name, value in fields.items()):
                return frame

    def closed(self) -> int:
        """Reads until the server closes; its code."""
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                self.socket.recv(timeout=10)
        return self.socket.protocol.close_code


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without anything that relayd, relayctl or Python's output goes by."""
    ours = ("RELAYD_", "NO_COLOR", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | more


def run_ctl(*arguments: Any, code: int = 0, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    kwargs.setdefault("env", clean_environment())
    kwargs.setdefault("timeout", 40)
    done = subprocess.run(
        [BIN / "relayctl", *map(str, arguments)], capture_output=True, text=True, check=False, **kwargs
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def start_ctl(*arguments: Any, **kwargs: Any) -> subprocess.Popen[str]:
    """relayctl, running."""
    kwargs.setdefault("env", clean_environment())
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | kwargs
    return subprocess.Popen([BIN / "relayctl", *map(str, arguments)], text=True, **pipes)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory) -> Iterator[Daemon]:
    """One daemon for the tests of a module that leave it as it was."""
    daemon = Daemon(tmp_path_factory.mktemp("relayd"))
    yield daemon
    assert daemon.end() == 0
    assert "Traceback" not in daemon.log.read_text()


@pytest.fixture
def make_daemon(tmp_path) -> Iterator[Callable[..., Daemon]]:
    """Starts daemons for a test that changes or ends them; none outlives it."""
    made: list[Daemon] = []

    def make(*arguments: str, **kwargs: Any) -> Daemon:
        directory = tmp_path / str(len(made))
        directory.mkdir()
        made.append(Daemon(directory, *arguments, **kwargs))
        return made[-1]

    yield make
    for daemon in made:
        daemon.end()
        log = daemon.log.read_text()
        assert "Traceback" not in log, log


@pytest.fixture
def own_daemon(make_daemon) -> Daemon:
    """A daemon for a test that changes or ends it."""
    return make_daemon()


@pytest.fixture
def room(daemon) -> Iterator[dict[str, Any]]:
    """A room, closed afterwards."""
    created = daemon.json("create", "room")
    yield created
    daemon.ctl("close", "room", created["id"], code=0 if still_there(daemon, created["id"]) else 4)


def still_there(daemon: Daemon, room_id: str) -> bool:
    return any(one["id"] == room_id for one in daemon.json("list", "rooms"))
