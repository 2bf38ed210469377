"""The service manager: what it hands in at the start, and what it is told.

By the protocols of sd_listen_fds(3) and sd_notify(3), which are promised to stay as they are; libsystemd would be a
dependency for forty lines. Started by a shell, all of this does nothing.
"""

from __future__ import annotations

import logging
import os
import socket as sockets
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Self

log = logging.getLogger("relayd.systemd")

FIRST_FD = 3  # SD_LISTEN_FDS_START
_SEND_S = 1.0  # systemd's queue is full only while it starts itself anew
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")


class Systemd:
    """The service manager of this process, if it has one.

    Args:
        notify_socket: path of the socket on which it listens, "@..." for an abstract one; "" if there is none.
        watchdog_s: it wants a sign of life at least so often, or restarts the service; None if it does not.
        fds: descriptors that it handed in, by name.

    Attributes:
        watchdog_s, fds: see above. Names are those that `FileDescriptorName=` gives, or `store_fd` gave in an
            earlier life; the descriptors are the taker's to close.
    """

    def __init__(
        self, notify_socket: str = "", watchdog_s: float | None = None, fds: dict[str, list[int]] | None = None
    ) -> None:
        self.watchdog_s = watchdog_s
        self.fds = fds or {}
        self._notify_socket = notify_socket

    @property
    def is_there(self) -> bool:
        """Whether somebody hears what is told."""
        return bool(self._notify_socket)

    @classmethod
    def take(cls, environment: MutableMapping[str, str], pid: int) -> Self:
        """That which started the process `pid`, with this environment.

        The variables are taken out of it, and the descriptors are closed by exec: a child is no service, and must
        hold no listening socket.
        """
        of = {name: environment.pop(name, "") for name in _VARIABLES}
        fds: dict[str, list[int]] = {}
        # A variable that was meant for a parent, or the other way round, is no business of ours: sd_listen_fds(3).
        if of["LISTEN_PID"] == str(pid) and of["LISTEN_FDS"].isdecimal():
            names = of["LISTEN_FDNAMES"].split(":")
            for index in range(int(of["LISTEN_FDS"])):
                fd = FIRST_FD + index
                os.set_inheritable(fd, False)
                fds.setdefault(names[index] if index < len(names) else "unknown", []).append(fd)
        watched = of["WATCHDOG_USEC"].isdecimal() and of["WATCHDOG_PID"] in ("", str(pid))
        return cls(of["NOTIFY_SOCKET"], int(of["WATCHDOG_USEC"]) / 1e6 if watched else None, fds)

    def environment(self) -> dict[str, str]:
        """The variables by which a process that takes over finds it; it gets its descriptors in another way."""
        watchdog = {} if self.watchdog_s is None else {"WATCHDOG_USEC": str(round(self.watchdog_s * 1e6))}
        return {"NOTIFY_SOCKET": self._notify_socket, **watchdog} if self._notify_socket else {}

    def notify(self, *fds: int, **fields: str | int) -> bool:
        """Tells it some of the fields of sd_notify(3), in one message: `notify(READY=1, STATUS="...")`.

        Args:
            fds: go with the message; for `FDSTORE`.
            fields: a value is one line.

        Returns:
            False if there is nobody to tell, or it could not be told; that is logged.
        """
        return self._send(fds, fields, _SEND_S)

    def mention(self, **fields: str | int) -> bool:
        """Like `notify`, for what will be told again soon: does not wait for a systemd that is busy."""
        return self._send((), fields, 0.0)

    def _send(self, fds: Iterable[int], fields: Mapping[str, str | int], timeout_s: float) -> bool:
        if not self.is_there:
            return False
        address = "\0" + self._notify_socket[1:] if self._notify_socket.startswith("@") else self._notify_socket
        text = "".join(f"{name}={' '.join(str(value).splitlines())}\n" for name, value in fields.items())
        try:
            with sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM) as socket:
                socket.settimeout(timeout_s)
                socket.connect(address)
                sockets.send_fds(socket, [text.encode()], list(fds))
        except OSError as failed:
            log.warning("systemd could not be told %s: %s", ", ".join(fields), failed.strerror or failed)
            return False
        return True

    def store_fd(self, name: str, fd: int) -> bool:
        """Has it keep a copy of the descriptor until the service stops: `fds[name]` of the next life has it.

        It is kept over `restart`, a crash and kill -9. Once a copy is kept, what is written into a memfd is kept, too.
        A second one under the same name is kept beside the first one. Past `FileDescriptorStoreMax=` of the unit it
        is thrown away, and systemd's log says so.
        """
        return self.notify(fd, FDSTORE=1, FDNAME=name)

    def remove_fd(self, name: str) -> bool:
        """Has it close all descriptors that it keeps under that name."""
        return self.notify(FDSTOREREMOVE=1, FDNAME=name)
