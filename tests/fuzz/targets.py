"""What is fuzzed: for each target, bytes in, and what must hold whatever they are.

A target returns or raises AssertionError; any other exception is a fault of the code under test, except those that it
documents, which the target catches.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import unicodedata
from collections.abc import Callable
from typing import Any

import msgspec

from relayd.cli.relay_text import safe_line, safe_lines
from relayd.client.errors import ClientError
from relayd.client.files.names import safe_name
from relayd.client.seal.link import LinkError, parse_link
from relayd.errors import InvalidFields, Malformed, RelayError, WrongContentType
from relayd.gateway import forwarded, handshake
from relayd.gateway.acceptor import unmask
from relayd.gateway.items import spoken
from relayd.gateway.peer import Peers
from relayd.gateway.sealed import Seal
from relayd.http.bodies import FORM, JSON, read_body
from relayd.hub import memlog, snapshot
from relayd.rooms.addresses import canonical, prefixes
from relayd.rooms.seal import read_card
from relayd.settings import Settings
from relayd.wire import chunks, commands, rest
from relayd.wire.frames import FrameReader, Message, Opcode
from relayd.wire.names import name_key, normalise_name
from relayd.wire.sealed_shapes import parse_rekey, parse_sealed, parse_sealed_signal
from relayd.wire.sealing_text import SealingError

MAX_MESSAGE_BYTES = 4_096


def frames(data: bytes) -> None:
    """The same messages come of a stream however it is cut, read late, or handed to another reader on the way."""
    cuts, stream = data[:4], data[4:]
    whole = FrameReader(MAX_MESSAGE_BYTES, unmask)
    expected = whole.receive_data(stream)
    assert all(len(message.payload) <= MAX_MESSAGE_BYTES for message in expected)
    reader, got, at = FrameReader(MAX_MESSAGE_BYTES, unmask), [], 0
    for number, cut in enumerate([*cuts, len(stream)]):
        reader.feed(stream[at : at + cut])
        at += cut
        assert reader.unread_bytes <= len(stream) + MAX_MESSAGE_BYTES
        got += _taken(reader, number % 3 if number < len(cuts) else None)
        if number == 1 and reader.failure is None:
            rest, reader = reader.rest(), FrameReader(MAX_MESSAGE_BYTES, unmask)
            reader.go_on(rest)
    assert (got, reader.failure) == (expected, whole.failure)


def _taken(reader: FrameReader, most: int | None) -> list[Message]:
    got: list[Message] = []
    while most is None or len(got) < most:
        message = reader.next_frame()
        if message is None:
            break
        got.append(message)
    return [message for message in got if message.opcode != Opcode.CONTINUATION]


def commands_(data: bytes) -> None:
    """A command is refused, or can be read by every JSON parser, numbers included; so can what becomes of it."""
    if not _is_text(data):
        return
    commands.id_of(data)
    for seal in (None, Seal(b"", MAX_MESSAGE_BYTES)):
        try:
            command = commands.decode(data)
            item = None if isinstance(command, commands.Join | commands.Ping) else spoken(1, command, seal).item
        except RelayError:
            continue
        for name in ("body", "data", "profile"):
            text = getattr(item, name, None)
            if isinstance(text, bytes):
                _check_json(text)


def _is_text(data: bytes) -> bool:
    """Whether it is UTF-8; else the frame reader lets nobody see it as a text."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_json(text: bytes) -> None:
    def number(digits: str) -> float:
        assert math.isfinite(float(digits)), digits
        return 0.0

    def constant(name: str) -> None:
        raise AssertionError(name)

    json.loads(text.decode(), parse_float=number, parse_int=number, parse_constant=constant)


def bodies(data: bytes) -> None:
    """A body of a request is refused with what to do about it, or read."""
    kind = (rest.CreateRoom, rest.EditRoom)[data[:1] > b"\x7f"]
    for content_type in (JSON, FORM, "", data[:20].decode("latin-1")):
        try:
            read_body(kind, content_type, data[1:])
        except (InvalidFields, Malformed, WrongContentType):
            continue


def names(data: bytes) -> None:
    """What is made harmless stays as it is when it is made harmless again; equal names have equal keys."""
    text = data.decode(errors="replace")
    try:
        name = normalise_name(text)
    except InvalidFields:
        name = ""
    assert not name or normalise_name(name) == name
    assert not name or name_key(name) == name_key(unicodedata.normalize("NFD", name))
    file_name = safe_name(text)
    assert file_name == safe_name(file_name)
    assert 0 < len(os.fsencode(file_name)) <= 255
    assert not set(file_name) & {"/", "\0", "\n"}
    assert file_name not in (".", "..")
    for line in (safe_line(text), *safe_lines(text)):
        assert not any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in line)
        assert safe_line(line) == line


def links(data: bytes) -> None:
    """A link is refused, or read to one that is written the same way again."""
    text = data.decode(errors="replace")
    for candidate in (text, f"https://h.example/7f9c24e8-3b12-4fef-91e0-5b2f60f1a0aa#{text}"):
        try:
            link = parse_link(candidate)
        except (LinkError, SealingError, ClientError):
            continue
        assert parse_link(link.url) == link


def log(data: bytes) -> None:
    """A damaged log is refused as a whole, or read; it takes nobody down."""
    fd = os.memfd_create("fuzz")
    os.write(fd, data)
    try:
        opened = memlog.MemoryLog.open(fd)
    except memlog.Unreadable:
        os.close(fd)
        return
    _read_rooms(opened)


def records(data: bytes) -> None:
    """The same for what is in a frame of the log."""
    log_ = memlog.MemoryLog.new(0.0)
    log_.append(data)
    log_.commit()
    _read_rooms(log_)


def _read_rooms(log_: memlog.MemoryLog) -> None:
    with contextlib.closing(log_), contextlib.suppress(memlog.Unreadable):
        snapshot.read(log_, 0.0)


def sealed(data: bytes) -> None:
    """Sealed shapes are refused, or what they say they are."""
    try:
        parsed = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        parsed = data.decode("latin-1")
    readers: list[Callable[[], object]] = [
        lambda: parse_sealed(parsed),
        lambda: parse_sealed_signal("s", parsed),
        lambda: parse_rekey(parsed if isinstance(parsed, dict) else {"epoch": parsed}),
        lambda: read_card(data) if _is_text(data) else None,
        lambda: chunks.read_head(data),
        lambda: chunks.fid_in(data),
    ]
    for read in readers:
        try:
            read()
        except (SealingError, RelayError):
            continue


class _Request:
    """As much of a request as is asked about."""

    version, protocol, remote_ip = "HTTP/1.1", "http", "192.0.2.1"

    def __init__(self, headers: dict[str, str], remote_ip: str) -> None:
        self.headers: Any = _Headers(headers)
        self.host, self.remote_ip = headers.get("Host", ""), remote_ip


class _Headers(dict[str, str]):
    def get(self, name: str, default: str | None = None, /) -> str | None:  # type: ignore[override]
        return super().get(name, default)


_HEADERS = ("Host", "Origin", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded")
_PEERS = [
    Peers(Settings(trusted_proxies=("192.0.2.1", "unix:"), public_url=public_url))
    for public_url in ("", "https://chat.example.org")
]


def proxies(data: bytes) -> None:
    """Whatever headers say: an address is one, a host is one that may be answered to, and a stranger forges neither."""
    text = data.decode("latin-1")
    headers = dict(zip(_HEADERS, text.split("\n"), strict=False))
    for peers in _PEERS:
        address = peers.address(_Request(headers, "192.0.2.1"))
        assert address == "unix:" or forwarded.is_address(address)
        assert canonical(address) == address
        assert all(prefixes(address))
        assert peers.address(_Request(headers, "198.51.100.7")) == "198.51.100.7"
        request = _Request(headers, "192.0.2.1")
        try:
            scheme, host = peers.base_url(request)
            peers.check_origin(request)
        except RelayError:
            continue
        assert scheme in ("http", "https")
        assert host
        assert not set(host) & set("/@?# \t\r\n\0")
    for element in forwarded.elements(text):
        forwarded.parameters(element)
    forwarded.node_address(text)
    plain = handshake.read_plain(handshake.BEGINNING + data, "192.0.2.1")
    if plain is not None:
        assert plain.size <= len(handshake.BEGINNING + data)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "frames": frames,
    "commands": commands_,
    "bodies": bodies,
    "names": names,
    "links": links,
    "log": log,
    "records": records,
    "sealed": sealed,
    "proxies": proxies,
}
