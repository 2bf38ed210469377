"""A service manager that keeps descriptors, and relayd under it."""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import re
import signal
import socket as sockets
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

RELAYD = Path(sys.executable).with_name("relayd")
# What systemd does before exec: descriptors from 3 on, and the process they are meant for.
_SERVICE = 'n=3; for fd in $FDS; do eval "exec $n<&$fd"; n=$((n + 1)); done; export LISTEN_PID=$$; exec "$@"'
_MAX_MESSAGE_BYTES, _MAX_FDS = 4096, 16
_SENDER = struct.Struct("iII")  # struct ucred of unix(7): process, user, group


class Keeper:
    """Does with relayd what systemd does with a service: keeps its descriptors, and starts it again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log: list[str] = []
        self.kept: list[tuple[str, int]] = []  # name and descriptor
        self.told: list[dict[str, str]] = []
        self.ignored: list[dict[str, str]] = []  # said by another than the main process
        self.main_pid = 0
        self.process: asyncio.subprocess.Process
        self.base = ""
        self._reading: list[asyncio.Task[None]] = []
        self._socket = sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM)
        self._socket.bind(str(directory / "notify"))
        self._socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_PASSCRED, 1)
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._hear)

    @property
    def control(self) -> Path:
        return self.directory / "control.sock"

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                space = sockets.CMSG_SPACE(_MAX_FDS * 4) + sockets.CMSG_SPACE(_SENDER.size)
                data, ancillary, _, _ = self._socket.recvmsg(_MAX_MESSAGE_BYTES, space)
                fds, sender = array.array("i"), 0
                for _, kind, payload in ancillary:
                    if kind == sockets.SCM_RIGHTS:
                        fds.frombytes(payload)
                    else:
                        sender = _SENDER.unpack(payload)[0]
                self._obey(sender, dict(line.split("=", 1) for line in data.decode().splitlines()), fds)

    def _obey(self, sender: int, fields: dict[str, str], fds: Iterable[int]) -> None:
        if sender != self.main_pid:  # as with NotifyAccess=main
            self.ignored.append(fields)
            for fd in fds:
                os.close(fd)
            return
        self.told.append(fields)
        self.main_pid = int(fields.get("MAINPID", self.main_pid))
        if "FDSTORE" in fields:
            for fd in fds:
                if any(os.path.samestat(os.fstat(fd), os.fstat(kept)) for _, kept in self.kept):
                    os.close(fd)
                else:
                    self.kept.append((fields["FDNAME"], fd))
        if "FDSTOREREMOVE" in fields:
            self.forget(fields["FDNAME"])

    def forget(self, name: str) -> None:
        """What systemd does when it is told so, and with all of them when a service is stopped."""
        for kept in [one for one in self.kept if one[0] == name]:
            os.close(kept[1])
            self.kept.remove(kept)

    async def start(self, *arguments: str, **environment: str) -> None:
        names, fds = [name for name, _ in self.kept], [fd for _, fd in self.kept]
        handed = {"LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": ":".join(names), "FDS": " ".join(map(str, fds))}
        listen = self.base.removeprefix("http://") or "127.0.0.1:0"
        self.process = await asyncio.create_subprocess_exec(
            *("bash", "-c", _SERVICE, "-", RELAYD, "--listen", listen, "--control", str(self.control), *arguments),
            stderr=asyncio.subprocess.PIPE,
            pass_fds=fds,
            env={**os.environ, "NOTIFY_SOCKET": str(self.directory / "notify"), **handed, **environment},
        )
        self.main_pid = self.process.pid
        listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reading.append(asyncio.create_task(self._read_log(self.process, listening)))
        self.base = await asyncio.wait_for(listening, 30)

    async def _read_log(self, process: asyncio.subprocess.Process, listening: asyncio.Future[str]) -> None:
        async for line in process.stderr:
            self.log.append(line.decode().rstrip())
            found = re.search(r"listening on (http://\S+)", self.log[-1])
            if found and not listening.done():
                listening.set_result(found[1])
        if not listening.done():
            listening.set_exception(RuntimeError("\n".join(self.log)))

    async def end(self, number: int = signal.SIGTERM) -> None:
        """By its own pid, and waits until it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.main_pid, number)
        await until(lambda: not Path(f"/proc/{self.main_pid}").exists() or self.main_pid == self.process.pid)
        await asyncio.wait_for(self.process.wait(), 30)

    async def restart(self, number: int = signal.SIGTERM, *arguments: str, **environment: str) -> None:
        await self.end(number)
        await self.start(*arguments, **environment)

    def logged(self, text: str) -> bool:
        return any(text in line for line in self.log)

    async def close(self) -> None:
        await self.end(signal.SIGKILL)
        await asyncio.gather(*self._reading)
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        for _, fd in self.kept:
            os.close(fd)


async def until(holds: Callable[[], Any], timeout: float = 30) -> None:
    """Waits for it."""
    async with asyncio.timeout(timeout):
        while not holds():
            await asyncio.sleep(0.02)
