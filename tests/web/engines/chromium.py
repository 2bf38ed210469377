"""Chromium, driven by Playwright."""

from __future__ import annotations

import asyncio
from typing import Any, Self

from playwright.async_api import BrowserContext, Error, Page, Playwright, async_playwright

from web.engines.tab import KEYS, VIEWPORT, Steps
from web.visitors import chromium

_NAMES = {value: name for name, value in KEYS.items()}


class Chromium:
    """One process; a context is a profile."""

    def __init__(self, playwright: Playwright, browser: Any) -> None:
        self._playwright = playwright
        self._browser = browser

    @classmethod
    async def launch(cls) -> Self:
        playwright = await async_playwright().start()
        return cls(playwright, await chromium(playwright))

    async def tab(self) -> ChromiumTab:
        context = await self._browser.new_context(viewport=VIEWPORT, locale="en-GB", reduced_motion="reduce")
        return ChromiumTab(context, await context.new_page())

    async def close(self) -> None:
        await self._browser.close()
        await self._playwright.stop()


class ChromiumTab:
    """One context with one page. `page` is Playwright's, for what only Chromium can do."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.errors: list[str] = []
        self.page = page
        self._context = context
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: dialog.accept())

    async def goto(self, url: str) -> None:
        await self.page.goto(url)

    async def reload(self) -> None:
        await self.page.reload()

    async def evaluate(self, function: str, *args: Any) -> Any:
        while True:
            try:
                return await self.page.evaluate(f"(args) => ({function})(...args)", list(args))
            except Error as error:
                if (
                    "Execution context was destroyed" not in error.message
                ):  # by a navigation: again, in the new document
                    raise

    async def pointer(self, steps: Steps) -> None:
        for step in steps:
            match step["type"]:
                case "pointerMove":
                    await self.page.mouse.move(step["x"], step["y"])
                case "pointerDown":
                    await self.page.mouse.down()
                case "pointerUp":
                    await self.page.mouse.up()
                case "pause":
                    await asyncio.sleep(step["duration"] / 1000)

    async def keys(self, steps: Steps) -> None:
        for step in steps:
            match step["type"]:
                case "pause":
                    await asyncio.sleep(step["duration"] / 1000)
                case "keyDown" if step["value"] not in _NAMES and not step["value"].isascii():
                    await self.page.keyboard.insert_text(step["value"])
                case "keyDown":
                    await self.page.keyboard.down(_NAMES.get(step["value"], step["value"]))
                case "keyUp" if step["value"] in _NAMES or step["value"].isascii():
                    await self.page.keyboard.up(_NAMES.get(step["value"], step["value"]))

    async def close(self) -> None:
        await self._context.close()
