"""`make`, as somebody types it, with the environment that the tests have already."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROGRAMS = ("relay", "relayctl", "relayd")
SOCKETS = ("relayd.socket", "relayd-tcp.socket", "relayd-control.socket")
UNITS = (*SOCKETS, "relayd.service")


def make(*words: str, **variables: Any) -> None:
    """Makes that, with these variables set."""
    run("make", "-C", ROOT, *words, *(f"{name}={value}" for name, value in variables.items()), f"VENV={sys.prefix}")


def run(*command: Any, **kwargs: Any) -> str:
    """A command to its end, which must be good; what it printed."""
    # Neither this run's virtual environment nor its measuring of coverage is the command's.
    ours = ("COV", "PYTHON", "VIRTUAL_ENV", "RELAY", "MAKE", "MFLAGS")
    kwargs.setdefault("env", {name: text for name, text in os.environ.items() if not name.startswith(ours)})
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False, **kwargs)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def traces(system):
    """Files of that name, without logs and what systemd knows of units while it runs."""
    places = ("etc", "usr", "lib", "var", "run")
    found = system.run("find", *(f"/{place}" for place in places), "-name", "*relayd*").stdout.split()
    return {path for path in found if not path.startswith(("/var/log/", "/run/systemd/", "/run/credentials"))}
