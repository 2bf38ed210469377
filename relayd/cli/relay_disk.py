"""How much of a disk files may fill that nobody has looked at before they are taken."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from relayd.cli.ctl_output import size
from relayd.client import DiskError, Receiving

KEEP_FREE_SHARE: Final = 0.05  # of the file system: what mkfs.ext4 keeps for root by default
KEEP_FREE_BYTES: Final = 1024**3  # and no more than this, which is enough for logs and updates on a large disk


class Disk(NamedTuple):
    """A file system: bytes in all, and those that are free for this user."""

    total: int
    free: int

    @property
    def keep_free(self) -> int:
        """Bytes that are to stay free."""
        return min(KEEP_FREE_BYTES, int(self.total * KEEP_FREE_SHARE))


def disk_of(directory: Path) -> Disk:
    """The file system of a directory.

    Raises:
        OSError: it cannot be read.
    """
    found = os.statvfs(directory)
    return Disk(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


class DiskLimit:
    """Refuses files that would fill the disk, or exceed what may be taken in all.

    Args:
        directory: where they go.
        max_bytes: of all files together; None for no limit but the disk.
        disk: reads the file system of a directory.
    """

    def __init__(self, directory: Path, max_bytes: int | None, disk: Callable[[Path], Disk] = disk_of) -> None:
        self._directory = directory
        self._disk = disk
        self._left = max_bytes
        self._under_way: set[Receiving] = set()

    def check(self, name: str, file_bytes: int) -> None:
        """Accepts a file of that size.

        Raises:
            DiskError: it is not to be taken; says what to do.
        """
        if self._left is not None and file_bytes > self._left:
            left = f"{size(file_bytes)} is more than the {size(self._left)} that --max-bytes leaves"
            raise DiskError(f"{name} was not taken: {left}")
        disk = self._disk(self._directory)
        coming = file_bytes + _missing(self._under_way)
        if disk.total and disk.free - coming < disk.keep_free:  # ramfs has a size of 0, and tells nothing
            raise DiskError(
                f"{name} was not taken: {size(disk.keep_free)} of the disk stay free, and with it less would be; "
                f"make room in {self._directory}, or take the file by /accept in relay join"
            )

    def begin(self, receiving: Receiving) -> None:
        """Counts a file that is being received."""
        self._under_way.add(receiving)
        if self._left is not None:
            self._left -= receiving.size

    def end(self, receiving: Receiving, *, whole: bool) -> None:
        """It has come, or did not; what is kept of it then counts no more, as it may go on later."""
        self._under_way.discard(receiving)
        if self._left is not None and not whole:
            self._left += receiving.size


def _missing(under_way: Iterable[Receiving]) -> int:
    """Bytes of files that are being received and are not on the disk yet."""
    return sum(receiving.size - receiving.received_bytes for receiving in under_way)
