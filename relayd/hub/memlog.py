"""A log in memory that outlives the process: an endless file of frames, written at its head, cut off at its tail.

It lies in a memfd, which no disk ever sees and no other process can open by name; whoever holds a copy of the
descriptor (the service manager) keeps it. It is written through a mapping, so that a frame costs no system call, and
what was written is there whatever becomes of the process the moment after.

    0      a slot   where the log begins and ends, in turns in one of two: a process that dies while it writes one
    64     a slot   has left the other whole
    4096   frames   u32 length, u32 CRC-32 of what follows, then so many bytes; back to back

Offsets only grow. What was cut off is given back to the system as a hole at the beginning of the file, and overwritten
with zeros where it shares a page with the tail: no text outlives its frame. The order of the steps keeps the log whole
when the process is killed between any two of them:

    1  `append` writes frames past the committed head
    2  `commit` writes the slot that the last commit has not written
    3  `release` erases what lies before the tail of the last commit, never before that of a later one
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple, Self

# To be raised whenever what is written, here or in rooms/state.py, can be read in another way. A field that is added at
# the end of a record, with a default, cannot: an older relayd passes over it, and a newer one does without it.
VERSION = 2
_MAGIC = b"relaydML"
_PAGE = mmap.PAGESIZE
_WINDOW_BYTES = 4 * 2**20  # mapped at once
_SLOTS_BYTES, _SLOT_BYTES = 4096, 64
_FRAME = struct.Struct("<II")  # length, CRC-32
_SLOT = struct.Struct("<8sIQQdI")  # magic, version, tail, head, clock offset, CRC-32 of all before


class Unreadable(Exception):
    """What is there cannot be read, and why."""


class _Ends(NamedTuple):
    """Where the log begins and ends."""

    tail: int
    head: int
    clock_offset_s: float


class MemoryLog:
    """One log.

    Args:
        fd: of the memfd; closed with the log.
        ends: what lies in it.

    Attributes:
        clock_offset_s: of the clock by which times in it count; see `SteadyClock`.
        tail, head: offsets of the first frame and of the next one.
    """

    def __init__(self, fd: int, ends: _Ends) -> None:
        self.fd = fd
        self.tail, self.head, self.clock_offset_s = ends
        self._slots = mmap.mmap(fd, _SLOTS_BYTES)
        self._slot = 0
        self._window = self._map(self.head, 0)
        self._committed_tail = self.tail
        self._erased_end = _SLOTS_BYTES  # zeros between the slots and there
        self._has_foreign_end = False  # past `head` there may be a frame that an earlier process has not committed

    @classmethod
    def new(cls, clock_offset_s: float) -> Self:
        """An empty one."""
        fd = os.memfd_create("relayd-rooms")  # closed by exec
        os.ftruncate(fd, _SLOTS_BYTES)
        log = cls(fd, _Ends(_SLOTS_BYTES, _SLOTS_BYTES, clock_offset_s))
        log.commit()
        log.commit()  # both slots
        return log

    @classmethod
    def open(cls, fd: int) -> Self:
        """The one that an earlier process has written; to be read, and written on.

        Raises:
            Unreadable: it is none, or of another version.
        """
        ends, slot = _read_ends(fd)
        log = cls(fd, ends)
        log._slot = 1 - slot  # the one read stays until the other is written
        log._has_foreign_end = True
        return log

    def append(self, payload: bytes) -> int:
        """Writes a frame, which counts from the next `commit` on; its offset."""
        at, size = self.head, _FRAME.size + len(payload)
        offset = at - self._window_at
        if offset + size > self._window_bytes:
            self._window.close()
            self._window = self._map(at, size)
            offset = at - self._window_at
        start = offset + _FRAME.size
        self._window[offset:start] = _FRAME.pack(len(payload), zlib.crc32(payload))
        self._window[start : start + len(payload)] = payload
        self.head = at + size
        return at

    def commit(self) -> None:
        """From now on whoever opens the log finds `tail` and `head` as they are."""
        fields = _SLOT.pack(_MAGIC, VERSION, self.tail, self.head, self.clock_offset_s, 0)[: _SLOT.size - 4]
        slot = fields + zlib.crc32(fields).to_bytes(4, "little")
        start = self._slot * _SLOT_BYTES
        self._slots[start : start + len(slot)] = slot
        self._slot = 1 - self._slot
        self._committed_tail = self.tail

    def release(self) -> None:
        """Erases everything outside the log: what the last commit has cut off, and what was never committed.

        Whole pages are given back to the system; the rest is overwritten with zeros.
        """
        if self._committed_tail > self._erased_end:
            self._erase(self._erased_end, self._committed_tail)
            self._erased_end = self._committed_tail
        if self._has_foreign_end:
            self._erase(self.head, os.fstat(self.fd).st_size)
            self._has_foreign_end = False

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Everything in it: offset and payload of each frame.

        Raises:
            Unreadable: it is damaged.
        """
        at = self.tail
        while at < self.head:
            header = os.pread(self.fd, _FRAME.size, at)
            length, checksum = _FRAME.unpack(header) if len(header) == _FRAME.size else (0, 1)
            payload = os.pread(self.fd, min(length, self.head - at), at + _FRAME.size)
            if len(payload) != length or zlib.crc32(payload) != checksum:
                raise Unreadable(f"it is damaged at byte {at}")
            yield at, payload
            at += _FRAME.size + length
        if at != self.head:
            raise Unreadable("its last frame is longer than it")

    def close(self) -> None:
        """Lets go of it; copies of the descriptor keep what is in it."""
        self._window.close()
        self._slots.close()
        os.close(self.fd)

    def _erase(self, start: int, end: int) -> None:
        first, last = -(-start // _PAGE) * _PAGE, end // _PAGE * _PAGE  # whole pages between the two
        if first >= last:
            os.pwrite(self.fd, bytes(end - start), start)
            return
        os.pwrite(self.fd, bytes(first - start), start)
        # Not by cutting the file short: the process that hands the log over has it mapped still.
        with mmap.mmap(self.fd, last - first, offset=first) as hole:
            hole.madvise(mmap.MADV_REMOVE)
        os.pwrite(self.fd, bytes(end - last), last)

    def _map(self, offset: int, at_least: int) -> mmap.mmap:
        self._window_at = offset // _PAGE * _PAGE
        self._window_bytes = max(_WINDOW_BYTES, -(-(offset - self._window_at + at_least) // _PAGE) * _PAGE)
        end = self._window_at + self._window_bytes
        if os.fstat(self.fd).st_size < end:
            os.ftruncate(self.fd, end)
        return mmap.mmap(self.fd, self._window_bytes, offset=self._window_at)


def _read_ends(fd: int) -> tuple[_Ends, int]:
    slots = os.pread(fd, _SLOTS_BYTES, 0)
    found: list[tuple[_Ends, int]] = []
    problem = "it has no beginning"
    for number in (0, 1):
        slot = slots[number * _SLOT_BYTES :][: _SLOT.size]
        if len(slot) < _SLOT.size or slot[:8] != _MAGIC:
            continue
        _, version, tail, head, clock_offset_s, checksum = _SLOT.unpack(slot)
        if version != VERSION:
            problem = f"it has version {version}, and this relayd reads version {VERSION}"
        elif zlib.crc32(slot[:-4]) != checksum:
            problem = "its beginning is damaged"
        else:
            found.append((_Ends(tail, head, clock_offset_s), number))
    if not found:
        raise Unreadable(problem)
    ends, number = max(found, key=lambda one: (one[0].head, one[0].tail))
    if not _SLOTS_BYTES <= ends.tail <= ends.head <= os.fstat(fd).st_size:
        raise Unreadable("it is shorter than it says")
    return ends, number
