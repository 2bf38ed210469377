"""How a chat is opened: address, subprotocol, origin, host, extensions, and what is no WebSocket."""

import asyncio
import uuid

import pytest
import websockets
from conftest import relay_with
from rawsocket import TEXT, handshake, join_raw, open_raw, open_tcp

ROOM = "7f9c24e8-3b12-4fef-91e0-5b2f60f1a0aa"


async def refused(relay, **kwargs):
    """The HTTP answer to a handshake that is refused."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        await websockets.connect(f"{relay.ws_base}/{ROOM}", **kwargs)
    return caught.value.response


@pytest.mark.parametrize(
    "room_id", [ROOM, str(uuid.UUID(int=0)), str(uuid.UUID(int=2**128 - 1)), "7270d9e0-e9ad-11f1-9217-02fc00000001"]
)
async def test_every_uuid_is_accepted(relay, room_id):
    """Whether there is such a room shows only after the join frame."""
    peer = await relay.connect(room_id)
    await peer.send("join", key="ri_AAAAAAAAAAAAAAAAAAAAAA", profile={})
    assert await peer.closed() == (4004, "no_such_room")


@pytest.mark.parametrize("path", ["", "room", ROOM.upper(), ROOM[:-1], "api/v1/room", f"{ROOM}/x"])
async def test_no_chat_elsewhere(relay, path):
    """Only at a UUID in canonical form."""
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(f"{relay.ws_base}/{path}")


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        (["relay.v1"], "relay.v1"),
        (["chat", "relay.v1", "relay.v2"], "relay.v1"),
        (["chat"], None),
        (["RELAY.V1"], None),
        (None, None),
    ],
)
async def test_subprotocol(relay, offered, selected):
    """`relay.v1` is selected if offered; without it one may connect all the same."""
    room = await relay.create()
    peer = await relay.connect(room["id"], subprotocols=offered)
    assert peer.socket.subprotocol == selected
    await peer.send("join", key=room["invite_key"], profile={})
    assert (await peer.recv())["type"] == "joined"


async def test_no_deflate(relay):
    """permessage-deflate is not taken up: frames are shared between readers."""
    async with websockets.connect(f"{relay.ws_base}/{ROOM}", compression="deflate") as socket:
        assert "Sec-WebSocket-Extensions" in socket.request.headers
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "null",
        "http://localhost.evil.com",
        "http://127.0.0.1",
        "http://[",
        "",
        "://",
        "\xe9",
    ],
)
async def test_foreign_origin(relay, origin):
    """A page of another origin is refused at the handshake."""
    response = await refused(relay, additional_headers={"Origin": origin})
    assert response.status_code == 403
    assert response.headers["Content-Type"] == "application/problem+json"


async def test_own_origin(relay):
    """The server's own pages connect, and programs that send no origin."""
    await relay.connect(ROOM, origin=relay.base)
    await relay.connect(ROOM)


async def test_allowed_origins():
    """Origins that are set may connect, and `*` means all."""
    async with relay_with(allowed_origins=["https://chat.example.org"]) as relay:
        await relay.connect(ROOM, origin="https://chat.example.org")
        assert (await refused(relay, origin="https://evil.example.org")).status_code == 403
    async with relay_with(allowed_origins=["*"]) as relay:
        await relay.connect(ROOM, origin="https://evil.example.org")


async def test_public_origin():
    """Pages of `public_url` connect though the request's own host is another."""
    async with relay_with(public_url="https://chat.example.org") as relay:
        await relay.connect(ROOM, origin="https://chat.example.org")
        assert (await refused(relay, origin="http://chat.example.org.evil.com")).status_code == 403


async def status_of(relay, request):
    """The status of the answer to these bytes."""
    reader, writer = await open_tcp(relay)
    writer.write(request)
    line = await asyncio.wait_for(reader.readline(), 5)
    return int(line.split()[1])


@pytest.mark.parametrize("host", ["evil.example.com", "rebind.attacker.net:8080"])
async def test_foreign_host(relay, host):
    """A name that an attacker's DNS points here is refused, even with an origin to match (DNS rebinding)."""
    assert await status_of(relay, handshake(f"/{ROOM}", Host=host, Origin=f"http://{host}")) == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_WebSocket_Version": "8"}, 426),
        ({"Sec_WebSocket_Version": None}, 426),
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Sec_WebSocket_Key": "\xe9" * 24}, 400),
        ({"Connection": "keep-alive"}, 400),
        ({"Connection": "keep-alive, Upgrade"}, 101),
        ({"Upgrade": "WebSocket"}, 101),
    ],
    ids=repr,
)
async def test_handshake_headers(relay, headers, status):
    """RFC 6455, section 4.2.1, and what browsers and proxies make of it."""
    assert await status_of(relay, handshake(f"/{ROOM}", **headers)) == status


async def test_joining_in_one_breath(relay):
    """Frames that come in the same packet as the handshake are read."""
    room = await relay.create()
    reader, writer = await open_tcp(relay)
    frame = b'{"type":"join","key":"%b","profile":{}}' % room["invite_key"].encode()
    writer.write(handshake(f"/{room['id']}") + bytes([0x81, 0x80 | len(frame)]) + b"\0\0\0\0" + frame)
    async with asyncio.timeout(5):
        await reader.readuntil(b"\r\n\r\n")
        assert b'"type":"joined"' in await reader.readuntil(b"}")


async def test_max_connections():
    """Past the server's limit a newcomer is told to come back; those inside stay."""
    async with relay_with(limits__max_connections=2) as relay:
        room = await relay.create()
        ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
        response = await refused(relay)
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) >= 1
        await ann.say("1")
        await bob.until("message", id="1")
        await ann.socket.close()
        await relay.join(room, "cem")


async def test_closing_is_prompt():
    """Once both have sent their close frames the connection ends: nobody waits out the time for dropping."""
    async with relay_with(timing__close_timeout=30) as relay:
        room = await relay.create()
        refused = await relay.connect(room["id"])
        await refused.send("join", key="ri_AAAAAAAAAAAAAAAAAAAAAA", profile={})
        left = await relay.join(room)
        await left.send("leave")
        gone = await relay.join(room)
        await gone.socket.send("no json")
        for peer in (refused, left):
            await asyncio.wait_for(peer.socket.wait_closed(), 3)
        await asyncio.wait_for(gone.socket.close(), 3)
        assert (refused.socket.close_code, left.socket.close_code, gone.socket.close_code) == (4004, 4014, 1000)


async def test_peer_that_never_closes():
    """One who ignores the close frame is dropped after the time for it."""
    async with relay_with(timing__close_timeout=0.2) as relay:
        raw = await open_raw(relay, ROOM)
        raw.send_json("join", key="ri_AAAAAAAAAAAAAAAAAAAAAA", profile={})
        assert await raw.close_code() == 4004
        await raw.ended()


async def test_close_code_of_the_client_is_answered(relay):
    """A client's close frame gets its answer at once, and the others see it go."""
    room = await relay.create()
    raw = await join_raw(relay, room)
    raw.send((1001).to_bytes(2, "big"), 8)
    assert await raw.close_code() == 1001
    await raw.ended()


async def test_fragments_and_controls(relay):
    """A message in three fragments with a ping between is one message; the ping gets its pong."""
    room = await relay.create()
    ann, raw = await relay.join(room), await join_raw(relay, room)
    raw.send(b'{"type":"message",', fin=False)
    raw.send(b"between", 9)
    raw.send(b'"id":"1",', 0, fin=False)
    raw.send(b'"body":"whole"}', 0)
    assert await raw.until(10) == b"between"
    assert b"whole" in await raw.until(TEXT)
    assert (await ann.until("message"))["body"] == "whole"
