"""What all tests share: a real daemon on a free port, and clients that the project did not write."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from typing import Any

import hypothesis
import pytest
import uvloop
import websockets
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from xdist.scheduler import LoadScopeScheduling

from relayd import lag
from relayd.daemon import running
from relayd.settings import Settings, load
from relayd.startup import Start

# How long an example takes is the machine's business.
hypothesis.settings.register_profile("relayd", deadline=None)
hypothesis.settings.load_profile("relayd")

# A shell ignores Ctrl-C for what it runs in the background, and so would all programs that are started here.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The daemons made here share a loop with their test, and it a busy machine: that it is late is no overload of theirs.
lag.LATE_S = 5.0


def pytest_asyncio_loop_factories(config, item):
    """Tests run on the loop the daemon runs on."""
    return {"uvloop": uvloop.new_event_loop}


# They start a systemd of their own, or work on what a machine has once only.
ONE_AFTER_THE_OTHER = ("tests/service/", "tests/package/")


class ByFile(LoadScopeScheduling):
    """Tests of one file run one after the other, in one process; all of a few folders, too."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "system" if file.startswith(ONE_AFTER_THE_OTHER) else file


def pytest_xdist_make_scheduler(config, log):
    """How tests are shared out among processes."""
    return ByFile(config, log)


def problem(response: HTTPResponse, status: int, code: str = "") -> dict[str, Any]:
    """The problem (RFC 9457) that an answer must be, checked for its form; without `code`, any code will do."""
    assert response.code == status, (response.code, response.body)
    assert response.headers["Content-Type"] == "application/problem+json"
    told = json.loads(response.body)
    assert told["status"] == status
    assert all(isinstance(told[name], str) and told[name] for name in ("type", "title", "detail", "code"))
    assert set(told) <= {"type", "title", "status", "detail", "code", "errors"}
    assert all(set(wrong) == {"field", "detail"} for wrong in told.get("errors", []))
    if code:
        assert told["code"] == code
    return told


class Peer:
    """One WebSocket of a person, by the `websockets` library."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket
        self.joined: dict[str, Any] = {}

    @property
    def id(self) -> str:
        return self.joined["you"]["id"]

    @property
    def session(self) -> str:
        return self.joined["you"]["session"]

    async def send(self, type_: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": type_, **fields}))

    async def say(self, id_: str, body: Any = "hello", **fields: Any) -> None:
        await self.send("message", id=id_, body=body, **fields)

    async def recv(self, timeout: float = 20) -> dict[str, Any]:
        return json.loads(await asyncio.wait_for(self.socket.recv(), timeout))

    async def until(self, type_: str, timeout: float = 20, **fields: Any) -> dict[str, Any]:
        """The next frame of that type with those fields; others before it are passed over."""
        async with asyncio.timeout(timeout):
            while True:
                frame = json.loads(await self.socket.recv())
                if frame["type"] == type_ and all(frame.get(name) == value for name, value in fields.items()):
                    return frame

    async def frames(self, seconds: float) -> list[dict[str, Any]]:
        """Everything that comes within that time."""
        got = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    got.append(json.loads(await self.socket.recv()))
        return got

    async def closed(self, timeout: float = 20) -> tuple[int, str]:
        """Reads until the server closes; the close code and reason."""
        async with asyncio.timeout(timeout):
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    await self.socket.recv()
        return self.socket.close_code, self.socket.close_reason


class Relay:
    """A running daemon and the means to talk to it."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.ws_base = base.replace("http://", "ws://")
        self._http = AsyncHTTPClient(force_instance=True)
        self._peers: list[Peer] = []
        self.at_end: list[Callable[[], None]] = []

    async def request(self, method: str, path: str, key: str = "", body: Any = None, **kwargs: Any) -> HTTPResponse:
        headers = kwargs.pop("headers", {})
        if key:
            headers["Authorization"] = f"Bearer {key}"
        if isinstance(body, dict | list):
            headers.setdefault("Content-Type", "application/json")
            body = json.dumps(body)
        return await self._http.fetch(
            self.base + path,
            method=method,
            headers=headers,
            body=body,
            allow_nonstandard_methods=True,
            raise_error=False,
            **kwargs,
        )

    async def create(self, **fields: Any) -> dict[str, Any]:
        response = await self.request("POST", "/api/v1/room", body=fields)
        assert response.code == 201, response.body
        return json.loads(response.body)

    async def details(self, room: dict[str, Any]) -> dict[str, Any]:
        response = await self.request("GET", f"/api/v1/{room['id']}", room["invite_key"])
        assert response.code == 200, response.body
        return json.loads(response.body)

    async def connect(self, room_id: str, **kwargs: Any) -> Peer:
        peer = Peer(await websockets.connect(f"{self.ws_base}/{room_id}", compression=None, **kwargs))
        self._peers.append(peer)
        return peer

    async def join(self, room: dict[str, Any], nick: str = "ann", *, owner: bool = False, **fields: Any) -> Peer:
        """A peer that is in the room; `joined` holds the answer."""
        peer = await self.connect(room["id"])
        if "session" not in fields:
            fields.setdefault("key", room["owner_key" if owner else "invite_key"])
            fields.setdefault("profile", {"nick": nick})
        await peer.send("join", **fields)
        peer.joined = await peer.recv()
        assert peer.joined["type"] == "joined", peer.joined
        return peer

    async def close(self) -> None:
        for peer in self._peers:
            await peer.socket.close()
        for call in self.at_end:
            call()
        self._http.close()


@contextlib.asynccontextmanager
async def relay_with(**settings: Any) -> AsyncIterator[Relay]:
    """A daemon with these settings (dotted paths with `__` for the dot), ended afterwards."""
    flags = {"listen": ["127.0.0.1:0"], **{path.replace("__", "."): value for path, value in settings.items()}}
    with tempfile.TemporaryDirectory(prefix="relayd-test-") as directory:
        flags.setdefault("control", f"{directory}/control.sock")
        async with _relay(load(None, {}, flags)) as relay:
            yield relay


@contextlib.asynccontextmanager
async def _relay(settings: Settings) -> AsyncIterator[Relay]:
    async with running(Start(settings)) as daemon:
        relay = Relay(daemon.addresses[0])
        try:
            yield relay
        finally:
            await relay.close()


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    """A daemon as it comes."""
    async with relay_with() as relay:
        yield relay
