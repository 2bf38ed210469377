"""What a delivery costs, counted and not timed: it may not grow by more than a fifth over `costs.json`.

A clock says nothing on a machine that does other work besides; the number of system calls and of function calls for
the same work is the same everywhere. After a change that is worth its price, `RECORD_COSTS=1 pytest
tests/perf` writes the new numbers, and the commit says what they are paid for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop
from lockstep import UNLIMITED, Room

from relayd.daemon import running
from relayd.settings import load
from relayd.startup import Start

pytestmark = pytest.mark.alone

COSTS = Path(__file__).parent / "costs.json"
MOST_GROWTH = 1.2
RECORD = "RECORD_COSTS"

# How often the loop wakes is up to the clock, not to the work.
LEFT_OUT = {"total", "epoll_pwait", "epoll_wait", "futex", "clock_nanosleep"}

# members, turns, messages a turn. A room of two shows what a message costs, one of fifty what a copy costs, and ten
# messages in one turn that they leave each connection with one write.
SHAPES = {"message": (2, 200, 1), "copy": (50, 40, 1), "batch": (50, 10, 10)}


def check(name: str, measured: dict[str, float]) -> None:
    """Holds costs against the committed ones, or records them."""
    costs = json.loads(COSTS.read_text()) if COSTS.exists() else {}
    if os.environ.get(RECORD):
        costs.setdefault(name, {}).update({key: round(value, 3) for key, value in measured.items()})
        COSTS.write_text(json.dumps(costs, indent=2, sort_keys=True) + "\n")
    grown = {
        key: (value, costs[name][key]) for key, value in measured.items() if value > MOST_GROWTH * costs[name][key]
    }
    assert not grown, f"more than it was (measured, before): {grown}"


class Process:
    """relayd, and the system calls of all its threads while something happens."""

    def __init__(self, directory: Path) -> None:
        limits = {f"RELAYD_{path.upper().replace('.', '_')}": str(value) for path, value in UNLIMITED.items()}
        command = [sys.executable, "-c", "from relayd.cli.relayd import main; main()", "--listen", "127.0.0.1:0"]
        self._process = subprocess.Popen(
            [*command, "--control", str(directory / "control.sock")],
            env=os.environ | limits,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._summary = directory / "strace"
        for line in self._process.stderr:
            if found := re.search(r"listening on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                break

    def system_calls(self, work: Callable[[], int]) -> float:
        """System calls a unit of the work."""
        command = ["strace", "-f", "-c", "-U", "calls,name", "-o", str(self._summary), "-p", str(self._process.pid)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            said = strace.stderr.readline()
            if "attached" not in said:
                pytest.skip(said)
            # It takes hold of the threads one after the other.
            time.sleep(0.3)
            units = work()
            strace.send_signal(signal.SIGINT)
            strace.stderr.read()
        counts = re.findall(r"^\s*(\d+)\s+(\w+)$", self._summary.read_text(), re.MULTILINE)
        return sum(int(count) for count, name in counts if name not in LEFT_OUT) / units

    def close(self) -> None:
        self._process.terminate()
        with self._process.stderr as stderr:
            stderr.read()
        self._process.wait(15)


class Thread:
    """relayd in a thread of this process, and the calls of Python and C functions it makes."""

    def __init__(self, directory: Path) -> None:
        flags = {"listen": ["127.0.0.1:0"], "control": str(directory / "control.sock"), **UNLIMITED}
        self._settings = load(None, {}, flags)
        self._calls = 0
        self._listening = threading.Event()
        self._thread = threading.Thread(target=uvloop.run, args=(self._serve(),))
        self._thread.start()
        assert self._listening.wait(10)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with running(Start(self._settings)) as daemon:
            self.port = int(daemon.addresses[0].rpartition(":")[2])
            self._listening.set()
            await self._stop.wait()

    def function_calls(self, work: Callable[[], int]) -> float:
        """Function calls a unit of the work."""
        self._calls = 0
        self._in_loop(lambda: sys.setprofile(self._count))
        units = work()
        self._in_loop(lambda: sys.setprofile(None))
        return self._calls / units

    def _count(self, frame: object, event: str, arg: object) -> None:
        if event in ("call", "c_call"):
            self._calls += 1

    def _in_loop(self, call: Callable[[], None]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (call(), done.set()))
        assert done.wait(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(15)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    if shutil.which("strace") is None:
        # CI counts, whatever a developer's machine can do.
        (pytest.fail if os.environ.get("CI") else pytest.skip)("strace is not installed")
    process = Process(tmp_path)
    yield process
    process.close()


@pytest.fixture
def thread(tmp_path: Path) -> Iterator[Thread]:
    thread = Thread(tmp_path)
    yield thread
    thread.close()


@contextlib.contextmanager
def settled(port: int, members: int) -> Iterator[Room]:
    """A room in which everyone has been told of everyone."""
    with contextlib.closing(Room(port, members)) as room:
        time.sleep(0.5)
        room.talk(1, 1)
        yield room


@pytest.mark.parametrize("shape", SHAPES)
def test_system_calls_a_delivery(process, shape):
    """A message is read once, passed on once and written once to each connection."""
    members, turns, at_once = SHAPES[shape]
    with settled(process.port, members) as room:
        check("system calls", {shape: process.system_calls(lambda: room.talk(turns, at_once))})


@pytest.mark.parametrize("shape", SHAPES)
def test_function_calls_a_delivery(thread, shape):
    """What is done for a message is not done for each copy, nor what is done for a turn for each message."""
    members, turns, at_once = SHAPES[shape]
    with settled(thread.port, members) as room:
        check("function calls", {shape: thread.function_calls(lambda: room.talk(turns, at_once))})


def test_function_calls_a_room(thread):
    """A room is made over REST, and its first member shakes hands and joins."""
    with contextlib.ExitStack() as rooms:
        rooms.enter_context(settled(thread.port, 1))

        def open_rooms() -> int:
            for _ in range(40):
                rooms.enter_context(contextlib.closing(Room(thread.port, 1)))
            return 40

        check("function calls", {"room": thread.function_calls(open_rooms)})
