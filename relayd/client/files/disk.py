"""What is read from and written to disk. Everything here blocks, and is called in a thread."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import mimetypes
import os
import stat
import threading
from pathlib import Path
from typing import Final, NamedTuple

from relayd.client.errors import DiskError, FileChanged
from relayd.client.files.names import candidates

PIECE_BYTES: Final = 1024 * 1024  # read at once while hashing

# What hard links fail with where a file system has none: FAT, some network and FUSE file systems.
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


class _State(NamedTuple):
    """What changes when somebody writes to a file."""

    device: int
    inode: int
    size: int
    mtime_ns: int


class Source:
    """A file that is offered: opened once, so that it stays the same file whatever its name becomes.

    Args:
        path: of a regular file.

    Raises:
        DiskError: it cannot be read, or is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        try:
            # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
            self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as wrong:
            raise DiskError(f"{path} cannot be read: {wrong.strerror}") from None
        found = os.fstat(self._handle)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise DiskError(f"{path} is no file that can be sent")
        self.size = found.st_size
        self._before = _state_of(found)

    @property
    def media_type(self) -> str:
        """By its name."""
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"

    def digest(self, stop: threading.Event) -> bytes:
        """SHA-256 of all of it; once `stop` is set it is not read on.

        Raises:
            FileChanged: it did while it was read.
            DiskError: it cannot be read.
        """
        digest, at = hashlib.sha256(), 0
        while at <= self.size and not stop.is_set() and (piece := self._pread(PIECE_BYTES, at)):
            digest.update(piece)
            at += len(piece)
        self._check(at == self.size)
        return digest.digest()

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes at `offset`.

        Raises:
            FileChanged: it is another file than when it was opened.
            DiskError: it cannot be read.
        """
        data = self._pread(size, offset)
        self._check(len(data) == size)
        return data

    def _pread(self, size: int, offset: int) -> bytes:
        try:
            return os.pread(self._handle, size, offset)
        except OSError as wrong:
            raise DiskError(f"{self.path} cannot be read any more: {wrong.strerror}") from None

    def _check(self, whole: bool) -> None:
        if not whole or _state_of(os.fstat(self._handle)) != self._before:
            raise FileChanged(f"{self.name} was changed while it was sent: offer it again")

    def close(self) -> None:
        """Lets go of it."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)


def _state_of(found: os.stat_result) -> _State:
    return _State(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


class Partial:
    """A file that is being received: readable by its user alone until it is whole, and under a name of its own.

    That name is the file's, eight digits of its SHA-256 and `.part`, so what an earlier run left behind is found
    again, and nobody's own `.part` is ever taken for it. While it is open it is locked: two transfers do not share one.

    Args:
        directory: where; it must be there.
        name: from `safe_name`.
        sha256: of the whole file.
        most_bytes: the size of the whole file.

    Raises:
        DiskError: nothing can be made there.
    """

    def __init__(self, directory: Path, name: str, sha256: bytes, most_bytes: int) -> None:
        self.directory = directory
        self.name = name
        self.digest = hashlib.sha256()  # of what is held
        self.held_bytes = 0
        self._most_bytes = most_bytes
        self._is_part = True  # until it has its name, or is deleted
        self._closed = False
        try:
            self._folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as wrong:
            raise DiskError(f"no files can be put into {directory}: {wrong.strerror}") from None
        try:
            self._part, self._handle = self._open(f".{sha256.hex()[:8]}.part")
        except BaseException:
            os.close(self._folder)
            raise

    @property
    def path(self) -> Path:
        """Where the part is."""
        return self.directory / self._part

    def _open(self, suffix: str) -> tuple[str, int]:
        for part in candidates(self.name, suffix):
            for flags in (os.O_CREAT | os.O_EXCL, 0):
                handle = self._try(part, flags)
                if handle is not None:
                    return part, handle
        raise DiskError(f"there are too many parts of that name in {self.directory}")

    def _try(self, part: str, flags: int) -> int | None:
        """The part, locked; None if it cannot be had in that way."""
        flags |= os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            handle = os.open(part, flags, 0o600, dir_fd=self._folder)
        except OSError as wrong:
            if wrong.errno == errno.EEXIST or not flags & os.O_CREAT:
                return None  # something is there; it may not be ours, or no file at all
            raise DiskError(f"no files can be put into {self.directory}: {wrong.strerror}") from None
        found = os.fstat(handle)
        usable = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1
        try:
            if usable and found.st_size <= self._most_bytes:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return handle
        except BlockingIOError:
            pass  # another transfer is writing it
        os.close(handle)
        return None

    def recover(self, chunk_bytes: int) -> int:
        """Reads again what an earlier run has left, up to the last whole chunk.

        Args:
            chunk_bytes: of the offer.

        Returns:
            How many chunks are held. Never all: the final one comes again, so that there is an end to check at.
        """
        size = os.fstat(self._handle).st_size
        chunks = min(size // chunk_bytes, max(0, -(-self._most_bytes // chunk_bytes) - 1))
        while self.held_bytes < chunks * chunk_bytes:
            piece = os.pread(self._handle, min(PIECE_BYTES, chunks * chunk_bytes - self.held_bytes), self.held_bytes)
            if not piece:
                break  # somebody cuts it short at this moment: the digest will say that it is not whole
            self.digest.update(piece)
            self.held_bytes += len(piece)
        os.ftruncate(self._handle, self.held_bytes)
        return chunks

    def write(self, data: bytes) -> None:
        """Puts `data` at the end. The digest is its reader's to keep.

        Raises:
            DiskError: the disk is full, or gone.
        """
        rest = memoryview(data)
        try:
            while rest:
                written = os.pwrite(self._handle, rest, self.held_bytes)
                self.held_bytes += written
                rest = rest[written:]
        except OSError as wrong:
            raise DiskError(f"{self.name} cannot be written: {wrong.strerror}", self.path) from None

    def finish(self) -> Path:
        """It is whole: it gets its name, or `name (1)` and so on if there is such a file already.

        Raises:
            DiskError: it cannot be given one.
        """
        os.fchmod(self._handle, 0o666 & ~_umask())
        for name in candidates(self.name):
            if self._name_it(name):
                self._is_part = False
                self.close()
                return self.directory / name
        raise DiskError(f"there are too many files called {self.name} in {self.directory}")

    def _name_it(self, name: str) -> bool:
        """Gives the part that name, unless something has it."""
        try:
            # Unlike a rename, a link never takes the place of another file.
            os.link(self._part, name, src_dir_fd=self._folder, dst_dir_fd=self._folder, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError as wrong:
            if wrong.errno not in _NO_LINKS:
                raise DiskError(f"{self.name} cannot be put into {self.directory}: {wrong.strerror}") from None
            return self._rename_over_own(name)
        os.unlink(self._part, dir_fd=self._folder)
        return True

    def _rename_over_own(self, name: str) -> bool:
        # Where there are no links: an empty file that is certainly ours is made first, and then replaced.
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=self._folder))
        except FileExistsError:
            return False
        os.rename(self._part, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        return True

    def discard(self) -> None:
        """Deletes it."""
        with contextlib.suppress(OSError):
            os.unlink(self._part, dir_fd=self._folder)
        self._is_part = False
        self.close()

    def close(self) -> None:
        """Lets go of it, and keeps it; an empty one is not worth keeping."""
        if self._closed:
            return  # else the numbers would be those of files of others by now
        self._closed = True
        with contextlib.suppress(OSError):
            if self._is_part and os.fstat(self._handle).st_size == 0:
                os.unlink(self._part, dir_fd=self._folder)
        for handle in (self._handle, self._folder):
            with contextlib.suppress(OSError):
                os.close(handle)


def _umask() -> int:
    """What this process leaves out of the rights of new files. Asking by umask(2) would change it for a moment."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o077
