"""What the kernel knows of a process."""

from __future__ import annotations

import resource
from pathlib import Path


def resident_bytes(pid: int | str = "self") -> int:
    """Memory it has; 0 if it is gone."""
    try:
        # proc_pid_statm(5): the second number is resident pages.
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def children(pid: int) -> list[int]:
    """Those it has started and that live; none where the kernel does not tell."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
