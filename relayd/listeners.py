"""Listening sockets: bound before anything else starts, so that what cannot be had is known at once."""

from __future__ import annotations

import contextlib
import socket as sockets
import stat
from pathlib import Path

from tornado.netutil import bind_sockets, bind_unix_socket

from relayd.errors import SettingsError
from relayd.settings import Settings, parse_listen

BACKLOG = 4096  # Linux caps it at net.core.somaxconn, 4096 since 5.4


def bind_listeners(settings: Settings) -> list[sockets.socket]:
    """Listening sockets for `settings.listen`.

    Raises:
        SettingsError: naming each place that cannot be had, and why.
    """
    wanted = [("listen", text) for text in settings.listen]
    return _bind_all(wanted)


def bind_metrics(settings: Settings) -> list[sockets.socket]:
    """Listening sockets for `settings.metrics`; none if it is not set.

    Raises:
        SettingsError: why it cannot be had.
    """
    return _bind_all([("metrics", settings.metrics)] if settings.metrics else [])


def _bind_all(wanted: list[tuple[str, str]]) -> list[sockets.socket]:
    listeners: list[sockets.socket] = []
    problems: list[str] = []
    for key, text in wanted:
        try:
            listeners += _bind(parse_listen(text))
        except OSError as failed:
            problems.append(f"{key}: {text}: {failed.strerror or failed}")
    if problems:
        for listener in listeners:
            listener.close()
        raise SettingsError(problems)
    return listeners


def _bind(place: tuple[str, int] | Path) -> list[sockets.socket]:
    if isinstance(place, tuple):
        host, port = place
        return bind_sockets(port, host, backlog=BACKLOG)
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


def address_of(listener: sockets.socket) -> str:
    """Where it listens, as `http://HOST:PORT` or `unix:PATH`."""
    if listener.family == sockets.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
