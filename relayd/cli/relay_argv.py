"""Keeps what follows `#` in a link out of the process list."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Final

_SECRET: Final = re.compile(rb"(?<=#)ri_[^\0]*")


def hide_links(process: Path = Path("/proc/self")) -> None:
    """Overwrites the secret part of every link among this process's arguments, as the kernel shows them.

    Python has its own copy of them by now. Between the start of the process and this there are a few hundredths of
    a second, and a shell keeps its history: who must be sure gives `@FILE`.

    Source: proc(5): fields 48 and 49 of `stat` are the bounds of the arguments, which `cmdline` reads.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        shown = (process / "cmdline").read_bytes()
        # The name, field 2, may hold anything, but the last parenthesis ends it; what follows begins with field 3.
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        hidden = _SECRET.sub(lambda found: b"*" * len(found[0]), shown)
        if hidden != shown and len(hidden) == end - start:
            with (process / "mem").open("r+b", buffering=0) as memory:
                memory.seek(start)
                memory.write(hidden)
