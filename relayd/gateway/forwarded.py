"""What proxies say of a request that they pass on, as text: `X-Forwarded-For`, `-Host` and `-Proto`, and `Forwarded`
(RFC 7239). Whether they are believed is not decided here.

Lists are read from the right, where the nearest proxy has added its own. What stands left of that may come from the
client, and must not change how it is read: not by an open quote either.
"""

from __future__ import annotations

import re
import socket
from typing import NamedTuple

from relayd.gateway.handshake import Headers

FORWARDED = "Forwarded"
X_FORWARDED = {"for": "X-Forwarded-For", "host": "X-Forwarded-Host", "proto": "X-Forwarded-Proto"}


class Remedy(NamedTuple):
    """What follows if a header cannot be read, and what to do about it."""

    effect: str
    do: str


REMEDIES = {
    X_FORWARDED["for"]: Remedy("such clients count as the proxy", "let the proxy send their address alone"),
    X_FORWARDED["host"]: Remedy("such requests get 421", "let the proxy remove it, and pass on Host"),
    X_FORWARDED["proto"]: Remedy("their links say http", "let the proxy send http or https, or set public_url"),
    FORWARDED: Remedy("such clients count as the proxy", "let the proxy send for=ADDRESS, or X-Forwarded-For"),
}

MAX_HOPS = 32  # of a list; Squid follows 64 at most, and nobody has that many proxies of their own
MAX_CHARS = 4096  # of a header: 128 for each hop
_MAX_NODE_CHARS = 100  # an IPv6 address has 45 at most, a zone 15, a port 5

# An element of a list, read backwards, with the empty ones after it (RFC 9110, section 5.6.1). In a quoted string read
# so, `"\` is an escaped quote.
_ELEMENT_BACKWARDS = re.compile(r'[ \t,]*+((?:[^",]|"(?:[^"]|"\\)*+")*+)(?:,|\Z)', re.DOTALL)
# A parameter of Forwarded (RFC 7239, section 4). Beyond what it allows: spaces around semicolons, which many proxies
# put there, and any character in a value without quotes, as in for=[2001:db8::1].
_PARAMETER = re.compile(
    r"""[ \t]*+(?:([!#$%&'*+.^_`|~0-9A-Za-z-]++)=("(?:[^"\\]|\\.)*+"|[^";,\s]*+))?[ \t]*+(?:;|\Z)"""
)
# A node (RFC 7239, section 6) with its port, and an IPv4-mapped address with one, which needs no brackets to be told.
_NODE = re.compile(r"(?:\[([^]]*)]|([0-9A-Fa-f:]*[0-9]+(?:\.[0-9]+){3}))(?::(?:[0-9]{0,5}|_[A-Za-z0-9._-]+))?")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class Claim(NamedTuple):
    """What proxies say of one thing.

    Attributes:
        header: by which they say it; "" if none does.
        values: the nearest proxy's first; "" stands for one that cannot be read.
    """

    header: str
    values: list[str]


_NOTHING = Claim("", [])


def claim(headers: Headers, parameter: str) -> Claim:
    """What proxies say of that parameter of Forwarded: `for`, `host` or `proto`.

    Its `X-Forwarded-` header goes first, and where `X-Forwarded-For` is, nothing of Forwarded is read: most proxies set
    the one, and pass on the other as it came from the client.
    """
    header = X_FORWARDED[parameter]
    if text := headers.get(header, ""):
        return Claim(header, [_unquoted(element) for element in elements(text)] or [""])
    text = headers.get(FORWARDED, "")
    if not text or headers.get(X_FORWARDED["for"]):
        return _NOTHING
    hops = [parameters(element) for element in elements(text)] or [{}]
    if parameter == "for":  # who does not say for whom hides it
        return Claim(FORWARDED, [hop.get("for", "") for hop in hops])
    values = [hop[parameter] for hop in hops if parameter in hop]
    return Claim(FORWARDED, values) if values else _NOTHING


def elements(header: str) -> list[str]:
    """The elements of a list, the last first, without empty ones; "" stands for all that cannot be told apart."""
    if len(header) > MAX_CHARS:
        header = header[-MAX_CHARS:].partition(",")[2]  # without the element that was cut
    header = header.strip()
    if "," not in header and '"' not in header:  # one element or none, as nearly always
        return [header] if header else []
    backwards, at = header[::-1], 0
    found: list[str] = []
    while at < len(backwards) and len(found) < MAX_HOPS:
        match = _ELEMENT_BACKWARDS.match(backwards, at)
        if match is None:
            return [*found, ""]
        if element := match[1][::-1].strip():
            found.append(element)
        at = match.end()
    return found


def parameters(element: str) -> dict[str, str]:
    """The parameters of an element of Forwarded, by their names in lower case; none if it cannot be read."""
    found: dict[str, str] = {}
    at = 0
    while at < len(element):
        match = _PARAMETER.match(element, at)
        if match is None or (match[1] and match[1].lower() in found):
            return {}
        if match[1]:
            found[match[1].lower()] = _unquoted(match[2])
        at = match.end()
    return found


def node_address(node: str) -> str | None:
    """The address in a node: alone, in brackets, with a port. None if it has none, as `unknown` and `_hidden`."""
    if len(node) > _MAX_NODE_CHARS:
        return None
    if is_address(node):
        return node
    match = _NODE.fullmatch(node)
    address = (match[1] or match[2]) if match else None
    return address if address and is_address(address) else None


def is_address(text: str) -> bool:
    """Whether that is an IPv4 address, or an IPv6 address with a zone or without, and nothing else."""
    try:
        # A tenth of what ip_address costs, and as strict.
        if ":" in text:
            socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
        else:
            socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        return False
    return True


def _unquoted(text: str) -> str:
    """A token or quoted string (RFC 9110, section 5.6.4) without its quotes."""
    if len(text) < 2 or not text[0] == text[-1] == '"':
        return text
    return _ESCAPED.sub(r"\1", text[1:-1]).strip()
