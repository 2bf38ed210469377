"""People with a browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, Playwright, expect

WAIT_MS = 30_000  # the machine may be busy; what comes, comes in a fraction of it
SIZES = {360: 740, 768: 1024, 1440: 900}
_FLAGS = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
_ROOT = "--no-sandbox"  # Chromium's sandbox does not start as root

expect.set_options(timeout=WAIT_MS)


async def chromium(playwright: Playwright) -> Browser:
    """The system's Chromium; the test is skipped where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    flags = [*_FLAGS.split(), "--disable-sync", *([_ROOT] if os.geteuid() == 0 else [])]
    return await playwright.chromium.launch(executable_path=path, args=flags)


def png(side: int) -> bytes:
    """A black square, a bit a pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">2I5B", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1 + (side + 7) // 8) * side)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


class Visitor:
    """One person's browser profile, with a page open.

    Attributes:
        wrong: what no visit may bring about: uncaught errors, refusals by the content security policy, requests to
            anybody but the server.
        said: every text frame that left or reached the page, to be searched for plaintext.
    """

    def __init__(self, context: BrowserContext, base: str) -> None:
        self.context = context
        self.base = base
        self.wrong: list[str] = []
        self.said: list[str] = []
        self.page: Page

    async def tab(self) -> Page:
        """Another tab; the newest is `page`."""
        self.page = page = await self.context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("console", self._console)
        page.on("request", self._request)
        page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))
        page.on("websocket", self._listen)
        return page

    def _console(self, message: Any) -> None:
        # What the network does is told there, too; a test that cuts it expects it.
        if (
            message.type == "error"
            and "Failed to load resource" not in message.text
            and "WebSocket" not in message.text
        ):
            self.wrong.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.base).netloc and not request.url.startswith(
            ("blob:", "data:")
        ):
            self.wrong.append(f"request: {request.url}")

    def _listen(self, socket: Any) -> None:
        for way in ("framesent", "framereceived"):
            socket.on(way, lambda payload: self.said.append(payload if isinstance(payload, str) else ""))

    async def create(self, nick: str = "ann", name: str = "", **more: Any) -> str:
        """Makes a room on the start page; its link. `more` are labels and what is filled in there."""
        await self.page.goto(self.base)
        if name:
            await self.page.get_by_label("Name of the room").fill(name)
        await self.page.get_by_text("More options").click()
        await self.page.get_by_label("Your name").fill(nick)
        for label, value in more.items():
            field = self.page.get_by_label(label)
            await (field.set_checked(value) if isinstance(value, bool) else field.fill(value))
        await self.page.get_by_role("button", name="Create room").click()
        await expect(self.composer).to_be_visible()
        return self.page.url

    async def join(self, link: str, nick: str = "bob", password: str = "") -> None:
        """Opens a link, says who one is, and is in the room."""
        await self.knock(link, nick, password)
        await expect(self.composer).to_be_visible()

    async def knock(self, link: str, nick: str = "bob", password: str = "") -> None:
        """The same, whether it leads into the room or not."""
        await self.page.goto(link)
        await self.page.get_by_label("Your name").fill(nick)
        if password:
            await self.page.get_by_label("Password", exact=True).fill(password)
        await self.page.get_by_role("button", name="Join").click()

    @property
    def composer(self) -> Locator:
        return self.page.locator(".composer textarea")

    async def say(self, text: str) -> None:
        await self.composer.fill(text)
        await self.composer.press("Enter")

    def line(self, text: str) -> Locator:
        """The line of the chat that holds that text."""
        return self.page.locator("article").filter(has_text=text)

    async def hears(self, text: str) -> None:
        await expect(self.line(text).last).to_be_visible()

    async def tool(self, line: Locator, name: str) -> None:
        """Uses a button of a line's toolbar."""
        await line.hover()
        await line.get_by_role("button", name=name, exact=True).click()

    async def menu(self, item: str) -> None:
        await self.page.get_by_role("button", name="Menu", exact=True).click()
        await self.page.get_by_role("menuitem", name=item).click()

    async def person(self, nick: str, item: str) -> None:
        """Chooses what to do about somebody in the list of people (a wide page shows it)."""
        await self.page.locator("button.person").filter(has_text=nick).click()
        await self.page.get_by_role("menuitem", name=item).click()
