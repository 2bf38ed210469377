"""Who is asking: the client's address and the server's own name, as far as headers may be believed."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest

from relayd.errors import WrongHost, WrongOrigin
from relayd.gateway.forwarded import FORWARDED, REMEDIES, X_FORWARDED, claim, is_address, node_address
from relayd.gateway.handshake import Asked, Headers
from relayd.gateway.probes import Seen
from relayd.rooms.addresses import UNIX, canonical, network, trust_forms
from relayd.settings import Settings

log = logging.getLogger("relayd.http")

UNIX_IP = "0.0.0.0"  # noqa: S104 - what Tornado says of a peer on a Unix socket, and no TCP peer can have
_MAX_SHOWN_CHARS = 200  # of a header that anybody may send

# Top-level names that nobody can register (RFC 2606, 6761, 6762, 8375; "internal" is reserved by ICANN), so no
# attacker's DNS can point them here.
_LOCAL_TOPS = frozenset({"localhost", "test", "example", "invalid", "local", "internal", "home.arpa"})

# Some proxies name the scheme of a WebSocket by its own name.
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}

# RFC 3986, sections 3.2.2 and 3.2.3, as far as hosts are called in practice. What is more, or else, could turn the
# links made of it: `user@host`, `host/path`.
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)]|([A-Za-z0-9._-]+))(?::([0-9]{0,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Of a page (RFC 6454, section 4); host and scheme in lower case, the host without a final dot."""

    scheme: str
    host: str
    port: int


class Peers:
    """What the settings say about proxies, hosts and origins, held against requests.

    Attributes:
        unreadable: how often a header of trusted proxies could not be read, by its name.
        log_addresses: see `Settings`.
    """

    def __init__(self, settings: Settings) -> None:
        self.unreadable = Counter(dict.fromkeys(REMEDIES, 0))
        self.change(settings)

    def change(self, settings: Settings) -> None:
        """Goes by other settings from now on."""
        self.log_addresses = settings.log_addresses
        self._trusts_unix = UNIX in settings.trusted_proxies
        self._trusted = [network(text) for text in settings.trusted_proxies if text != UNIX]
        self._good_host: str | None = None  # the last one that passed
        self._good_origin: tuple[str, str, str, str] | None = None  # the same, with what it was compared with
        self._public = urlsplit(settings.public_url) if settings.public_url else None
        self._hosts = {_ascii(host) for host in settings.allowed_hosts}
        self._allowed = set(settings.allowed_origins)  # as they are written: of programs, as app://localhost
        urls = [*settings.allowed_origins, settings.public_url]
        self._origins = {origin for url in urls if (origin := _origin_of_url(url))}
        self._public_host = _ascii(self._public.hostname or "") if self._public else ""
        if self._public_host:
            self._hosts.add(self._public_host)

    def address(self, request: Asked) -> str:
        """The client's address: the peer's, or what a trusted proxy says it is. A Unix peer is `unix:`."""
        client, unreadable = self._client(request)
        if unreadable:
            self._count_unreadable(unreadable)
        return canonical(client)

    def client(self, request: Asked) -> str:
        """The same, where unreadable headers were counted already or do not matter."""
        return canonical(self._client(request)[0])

    def origin(self, request: Asked) -> str:
        """The client's address, or "" if all that is known is the address of a trusted proxy."""
        client = self._client(request)[0]
        return "" if self.is_trusted(client) else canonical(client)

    def _client(self, request: Asked) -> tuple[str, str]:
        """The client's address as it is written, and the header that cannot be read, "" if all can."""
        peer = _peer(request)
        if not self.is_trusted(peer):
            return peer, ""
        header, nodes = claim(request.headers, "for")
        # Each proxy adds who has come to it: the first that is no proxy of ours is the client.
        for node in nodes:
            hop = node_address(node)
            if hop is None:
                # What stands left of it is not looked at: nobody who is trusted has said that it is true.
                return peer, header
            if not self.is_trusted(hop):
                return hop, ""
        return peer, ""

    def seen(self, request: HTTPServerRequest) -> Seen:
        """How the request arrived, for an admin to see."""
        peer, context = _peer(request), request.connection.context  # type: ignore[union-attr]
        client, unreadable = self._client(request)
        return Seen(
            address=canonical(client),
            peer=canonical(peer),
            port=0 if peer == UNIX else context.address[1],
            trusted=self.is_trusted(peer),
            forwarded=request.headers.get(X_FORWARDED["for"], "")[-_MAX_SHOWN_CHARS:],
            rfc7239=request.headers.get(FORWARDED, "")[-_MAX_SHOWN_CHARS:],
            unreadable=unreadable,
        )

    def base_url(self, request: Asked) -> tuple[str, str]:
        """Scheme and host of this server as the client sees it.

        Raises:
            WrongHost: not a name this server answers to.
        """
        asked = self._asked(request)
        return asked if self._public is None else (self._public.scheme, self._public.netloc)

    def _asked(self, request: Asked) -> tuple[str, str]:
        """Scheme and host that the client has asked for, as proxies say; WrongHost as above."""
        scheme, host = request.protocol, request.host
        if self.is_trusted(_peer(request)):
            scheme, host = self._scheme(request.headers, scheme), self._host(request.headers, host)
        self.check_host(host)
        return scheme, host

    def _scheme(self, headers: Headers, own: str) -> str:
        """The scheme that clients use, as proxies say; `own` if they say nothing of it."""
        header, names = claim(headers, "proto")
        schemes = [_SCHEMES[name.lower()] for name in names if name.lower() in _SCHEMES]
        if schemes:
            # The outermost proxy's, as with Express, Rack and Spring: TLS ends there, and the others are spoken to in
            # plain. A client who has written one itself gets it in links of its own.
            return schemes[-1]
        if names:
            self._count_unreadable(header)
        return own

    def _host(self, headers: Headers, own: str) -> str:
        """The host that clients ask for, as proxies say; `own` if they say nothing of it."""
        header, hosts = claim(headers, "host")
        if not hosts:
            return own
        # Any proxy may be the one that was asked for by our name, and others by names of their own. If none was, the
        # nearest one's counts, as with Rails and Werkzeug: what stands left of it may be the client's.
        host = next((host for host in hosts if _name(host) in self._hosts), hosts[0])
        if not _name(host):
            self._count_unreadable(header)
        return host

    def check_host(self, host: str) -> None:
        """Lets no foreign name pass: a page of that name, whose DNS points here, would be of our origin.

        An address or a name that nobody can register cannot be used for that (DNS rebinding).

        Raises:
            WrongHost: saying what to set.
        """
        if host == self._good_host:  # as nearly always: one name is what people were given
            return
        name = _name(host)
        local = "." not in name or any(name == top or name.endswith(f".{top}") for top in _LOCAL_TOPS)
        if not name or not (name in self._hosts or is_address(name) or local):
            raise WrongHost("This server does not answer to that host name; set public_url or allowed_hosts")
        self._good_host = host

    def check_origin(self, request: Asked) -> None:
        """Browsers say which page wants to connect; only our own may, and those that are allowed.

        Raises:
            WrongHost: not a name this server answers to.
            WrongOrigin: saying what to set.
        """
        scheme, host = self._asked(request)
        text = request.headers.get("Origin")
        if text is None or "*" in self._allowed or text in self._allowed:
            return
        compared = (text, scheme, host, request.host)
        if compared == self._good_origin:
            return
        origin = _origin(text)
        if origin is None or not (origin in self._origins or origin in self._own_origins(scheme, host, request.host)):
            raise WrongOrigin("Pages of that origin may not connect here; see public_url and allowed_origins")
        self._good_origin = compared

    def _own_origins(self, scheme: str, *hosts: str) -> Iterator[Origin]:
        """Origins of our own page at these hosts. At the host of `public_url` there is no other than that."""
        # A proxy that ends TLS need not say so: a page by https at our own host is ours, too.
        schemes = ("http", "https") if scheme == "http" else (scheme,)
        for host in hosts:
            if _name(host) != self._public_host:
                yield from (origin for one in schemes if (origin := _origin(f"{one}://{host}")))

    def is_trusted(self, address: str) -> bool:
        """Whether what comes from that address is believed when it names the client."""
        if address == UNIX:
            return self._trusts_unix
        return bool(self._trusted) and any(
            form in trusted for form in trust_forms(address) for trusted in self._trusted
        )

    def _count_unreadable(self, header: str) -> None:
        """Counts it, and logs the first of its kind; without its value, which may have a client's address in it."""
        self.unreadable[header] += 1
        if self.unreadable[header] == 1:
            log.warning("%s of a trusted proxy cannot be read (logged once): %s; %s", header, *REMEDIES[header])


def _peer(request: Asked) -> str:
    ip = request.remote_ip or ""
    return UNIX if ip == UNIX_IP or not is_address(ip) else ip


def _origin(text: str) -> Origin | None:
    """The origin of a page: scheme "://" host [":" port]. None for `null` (RFC 6454, section 7.1) and other schemes."""
    scheme, _, host = text.partition("://")
    scheme = scheme.lower()
    parts = _AUTHORITY.fullmatch(host)
    if scheme not in _DEFAULT_PORTS or parts is None:
        return None
    return Origin(scheme, _name(host), int(parts[3] or _DEFAULT_PORTS[scheme]))


def _origin_of_url(url: str) -> Origin | None:
    """The same for a URL of the settings, in which a name may be international."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return None
    return Origin(parts.scheme, _ascii(parts.hostname), port or _DEFAULT_PORTS[parts.scheme])


def _ascii(host: str) -> str:
    """A host of the settings as browsers send it: in lower case, international names as RFC 3490 encodes them."""
    try:
        return host.lower().rstrip(".").encode("idna").decode()
    except UnicodeError:  # no host: it fits none
        return host.lower()


def _name(host: str) -> str:
    """The name or address in a host with or without a port, in lower case; "" if it is no host."""
    parts = _AUTHORITY.fullmatch(host)
    return (parts[1] or parts[2]).lower().rstrip(".") if parts else ""
