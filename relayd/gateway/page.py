"""The web page and all it is made of: read once at the start, compressed once, served from memory."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

from tornado.web import RequestHandler

from relayd.errors import NotFound
from relayd.gateway.handlers import Door, Handler

# What a browser must be told, as `nosniff` keeps it from guessing. Other files in relayd/web are not served.
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_PAGE: Final = "index.html"


class Asset(NamedTuple):
    """One file of the page.

    Attributes:
        media_type: for `Content-Type`.
        plain, packed: its bytes as they are, and by gzip.
        etag: of the plain bytes, without quotes.
    """

    media_type: str
    plain: bytes
    packed: bytes
    etag: str


class Assets:
    """All files of the page, by their path in relayd/web; the page itself is one of them."""

    def __init__(self) -> None:
        """Reads them: relayd serves what was there when it started."""
        self._by_path = dict(_read(resources.files("relayd.web"), ""))
        self.page = self._by_path[_PAGE]

    def get(self, path: str) -> Asset:
        """The one with that path.

        Raises:
            NotFound: there is none.
        """
        asset = self._by_path.get(path)
        if asset is None:
            raise NotFound
        return asset


def _read(folder: Traversable, path: str) -> Iterator[tuple[str, Asset]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _read(entry, f"{path}{entry.name}/")
        elif (media_type := _TYPES.get(_suffix(entry.name))) is not None:
            data = entry.read_bytes()
            # Without a time in it, so that all workers, and the next start, give the same bytes.
            packed = gzip.compress(data, mtime=0)
            yield path + entry.name, Asset(media_type, data, packed, hashlib.sha256(data).hexdigest()[:32])


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]


def serve(handler: RequestHandler, asset: Asset) -> None:
    """Answers with an asset, or with 304 where the asker has it (RFC 9110, section 13.1.2).

    `no-cache`: kept, but asked for each time, so that page and server are never of different versions.
    """
    packs = "gzip" in handler.request.headers.get("Accept-Encoding", "")
    handler.set_header("Cache-Control", "no-cache")
    handler.set_header("Vary", "Accept-Encoding")
    # Two encodings are two representations: each has a tag of its own (RFC 9110, section 8.8.3.3).
    handler.set_header("Etag", f'"{asset.etag}{"-gzip" if packs else ""}"')
    if handler.check_etag_header():
        handler.set_status(304)
        handler.finish()
        return
    handler.set_header("Content-Type", asset.media_type)
    if packs:
        handler.set_header("Content-Encoding", "gzip")
    handler.finish(asset.packed if packs else asset.plain)


class Page(Handler):
    """`/` and `/<room_id>`: the same bytes for every id, so they tell nobody whether there is such a room."""

    methods = ("GET", "HEAD")

    def initialize(self, door: Door, assets: Assets) -> None:  # type: ignore[override]
        """Tornado's constructor."""
        super().initialize(door)
        self._assets = assets

    def get(self, room_id_text: str = "") -> None:
        """Shows it."""
        serve(self, self._assets.page)

    head = get


class File(Page):
    """`/web/...`: what the page is made of."""

    def get(self, path: str) -> None:  # type: ignore[override]
        """Serves it."""
        serve(self, self._assets.get(path))

    head = get  # type: ignore[assignment]
