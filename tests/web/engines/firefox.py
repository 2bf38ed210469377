"""Firefox ESR, over the WebDriver BiDi that it speaks itself: a WebSocket, without a driver in between."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, Self

import pytest
import websockets

from web.engines.tab import VIEWPORT, Steps

START_S = 60  # the machine may be busy
ANSWER_S = 60
# Nothing is asked of anybody but the page's server.
_PREFERENCES = {
    "app.update.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "browser.newtabpage.enabled": False,
    "browser.region.network.url": "",
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "intl.accept_languages": "en-GB, en",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.server": "",
    "ui.prefersReducedMotion": 1,
}


class Firefox:
    """One process; a user context is a profile."""

    def __init__(self, process: asyncio.subprocess.Process, socket: websockets.ClientConnection, home: str) -> None:
        self.tabs: dict[str, FirefoxTab] = {}  # by browsing context
        self._process = process
        self._socket = socket
        self._home = home
        self._count = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def launch(cls, **preferences: Any) -> Self:
        """Starts Firefox; `preferences` with `__` for the dot, e.g. browser__privatebrowsing__autostart."""
        path = shutil.which("firefox-esr") or shutil.which("firefox")
        if path is None:
            pytest.skip("there is no Firefox: apt-get install firefox-esr")
        home = tempfile.mkdtemp(prefix="relayd-test-firefox-")
        wanted = {**_PREFERENCES, **{name.replace("__", "."): value for name, value in preferences.items()}}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in wanted.items()]
        await asyncio.to_thread((Path(home) / "user.js").write_text, "".join(lines))
        process = await asyncio.create_subprocess_exec(
            path, "--headless", "--no-remote", "--profile", home, "--remote-debugging-port=0",
            env={**os.environ, "HOME": home}, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(START_S):
            while not (found := re.search(rb"WebDriver BiDi listening on (ws://\S+)", await process.stderr.readline())):
                assert process.returncode is None, "Firefox has ended"
        asyncio.get_running_loop().create_task(process.stderr.read())  # it must not block on a full pipe
        socket = await websockets.connect(f"{found[1].decode()}/session", max_size=None)
        firefox = cls(process, socket, home)
        await firefox.call(
            "session.new", capabilities={"alwaysMatch": {"unhandledPromptBehavior": {"default": "accept"}}}
        )
        await firefox.call("session.subscribe", events=["log.entryAdded"])
        return firefox

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a command of BiDi."""
        self._count += 1
        answer = self._answers[self._count] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": self._count, "method": method, "params": params}))
        told = await asyncio.wait_for(answer, ANSWER_S)
        assert told["type"] == "success", f"{method}: {told.get('error')}: {told.get('message')}"
        return told["result"]

    async def tab(self) -> FirefoxTab:
        profile = (await self.call("browser.createUserContext"))["userContext"]
        context = (await self.call("browsingContext.create", type="tab", userContext=profile))["context"]
        await self.call("browsingContext.setViewport", context=context, viewport=VIEWPORT)
        tab = self.tabs[context] = FirefoxTab(self, profile, context)
        return tab

    async def close(self) -> None:
        await self.call("browser.close")
        await asyncio.wait_for(self._process.wait(), START_S)
        await self._listening
        await asyncio.to_thread(shutil.rmtree, self._home, ignore_errors=True)

    async def _listen(self) -> None:
        async for text in self._socket:
            frame = json.loads(text)
            if answer := self._answers.pop(frame.get("id", 0), None):
                answer.set_result(frame)
            elif frame.get("method") == "log.entryAdded":
                self._log(frame["params"])

    def _log(self, entry: dict[str, Any]) -> None:
        tab = self.tabs.get(entry["source"].get("context", ""))
        # Failures of the network are logged as errors of scripts, too; a test that cuts it expects them.
        if tab and entry["type"] == "javascript" and entry["level"] == "error" and "ws://" not in entry["text"]:
            tab.errors.append(entry["text"])


class FirefoxTab:
    """One user context with one tab."""

    def __init__(self, firefox: Firefox, profile: str, context: str) -> None:
        self.errors: list[str] = []
        self._firefox = firefox
        self._profile = profile
        self._context = context

    async def goto(self, url: str) -> None:
        await self._firefox.call("browsingContext.activate", context=self._context)
        await self._firefox.call("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def reload(self) -> None:
        await self._firefox.call("browsingContext.reload", context=self._context, wait="complete")

    async def evaluate(self, function: str, *args: Any) -> Any:
        declaration = f"async (args) => JSON.stringify(await ({function})(...JSON.parse(args)) ?? null)"
        told = await self._firefox.call(
            "script.callFunction",
            functionDeclaration=declaration,
            arguments=[{"type": "string", "value": json.dumps(args)}],
            awaitPromise=True,
            target={"context": self._context},
        )
        assert told["type"] == "success", told.get("exceptionDetails", {}).get("text")
        return json.loads(told["result"]["value"])

    async def pointer(self, steps: Steps) -> None:
        await self._perform({"type": "pointer", "id": "mouse", "actions": steps})

    async def keys(self, steps: Steps) -> None:
        await self._perform({"type": "key", "id": "keyboard", "actions": steps})

    async def _perform(self, source: dict[str, Any]) -> None:
        await self._firefox.call("browsingContext.activate", context=self._context)
        await self._firefox.call("input.performActions", context=self._context, actions=[source])

    async def close(self) -> None:
        del self._firefox.tabs[self._context]
        await self._firefox.call("browser.removeUserContext", userContext=self._profile)
