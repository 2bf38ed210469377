"""Share links: `https://host/<room_id>#<invite_key>[.1[p][.<link secret>]]`."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

import msgspec

from relayd.client.sealing_errors import LinkError, UnknownSuite
from relayd.wire.ids import INVITE, parse_key, parse_room_id
from relayd.wire.sealing import SECRET_BYTES
from relayd.wire.sealing_text import Redacted, SealingError, decode_base64url, encode_base64url

# Marker and number of parts after the invite key -> (has a password, has a link secret).
_FORMS: Final = {("1", 2): (False, True), ("1p", 2): (True, True), ("1p", 1): (True, False)}
_MARKER = re.compile(r"1p?")


class Link(Redacted, msgspec.Struct, frozen=True, kw_only=True):
    """What a link's fragment says. Formatting and parsing give the same text.

    Attributes:
        invite_key: `ri_...`.
        password: whether the room has one beside (or instead of) the secret.
        secret: the link secret, 16 bytes, or None.
    """

    invite_key: str
    password: bool = False
    secret: bytes | None = None

    @property
    def sealed(self) -> bool:
        """Whether the link promises a sealed room; such a link is never taken down to an open one."""
        return self.password or self.secret is not None

    @property
    def fragment(self) -> str:
        """What follows `#`: a secret, not for logs."""
        marker = ".1p" if self.password else ".1"
        secret = "" if self.secret is None else "." + encode_base64url(self.secret)
        return self.invite_key + (marker + secret if self.sealed else "")


class ShareLink(Redacted, msgspec.Struct, frozen=True):
    """A whole share link.

    Attributes:
        server: scheme and host, `https://host[:port]`.
        room_id: canonical UUID.
        link: what the fragment says.
    """

    server: str
    room_id: str
    link: Link

    @property
    def url(self) -> str:
        """The link as it is shared: a secret, not for logs."""
        return f"{self.server}/{self.room_id}#{self.link.fragment}"


def parse_fragment(fragment: str) -> Link:
    """Reads what follows `#` in a share link.

    Raises:
        UnknownSuite: it is of another suite than 1; never taken for an open link.
        LinkError: it has another form.
    """
    invite_key, *rest = fragment.split(".")
    credential = parse_key(invite_key)
    if credential is None or credential.kind != INVITE:
        raise LinkError("the link has no invite key after the #")
    if not rest:
        return Link(invite_key=invite_key)
    if not _MARKER.fullmatch(rest[0]):
        raise UnknownSuite("the link is of a kind of sealed room that this client does not know")
    form = _FORMS.get((rest[0], len(rest)))
    if form is None:
        raise LinkError("the link's sealed part is incomplete or too long")
    password, has_secret = form
    return Link(invite_key=invite_key, password=password, secret=_secret(rest[1]) if has_secret else None)


def _secret(text: str) -> bytes:
    try:
        secret = decode_base64url(text, SECRET_BYTES, "link secret")
    except SealingError as wrong:
        raise LinkError(f"the link is damaged: {wrong}") from None
    if not any(secret):
        raise LinkError("the link is damaged: its secret is all zero")
    return secret


def parse_link(text: str) -> ShareLink:
    """Reads a share link as someone pasted it; space around it is left out.

    Raises:
        LinkError: it has another form (`UnknownSuite` if only the suite is another).
    """
    try:
        parts = urlsplit(text.strip())
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        raise LinkError("the link is no address") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise LinkError("the link must start with https:// (or http://) and a host")
    if parts.username is not None or parts.password is not None or parts.query:
        raise LinkError("the link has parts that no share link has")
    if parse_room_id(parts.path[1:]) is None:
        raise LinkError("the link has no room id after the host")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    server = f"{parts.scheme}://{host}{port}"
    return ShareLink(server, parts.path[1:], parse_fragment(parts.fragment))
