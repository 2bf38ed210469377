"""Small texts that outlive the process in systemd's file descriptor store: in memory, on no disk."""

from __future__ import annotations

import contextlib
import os

from relayd.machine.systemd import Systemd


class StoredText:
    """A text under a name of its own in the store, as a memfd.

    systemd hands it in at each start until it is removed, or the service is stopped. Without a systemd that stores
    descriptors (`FileDescriptorStoreMax=` of the unit) nothing is stored, and `take` finds nothing.

    Args:
        name: in the store; letters, digits and hyphens.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def take(self, systemd: Systemd) -> str | None:
        """The text that an earlier process has stored; None if there is none. The store keeps it."""
        text = None
        for fd in systemd.fds.pop(self.name, []):
            with contextlib.closing(os.fdopen(fd, "rb")) as file:
                # The offset is shared with the process that has written it: systemd holds a copy of its descriptor.
                text = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")
        return text

    def write(self, systemd: Systemd, text: str) -> None:
        """Replaces what is stored."""
        if not systemd.is_there:
            return
        fd = os.memfd_create(f"relayd-{self.name}")  # closed by exec
        try:
            os.write(fd, text.encode())
            self.remove(systemd)
            systemd.store_fd(self.name, fd)
        finally:
            os.close(fd)

    def remove(self, systemd: Systemd) -> None:
        """Stores nothing any more."""
        systemd.remove_fd(self.name)
