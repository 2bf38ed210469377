"""Frames from the client's side: what it writes is what a server reads, and the other way round."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.speedups import websocket_mask
from websockets.frames import Frame
from websockets.frames import Opcode as Op

from relayd.client.socket import _xor_in_python
from relayd.wire.frames import Failure, FrameReader, Message, Opcode, close_payload, encode_frame, encode_masked

SIZES = [0, 1, 125, 126, 127, 65535, 65536]


def client_reader() -> FrameReader:
    return FrameReader(2**20, None)


@pytest.mark.parametrize("size", SIZES)
def test_a_server_reads_what_a_client_writes(size):
    payload, mask = bytes(range(256)) * 257, b"\x01\x80\xfe\x00"
    frame = encode_masked(Opcode.BINARY, payload[:size], mask, websocket_mask)
    assert FrameReader(2**20, websocket_mask).receive_data(frame) == [Message(Opcode.BINARY, payload[:size])]


@pytest.mark.parametrize("size", SIZES)
def test_a_client_reads_what_a_server_writes_byte_by_byte(size):
    frame = Frame(Op.BINARY, bytes(size)).serialize(mask=False)
    reader, got = client_reader(), []
    for at in range(0, len(frame), max(1, len(frame) // 50)):
        got += reader.receive_data(frame[at : at + max(1, len(frame) // 50)])
    assert got == [Message(Opcode.BINARY, bytes(size))]
    assert reader.failure is None


def test_fragments_and_control_frames_between_them():
    data = Frame(Op.TEXT, b"he", fin=False).serialize(mask=False) + encode_frame(Opcode.PING, b"?")
    data += Frame(Op.CONT, b"llo").serialize(mask=False)
    assert client_reader().receive_data(data) == [Message(Opcode.PING, b"?"), Message(Opcode.TEXT, b"hello")]


def test_a_server_must_not_mask_and_a_client_must():
    reader = client_reader()
    assert reader.receive_data(encode_masked(Opcode.TEXT, b"x", b"abcd", websocket_mask)) == []
    assert reader.failure == Failure(1002, "a server's frames must not be masked")
    reader = FrameReader(2**20, websocket_mask)
    assert reader.receive_data(encode_frame(Opcode.TEXT, b"x")) == []
    assert reader.failure == Failure(1002, "a client's frames must be masked")


def test_close_reason_is_cut_at_a_character():
    payload = close_payload(4000, "é" * 100)
    assert len(payload) <= 125
    assert payload[2:].decode() == "é" * 61


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_without_the_extension_is_the_same(data, mask):
    assert _xor_in_python(mask, data) == websocket_mask(mask, data)
