"""A relayd of two workers that is watched, and what it tells."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket as sockets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.control.conftest import BIN, Daemon

ROOT = Path(__file__).parents[2]

_SAMPLE = re.compile(r'^(\w+)(?:\{((?:\w+="[^"]*",?)+)\})? (\S+)$')
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class UnixConnection(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = sockets.socket(sockets.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


class Watched(Daemon):
    """relayd with `metrics` on a Unix socket, and other settings as TOML."""

    def __init__(self, directory: Path, *arguments: str, settings: str = "", **kwargs: Any) -> None:
        self.metrics = directory / "metrics.sock"
        (directory / "relayd.toml").write_text(f'metrics = "unix:{self.metrics}"\n{settings}')
        super().__init__(directory, *arguments, **kwargs)

    def ask(self, method: str = "GET", path: str = "/metrics", **headers: str) -> tuple[int, str, str]:
        """Status, content type and body of an answer."""
        connection = UnixConnection(self.metrics)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        told = answer.status, answer.headers.get("Content-Type", ""), answer.read().decode()
        connection.close()
        return told

    def samples(self) -> Samples:
        """Everything that is exported, by name and labels."""
        _, _, text = self.ask()
        found: Samples = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, labels, value = _SAMPLE.match(line).groups()
                found[name, frozenset(_LABEL.findall(labels or ""))] = float(value)
        return found

    def value(self, name: str, **labels: str) -> float:
        """One of them."""
        return self.samples()[name, frozenset(labels.items())]

    def sum(self, name: str) -> float:
        """Over all its labels."""
        return sum(value for (of, _), value in self.samples().items() if of == name)

    def wait(self, holds: Callable[[], bool], timeout: float = 30) -> None:
        """Workers report every second; until what is asked for holds."""
        until = time.monotonic() + timeout
        while not holds():
            assert time.monotonic() < until, self.ask()[2]
            time.sleep(0.1)


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One daemon for all that leave it as it was."""
    daemon = Watched(tmp_path_factory.mktemp("watched"), "--workers", "2")
    yield daemon
    assert daemon.end() == 0
    assert "Traceback" not in daemon.log.read_text()
    assert not daemon.metrics.exists()


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus' own judge."""
    found = shutil.which("promtool", path=f"{BIN}:{os.environ['PATH']}")
    if found is None:
        # CI gets it by make test, whatever a developer's machine can do.
        (pytest.fail if os.environ.get("CI") else pytest.skip)("promtool is not there; as root, make test gets it")
    return found
