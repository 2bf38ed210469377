"""A browser for all tests of the page, a daemon for each, and as many people as they like."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from conftest import Relay, relay_with
from playwright.async_api import Browser, async_playwright

from web.visitors import SIZES, Visitor, chromium

# A browser belongs to the loop that it was started on, so the page's tests share one.
Visitors = Callable[..., Awaitable[Visitor]]


def pytest_collection_modifyitems(items):
    for item in items:
        if "visitors" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await chromium(playwright)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def server() -> AsyncIterator[Relay]:
    """A daemon as it comes, on the browser's loop."""
    async with relay_with() as relay:
        yield relay


@pytest_asyncio.fixture(loop_scope="session")
async def visitors(browser: Browser, server: Relay) -> AsyncIterator[Visitors]:
    """Makes visitors; nothing may have gone wrong with any of them at the end."""
    made: list[Visitor] = []

    async def visitor(base: str = "", width: int = 1440, scheme: str = "light", locale: str = "en-GB") -> Visitor:
        size = {"width": width, "height": SIZES.get(width, 900)}
        context = await browser.new_context(viewport=size, color_scheme=scheme, locale=locale, reduced_motion="reduce")
        one = Visitor(context, base or server.base)
        made.append(one)
        await one.tab()
        return one

    yield visitor
    for one in made:
        await one.context.close()
    assert [wrong for one in made for wrong in one.wrong] == []
