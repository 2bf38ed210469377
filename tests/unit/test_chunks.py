"""The head of a chunk's frame, and which chunks a file has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import BadChunk
from relayd.wire.chunks import CHUNK, HEAD_BYTES, MAX_BYTES_IN_FLIGHT, ChunkHead, Shape, read_head

HEADS = st.builds(
    ChunkHead,
    last=st.booleans(),
    stream=st.integers(0, 2**32 - 1),
    fid=st.binary(min_size=16, max_size=16),
    pass_id=st.binary(min_size=16, max_size=16),
    index=st.integers(0, 2**64 - 1),
)
SHAPES = st.builds(Shape, size=st.integers(0, 2**53 - 1), chunk=st.integers(1, 2**20))


@given(HEADS, st.binary(max_size=64))
def test_what_is_written_is_read(head, data):
    assert read_head(head.encode() + data) == head


def test_every_byte_has_its_place():
    """Each field where the protocol says, so that clients in other languages can be written from its table."""
    frame = ChunkHead(last=True, stream=0x01020304, fid=b"f" * 16, pass_id=b"p" * 16, index=7).encode()
    assert len(frame) == HEAD_BYTES
    assert frame == b"\x01\x01\x01\x02\x03\x04" + b"f" * 16 + b"p" * 16 + b"\0\0\0\0\0\0\0\x07"


@given(st.binary(max_size=100))
def test_other_bytes_are_no_chunk(data):
    """Whatever comes is a head or refused; what is read says the bytes it was read from."""
    try:
        head = read_head(data)
    except BadChunk:
        assert len(data) < HEAD_BYTES or data[0] != CHUNK or data[1] > 1
    else:
        assert head.encode() == data[:HEAD_BYTES]


@pytest.mark.parametrize("frame", [b"", b"\x01" * 45, b"\x02" + bytes(60), b"\x01\x02" + bytes(60), bytes(46)])
def test_no_head(frame):
    with pytest.raises(BadChunk):
        read_head(frame)


@given(SHAPES)
def test_chunks_make_the_file(shape):
    """All are full but the final one; together they have the file's size."""
    count = shape.chunks
    assert shape.is_last(count - 1)
    assert not shape.is_last(count)
    assert (count - 1) * shape.chunk + shape.bytes_of(count - 1) == shape.size
    assert shape.bytes_of(0) == (shape.chunk if count > 1 else shape.size)
    assert 1 <= shape.bytes_of(count - 1) <= shape.chunk or shape.size == 0


@pytest.mark.parametrize(
    ("size", "chunk", "lengths"), [(0, 10, [0]), (1, 10, [1]), (10, 10, [10]), (11, 10, [10, 1]), (20, 10, [10, 10])]
)
def test_small_files(size, chunk, lengths):
    shape = Shape(size, chunk)
    assert [shape.bytes_of(index) for index in range(shape.chunks)] == lengths


@given(SHAPES)
def test_the_window_is_bounded(shape):
    assert 1 <= shape.window <= 8
    assert shape.window == 1 or shape.window * shape.chunk <= MAX_BYTES_IN_FLIGHT
