"""Descriptors that go to another process, with what belongs to them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.gateway.acceptor import unmask
from relayd.machine import passing
from relayd.machine.passing import PassingFailed
from relayd.wire.frames import FrameReader, Opcode, encode_masked


@pytest.fixture
def ends():
    ours, theirs = passing.pair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 10), (250, 1), (251, 2**20), (700, 3 * 2**20)])
def test_all_of_it_arrives_in_order(ends, count, size):
    ours, theirs = ends
    payload, pipes = os.urandom(size), [os.pipe() for _ in range(count)]
    sending = threading.Thread(target=passing.send, args=(ours, payload, [reader for reader, _ in pipes]))
    sending.start()
    got, fds = passing.receive(theirs)
    sending.join()
    assert got == payload
    for index, (fd, (reader, writer)) in enumerate(zip(fds, pipes, strict=True)):
        os.write(writer, b"%d" % index)
        assert os.read(fd, 10) == b"%d" % index
        assert not os.get_inheritable(fd)
        for one in (fd, reader, writer):
            os.close(one)


def test_nobody_at_the_other_end(ends):
    ours, theirs = ends
    theirs.close()
    with pytest.raises(PassingFailed, match="takes nothing more"):
        passing.send(ours, b"x", [0])
    with pytest.raises(PassingFailed):
        passing.receive(ours)


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_cut_short(ends):
    """The sender dies in the middle: what has come is closed."""
    ours, theirs = ends
    passing.send(ours, b"x", [0] * 10)
    theirs.recv(1)  # the head, and the memory with it
    ours.close()
    before = open_descriptors()
    with pytest.raises(PassingFailed):
        passing.receive(theirs)
    assert open_descriptors() == before


MESSAGES = st.lists(st.tuples(st.booleans(), st.binary(max_size=300)), max_size=6)


@given(messages=MESSAGES, cuts=st.lists(st.integers(0, 2000), max_size=5))
def test_another_reader_goes_on_at_any_byte(messages, cuts):
    """Within a header, a payload, between the pieces of a message: as if there had been one reader."""
    data = b"".join(_frames(number, *message) for number, message in enumerate(messages))
    whole = FrameReader(1000, unmask).receive_data(data)
    reader, got, at = FrameReader(1000, unmask), [], 0
    for cut in [*sorted(cuts), len(data)]:
        got += reader.receive_data(data[at:cut])
        at = max(at, cut)
        rest, reader = reader.rest(), FrameReader(1000, unmask)
        reader.go_on(rest)
    assert got == whole
    assert len(got) == len(messages)


def _frames(number, in_pieces, payload):
    mask = bytes([number, 1, 2, 3])
    if not in_pieces:
        return encode_masked(Opcode.BINARY, payload, mask, unmask)
    half = len(payload) // 2
    first = bytearray(encode_masked(Opcode.BINARY, payload[:half], mask, unmask))
    first[0] &= 0x7F  # not the final piece
    return bytes(first) + encode_masked(Opcode.CONTINUATION, payload[half:], mask, unmask)
