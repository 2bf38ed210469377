"""What all handlers of a gateway share: security headers, the host check, the key of a request."""

from __future__ import annotations

import http
from typing import Any, NamedTuple

from relayd.errors import NoKey, NotFound
from relayd.gateway.calls import HubCalls
from relayd.gateway.peer import Peers
from relayd.gateway.refusals import RefusalCounter
from relayd.http.handler import JsonHandler, relay_error
from relayd.http.passwords import Passwords
from relayd.rooms.blocks import BlockList
from relayd.rooms.creation import CreationPolicy
from relayd.rooms.limits import AddressRateLimiter
from relayd.rooms.refusals import REQUEST

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
}


class Door(NamedTuple):
    """What the handlers work with."""

    calls: HubCalls
    blocked: BlockList
    refusals: RefusalCounter
    creation: CreationPolicy
    peers: Peers
    passwords: Passwords
    password_rate: AddressRateLimiter  # deriving one takes a core for a while, whether or not the room is made then


class Handler(JsonHandler):
    """Base of a gateway's HTTP handlers. `refused_as` is what their errors count as; see `rooms.refusals`."""

    refused_as = REQUEST
    door: Door

    def initialize(self, door: Door) -> None:  # type: ignore[override]
        """Tornado's constructor."""
        super().initialize()
        self.door = door

    def set_default_headers(self) -> None:
        """On every answer, errors included."""
        super().set_default_headers()
        for name, value in SECURITY_HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        """Before the body has come: a page of another site may neither ask nor, by a form, act here."""
        peers = self.door.peers
        peers.check_host(self.request.host)
        if self.door.blocked:
            self.door.blocked.check(peers.client(self.request))
        if self.request.method not in ("GET", "HEAD"):
            peers.check_origin(self.request)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with the problem, and count it if it is a refusal."""
        error = relay_error(status_code, kwargs.get("exc_info"))
        if error.status < http.HTTPStatus.INTERNAL_SERVER_ERROR or error.retry_after_s is not None:
            self.door.refusals.add(self.refused_as, error.code, self.door.peers.origin(self.request))
        super().write_error(status_code, **kwargs)

    @property
    def key(self) -> str:
        """The key of the request.

        Raises:
            NoKey: there is none, or not as `Bearer`.
        """
        key = self.given_key
        if key is None:
            raise NoKey
        return key

    @property
    def given_key(self) -> str | None:
        """The key of the request; None if there is none, or not as `Bearer`."""
        scheme, _, key = self.request.headers.get("Authorization", "").partition(" ")
        return key.strip() or None if scheme.lower() == "bearer" else None


class NothingHere(Handler):
    """Every address that is none, whatever the method."""

    def get(self) -> None:
        """Says so, after the body has been read: an answer before it would be lost to a reset connection."""
        raise NotFound

    head = post = put = patch = delete = options = get
