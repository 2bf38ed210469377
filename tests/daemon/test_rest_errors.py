"""Answers to what is wrong: each status of the protocol, as problem+json, and no key in any of them."""

import asyncio
import json

import pytest
from conftest import problem, relay_with
from rawsocket import open_tcp

from relayd.gateway import app
from relayd.http.stream import Timeouts

NO_ROOM = "7f9c24e8-3b12-4fef-91e0-5b2f60f1a0aa"
WRONG_KEYS = {
    "invite": "ri_AAAAAAAAAAAAAAAAAAAAAA",
    "owner": "ro_" + "A" * 43,
    "session": "rs_" + "A" * 43,
    "junk": "junk",
    "long": "ri_" + "A" * 5000,
    "shape": "ri_====",
    "latin": "ri_\xe9\xe8",
}
WORK = [
    ("GET", "", None),
    ("PATCH", "", {"max": 3}),
    ("DELETE", "", None),
    ("GET", "/users", None),
    ("DELETE", "/users/u_0000000000000000", None),
    ("POST", "/invite", ""),
]
OWNERS_WORK = [work for work in WORK if work[0] != "GET"]


def same(*answers):
    """Whether these answers cannot be told apart but by their time."""
    seen = {
        (answer.code, answer.body, tuple((name, text) for name, text in answer.headers.get_all() if name != "Date"))
        for answer in answers
    }
    return len(seen) == 1


@pytest.mark.parametrize(("method", "rest", "body"), WORK)
@pytest.mark.parametrize(
    "authorization", [None, "Basic dXNlcjpwYXNz", "Bearer", "Bearer  ", "ri_AAAAAAAAAAAAAAAAAAAAAA", ""]
)
async def test_no_key(relay, method, rest, body, authorization):
    """401 asks for a key, whether or not there is such a room."""
    room = await relay.create(name="tea")
    headers = {} if authorization is None else {"Authorization": authorization}
    answers = [
        await relay.request(method, f"/api/v1/{address}{rest}", body=body, headers=dict(headers))
        for address in (room["id"], "tea", NO_ROOM, "nowhere")
    ]
    problem(answers[0], 401)
    assert answers[0].headers["WWW-Authenticate"] == "Bearer"
    assert same(*answers)


@pytest.mark.parametrize(("method", "rest", "body"), WORK)
@pytest.mark.parametrize("kind", WRONG_KEYS)
async def test_wrong_key(relay, method, rest, body, kind):
    """A key that does not fit and a room that is not there get the very same 404."""
    room, key = await relay.create(name="tea"), WRONG_KEYS[kind]
    answers = [
        await relay.request(method, f"/api/v1/{address}{rest}", key, body)
        for address in (room["id"], "tea", NO_ROOM, "nowhere")
    ]
    problem(answers[0], 404, "no_such_room")
    assert same(*answers)
    assert (await relay.details(room))["max"] == 50


async def test_keys_of_another_room(relay):
    """A good key fits its own room only; so does a session, which reads while its user is inside."""
    room, other = await relay.create(), await relay.create()
    bob, eve = await relay.join(room), await relay.join(other)
    for key in (other["invite_key"], other["owner_key"], eve.session):
        problem(await relay.request("GET", f"/api/v1/{room['id']}", key), 404, "no_such_room")
    assert (await relay.request("GET", f"/api/v1/{room['id']}", bob.session)).code == 200
    problem(await relay.request("DELETE", f"/api/v1/{room['id']}", bob.session), 404, "no_such_room")
    await bob.send("leave")
    await bob.closed()
    problem(await relay.request("GET", f"/api/v1/{room['id']}", bob.session), 404, "no_such_room")


@pytest.mark.parametrize(("method", "rest", "body"), OWNERS_WORK)
async def test_owners_work_with_the_invite_key(relay, method, rest, body):
    """403, and nothing happens."""
    room = await relay.create()
    before = await relay.details(room)
    problem(await relay.request(method, f"/api/v1/{room['id']}{rest}", room["invite_key"], body), 403)
    after = await relay.details(room)
    assert {**before, "time_alive": 0} == {**after, "time_alive": 0}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"1",
        b'"x"',
        b"null",
        b"\x00",
        b"\xff\xfe",
        b'{"max":3}}',
        b"{'max': 3}",
        b"[" * 60_000,
        b'{"a":' * 10_000,
    ],
    ids=lambda body: repr(body[:12]),
)
async def test_malformed_body(relay, body):
    """What is no JSON object is 400, for creating as for editing."""
    headers = {"Content-Type": "application/json"}
    problem(await relay.request("POST", "/api/v1/room", body=body, headers=dict(headers)), 400, "malformed")
    room = await relay.create()
    response = await relay.request("PATCH", f"/api/v1/{room['id']}", room["owner_key"], body, headers=headers)
    problem(response, 400, "malformed")


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "json"])
async def test_wrong_content_type(relay, content_type):
    """Neither JSON nor a form is 415."""
    headers = {"Content-Type": content_type}
    problem(await relay.request("POST", "/api/v1/room", body=b'{"max": 3}', headers=headers), 415)


async def test_largest_body(relay):
    """64 KiB are read; one byte more is 413."""
    fits = json.dumps({"max": 3}).ljust(65_536).encode()
    headers = {"Content-Type": "application/json"}
    assert (await relay.request("POST", "/api/v1/room", body=fits, headers=dict(headers))).code == 201
    problem(await relay.request("POST", "/api/v1/room", body=fits + b" ", headers=headers), 413, "too_large")


async def raw_answer(relay, request, body_bytes=0):
    """What comes back to bytes sent as they are, read to the end of the answer's headers and body."""
    host, port = relay.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        piece = b"x" * 65_536
        for _ in range(body_bytes // len(piece)):
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(
                next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")).split()[1]
            )
            return head.split(b"\r\n")[0], json.loads(await reader.readexactly(length))
    finally:
        writer.close()


@pytest.mark.parametrize("path", ["/api/v1/room", "/api/v1/nowhere"])
async def test_huge_body(relay, path):
    """Of 7 MiB the rest is read and dropped, so that a client which only writes at first gets its answer."""
    size = 7 * 2**20
    method = "POST" if path.endswith("room") else "PATCH"
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ri_x\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    status, told = await raw_answer(relay, head.encode(), size)
    assert status.split()[1] == b"413"
    assert told["code"] == "too_large"


async def test_a_body_that_does_not_come(monkeypatch):
    """Half of one is waited for, not for ever; a whole one, and the next request on its connection, in peace."""
    monkeypatch.setattr(app, "_TIMEOUTS", Timeouts(body=2))
    async with relay_with() as relay:
        post = b"POST /api/v1/room HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        for framing, half, rest in (
            (b"Content-Length: 9\r\n\r\n", b'{"max"', b":5}"),
            (b"Transfer-Encoding: chunked\r\n\r\n", b'6\r\n{"max"\r\n', b"3\r\n:5}\r\n0\r\n\r\n"),
        ):
            for comes in (True, False):
                reader, writer = await open_tcp(relay)
                for _ in range(2):
                    writer.write(post + framing + half)
                    await asyncio.sleep(0.2)
                    async with asyncio.timeout(5):
                        if not comes:
                            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
                            break
                        writer.write(rest)
                        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 201")
                        headers = await reader.readuntil(b"\r\n\r\n")
                        await reader.readexactly(int(headers.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
                writer.close()


async def test_huge_body_in_chunks(relay):
    """A body that does not say its length is bounded as well."""
    head = "POST /api/v1/room HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    chunk = b"%x\r\n%b\r\n" % (60_000, b" " * 60_000)
    status, told = await raw_answer(
        relay, head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 3 + b"0\r\n\r\n"
    )
    assert (status.split()[1], told["code"]) == (b"413", "too_large")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/v1/room", "POST"),
        ("PUT", "/api/v1/room", "POST"),
        ("HEAD", "/api/v1/room", "POST"),
        ("POST", f"/api/v1/{NO_ROOM}", "GET HEAD PATCH DELETE"),
        ("PUT", f"/api/v1/{NO_ROOM}", "GET HEAD PATCH DELETE"),
        ("OPTIONS", f"/api/v1/{NO_ROOM}", "GET HEAD PATCH DELETE"),
        ("POST", f"/api/v1/{NO_ROOM}/users", "GET HEAD"),
        ("GET", f"/api/v1/{NO_ROOM}/users/u_1", "DELETE"),
        ("GET", f"/api/v1/{NO_ROOM}/invite", "POST"),
        ("DELETE", "/api/v1/openapi.json", "GET HEAD"),
        ("POST", "/healthz", "GET HEAD"),
        ("DELETE", "/readyz", "GET HEAD"),
        ("POST", "/", "GET HEAD"),
        ("POST", f"/{NO_ROOM}", "GET"),
        ("BREW", "/api/v1/room", "POST"),
        ("TRACE", "/api/v1/room", "POST"),
    ],
)
async def test_wrong_method(relay, method, path, allowed):
    """405 says by `Allow` which methods work."""
    response = await relay.request(method, path, "ri_x", body=None if method in ("GET", "HEAD") else "")
    if method == "HEAD":
        assert response.code == 405
    else:
        problem(response, 405, "method_not_allowed")
    assert set(allowed.split()) <= set(response.headers["Allow"].split(", ")) <= {*allowed.split(), "HEAD", "OPTIONS"}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    ["/nothing", "/api", "/api/v1", "/api/v1/", "/api/v2/room", "/api/v1/a/b/c/d", "/../etc/passwd", "/api/v1/room/x"],
)
async def test_unknown_addresses(relay, method, path):
    """An address that is none is 404 by any method."""
    response = await relay.request(method, path, body=None if method == "GET" else "")
    problem(response, 404, "not_found")


async def test_creating_too_often():
    """429 says when to come back, for one address only; what a stranger writes into headers does not matter."""
    async with relay_with(limits__create_rate=2) as relay:
        for _ in range(2):
            await relay.create()
        response = await relay.request("POST", "/api/v1/room", body={}, headers={"X-Forwarded-For": "192.0.2.1"})
        problem(response, 429, "rate_limited")
        assert 1 <= int(response.headers["Retry-After"]) <= 60
    async with relay_with(limits__create_rate=1, trusted_proxies=["127.0.0.1"]) as relay:
        codes = [
            (await relay.request("POST", "/api/v1/room", body={}, headers={"X-Forwarded-For": address})).code
            for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "192.0.2.1", "192.0.2.9, 192.0.2.2")
        ]
        assert codes == [201, 201, 201, 429, 429]


async def test_no_places():
    """A room reserves its places; what passes the server's is 503, until a room ends."""
    async with relay_with(limits__max_places=60, limits__address_share=0) as relay:
        room = await relay.create()
        response = await relay.request("POST", "/api/v1/room", body={})
        problem(response, 503, "no_places")
        assert int(response.headers["Retry-After"]) >= 1
        await relay.create(max=10)
        problem(await relay.request("POST", "/api/v1/room", body={"max": 1}), 503, "no_places")
        await relay.request("DELETE", f"/api/v1/{room['id']}", room["owner_key"])
        await relay.create()


async def test_too_many_rooms():
    """Past `max_rooms` creating is 503 with `Retry-After`."""
    async with relay_with(limits__max_rooms=1) as relay:
        await relay.create()
        response = await relay.request("POST", "/api/v1/room", body={})
        problem(response, 503)
        assert int(response.headers["Retry-After"]) >= 1


async def test_no_limits_with_zero():
    """0 means none, for every limit."""
    async with relay_with(
        limits__create_rate=0, limits__max_rooms=0, limits__max_places=0, limits__max_members=0
    ) as relay:
        for _ in range(3):
            await relay.create(max=1_000_000)


async def test_no_key_is_repeated(relay):
    """No answer but those that hand a key out shows one, wherever it was put."""
    room = await relay.create()
    bob = await relay.join(room)
    secrets = [room["invite_key"], room["owner_key"], bob.session]
    for secret in secrets:
        path = f"/api/v1/{room['id']}"
        answers = [
            await relay.request("GET", f"/api/v1/{secret}", secret),
            await relay.request("GET", f"{path}?key={secret}"),
            await relay.request("GET", f"/{secret}"),
            await relay.request("GET", f"{path}/users?after={secret}", room["invite_key"]),
            await relay.request("DELETE", f"{path}/users/{secret}?ban={secret}", room["owner_key"]),
            await relay.request("DELETE", f"{path}/users/{secret}", room["owner_key"]),
            await relay.request(
                "POST", "/api/v1/room", body={"max": secret, "expiration_date": secret, "settings": secret}
            ),
            await relay.request("PATCH", path, room["owner_key"], {"max": secret, "locked": secret}),
            await relay.request("PATCH", path, room["owner_key"], {"settings": {"resume": secret}}),
            await relay.request("POST", "/api/v1/room", body=secret, headers={"Content-Type": "application/json"}),
            await relay.request("POST", "/api/v1/room", body=secret, headers={"Content-Type": secret}),
            await relay.request("PATCH", path, room["invite_key"], {}),
            await relay.request("PATCH", path, bob.session, {}),
        ]
        for answer in answers:
            assert secret not in answer.body.decode()
            assert secret not in str(list(answer.headers.get_all()))


async def test_security_headers(relay):
    """Every answer, errors too, forbids sniffing, framing and storing, and says nothing of the server's make."""
    for path in ("/", "/healthz", "/nothing", f"/api/v1/{NO_ROOM}"):
        headers = (await relay.request("GET", path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "Server" not in headers
        assert "Set-Cookie" not in headers
