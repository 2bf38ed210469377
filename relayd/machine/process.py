"""What the kernel knows of a process."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path


def resident_bytes(pid: int | str = "self") -> int:
    """Memory it has; 0 if it is gone."""
    try:
        # proc_pid_statm(5): the second number is resident pages.
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def open_descriptors() -> int:
    """How many this process has open."""
    # Since Linux 6.2 the directory's size is their number; before, they are counted, which takes its time.
    return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))  # noqa: PTH116, PTH208 - plain and fast


def started_at() -> float:
    """When this process began, in seconds since 1970."""
    # proc_pid_stat(5), field 22, counted behind the name in parentheses: clock ticks between boot and start.
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted_at + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Those it has started and that live; none where the kernel does not tell."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
