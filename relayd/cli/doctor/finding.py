"""What a look at something has found, and what is known before the first look."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

OK, WARNING, PROBLEM = "ok", "warning", "problem"


class Finding(NamedTuple):
    """One line.

    Attributes:
        check: what was looked at.
        state: `ok`, `warning` (it works, and will not always) or `problem`.
        what: how it is.
        do: what to do about it; "" if nothing.
    """

    check: str
    state: str
    what: str
    do: str = ""


class Patient(NamedTuple):
    """What is known.

    Attributes:
        socket: path of the control socket.
        settings: those that hold, or the defaults if relayd does not run.
        status: what relayd says of itself; empty if it does not run.
        root: of the file system, "/" but for tests.
    """

    socket: str
    settings: Mapping[str, Any]
    status: Mapping[str, Any]
    root: Path = Path("/")

    @property
    def runs(self) -> bool:
        """Whether there is a relayd to look at."""
        return bool(self.status)

    @property
    def pids(self) -> list[int | str]:
        """Its processes, those of its workers last; this one in its place if it does not run."""
        if not self.runs:
            return ["self"]
        pid = self.status["pid"]
        return [pid, *map(int, self.text(f"proc/{pid}/task/{pid}/children").split())]

    @property
    def clients(self) -> int:
        """How many it would serve in one process."""
        return int(self.settings["limits"]["max_connections"]) or 100_000

    def text(self, path: str) -> str:
        """A file; "" if it cannot be read."""
        try:
            return (self.root / path).read_text()
        except OSError:
            return ""

    def numbers(self, path: str) -> list[int]:
        """The numbers in a file of the kernel's; none if there is no such file."""
        return [int(word) for word in self.text(path).split() if word.isdecimal()]
