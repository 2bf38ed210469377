"""Requests through proxies that say who comes, and under which name: over REST, and by both ways to a WebSocket."""

from __future__ import annotations

import asyncio
import json

import pytest
from conftest import Relay, relay_with
from rawsocket import handshake, open_tcp

# One client, as one proxy or another says it, each text a header line.
SAME = [
    ["X-Forwarded-For: 203.0.113.7"],
    ["X-Forwarded-For: 203.0.113.7:51008"],
    ['X-Forwarded-For: "203.0.113.7"'],
    ["X-Forwarded-For: ::ffff:203.0.113.7"],
    ["X-Forwarded-For: [::FFFF:cb00:7107]:443"],
    ["X-Forwarded-For: 64:ff9b::203.0.113.7"],
    ["X-Forwarded-For: 198.51.100.1, 203.0.113.7, 127.0.0.1,,"],
    ["X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: ::ffff:127.0.0.1"],
    ['X-Forwarded-For: "', "X-Forwarded-For: 203.0.113.7:1"],
    ["X-Forwarded-For: 203.0.113.7", "Forwarded: for=198.51.100.1"],
    ["Forwarded: for=203.0.113.7"],
    ['forwarded: Proto=https;FOR="203.0.113.7:51008";by=_x'],
    ['Forwarded: for="[::ffff:203.0.113.7]:1"'],
    ["Forwarded: for=198.51.100.1, for=203.0.113.7, for=127.0.0.1"],
    ["Forwarded: for=198.51.100.1", "Forwarded: for=203.0.113.7"],
    ['Forwarded: for="', "Forwarded: for=203.0.113.7"],
]
# What hides the client, who then counts as the proxy, and never as what stands left of it.
HIDDEN = [
    [],
    ["X-Forwarded-For: unknown"],
    ["X-Forwarded-For: 203.0.113.7, _hidden"],
    ["X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: unknown"],
    ["X-Forwarded-For: unknown", "Forwarded: for=203.0.113.7"],
    ["Forwarded: for=203.0.113.7, for=unknown"],
    ['Forwarded: for=203.0.113.7, for="198.51.100.1'],
]
BEHIND = {"trusted_proxies": ["127.0.0.1"]}


async def status(relay: Relay, head: bytes, lines: list[str]) -> tuple[int, asyncio.StreamWriter]:
    """What a request with these further lines is answered, and its connection."""
    reader, writer = await open_tcp(relay)
    writer.write(head.removesuffix(b"\r\n") + "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n")
    answer = await asyncio.wait_for(reader.readline(), 30)
    return int(answer.split()[1]), writer


async def create(relay: Relay, lines: list[str]) -> int:
    head = b"POST /api/v1/room HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    return (await status(relay, head, lines))[0]


# A handshake that is read without Tornado, unless it has a line twice; and one that is always Tornado's.
PATHS = pytest.mark.parametrize("path", ["/{}", "/{}?x"])


@PATHS
async def test_one_client_is_one_address(path):
    """Whatever a proxy says it by."""
    async with relay_with(limits__max_connections_per_address=1, limits__create_rate=1, **BEHIND) as relay:
        room = "7f9c24e8-3b12-4fef-91e0-5b2f60f1a0aa"
        head = handshake(path.format(room))
        assert (await status(relay, head, SAME[0]))[0] == 101
        assert await create(relay, SAME[0]) == 201
        for lines in SAME:
            assert (await status(relay, head, lines))[0] == 429, lines
            assert await create(relay, lines) == 429, lines
        assert (await status(relay, head, HIDDEN[0]))[0] == 101
        assert await create(relay, HIDDEN[0]) == 201
        for lines in HIDDEN:
            assert (await status(relay, head, lines))[0] == 429, lines
            assert await create(relay, lines) == 429, lines
        assert (await status(relay, head, ["X-Forwarded-For: 203.0.113.8"]))[0] == 101
        assert await create(relay, ["X-Forwarded-For: 203.0.113.8"]) == 201


@PATHS
@pytest.mark.parametrize(
    "lines",
    [
        ["X-Forwarded-Host: chat.example.org, inner.example"],
        ["X-Forwarded-Host: inner.example, chat.example.org"],
        ["X-Forwarded-Host: chat.example.org,chat.example.org"],
        ["X-Forwarded-Host: chat.example.org", "X-Forwarded-Host: backend.example.com"],
        ["X-Forwarded-Host: CHAT.example.org, backend.example.com", "X-Forwarded-Proto: wss"],
        ["Forwarded: host=chat.example.org;proto=wss", "Forwarded: host=backend.example.com"],
    ],
)
async def test_several_hosts(path, lines):
    """One of them is the server's own; a browser's page may be of it."""
    async with relay_with(public_url="https://chat.example.org", **BEHIND) as relay:
        lines = [*lines, "Origin: https://chat.example.org"]
        head = handshake(path.format("7f9c24e8-3b12-4fef-91e0-5b2f60f1a0aa"))
        assert (await status(relay, head, lines))[0] == 101
        assert await create(relay, lines) == 201


@PATHS
async def test_several_foreign_hosts(path):
    """A page of a name that is led here (DNS rebinding) gets in by no header that it adds itself."""
    async with relay_with(public_url="https://chat.example.org", **BEHIND) as relay:
        head = handshake(path.format("7f9c24e8-3b12-4fef-91e0-5b2f60f1a0aa"))
        for forged, wanted in (("localhost", 421), ("chat.example.org", 403)):
            lines = [f"X-Forwarded-Host: {forged}, evil.example.com", "Origin: http://evil.example.com"]
            assert (await status(relay, head, lines))[0] == wanted
            assert await create(relay, lines) == wanted


@pytest.mark.parametrize(
    ("headers", "link"),
    [
        ({"X-Forwarded-Proto": "wss"}, "https://localhost/"),
        ({"X-Forwarded-Proto": "HTTPS, http", "X-Forwarded-Host": "a.test, chat.test:8443"}, "https://chat.test:8443/"),
        ({"Forwarded": 'for=203.0.113.7;host="chat.test";proto=https'}, "https://chat.test/"),
        ({"Forwarded": "host=a.test", "X-Forwarded-Host": "b.test"}, "http://b.test/"),
        ({"Forwarded": "host=a.test;proto=https", "X-Forwarded-For": "203.0.113.7"}, "http://localhost/"),
    ],
)
async def test_links(headers, link):
    """They lead to where the client came to."""
    async with relay_with(**BEHIND) as relay:
        answer = await relay.request("POST", "/api/v1/room", body={}, headers={"Host": "localhost"} | headers)
        room = json.loads(answer.body)
        assert room["link"].startswith(link)
        assert room["chat"].startswith(link.replace("http", "ws"))
