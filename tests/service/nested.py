"""A system of its own for the tests: systemd as the first process of namespaces, on files that it cannot change."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
SYSTEMD = Path("/lib/systemd/systemd")
SERVICE, SOCKETS = "relayd.service", ("relayd.socket", "relayd-tcp.socket", "relayd-control.socket")
TIMEOUT_S = 60.0
_NAMESPACES = ("--pid", "--mount", "--net", "--ipc", "--uts", "--cgroup", "--fork")


def why_not() -> str:
    """Why no such system can be had here; "" if it can."""
    if os.geteuid() != 0:
        return "needs root"
    if not SYSTEMD.exists():
        return "needs systemd"
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return "needs unshare and nsenter"
    probe = subprocess.run(["unshare", *_NAMESPACES, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        return f"no namespaces here: {probe.stderr.strip()}"
    return "" if os.access(_own_group(), os.W_OK) else "no control groups (version 2) to write to"


def until(true: Callable[[], Any], timeout: float = TIMEOUT_S) -> Any:
    """Waits for something to be so; gives it."""
    ends_at = time.monotonic() + timeout
    while not (found := true()):
        assert time.monotonic() < ends_at, f"not within {timeout} s: {true}"
        time.sleep(0.05)
    return found


class System:
    """A running one.

    Attributes:
        root: its files, from outside.
        http: path of relayd's listening Unix socket, from outside.
        control: path of its control socket, from outside.
    """

    def __init__(self, init: int) -> None:
        self._init = init
        self._cursor = ""
        self.root = Path(f"/proc/{init}/root")
        self.http = self.root / "run/relayd/http.sock"
        self.control = self.root / "run/relayd/control.sock"

    def _enter(self, command: tuple[Any, ...]) -> list[str]:
        entered = ["nsenter", f"--target={self._init}", "--all", "env", "-i", "PATH=/usr/sbin:/usr/bin"]
        return [*entered, *map(str, command)]

    @contextlib.contextmanager
    def running(self, *command: Any) -> Iterator[None]:
        """A command in there, beside others; it is ended with the block."""
        process = subprocess.Popen(self._enter(command), stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # nsenter, and what it has started in there
            process.wait()

    def run(self, *command: Any, code: int | None = 0, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        """A command in there, run to its end, which must be with that code (None: any)."""
        done = subprocess.run(
            self._enter(command),
            capture_output=True,
            text=True,
            timeout=2 * TIMEOUT_S,
            check=False,
            **kwargs,
        )
        assert code in (None, done.returncode), (command, done.returncode, done.stdout, done.stderr)
        return done

    def systemctl(self, *arguments: Any, code: int | None = 0) -> str:
        return self.run("systemctl", *arguments, code=code).stdout.strip()

    def show(self, name: str, unit: str = SERVICE) -> str:
        """A property of a unit."""
        return self.systemctl("show", unit, "--property", name, "--value")

    @property
    def main_pid(self) -> int:
        """Of relayd, as it is numbered in there; 0 if there is none."""
        return int(self.show("MainPID"))

    def children(self, pid: int) -> list[int]:
        """Of a process in there."""
        return [int(child) for child in (self.root / f"proc/{pid}/task/{pid}/children").read_text().split()]

    def signal(self, name: str, pid: int) -> None:
        self.run("kill", f"-{name}", pid)

    def journal(self, *options: str) -> str:
        """What relayd, and systemd of it, logged since it was begun anew for a test."""
        after = ["--cursor", self._cursor] if self._cursor else []
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--unit", SERVICE, "--output=cat", *options, *after).stdout

    def relayctl(self, *arguments: Any, **kwargs: Any) -> Any:
        """What `relayctl -o json` prints."""
        return json.loads(self.run("relayctl", "-o", "json", *arguments, **kwargs).stdout or "null")

    # relayd, for one test. --------------------------------------------------------------------------------------

    def mark(self) -> None:
        """`journal` gives what is logged from now on."""
        # --after-cursor would leave out the first line that fits; so the place is that of a line of nobody's.
        self.run("systemd-cat", "echo", "begin")
        self.run("journalctl", "--sync")
        self._cursor = self.run("journalctl", "--lines=1", "--show-cursor").stdout.partition("cursor: ")[2].strip()

    def begin(self, settings: str = "", unit: str = "", code: int = 0) -> None:
        """Starts relayd with these settings (TOML) and this addition to its unit, and nothing of what was before.

        The start must succeed, or fail with another `code`.
        """
        self.end()
        self.mark()
        file = self.root / "etc/relayd/relayd.toml"
        file.unlink(missing_ok=True)  # it may be a pipe
        file.write_text(settings)
        file.chmod(0o644)
        if unit:
            directory = self.root / f"etc/systemd/system/{SERVICE}.d"
            directory.mkdir()
            (directory / "test.conf").write_text(unit)
            self.systemctl("daemon-reload")
        self.systemctl("start", SERVICE, code=code)

    def end(self) -> None:
        """Stops relayd and its sockets, and forgets."""
        self.systemctl("stop", SERVICE, *SOCKETS)
        self.systemctl("reset-failed", SERVICE, *SOCKETS, code=None)  # fails for what was never started
        directory = self.root / f"etc/systemd/system/{SERVICE}.d"
        if directory.exists():
            shutil.rmtree(directory)
            self.systemctl("daemon-reload")


@contextlib.contextmanager
def boot(*, install: bool = True) -> Iterator[System]:
    """Starts a system, with relayd (from this checkout) or without, and ends it and all that runs in it."""
    group = _own_group() / f"relayd-test-{os.getpid()}-{os.urandom(4).hex()}"
    group.mkdir()
    python = (sys.base_prefix, sysconfig.get_path("platlib"), PROJECT) if install else ()
    with tempfile.TemporaryDirectory(prefix="relayd-system-") as scratch, tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            # The group is entered first: it becomes the root of all control groups in there.
            [
                *("sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec setpriv --pdeathsig KILL "$@"', group),
                *("unshare", *_NAMESPACES, "--kill-child"),
                *("sh", Path(__file__).with_name("boot.sh"), scratch, *python),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            system = System(until(lambda: _init_of(process, log)))
            until(lambda: system.systemctl("is-system-running", code=None) in ("running", "degraded"))
            yield system
        finally:
            process.kill()  # and with it the first process in there, and with that all others
            process.wait()
            until(lambda: not (group / "cgroup.procs").read_text() and _removed(group))


def _init_of(process: subprocess.Popen[bytes], log: Any) -> int:
    """The number of the system's first process, once it is systemd."""
    if process.poll() is not None:
        log.seek(0)
        raise AssertionError(f"the system did not start: {log.read()}")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    with contextlib.suppress(OSError):
        if children and Path(f"/proc/{children[0]}/comm").read_text() == "systemd\n":
            return int(children[0])
    return 0


def _own_group() -> Path:
    """The control group (version 2) of this process."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    places = [fields[4] for fields in mounts if fields[fields.index("-") + 1] == "cgroup2"]
    own = next((line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")), "0::/")
    return Path(places[0] + own.removeprefix("0::")) if places else Path("/nonexistent")


def _removed(group: Path) -> bool:
    try:
        for directory in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            directory.rmdir()
        group.rmdir()
    except OSError:
        return False  # the kernel still ends what was in there
    return True
