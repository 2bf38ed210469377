"""Handshakes that are read without Tornado: only what nobody could read in another way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, parse_request_start_line

from relayd.errors import Malformed, UpgradeRequired
from relayd.gateway.handshake import SUBPROTOCOL, handshake_answer, read_plain

ROOM = "7f9c24e8-3b12-4fef-91e0-5b2f60f1a0aa"
LINES = (
    "Host: chat.test:8080",
    "Upgrade: websocket",
    "Connection: keep-alive, Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)


def request(*lines: str, path: str = f"/{ROOM}", method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    return "\r\n".join((f"{method} {path} {version}", *lines, "", "")).encode()


def test_the_example_of_the_rfc():
    """RFC 6455, section 1.3."""
    found = read_plain(request(*LINES) + b"more", "192.0.2.1")
    assert found is not None
    assert (found.room_id_text, found.host, found.size) == (ROOM, "chat.test:8080", len(request(*LINES)))
    answer = handshake_answer(found)
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")
    assert b"Sec-WebSocket-Protocol" not in answer


def test_the_subprotocol_is_selected_if_offered():
    found = read_plain(request(*LINES, f"Sec-WebSocket-Protocol: chat, {SUBPROTOCOL}"), "::1")
    assert found is not None
    assert handshake_answer(found).endswith(f"\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode())


def test_names_and_spaces_may_be_as_they_like():
    """Names have no case (RFC 9110, section 5.1), and spaces around values do not count."""
    lines = [line.lower().replace("key: dghlihnhbxbszsbub25jzq==", "KEY:dGhlIHNhbXBsZSBub25jZQ==  ") for line in LINES]
    found = read_plain(request(*lines), "192.0.2.1")
    assert found is not None
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in handshake_answer(found)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        request(*LINES)[:-1],
        request(*LINES)[:-2],
        request(*LINES, method="POST"),
        request(*LINES, path="/"),
        request(*LINES, path=f"/{ROOM}?x"),
        request(*LINES, path=f"/{ROOM.upper()}"),
        request(*LINES, path=f"http://chat.test/{ROOM}"),
        request(*LINES, version="HTTP/1.0"),
        request(*LINES[1:]),
        request(LINES[0], *LINES[2:]),
        request(*LINES, "Host: other.test"),
        request(*LINES, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        request(*LINES, "Content-Length: 0"),
        request(*LINES, "transfer-encoding: chunked"),
        request(*LINES, "Folded: a\r\n b"),
        request(*LINES, "Space : a"),
        request(*LINES, "Nul: \0"),
        request(*LINES, "Tab: \ta"),
        request(*LINES, "High: \u00e9"),
        request(*LINES, "no colon"),
        request(*LINES).replace(b"\r\n", b"\n"),
        b"\r\n" + request(*LINES),
    ],
)
def test_everything_else_is_for_who_reads_http(data):
    assert read_plain(data, "192.0.2.1") is None


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("keep-alive, Upgrade", "keep-alive", Malformed),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j", Malformed),
        ("dGhlIHNhbXBsZSBub25jZQ==", "?", Malformed),
        ("Version: 13", "Version: 8", UpgradeRequired),
    ],
)
def test_what_is_no_handshake_is_refused(old, new, error):
    found = read_plain(request(*LINES).replace(old.encode(), new.encode()), "192.0.2.1")
    assert found is not None
    with pytest.raises(error):
        handshake_answer(found)


@given(st.lists(st.sampled_from([*LINES, "Host: b", "Origin: null", "Cookie: a=b; c=d", "X:", "Y: \t", "Z: a:b"])))
def test_what_is_read_is_what_tornado_reads(lines):
    """Two parsers, one meaning: whatever is read here is read so there, too."""
    data = request(*lines)
    found = read_plain(data, "192.0.2.1")
    if found is None:
        return
    start, _, rest = data.decode().partition("\r\n")
    headers = HTTPHeaders.parse(rest)
    assert parse_request_start_line(start) == ("GET", f"/{found.room_id_text}", "HTTP/1.1")
    assert dict(found.headers.items()) == {name.lower(): value for name, value in headers.get_all()}
    assert found.host == headers["Host"]
