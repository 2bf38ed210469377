"""The addresses that a room is given: from `public_url`, from the request, or from a proxy that is trusted."""

import json

import pytest
from conftest import problem, relay_with

FORWARDED = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "chat.home.arpa"}


async def made(relay, **headers):
    """A room created by a request with these headers."""
    response = await relay.request("POST", "/api/v1/room", body={}, headers=headers)
    assert response.code == 201, response.body
    return json.loads(response.body)


def assert_at(room, ws_base, http_base):
    """Both addresses of a room stand on these."""
    assert room["chat"] == f"{ws_base}/{room['id']}"
    assert room["link"] == f"{http_base}/{room['id']}#{room['invite_key']}"


async def test_from_the_request(relay):
    """Without `public_url` the room is where the request went."""
    assert_at(await made(relay), relay.ws_base, relay.base)
    assert_at(await made(relay, Host="relay.local:8080"), "ws://relay.local:8080", "http://relay.local:8080")


async def test_chat_address_works(relay):
    """The chat's address can be connected to as it stands."""
    room = await relay.create()
    relay.ws_base = room["chat"].removesuffix(f"/{room['id']}")
    assert (await relay.join(room)).joined["room"]["id"] == room["id"]


@pytest.mark.parametrize("url", ["https://chat.example.org", "https://chat.example.org/"])
async def test_public_url(relay, url):
    """`public_url` wins over the request and over proxies."""
    async with relay_with(public_url=url, trusted_proxies=["127.0.0.1"]) as relay:
        for headers in ({}, {"Host": "relay.local"}, FORWARDED):
            assert_at(await made(relay, **headers), "wss://chat.example.org", "https://chat.example.org")


async def test_public_url_with_port(relay):
    """A port of `public_url` is kept, and `http` gives `ws`."""
    async with relay_with(public_url="http://chat.example.org:8443") as relay:
        assert_at(await made(relay), "ws://chat.example.org:8443", "http://chat.example.org:8443")


async def test_forwarded_by_a_stranger(relay):
    """Anyone can write `X-Forwarded-*`: it counts from trusted proxies only."""
    assert_at(await made(relay, **FORWARDED), relay.ws_base, relay.base)
    async with relay_with(trusted_proxies=["10.0.0.0/8"]) as relay:
        assert_at(await made(relay, **FORWARDED), relay.ws_base, relay.base)


async def test_forwarded_by_a_trusted_proxy():
    """A trusted proxy says under which scheme and host it was reached."""
    async with relay_with(trusted_proxies=["127.0.0.0/8"]) as relay:
        assert_at(await made(relay, **FORWARDED), "wss://chat.home.arpa", "https://chat.home.arpa")
        only_scheme = {"X-Forwarded-Proto": "https", "Host": "relay.local"}
        assert_at(await made(relay, **only_scheme), "wss://relay.local", "https://relay.local")


@pytest.mark.parametrize("proto", ["javascript", "https://evil", "", "ftp"])
async def test_forwarded_scheme_that_is_none(proto):
    """A link is never anything but http or https."""
    async with relay_with(trusted_proxies=["127.0.0.1"]) as relay:
        room = await made(relay, **{"X-Forwarded-Proto": proto})
        assert room["link"].startswith(("http://", "https://"))
        assert "evil" not in room["link"]


@pytest.mark.parametrize("host", ["evil.example.com", "rebind.attacker.net:80", "chat.example.org.evil.com"])
async def test_foreign_host(relay, host):
    """A page whose name an attacker's DNS points here is not served (DNS rebinding)."""
    problem(await relay.request("POST", "/api/v1/room", body={}, headers={"Host": host}), 421, "wrong_host")
    problem(await relay.request("GET", "/healthz", headers={"Host": host}), 421, "wrong_host")


@pytest.mark.parametrize(
    "host",
    ["evil.com/@relay.local", "evil.com:80@localhost", "a b", "<script>", "localhost:x", "[::1", "x#y", "x?y", ""],
)
async def test_host_that_is_none(relay, host):
    """What is no host never becomes part of a link."""
    response = await relay.request("POST", "/api/v1/room", body={}, headers={"Host": host})
    assert response.code in (400, 421), response.body


@pytest.mark.parametrize("host", ["chat.home.arpa/path", "x@chat.home.arpa", "a b.home.arpa", "x#.home.arpa"])
async def test_forwarded_host_that_is_none(host):
    """A proxy that passes on what it was given does no harm either."""
    async with relay_with(trusted_proxies=["127.0.0.1"]) as relay:
        response = await relay.request("POST", "/api/v1/room", body={}, headers={"X-Forwarded-Host": host})
        assert response.code in (400, 421), response.body


async def test_allowed_hosts():
    """Names that are set are answered to, in any case and at any port; others are still not."""
    async with relay_with(allowed_hosts=["chat.example.org"], public_url="https://www.example.org") as relay:
        for host in ("chat.example.org", "Chat.Example.ORG:8080", "www.example.org", "chat.example.org."):
            assert (await relay.request("GET", "/healthz", headers={"Host": host})).code == 200, host
        problem(await relay.request("GET", "/healthz", headers={"Host": "example.org"}), 421)
