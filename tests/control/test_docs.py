"""What is written about the control API and relayctl is true."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relayd.cli.man import pages
from relayd.hub.control.server import ROUTES
from tests.control.conftest import BIN, clean_environment

ROOT = Path(__file__).parents[2]
CONTROL = (ROOT / "docs/control.md").read_text()


def test_examples_of_the_control_api(daemon):
    """Every fence that shows a command works as it stands, one after the other."""
    examples = re.findall(r"```sh\n(.*?)```", CONTROL, re.DOTALL)
    assert len(examples) >= 8
    for example in examples:
        done = subprocess.run(
            ["bash", "-c", example],
            env=clean_environment(SOCKET=str(daemon.socket)),
            capture_output=True,
            text=True,
            check=True,
        )
        answer = json.loads(done.stdout or "{}")
        assert not isinstance(answer, dict) or "code" not in answer, (example, answer)


def test_every_request_is_described():
    """Each route and method of the API stands in a table."""
    for pattern, handler in ROUTES:
        path = pattern.replace("(.+)", "<target>")
        path = path.replace("([^/]+)", "<room>", 1).replace("([^/]+)", "<user_id>")
        for method in handler.verbs:
            assert f"`{method} {path}`" in CONTROL


def test_every_field_of_the_answers_is_described(daemon):
    """Status and rows of listings."""
    daemon.ctl("create", "room")
    status, rooms = daemon.json("status"), daemon.json("list", "rooms")
    for name in (*status, *status["gateways"][0], *rooms[0]):
        assert f"`{name}`" in CONTROL, name


@pytest.mark.parametrize("name", ["relay.1", "relayctl.1", "relayd.toml.5", "relayd.8"])
def test_manual_pages_are_up_to_date(name):
    """They are made from the programs' own words: python -m relayd.cli.man docs/man"""
    assert (ROOT / "docs/man" / name).read_text() == pages()[name], "run: python -m relayd.cli.man docs/man"


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
@pytest.mark.parametrize("name", ["relay.1", "relayctl.1", "relayd.toml.5", "relayd.8"])
def test_manual_pages_can_be_shown(name):
    """Without a warning of the formatter."""
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", ROOT / "docs/man" / name], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert len(done.stdout) > 1000


@pytest.mark.alone
def test_speed(daemon, room):
    """relayctl get room takes at most 8 times what python -c pass takes: medians of turns taken in one run."""
    command = [BIN / "relayctl", "--socket", daemon.socket, "get", "room", room["id"]]
    nothing, get_room = [], []
    for _ in range(21):
        for arguments, times in (([sys.executable, "-c", "pass"], nothing), (command, get_room)):
            started_at = time.perf_counter()
            subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - started_at)
    ratio = statistics.median(get_room) / statistics.median(nothing)
    assert ratio <= 8, f"{ratio:.1f} times"


@pytest.mark.parametrize("module", ["relayd.cli.relayctl", "relayd.cli.ctl_rooms", "relayd.cli.ctl_top"])
def test_nothing_heavy_is_imported(module):
    """Neither the server's libraries nor what is for terminals only."""
    heavy = "sqlite_utils tornado zmq uvloop rich msgspec cryptography asyncio http.client".split()
    script = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
