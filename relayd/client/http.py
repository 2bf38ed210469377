"""HTTP/1.1 (RFC 9112), as much as a client of a relay needs: one exchange a connection, and handshakes' heads.

Written out because the alternatives are a thread (the standard library) or a server framework (Tornado) to
import; what is read is bounded, since the server may be anybody's.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from relayd.client.errors import BadServer, Unreachable
from relayd.errors import FieldProblem, RelayError, by_code

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_BODY_BYTES: Final = 4 * 1024 * 1024
USER_AGENT: Final = "relay"

_UNIX: Final = "unix:"
_PORTS: Final = {"http": 80, "https": 443}


class Place(NamedTuple):
    """Where a server is.

    Attributes:
        host: name or address, as for `getaddrinfo`.
        port: TCP.
        tls: whether it is spoken to over TLS, its certificate checked.
        authority: what goes into `Host`.
        unix_path: of a Unix socket, where it is spoken to over one; "" for TCP.
    """

    host: str
    port: int
    tls: bool
    authority: str
    unix_path: str = ""

    @property
    def origin(self) -> str:
        """Scheme and host, as in a link."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"


class Answer(NamedTuple):
    """What came back. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def parse_server(url: str) -> Place:
    """Reads a server's address: `https://host[:port]`, nothing behind it; or `unix:PATH` for one on this machine.

    Raises:
        BadServer: it has another form.
    """
    if url.startswith(_UNIX) and len(url) > len(_UNIX):
        # Any server answers to an address; a name it would have to know.
        return Place("", 0, tls=False, authority="127.0.0.1", unix_path=url.removeprefix(_UNIX))
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise BadServer("the server's address cannot be read") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise BadServer("a server's address starts with https:// (or http://) and a host")
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise BadServer("a server's address has nothing behind the host")
    if not parts.netloc.isascii() or any(char <= " " for char in parts.netloc):
        raise BadServer("the server's host name cannot be read")
    return Place(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "https", parts.netloc.lower())


def tls_context(place: Place, given: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """What to connect with: the caller's context, or one that checks certificates against the system's."""
    if not place.tls:
        return None
    return given or ssl.create_default_context()


def request_head(method: str, target: str, place: Place, headers: dict[str, str]) -> bytes:
    """A request up to its body."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {place.authority}", f"User-Agent: {USER_AGENT}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    # Can't smuggle: targets are ids or percent-encoded, values base64url or ours; what is not ASCII fails here.
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer, names in lower case.

    Raises:
        BadServer: this is no HTTP.
    """
    status_line, *lines = head.decode("latin-1").split("\r\n")
    parts = status_line.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not (parts[1].isdecimal() and len(parts[1]) == 3):
        raise BadServer("the server does not speak HTTP")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(parts[1]), headers


def error_of(answer: Answer) -> RelayError | BadServer:
    """What an answer other than 2xx says (RFC 9457), with the time after which to try again.

    A status from 500 that explains nothing is a `RelayError` all the same: a proxy whose relay is away says that.
    """
    retry = answer.headers.get("retry-after", "")
    retry_after_s = float(retry) if retry.isdecimal() and len(retry) < 6 else None
    try:
        problem = msgspec.json.decode(answer.body, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        problem = _Problem()
    problems = tuple(FieldProblem(one.field, one.detail) for one in problem.errors)
    error = by_code(problem.code, problem.detail, retry_after_s=retry_after_s, problems=problems)
    if type(error) is not RelayError:
        return error
    text = f"the server answered {answer.status}, and not as a relay does"
    return RelayError(text, retry_after_s=retry_after_s) if answer.status >= 500 else BadServer(text)


class _FieldProblem(msgspec.Struct):
    field: str
    detail: str


class _Problem(msgspec.Struct):
    code: str = ""
    detail: str = ""
    errors: list[_FieldProblem] = []


async def connect(
    place: Place, tls: ssl.SSLContext | None, *, limit: int = MAX_HEAD_BYTES
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the server.

    Raises:
        Unreachable, BadServer: as `unreachable` says.
    """
    try:
        if place.unix_path:
            return await asyncio.open_unix_connection(place.unix_path, limit=limit)
        return await asyncio.open_connection(place.host, place.port, ssl=tls_context(place, tls), limit=limit)
    except (OSError, UnicodeError) as wrong:
        raise unreachable(place, wrong) from None


def unreachable(place: Place, wrong: Exception) -> Unreachable | BadServer:
    """Why there is no connection, in a sentence without addresses of links."""
    if isinstance(wrong, ssl.SSLCertVerificationError):
        return BadServer(f"the certificate of {place.authority} is not to be trusted: {wrong.verify_message}")
    if isinstance(wrong, ssl.SSLError):
        return BadServer(f"{place.authority} does not speak TLS as it must")
    return Unreachable(f"{place.unix_path or place.authority} cannot be reached: {_reason(wrong)}")


def _reason(wrong: Exception) -> str:
    # The event loop's own texts are for programs: "Connect call failed ('127.0.0.1', 8080)".
    if isinstance(wrong, socket.gaierror | UnicodeError):
        return "its name cannot be resolved"
    errno = getattr(wrong, "errno", None)
    return os.strerror(errno) if errno else "nothing answers at any of its addresses"


async def exchange(place: Place, tls: ssl.SSLContext | None, request: bytes, timeout_s: float) -> Answer:
    """Sends one request (with `Connection: close`) and reads the whole answer.

    Raises:
        Unreachable: no connection, or no answer in time.
        BadServer: the answer is no HTTP, or endless.
    """
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await connect(place, tls)
            try:
                writer.write(request)
                return await _read_answer(reader)
            finally:
                writer.transport.abort()
    except TimeoutError:
        raise Unreachable(f"{place.authority} does not answer") from None
    except (OSError, asyncio.IncompleteReadError):
        raise Unreachable(f"{place.authority} has broken off the connection") from None
    except (asyncio.LimitOverrunError, ValueError):
        raise BadServer(f"{place.authority} does not speak HTTP") from None


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    status, headers = parse_head((await reader.readuntil(b"\r\n\r\n"))[:-4])
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await _read_chunks(reader)
    else:
        body = await _read_sized(reader, headers.get("content-length"))
    return Answer(status, headers, body)


async def _read_sized(reader: asyncio.StreamReader, length: str | None) -> bytes:
    if length is not None:
        return await reader.readexactly(_bounded(int(length)))
    body = bytearray()
    while piece := await reader.read(65536):
        body += piece
        _bounded(len(body))
    return bytes(body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    """RFC 9112, section 7.1; trailers are left unread, as the connection is not used again."""
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        _bounded(len(body) + size)
        body += (await reader.readexactly(size + 2))[:-2]
    return bytes(body)


def _bounded(n_bytes: int) -> int:
    if not 0 <= n_bytes <= MAX_BODY_BYTES:
        raise BadServer("the server's answer is too long")
    return n_bytes
