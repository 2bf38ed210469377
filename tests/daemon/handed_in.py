"""A relayd that is started with listening sockets, as a service manager does it (sd_listen_fds(3))."""

from __future__ import annotations

import json
import os
import socket as sockets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.control.conftest import BIN, Daemon

# Puts descriptors to the numbers from 3 on, says so in variables, and becomes relayd.
_BECOME = """
import json, os, sys
fds, names, variables, relayd = json.loads(sys.argv[1])
for number, fd in enumerate(fds, start=3):
    os.dup2(fd, number)
listen = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": ":".join(names)}
os.execve(relayd, [relayd, *sys.argv[2:]], {**os.environ, **listen, **variables})
"""


def daemon_with(
    directory: Path,
    named: Sequence[tuple[sockets.socket, str]],
    *arguments: str,
    variables: dict[str, str],
    **kwargs: Any,
) -> Daemon:
    """A daemon that has these sockets, each with its name; one of them listens for TCP on an IPv4 address."""
    # Under numbers that are free otherwise: those from 3 on are about to be taken.
    fds = [os.dup2(socket.fileno(), 60 + index) for index, (socket, _) in enumerate(named)]
    given = json.dumps([fds, [name for _, name in named], variables, str(BIN / "relayd")])
    try:
        return Daemon(directory, *arguments, program=[sys.executable, "-c", _BECOME, given], pass_fds=fds, **kwargs)
    finally:
        for fd in fds:
            os.close(fd)
