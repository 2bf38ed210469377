"""Talks to a daemon's control socket: HTTP/1.1 (RFC 9112) over a Unix socket.

Only what this one server answers is understood, on a connection for each request. The standard library's client
would cost three times what it takes to start Python, and `relayctl` is started for every command. For the same
reason this is no part of `relayd.client`, which brings all that a chat takes.
"""

from __future__ import annotations

import json
import os
import socket as sockets
from collections.abc import Iterator, Mapping
from typing import Any, Self

from relayd.machine.places import SERVICE_CONTROL, default_control

TIMEOUT_S = 10.0
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")  # RFC 3986, 2.3
_MAX_LINE_BYTES = 65_536


class Unreachable(Exception):
    """Nobody answers at the socket."""


class Silent(Unreachable):
    """The socket is open, and no answer comes: relayd hangs, or systemd holds the socket for one that cannot start."""


class Denied(Exception):
    """The socket is there, and this user may not use it."""


class BrokenOff(Exception):
    """The daemon went away in the middle of its answer."""


class Refused(Exception):
    """The daemon says no.

    Attributes:
        code: its word for what is wrong, e.g. `no_such_room`.
        detail: a sentence.
        errors: the fields that are wrong, each with `field` and `detail`.
    """

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.code = str(problem.get("code", "internal"))
        self.detail = str(problem.get("detail", "the daemon said no more"))
        self.errors: list[dict[str, str]] = problem.get("errors", [])
        super().__init__(self.detail)


def find_socket(environment: Mapping[str, str]) -> str:
    """The control socket of this user's daemon, or else of the service: the first that is there."""
    if environment.get("RELAYD_CONTROL"):
        return environment["RELAYD_CONTROL"]
    own = default_control(environment)
    return SERVICE_CONTROL if not os.path.exists(own) and os.path.exists(SERVICE_CONTROL) else own  # noqa: PTH110 - pathlib costs 8 ms


def quote(text: str) -> str:
    """Percent-encoded, to stand in a path or a query."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode())


def path(*parts: str, **query: Any) -> str:
    """A path of the API and its query; what is None in a query is left out."""
    pairs = [f"{name}={quote(str(value))}" for name, value in query.items() if value is not None]
    return "/v1/" + "/".join(map(quote, parts)) + (f"?{'&'.join(pairs)}" if pairs else "")


class Control:
    """A daemon's control socket.

    Args:
        socket_path: where it is.
    """

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path

    def get(self, target: str) -> Any:
        """What is there, decoded."""
        return self.request("GET", target)

    def request(self, method: str, target: str, body: Any = None, timeout_s: float = TIMEOUT_S) -> Any:
        """Does what is asked, and gives the answer, decoded; None if it is empty.

        Raises:
            Unreachable, Silent, Denied, BrokenOff, Refused: what became of it.
        """
        text = self._text(method, target, body, timeout_s)
        return json.loads(text) if text else None

    def text(self, target: str) -> str:
        """What is there, as text.

        Raises:
            Unreachable, Silent, Denied, BrokenOff, Refused: what became of it.
        """
        return self._text("GET", target, None, TIMEOUT_S).decode()

    def _text(self, method: str, target: str, body: Any, timeout_s: float) -> bytes:
        try:
            with _ask(self._connect(timeout_s), method, target, body) as answer:
                return b"".join(answer.chunks())
        except TimeoutError:
            raise Silent(f"relayd did not answer at {self.socket_path} within {timeout_s:.0f} s") from None
        except ConnectionError:
            raise BrokenOff from None

    def lines(self, target: str) -> Iterator[dict[str, Any]]:
        """What comes, line by line, until the daemon says that it was all.

        Raises:
            Unreachable, Denied, Refused: before the first line.
            BrokenOff: the daemon has gone.
        """
        connection, rest = self._connect(), b""
        try:
            with _ask(connection, "GET", target, None) as answer:
                connection.settimeout(None)
                for data in answer.chunks():
                    *lines, rest = (rest + data).split(b"\n")
                    yield from map(json.loads, lines)
        except ConnectionError:
            raise BrokenOff from None

    def _connect(self, timeout_s: float = TIMEOUT_S) -> sockets.socket:
        connection = sockets.socket(sockets.AF_UNIX)
        connection.settimeout(timeout_s)
        try:
            connection.connect(self.socket_path)
        except PermissionError:
            connection.close()
            raise Denied from None
        except OSError as failed:
            connection.close()
            raise Unreachable(f"no relayd answers at {self.socket_path} ({failed.strerror or failed})") from None
        return connection


def _ask(connection: sockets.socket, method: str, target: str, body: Any) -> _Answer:
    """Sends a request; the answer has the connection from then on."""
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {target} HTTP/1.1\r\nHost: relayd\r\nConnection: close\r\n"
    if method != "GET":
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    try:
        connection.sendall(head.encode() + b"\r\n" + data)
        answer = _Answer(connection)
    except BaseException:
        connection.close()
        raise
    if answer.status >= 400:
        with answer:
            raise Refused(json.loads(b"".join(answer.chunks())))
    return answer


class _Answer:
    """An answer whose head has been read."""

    def __init__(self, connection: sockets.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")
        version, _, rest = self._line().partition(" ")
        if not version.startswith("HTTP/1."):
            raise ConnectionError
        self.status = int(rest[:3])
        self._headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.partition(":")
            self._headers[name.lower()] = value.strip().lower()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()
        self._connection.close()

    def _line(self) -> str:
        line = self._file.readline(_MAX_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise ConnectionError
        return line.decode("latin-1").rstrip("\r\n")

    def chunks(self) -> Iterator[bytes]:
        """The body, as it comes (RFC 9112, section 6.3).

        Raises:
            ConnectionError: it ends too early.
        """
        if self._headers.get("transfer-encoding") != "chunked":
            yield self._exactly(int(self._headers.get("content-length", 0)))
            return
        while size := int(self._line().partition(";")[0], 16):
            yield self._exactly(size)
            self._line()

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise ConnectionError
        return data
