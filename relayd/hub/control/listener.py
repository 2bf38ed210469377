"""The control socket: made so that it is never open to more people than it should be, and never two daemons'."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import logging
import os
import socket as sockets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from relayd.directories import missing_parents
from relayd.errors import CannotListen

log = logging.getLogger("relayd.control")

MODE, DIRECTORY_MODE = 0o660, 0o750
MAX_PATH_BYTES = 107  # sun_path of unix(7) without its final zero byte
_BACKLOG = 128
_LOCK_TRIES, _LOCK_WAIT_S = 50, 0.02


class ControlListener:
    """The listening socket and its place in the file system.

    Args:
        socket: listening.
        path: of its file, if that is this daemon's to remove; None if it is somebody else's socket.
    """

    def __init__(self, socket: sockets.socket, path: Path | None = None) -> None:
        self.socket = socket
        self.path: Path | None = None
        if path is not None:
            self.own(path)

    @classmethod
    def bind(cls, path: str, group: int | None) -> Self:
        """One of the daemon's own.

        Args:
            path: absolute; its directory is made if it is missing.
            group: number of the group that may connect; None leaves the daemon's own. A group that this process may
                not give a file to is left out, and the log says so: the socket works for its own user and root.

        Raises:
            CannotListen: it cannot be had, and why.
        """
        place = Path(path)
        try:
            _check_path(place)
            _make_directory(place.parent, group)
            with _locked(place.parent):
                _clear_place(place)
                listener = cls(_bind(place, group), place)
        except OSError as failed:
            raise CannotListen([f"control: {path}: {failed.strerror or failed}"]) from None
        if group is not None and place.stat().st_gid != group:
            log.warning(
                "control: the group of %s cannot be set to %s, so only root and this user can use relayctl; to change "
                "that, make this user a member of the group, or set control_groups.socket to one of its groups",
                path,
                _group_name(group),
            )
        return listener

    def own(self, path: Path) -> None:
        """Its file is this daemon's to remove."""
        with contextlib.suppress(OSError):  # somebody has removed it already
            self._inode = path.stat().st_ino
            self.path = path

    def lend(self) -> None:
        """Somebody else listens at that path from now on."""
        self.path = None

    def close(self) -> None:
        """Takes the socket away, unless another daemon's is there by now."""
        with contextlib.suppress(OSError):
            if self.path is not None and self.path.lstat().st_ino == self._inode:
                self.path.unlink()
        self.socket.close()


def _check_path(path: Path) -> None:
    if not path.is_absolute() or len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise OSError(0, f"is not absolute, or has more than {MAX_PATH_BYTES} bytes")


def _make_directory(directory: Path, group: int | None) -> None:
    if directory.is_dir():
        return
    # Of a group that may use the socket, parents let its members through, and no more.
    parent_mode = 0o700 if group is None else 0o710
    for one, mode in [(parent, parent_mode) for parent in missing_parents(directory)] + [(directory, DIRECTORY_MODE)]:
        # mkdir takes a mode, and a umask only takes away from it; so it's at no moment open to more than these.
        one.mkdir(mode=mode)
        _give_to_group(one, group)
        one.chmod(mode)


def _give_to_group(place: Path, group: int | None) -> None:
    """Sets the group of a file; leaves it if that is not permitted.

    EPERM: a user may give files to its own groups only. EINVAL: the group does not exist in this user namespace.
    """
    if group is None:
        return
    try:
        os.chown(place, -1, group)
    except OSError as failed:
        if failed.errno not in (errno.EPERM, errno.EINVAL):
            raise


def _group_name(group: int) -> str:
    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One daemon at a time: two that start together could both find a stale socket, and one remove the other's."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    for _ in range(_LOCK_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_LOCK_WAIT_S)
    raise OSError(0, "another process holds a lock on the directory")


def _clear_place(path: Path) -> None:
    """Removes what a dead daemon has left behind, and nothing else."""
    with contextlib.suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            raise OSError(0, "is a directory; give the path of a socket")
        if not stat.S_ISSOCK(mode):
            raise OSError(0, "is there already, and is no socket")
        if _is_answered(path):
            raise OSError(0, "another relayd listens there; stop it (relayctl stop) or give another --control")
        path.unlink()


def _is_answered(path: Path) -> bool:
    with sockets.socket(sockets.AF_UNIX) as probe:
        probe.setblocking(False)
        # EAGAIN is a living one whose queue is full; only a refusal says that nobody listens.
        return probe.connect_ex(str(path)) not in (errno.ECONNREFUSED, errno.ENOENT)


def _bind(path: Path, group: int | None) -> sockets.socket:
    listener = sockets.socket(sockets.AF_UNIX)
    # bind() makes the file with what the umask leaves of 0777, and a chmod after it would come too late for whoever
    # connects in between: so first nobody but the owner may, then the group is set, then it is let in. The umask is
    # the whole process's, and nothing else runs in it yet.
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    _give_to_group(path, group)
    path.chmod(MODE)
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener
