"""Keys, sessions and names of one room, tried at another's doors; and HTTP that tries to be read in two ways."""

import asyncio

import pytest

UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
)


async def answered(relay, data, seconds=2.0):
    """The statuses of what is answered to these bytes, and whether the connection is closed after it."""
    host, port = relay.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data.replace(b"HOST", f"{host}:{port}".encode()))
    got, ended = b"", False
    try:
        async with asyncio.timeout(seconds):
            while not ended:
                data = await reader.read(65_536)
                got, ended = got + data, not data
    except TimeoutError:
        pass
    except ConnectionResetError:
        ended = True
    writer.transport.abort()
    lines = [part.split(b"\r\n")[0] for part in got.split(b"HTTP/1.1 ")[1:]]
    return [int(line.split()[0]) for line in lines], ended


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"Content-Length: +5\r\n\r\nhello",
        b"Content-Length: 1_0\r\n\r\nhellohello",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
        b"Host: other.example.org\r\nContent-Length: 0\r\n\r\n",
        b"X : a\r\nContent-Length: 0\r\n\r\n",
        b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_nothing_is_read_in_two_ways(relay, head):
    """A proxy in front might read it differently: refused, and what follows is not taken for a request."""
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n"
    statuses, ended = await answered(relay, b"POST /api/v1/room HTTP/1.1\r\nHost: HOST\r\n" + head + smuggled)
    assert (statuses, ended) == ([400], True)


async def test_bytes_after_the_handshake_are_frames(relay):
    """A request that follows the handshake is no request any more."""
    room = await relay.create()
    get = b"GET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n"
    path = f"GET /{room['id']} HTTP/1.1\r\nHost: HOST\r\n".encode()
    assert await answered(relay, path + UPGRADE + b"\r\n" + get) == ([101], True)


@pytest.mark.parametrize("body", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
async def test_a_body_is_no_frame(relay, body):
    """A handshake with a body is none, and what follows the body is the next request."""
    room = await relay.create()
    path = f"GET /{room['id']} HTTP/1.1\r\nHost: HOST\r\n".encode()
    get = b"GET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n"
    assert await answered(relay, path + UPGRADE + body + get, 0.5) == ([400, 200], False)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 405), ("PUT", 405), ("OPTIONS", 405)])
async def test_only_get_upgrades(relay, method, status):
    """No other method opens a chat; HEAD is the page's."""
    room = await relay.create()
    data = f"{method} /{room['id']} HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\n".encode() + UPGRADE + b"\r\n"
    assert (await answered(relay, data, 0.5))[0] == [status]


async def test_what_belongs_to_one_room_opens_no_other(relay):
    """Keys and sessions, in their own field or in the other one."""
    one, other = await relay.create(), await relay.create()
    ann = await relay.join(one)
    for field, value in (
        ("key", one["owner_key"]),
        ("key", one["invite_key"]),
        ("session", ann.session),
        ("key", ann.session),
        ("session", other["owner_key"]),
        ("session", other["invite_key"]),
    ):
        peer = await relay.connect(other["id"])
        await peer.send("join", profile={}, **{field: value})
        assert await peer.closed() == (4004, "no_such_room")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/users"), ("DELETE", "/users/USER"), ("POST", "/invite")],
)
async def test_every_door_asks_for_this_rooms_key(relay, method, path):
    """By id, by name in any case, by an id in capitals: a foreign key is told what a missing room is told.

    So is a session, except that it reads its own room.
    """
    one, other = await relay.create(), await relay.create(name="Tea Room")
    ann, eve = await relay.join(other), await relay.join(one)
    foreign = (one["owner_key"], one["invite_key"], eve.session, other["owner_key"] + "A")
    keys = foreign if method == "GET" else (*foreign, ann.session)
    path, body = path.replace("USER", ann.id), {} if method in ("PATCH", "POST") else None
    nowhere = await relay.request(method, f"/api/v1/nowhere{path}", one["owner_key"], body)
    for reference in (other["id"], "Tea%20Room", "tea%20room", other["id"].upper(), "%20Tea%20Room", "Tea%2520Room"):
        for key in keys:
            answer = await relay.request(method, f"/api/v1/{reference}{path}", key, body)
            assert (answer.code, answer.body) == (404, nowhere.body)


async def test_a_renamed_room_is_found_by_its_new_name_only(relay):
    """A name that another room has taken over leads there, and the old key does not go along."""
    one = await relay.create(name="Tea")
    await relay.request("PATCH", "/api/v1/Tea", one["owner_key"], {"name": "Coffee"})
    await relay.create(name="tea")
    assert (await relay.request("DELETE", "/api/v1/tea", one["owner_key"])).code == 404
    assert (await relay.request("GET", "/api/v1/coffee", one["invite_key"])).code == 200


async def test_nothing_is_heard_of_a_user_who_has_left(relay):
    """Said before, left, said after: all in one write."""
    room = await relay.create()
    ann, bob = await relay.join(room), await relay.join(room)
    await bob.say("before")
    await bob.send("leave")
    await bob.say("after")
    assert (await ann.until("message"))["id"] == "before"
    assert all(frame["type"] != "message" for frame in await ann.frames(0.5))


async def test_a_topic_left_and_taken_up_again_loses_nothing(relay):
    """The only socket of a room comes and goes as fast as it can; each time it is let in, and hears itself."""
    room = await relay.create(max=1)
    ann = await relay.join(room)
    for number in range(100):
        ann.socket.transport.abort()
        ann = await relay.join(room, session=ann.session)
        await ann.say(f"m{number}")
        await ann.until("message", id=f"m{number}")


@pytest.mark.parametrize("shaken", [False, True])
async def test_half_closed_connections_are_let_go(relay, shaken):
    """A client that has shut its sending side: before the handshake and after it."""
    host, port = relay.base.removeprefix("http://").split(":")
    head = f"GET /{(await relay.create())['id']} HTTP/1.1\r\nHost: {host}:{port}\r\n".encode() + UPGRADE
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head + b"\r\n" if shaken else head)
    if shaken:
        await reader.readuntil(b"\r\n\r\n")
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await writer.wait_closed()
