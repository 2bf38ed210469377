"""Directories that are made for one user alone, with all that is missing above them."""

from __future__ import annotations

from pathlib import Path


def missing_parents(path: Path) -> list[Path]:
    """The directories above `path` that are to be made, the topmost first.

    `Path.mkdir(parents=True)` makes them with what the umask leaves of 0777, whatever mode is asked for.
    """
    return [parent for parent in reversed(path.parents) if not parent.is_dir()]


def make_private(path: Path) -> None:
    """Makes a directory and those above it that are missing, all with 0700; leaves those that are there.

    Raises:
        OSError: one cannot be made.
    """
    for one in [*missing_parents(path), path]:
        one.mkdir(mode=0o700, exist_ok=True)
