"""One attack on a server of its own, beside honest people."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import resource
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bench.abuse.honest import Honest, Phase
from bench.machine import GENERATOR_CORE, SERVER_CORE

_START_S = 60.0  # of a server, and of an attack's preparation
_ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds of the parts of a trial; nothing is measured in `rest`, between the attack and `after`."""

    before: float
    attack: float
    rest: float
    after: float


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What honest people saw, and the server's share.

    Attributes:
        closed: honest connections that the server has closed, by code.
        lost: deliveries among honest people that never came.
        peak_mib: the most memory that the server had, with its shared libraries; `before_mib` when the attack began.
        told: what the attack says of itself.
    """

    before: Phase
    during: Phase
    after: Phase
    closed: dict[str, int]
    lost: int
    before_mib: float
    peak_mib: float
    told: dict[str, Any]


async def measure(name: str, times: Times) -> Outcome:
    """Starts a server, people, and the attack in the middle."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {GENERATOR_CORE})
    async with server() as (port, pid):
        honest = Honest(port)
        await honest.start()
        honest.next_phase()
        await asyncio.sleep(times.before)
        before, before_mib = honest.next_phase(), _memory_mib(pid, "VmRSS")
        async with attack(name, port, times.attack) as lines:
            await lines.readline()
            honest.next_phase()  # its preparation is not the attack
            told = json.loads(await asyncio.wait_for(lines.readline(), times.attack + _START_S))
        during = honest.next_phase()
        await asyncio.sleep(times.rest)
        honest.next_phase()
        await asyncio.sleep(times.after)
        after = honest.next_phase()
        lost = await honest.finish()
        return Outcome(before, during, after, dict(honest.closed), lost, before_mib, _memory_mib(pid, "VmHWM"), told)


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[tuple[int, int]]:
    """A relayd with default settings; its port and pid."""
    with tempfile.TemporaryDirectory(prefix="relayd-abuse-") as directory:
        process = await asyncio.create_subprocess_exec(
            *("taskset", "-c", str(SERVER_CORE)),
            *(Path(sys.executable).with_name("relayd"), "--listen", "127.0.0.1:0", "--control", f"{directory}/control"),
            stderr=asyncio.subprocess.PIPE,
            cwd=directory,
        )
        assert process.stderr is not None
        reading = None
        try:
            async with asyncio.timeout(_START_S):
                line = b""
                while b"listening on http://" not in line:
                    line = await process.stderr.readuntil()
            reading = asyncio.create_task(process.stderr.read())
            yield int(line.rpartition(b":")[2]), process.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            if reading is not None:
                await reading


@contextlib.asynccontextmanager
async def attack(name: str, port: int, seconds: float) -> AsyncIterator[asyncio.StreamReader]:
    """An attack in a process of its own; what it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.abuse.attacks", name, str(port), str(seconds)),
        stdout=asyncio.subprocess.PIPE,
        cwd=_ROOT,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _memory_mib(pid: int, field: str) -> float:
    """Of a process; a field of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024
