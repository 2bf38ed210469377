"""The way to a server: addresses, answers that are none, certificates, handshakes."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fake_relay import fake_relay

from relayd.client import BadServer, Rest, Unreachable, create, join, socket
from relayd.client.http import parse_server
from relayd.client.socket import open_socket
from relayd.errors import NoSuchRoom, RelayError

KEY = "ri_" + "A" * 22


@pytest.mark.parametrize(
    ("url", "origin", "port"),
    [
        ("https://chat.example", "https://chat.example", 443),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080", 8080),
        ("https://[::1]:8443", "https://[::1]:8443", 8443),
        (" HTTPS://Chat.Example:1 ", "https://chat.example:1", 1),
    ],
)
def test_addresses(url, origin, port):
    place = parse_server(url)
    assert (place.origin, place.port, place.tls) == (origin, port, origin.startswith("https"))


@pytest.mark.parametrize(
    "url",
    ["", "chat.example", "ftp://x", "https://", "https://x:y", "https://x/room", "https://x?q", "https://x#y",
     "https://user:secret@x", "https://x\r\nEvil: 1", "https://x y", "https://ex\u00e4mple"],
)  # fmt: skip
def test_addresses_that_are_none(url):
    with pytest.raises(BadServer) as caught:
        parse_server(url)
    assert "secret" not in str(caught.value)


@contextlib.asynccontextmanager
async def serve(answer: bytes, *, hang: bool = False):
    """A server that answers everything with these bytes, and then hangs up or does not."""
    writers = []

    async def on_connect(reader, writer):
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if not hang:
            writer.close()

    server = await asyncio.start_server(on_connect, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


def chunked(*parts: bytes) -> bytes:
    body = b"".join(b"%x;x=y\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body


NO_ROOM = b'{"code":"no_such_room","detail":"","x":true}'
DETAILS = b'{"name":"n","id":"i","unknown":1}'


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n" + DETAILS + b"rest",
        chunked(DETAILS[:5], DETAILS[5:]),
        b"HTTP/1.0 200 OK\r\n\r\n" + DETAILS,
    ],
)  # fmt: skip
async def test_bodies_of_every_kind(answer):
    async with serve(answer) as base:
        assert (await Rest(base).details("x", KEY)).name == "n"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", Unreachable),
        (b"SSH-2.0-OpenSSH\r\n\r\n", BadServer),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", BadServer),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>", BadServer),
        (b"HTTP/1.1 302 Found\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n", BadServer),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", RelayError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", Unreachable),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", BadServer),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}", BadServer),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}", BadServer),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", BadServer),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", BadServer),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", BadServer),
        (b"HTTP/1.1 404 X\r\nContent-Length: %d\r\n\r\n" % len(NO_ROOM) + NO_ROOM, NoSuchRoom),
    ],
)
async def test_answers_of_servers_that_are_no_relay(answer, kind):
    async with serve(answer) as base:
        with pytest.raises(kind) as caught:
            await Rest(base).details("x", KEY)
        assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("server", "says"),
    [
        ("http://127.0.0.1:PORT", "Connection refused"),
        ("http://localhost:PORT", "Connection refused|nothing answers"),
        ("http://no.such.host.invalid", "name cannot be resolved"),
        (f"http://{'x' * 70}.invalid", "name cannot be resolved"),
    ],
)
async def test_servers_that_are_not_there(server, says, unused_tcp_port):
    server = server.replace("PORT", str(unused_tcp_port))
    with pytest.raises(Unreachable, match=says):
        await Rest(server).details("x", KEY)
    with pytest.raises(Unreachable, match=says):
        await open_socket(parse_server(server), "/x")


async def test_a_server_that_never_answers():
    async with serve(b"HTTP/1.1 200 OK\r\n", hang=True) as base:
        with pytest.raises(Unreachable, match="does not answer"):
            await Rest(base, timeout_s=0.1).details("x", KEY)
        with pytest.raises(Unreachable, match="does not answer"):
            await open_socket(parse_server(base), "/x", timeout_s=0.1)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n\r\n", BadServer),
        (b"HTTP/1.1 200 OK\r\n\r\n", BadServer),
        (b"HTTP/1.1 503 X\r\nRetry-After: 7\r\n\r\n", RelayError),
        (b"x" * 20_000, BadServer),
        (b"\x00\r\n\r\n", BadServer),
        (b"", Unreachable),
    ],
)
async def test_handshakes_that_are_none(answer, kind):
    async with serve(answer) as base:
        with pytest.raises(kind) as caught:
            await open_socket(parse_server(base), "/x")
        if kind is RelayError:
            assert caught.value.retry_after_s == 7


async def test_a_server_that_breaks_the_protocol_is_left_with_a_close_code():
    async with fake_relay() as fake:
        made = await create(fake.base, sealed=False)
        async with join(made.link, "ann") as ann:
            server_side = next(iter(fake.sockets))
            server_side.ws_connection.stream.write(b"\xff\x00")
            async for event in ann:
                if type(event).__name__ == "Disconnected":
                    break
            assert server_side.close_code == 1002


async def test_a_server_that_says_nothing_any_more_is_asked_and_then_given_up(monkeypatch):
    for name, seconds in (("TICK_S", 0.05), ("ASK_AFTER_S", 0.2), ("DEAD_AFTER_S", 0.6)):
        monkeypatch.setattr(socket, name, seconds)
    heard: list[bytes] = []

    async def on_connect(reader, writer):
        import base64
        import hashlib

        head = await reader.readuntil(b"\r\n\r\n")
        key = next(line[19:] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: "))
        accept = base64.b64encode(hashlib.sha1(key + socket._GUID).digest())
        writer.write(
            b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept
            + b"\r\n\r\n"
        )
        while data := await reader.read(100):
            heard.append(data)
        writer.close()

    async with await asyncio.start_server(on_connect, "127.0.0.1", 0) as server:
        place = parse_server(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        opened = await open_socket(place, "/x")
        async with asyncio.timeout(5):
            assert await opened.receive() is None
        assert opened.closed.code == 1006
        assert heard
        assert heard[0][0] == 0x89, "a ping"


# Certificates. --------------------------------------------------------------------------------------------------


def certificate(name: str) -> tuple[bytes, bytes]:
    """A certificate that vouches for itself, and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def server_context(tmp_path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    made, key = certificate(name)
    (tmp_path / "pem").write_bytes(made + key)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(tmp_path / "pem")
    return server, ssl.create_default_context(cadata=made.decode())


async def test_certificates_are_checked(tmp_path):
    server, trusting = server_context(tmp_path, "localhost")
    async with fake_relay(ssl_options=server) as fake:
        with pytest.raises(BadServer, match="certificate"):
            await create(fake.base)
        made = await create(fake.base, tls=trusting)
        assert made.link.startswith("https://localhost:")
        async with join(made.link, "ann", tls=trusting) as ann:
            assert (await ann.say("over tls")).seq == 1
        with pytest.raises(BadServer, match="certificate"):
            await join(made.link, "eve").__aenter__()
        with pytest.raises(BadServer, match="certificate"):
            await open_socket(parse_server(fake.base), f"/{made.id}")
        with pytest.raises((BadServer, Unreachable)):
            await Rest(fake.base.replace("https", "http")).details("x", KEY)


async def test_a_certificate_of_another_name_is_none(tmp_path):
    server, trusting = server_context(tmp_path, "chat.example")
    async with fake_relay(ssl_options=server) as fake:
        with pytest.raises(BadServer, match="certificate"):
            await create(fake.base, tls=trusting)
