"""WebKitGTK, which is what Safari is built on: its MiniBrowser under Xvfb, over WebKitWebDriver's HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any, Self

import pytest
from tornado.httpclient import AsyncHTTPClient

from web.engines.tab import VIEWPORT, Steps

START_S = 60  # the machine may be busy
ANSWER_S = 60
_SCREEN = "1600x1200x24"


class WebKit:
    """A screen, and a driver for each tab that is open at a time: a driver has one session, a session is a profile."""

    def __init__(self, screen: asyncio.subprocess.Process, display: str, browser: str) -> None:
        self._screen = screen
        self._display = display
        self._browser = browser
        self._drivers: list[Driver] = []
        self._idle: list[Driver] = []

    @classmethod
    async def launch(cls) -> Self:
        browsers = sorted(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"))
        for program, package in (("WebKitWebDriver", "webkit2gtk-driver"), ("Xvfb", "xvfb")):
            if not shutil.which(program) or not browsers:
                pytest.skip(f"there is no {program}: apt-get install {package}")
        reading, writing = os.pipe()
        screen = await asyncio.create_subprocess_exec(
            "Xvfb", "-displayfd", str(writing), "-screen", "0", _SCREEN, "-nolisten", "tcp", "-noreset",
            pass_fds=[writing], stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        os.close(writing)
        with os.fdopen(reading, "rb") as display:
            async with asyncio.timeout(START_S):
                number = await asyncio.to_thread(display.readline)
        return cls(screen, number.decode().strip(), str(browsers[-1]))

    async def tab(self) -> WebKitTab:
        driver = self._idle.pop() if self._idle else await self._driver()
        options = {"binary": self._browser, "args": ["--automation"]}
        capabilities = {"webkitgtk:browserOptions": options, "unhandledPromptBehavior": "accept"}
        made = await driver.call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        tab = WebKitTab(driver, f"/session/{made['sessionId']}", self._idle)
        await tab.resize()
        return tab

    async def close(self) -> None:
        for driver in self._drivers:
            await driver.close()
        self._screen.terminate()
        await self._screen.wait()

    async def _driver(self) -> Driver:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            "WebKitWebDriver", f"--port={port}", env={**os.environ, "DISPLAY": f":{self._display}"},
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        driver = Driver(process, port)
        self._drivers.append(driver)
        async with asyncio.timeout(START_S):
            while not await driver.is_up():
                assert process.returncode is None, "WebKitWebDriver has ended"
                await asyncio.sleep(0.05)
        return driver


class Driver:
    """One WebKitWebDriver."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self._base = f"http://127.0.0.1:{port}"
        self._http = AsyncHTTPClient(force_instance=True)

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The value of the answer to a command of WebDriver."""
        text = None if body is None else json.dumps(body)
        response = await self._http.fetch(
            self._base + path, method=method, body=text, raise_error=False, request_timeout=ANSWER_S
        )
        value = json.loads(response.body)["value"]
        assert response.code == 200, f"{method} {path}: {value}"
        return value

    async def is_up(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(await self.call("GET", "/status"))
        return False

    async def close(self) -> None:
        self._http.close()
        self._process.terminate()
        await self._process.wait()


class WebKitTab:
    """One session with one tab. Errors of scripts are not reported."""

    def __init__(self, driver: Driver, path: str, idle: list[Driver]) -> None:
        self.errors: list[str] = []
        self._driver = driver
        self._path = path
        self._idle = idle

    async def resize(self) -> None:
        """Makes the viewport, not the window, as large as that of the other browsers."""
        outer = {"width": VIEWPORT["width"], "height": VIEWPORT["height"], "x": 0, "y": 0}
        await self._call("/window/rect", outer)
        inner = await self.evaluate("() => [innerWidth, innerHeight]")
        for name, size in zip(("width", "height"), inner, strict=True):
            outer[name] += VIEWPORT[name] - size
        await self._call("/window/rect", outer)

    async def goto(self, url: str) -> None:
        await self._call("/url", {"url": url})
        # The driver may answer before the process of the new document has replaced that of the old one.
        async with asyncio.timeout(ANSWER_S):
            while not await self.evaluate("(url) => location.origin === new URL(url).origin", url):
                await asyncio.sleep(0.05)

    async def reload(self) -> None:
        await self._call("/refresh", {})

    async def evaluate(self, function: str, *args: Any) -> Any:
        script = f"""const [args, done] = arguments;
            const run = async () => ({function})(...args);
            run().then((value) => done([value ?? null, ""]), (error) => done([null, String(error)]));"""
        value, error = await self._call("/execute/async", {"script": script, "args": [list(args)]})
        assert not error, error
        return value

    async def pointer(self, steps: Steps) -> None:
        await self._call("/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": steps}]})

    async def keys(self, steps: Steps) -> None:
        await self._call("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": steps}]})

    async def close(self) -> None:
        await self._driver.call("DELETE", self._path)
        self._idle.append(self._driver)

    async def _call(self, path: str, body: dict[str, Any]) -> Any:
        return await self._driver.call("POST", self._path + path, body)
