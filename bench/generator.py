"""The generator: C programs of this folder, compiled when needed, run on a core of their own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.machine import GENERATOR_CORE

HERE = Path(__file__).parent
BUILD = HERE / "build"
PROGRAMS = ("load", "ask", "limit")


def build() -> None:
    """Compiles what is older than its source.

    Raises:
        subprocess.CalledProcessError: there is no C compiler, or it refuses.
    """
    BUILD.mkdir(exist_ok=True)
    for name in PROGRAMS:
        source, program = HERE / "c" / f"{name}.c", BUILD / name
        newest = max(source.stat().st_mtime, (HERE / "c" / "common.h").stat().st_mtime)
        if not program.exists() or program.stat().st_mtime < newest:
            compiler = os.environ.get("CC", "cc")
            subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", program, source], check=True)


def on_core(core: int) -> list[str]:
    """What goes before a command that shall run there only; it is replaced by that command, pid and all."""
    return ["taskset", "-c", str(core)]


class Load:
    """Clients that have joined.

    Attributes:
        joining: what is known of how they did: `joined`, `lost`, `join_s`.
    """

    def __init__(self, process: subprocess.Popen[str], joining: dict[str, Any]) -> None:
        self._process = process
        self.joining = joining

    def go(self) -> dict[str, Any]:
        """Has them publish, if they were given something to say; what came of it."""
        stdout, _ = self._process.communicate("go\n", timeout=120)
        return json.loads(stdout)


@contextlib.contextmanager
def load(options: list[str], port: int) -> Iterator[Load]:
    """Connects and joins; see load.c for the options."""
    with subprocess.Popen(
        [*on_core(GENERATOR_CORE), str(BUILD / "load"), *options, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield Load(process, json.loads(process.stdout.readline()))
        finally:
            process.kill()


def ask(request: bytes, port: int, *, connections: int, seconds: float = 0, answers: int = 0) -> dict[str, Any]:
    """Sends the request again and again, for that time or until so many answers; see ask.c."""
    until = ["-n", str(answers)] if answers else ["-t", str(seconds)]
    done = subprocess.run(
        [*on_core(GENERATOR_CORE), str(BUILD / "ask"), "-c", str(connections), *until, str(port)],
        input=request,
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def http_request(method: str, path: str, body: bytes = b"", key: str = "") -> bytes:
    """A request as `ask` wants it."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"Authorization: Bearer {key}"] if key else []
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode() + body
