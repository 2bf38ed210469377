"""Where relayd's time goes: py-spy looks at it a few hundred times a second while it works."""

from __future__ import annotations

import collections
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench import peers, works
from bench.peers import RELAYD, Running
from bench.works import many_rooms, one_room

_RATE = 400
_ROWS = 18


def main() -> None:
    """A table for each work: the share of samples in which a function was at the top, and anywhere."""
    for title, work, wait_s, watch_s in (
        ("1 room x 1000", lambda server: works.talk(server, one_room(seconds=6)), 3.5, 3),
        ("200 rooms x 5", lambda server: works.talk(server, many_rooms(seconds=6)), 3.5, 3),
        ("joins, 2,000 rooms x 5", lambda server: works.join(server, 2000), 2.5, 2),
        ("POST /api/v1/room", lambda server: works.request(server, works.CREATE, seconds=4), 0.5, 3),
    ):
        print(f"### {title}\n\n{_watch(work, wait_s, watch_s)}\n")


def _watch(work: Callable[[Running], object], wait_s: float, watch_s: float) -> str:
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or "py-spy"
    with peers.running(RELAYD) as server, tempfile.NamedTemporaryFile("r") as raw:
        worker = threading.Thread(target=work, args=(server,))
        worker.start()
        time.sleep(wait_s)
        # --native: the kernel is entered from uvloop's and ZeroMQ's compiled code.
        command = [spy, "record", "--native", "-r", str(_RATE), "-d", str(watch_s), "-f", "raw", "-o", raw.name]
        subprocess.run([*command, "-p", str(server.pids[0])], check=True, capture_output=True)
        worker.join()
        return _table(Path(raw.name).read_text())


def _table(raw: str) -> str:
    top: collections.Counter[str] = collections.Counter()
    anywhere: collections.Counter[str] = collections.Counter()
    total = 0
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_short(frame) for frame in stack.split(";")]
        total += int(count)
        top[frames[-1]] += int(count)
        for frame in set(frames):
            anywhere[frame] += int(count)
    lines = ["| function | itself | with what it calls |", "| --- | --- | --- |"]
    for name, count in top.most_common(_ROWS):
        lines.append(f"| `{name}` | {count / total:.1%} | {anywhere[name] / total:.1%} |")
    lines += ["", "| most time below | share |", "| --- | --- |"]
    ours = [(name, count) for name, count in anywhere.most_common() if "relayd" in name][:_ROWS]
    lines += [f"| `{name}` | {count / total:.1%} |" for name, count in ours]
    return "\n".join(lines)


def _short(frame: str) -> str:
    """Without the line's number, so that a function counts as one."""
    name, _, place = frame.partition(" (")
    return f"{name} ({place.rpartition(':')[0] or place.removesuffix(')')})"
