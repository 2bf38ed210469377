"""Chunks of files: the head of a binary frame, and which chunks a file has. The same bytes in both directions.

A frame is 46 bytes of head, big-endian, then the data: kind (1), whether it is the final chunk (0 or 1), stream (u32),
fid (16 bytes), pass (16 bytes), index (u64).
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import msgspec

from relayd.errors import BadChunk
from relayd.wire.sealing_text import encode_base64url

FID_BYTES: Final = 16
PASS_BYTES: Final = 16
TAG_BYTES: Final = 16  # AES-GCM: what a sealed chunk is longer
CHUNK: Final = 1  # the first byte of a frame that carries one; no other kind is known
HEAD_BYTES: Final = 46

# What a frame may have beside the data of a chunk: head and tag, and room to spare.
CHUNK_OVERHEAD_BYTES: Final = 128
SHORT_CHUNK_BYTES: Final = 1_024 - CHUNK_OVERHEAD_BYTES  # fits the shortest frame that an admin can set
# Of a file that is longer: a chunk is work for the relay and all who receive it, however short it is.
MIN_CHUNK_BYTES: Final = 4_096
CLIENT_CHUNK_BYTES: Final = 61_440  # 60 KiB: what clients use; fits the default frame of 64 KiB

MAX_CHUNKS_IN_FLIGHT: Final = 8  # to one receiver of one file
MAX_BYTES_IN_FLIGHT: Final = 512 * 1024  # half of what may wait for a reader before it is cut off

_HEAD = struct.Struct(f">BBI{FID_BYTES}s{PASS_BYTES}sQ")


class ChunkHead(msgspec.Struct, frozen=True, gc=False):
    """The head of a chunk's frame.

    Attributes:
        last: whether it is the file's final chunk.
        stream: the number that the server gave when it asked for chunks.
        fid: 16 bytes, the file's name on the wire.
        pass_id: 16 random bytes that the sender draws for each stream.
        index: of the chunk, from 0.
    """

    last: bool
    stream: int
    fid: bytes
    pass_id: bytes
    index: int

    def encode(self) -> bytes:
        """Its 46 bytes."""
        return _HEAD.pack(CHUNK, self.last, self.stream, self.fid, self.pass_id, self.index)


def read_head(frame: bytes) -> ChunkHead:
    """The head of a binary frame.

    Raises:
        BadChunk: the frame is shorter than a head, or carries something else.
    """
    if len(frame) < HEAD_BYTES:
        raise BadChunk(f"a chunk's frame begins with a head of {HEAD_BYTES} bytes; this one has {len(frame)} in all")
    kind, last, stream, fid, pass_id, index = _HEAD.unpack_from(frame)
    if kind != CHUNK or last > 1:
        raise BadChunk("the head is none of a chunk: its first byte is 1, its second 0 or 1")
    return ChunkHead(bool(last), stream, fid, pass_id, index)


def fid_in(frame: bytes) -> str | None:
    """The fid, as base64url, of what may otherwise be no chunk; None if it is too short for one."""
    return encode_base64url(frame[6:22]) if len(frame) >= HEAD_BYTES else None


class Shape(NamedTuple):
    """A file as its chunks: all have `chunk` bytes but the final one, which has the rest. An empty file has one.

    Attributes:
        size: bytes of the whole file.
        chunk: bytes of a chunk; 1 or more.
    """

    size: int
    chunk: int

    @property
    def chunks(self) -> int:
        """How many there are."""
        return max(1, -(-self.size // self.chunk))

    def bytes_of(self, index: int) -> int:
        """How long the chunk `index` is (unsealed), from 0 to `chunks` - 1."""
        return min(self.chunk, self.size - index * self.chunk)

    def is_last(self, index: int) -> bool:
        """Whether `index` is that of the final chunk."""
        return index == self.chunks - 1

    @property
    def window(self) -> int:
        """How many chunks may be in flight to one receiver; 1 at least."""
        return max(1, min(MAX_CHUNKS_IN_FLIGHT, MAX_BYTES_IN_FLIGHT // (self.chunk + CHUNK_OVERHEAD_BYTES)))
