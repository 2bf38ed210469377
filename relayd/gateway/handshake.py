"""The opening handshake of a WebSocket (RFC 6455, section 4.2), pure: is it one, and what is answered."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import NamedTuple, Protocol, overload

from relayd.errors import Malformed, UpgradeRequired

SUBPROTOCOL = "relay.v1"
ROOM_PATH = r"/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
BEGINNING = b"GET /"
MAX_HEAD_BYTES = 4096  # of a request that is read here; browsers send 600

# The plainest form that RFC 9112 has for a request, and nothing that anybody could read in another way: no body, no
# folded lines, no bare line feeds, no bytes above ASCII.
_PLAIN = re.compile(rf"GET {ROOM_PATH} HTTP/1\.1\r\n((?:[A-Za-z][A-Za-z0-9-]*:[\x20-\x7e]*\r\n)+)\r\n".encode()).match
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3
_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
_SELECTED = f"\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}".encode()


class Headers(Protocol):
    """Of a request; case does not matter in names."""

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, default: str, /) -> str: ...
    def __contains__(self, name: object, /) -> bool: ...


class Asked(Protocol):
    """A request without its body; Tornado's is one."""

    @property
    def version(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def remote_ip(self) -> str | None: ...
    @property
    def headers(self) -> Headers: ...


class _Plain(dict[str, str]):
    """Headers by their names in lower case."""

    def get(self, name: str, default: str | None = None, /) -> str | None:  # type: ignore[override]
        return super().get(name.lower(), default)

    def __contains__(self, name: object, /) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())


class PlainHandshake(NamedTuple):
    """A request that is a handshake beyond doubt.

    Attributes:
        room_id_text: of its path.
        size: bytes of its head.
    """

    room_id_text: str
    size: int
    headers: Headers
    host: str
    remote_ip: str
    version: str = "HTTP/1.1"
    protocol: str = "http"


def read_plain(data: bytes, remote_ip: str) -> PlainHandshake | None:
    """The handshake that these bytes begin with; None if they are anything else, or not all of it.

    What is None is not wrong: it is for a parser that reads all of HTTP.
    """
    found = _PLAIN(data)
    if found is None:
        return None
    headers = _Plain()
    for line in found[2].decode().split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if len(headers) != found[2].count(b"\r\n") or headers.get("Upgrade", "").lower() != "websocket":  # type: ignore[union-attr]
        return None  # a header given twice is for the other parser, too
    if "Content-Length" in headers or "Transfer-Encoding" in headers or "Host" not in headers:
        return None
    return PlainHandshake(found[1].decode(), found.end(), headers, headers["host"], remote_ip)  # type: ignore[arg-type]


def handshake_answer(request: Asked) -> bytes:
    """The answer that accepts a handshake.

    Raises:
        Malformed, UpgradeRequired: it is none, or of another version.
    """
    headers = request.headers
    key = headers.get("Sec-WebSocket-Key", "")
    tokens = {token.strip().lower() for token in headers.get("Connection", "").split(",")}
    # A body would be read as frames: those two readings of one request are how requests are smuggled.
    has_body = "Transfer-Encoding" in headers or headers.get("Content-Length", "0") != "0"
    if request.version != "HTTP/1.1" or "upgrade" not in tokens or not _is_nonce(key) or has_body:
        raise Malformed("That is no WebSocket handshake: see RFC 6455, section 4.2.1")
    if headers.get("Sec-WebSocket-Version") != "13":
        raise UpgradeRequired
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest())  # noqa: S324 - RFC 6455, section 4.2.2
    offered = [item.strip() for item in headers.get("Sec-WebSocket-Protocol", "").split(",")]
    return b"%b%b%b\r\n\r\n" % (_SWITCHING, accept, _SELECTED if SUBPROTOCOL in offered else b"")


def _is_nonce(text: str) -> bool:
    """A base64-encoded value of 16 bytes (RFC 6455, section 4.2.1, point 5)."""
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
