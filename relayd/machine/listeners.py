"""Listening sockets: bound before anything else starts, so that what cannot be had is known at once."""

from __future__ import annotations

import contextlib
import socket as sockets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from tornado.netutil import bind_sockets, bind_unix_socket

from relayd.errors import CannotListen
from relayd.settings import parse_listen

# A peer that acknowledges nothing, or reads nothing, for so long has gone: tcp(7). Twice the time between two pings.
USER_TIMEOUT_S = 60
BACKLOG = 4096  # Linux caps it at net.core.somaxconn, 4096 since 5.4


class Listeners:
    """Where clients connect.

    Args:
        sockets: listening.
        lent: whether they are somebody else's, who goes on listening when this process has ended.

    Attributes:
        sockets, lent: see above.
        addresses: of each, as `http://HOST:PORT` or `unix:PATH`.
    """

    def __init__(self, sockets: list[sockets.socket], *, lent: bool = False) -> None:
        self.sockets = sockets
        self.addresses = [_address_of(listener) for listener in sockets]
        self.lent = lent

    @classmethod
    def bind(cls, setting: str, places: Iterable[str]) -> Self:
        """At these places.

        Args:
            setting: that has them, for the error.
            places: see `parse_listen`.

        Raises:
            CannotListen: naming each that cannot be had, and why.
        """
        bound: list[sockets.socket] = []
        problems: list[str] = []
        for text in places:
            try:
                bound += _bind(parse_listen(text))
            except OSError as failed:
                problems.append(f"{setting}: {text}: {failed.strerror or failed}")
        if problems:
            for listener in bound:
                listener.close()
            raise CannotListen(problems)
        return cls(bound)

    @classmethod
    def take(cls, fds: list[int]) -> Self:
        """Those that systemd holds and has handed in, TCP first: systemd passes several units' in no order.

        Raises:
            CannotListen: one of them is no listening socket.
        """
        return cls(sorted(map(listening, fds), key=_address_of), lent=True)

    def close(self) -> None:
        """Listens no more, and leaves no socket file that nobody answers at."""
        for listener, address in zip(self.sockets, self.addresses, strict=True):
            listener.close()
            if address.startswith("unix:") and not self.lent:
                Path(address.removeprefix("unix:")).unlink(missing_ok=True)


def listening(fd: int) -> sockets.socket:
    """The listening socket that was handed in as this descriptor.

    Raises:
        CannotListen: it is none.
    """
    try:
        socket = sockets.socket(fileno=fd)
        listens = socket.type == sockets.SOCK_STREAM and socket.getsockopt(sockets.SOL_SOCKET, sockets.SO_ACCEPTCONN)
    except OSError as failed:
        raise CannotListen([f"descriptor {fd}, handed in by systemd, is no socket: {failed.strerror}"]) from None
    if not listens:
        socket.close()
        raise CannotListen([f"descriptor {fd}, handed in by systemd, does not listen; is Accept=yes in its unit?"])
    socket.setblocking(False)
    _set_user_timeout(socket)
    return socket


def _set_user_timeout(listener: sockets.socket) -> None:
    """For the connections that it accepts, which inherit it."""
    if listener.family != sockets.AF_UNIX and hasattr(sockets, "TCP_USER_TIMEOUT"):  # Linux has it
        listener.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT, USER_TIMEOUT_S * 1000)


def _bind(place: tuple[str, int] | Path) -> list[sockets.socket]:
    if isinstance(place, tuple):
        host, port = place
        if bound := bind_sockets(port, host, backlog=BACKLOG):
            for listener in bound:
                _set_user_timeout(listener)
            return bound
        # Tornado passes over kinds of addresses that this process may not have: RestrictAddressFamilies= of a unit.
        raise OSError(0, "may not be opened by this process; if systemd is to open it: is its .socket unit active?")
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(place.lstat().st_mode):
            raise OSError(0, "is there already, and is no socket")
        if _answers(place):
            raise OSError(0, "another process listens there")
    # 0666: whoever may reach the directory may connect, as with a TCP port; REST and chat ask for keys.
    return [bind_unix_socket(str(place), mode=0o666, backlog=BACKLOG)]


def _answers(path: Path) -> bool:
    with sockets.socket(sockets.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False  # left behind by a process that is gone
        return True


def _address_of(listener: sockets.socket) -> str:
    if listener.family == sockets.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
