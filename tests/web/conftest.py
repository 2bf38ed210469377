"""Browsers for all tests of the page, a daemon for each, and as many people as they like.

`visitors` are in Chromium; `people` are in each of the three browsers in turn.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from conftest import Relay, relay_with
from playwright.async_api import Browser, async_playwright

from web.engines.chromium import Chromium
from web.engines.firefox import Firefox
from web.engines.tab import Engine
from web.engines.webkit import WebKit
from web.person import Person
from web.visitors import SIZES, Visitor, chromium

Visitors = Callable[..., Awaitable[Visitor]]
People = Callable[..., Awaitable[Person]]

HERE = Path(__file__).parent
ENGINES = {"chromium": Chromium, "firefox": Firefox, "webkit": WebKit}
# A browser belongs to the loop that it was started on, so the page's tests share one.
SHARED_LOOP = {"visitors", "people"}
ON_SHARED_LOOP = pytest.mark.asyncio(loop_scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Before pytest-asyncio takes each test for one with a loop of its own, and closes all browsers after it."""
    if SHARED_LOOP & set(metafunc.fixturenames):
        metafunc.definition.add_marker(ON_SHARED_LOOP, append=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of a run, not only those of this directory."""
    for item in items:
        if item.path.is_relative_to(HERE) and SHARED_LOOP & set(getattr(item, "fixturenames", ())):
            item.add_marker(ON_SHARED_LOOP, append=False)


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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engines() -> AsyncIterator[Callable[[str], Awaitable[Engine]]]:
    """Starts a browser when the first test wants it, one of each kind."""
    running: dict[str, Engine] = {}

    async def engine(name: str) -> Engine:
        if name not in running:
            running[name] = await ENGINES[name].launch()
        return running[name]

    yield engine
    for one in running.values():
        await one.close()


@pytest_asyncio.fixture(loop_scope="session", params=ENGINES)
async def people(request: pytest.FixtureRequest, engines: Callable, server: Relay) -> AsyncIterator[People]:
    """Makes people, all in the same browser; no script of the page may have failed at the end."""
    engine = await engines(request.param)
    made: list[Person] = []

    async def person(base: str = "") -> Person:
        made.append(Person(await engine.tab(), base or server.base))
        return made[-1]

    yield person
    for one in made:
        await one.tab.close()
    assert [error for one in made for error in one.tab.errors] == []
