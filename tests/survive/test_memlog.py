"""The log in memory: what was committed is there for the next one who opens it, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.hub.memlog import VERSION, MemoryLog, Unreadable


@pytest.fixture
def log():
    with contextlib.closing(MemoryLog.new(12.5)) as log:
        yield log


def reopened(log: MemoryLog) -> MemoryLog:
    return MemoryLog.open(os.dup(log.fd))


def payloads(log: MemoryLog) -> list[bytes]:
    with contextlib.closing(reopened(log)) as other:
        return [payload for _, payload in other.frames()]


def used_bytes(log: MemoryLog) -> int:
    return os.fstat(log.fd).st_blocks * 512


def test_a_new_one_is_empty(log):
    assert payloads(log) == []
    with contextlib.closing(reopened(log)) as other:
        assert other.clock_offset_s == 12.5


@given(frames=st.lists(st.binary(max_size=200), max_size=30), cut=st.integers(0, 30))
def test_what_was_committed_is_there(frames, cut):
    """In order, from the tail on; and who opens it writes on."""
    with contextlib.closing(MemoryLog.new(0.0)) as log:
        offsets = [log.append(frame) for frame in frames] + [log.head]
        log.tail = offsets[min(cut, len(frames))]
        log.commit()
        with contextlib.closing(reopened(log)) as other:
            other.append(b"more")
            other.commit()
        assert payloads(log) == [*frames[cut:], b"more"]


def test_what_was_not_committed_is_not_there(log):
    log.append(b"one")
    log.commit()
    log.append(b"two")
    assert payloads(log) == [b"one"]


def test_frames_longer_than_a_window(log):
    frames = [bytes([number]) * (3 * 2**20) for number in range(4)] + [b"x" * (9 * 2**20)]
    for frame in frames:
        log.append(frame)
        log.commit()
    assert payloads(log) == frames


def test_what_is_cut_off_takes_no_memory(log):
    """However much was written."""
    for _ in range(64):
        log.tail = log.append(b"x" * 2**20)
        log.commit()
        log.release()
    assert used_bytes(log) < 10 * 2**20
    assert payloads(log) == [b"x" * 2**20]


@given(frames=st.lists(st.binary(min_size=1, max_size=3000), max_size=30), cut=st.integers(0, 30))
def test_what_is_cut_off_is_overwritten(frames, cut):
    """Every byte of it, also where it shares a page with the tail; the rest can still be read."""
    with contextlib.closing(MemoryLog.new(0.0)) as log:
        offsets = [log.append(frame) for frame in frames] + [log.head]
        start = log.tail
        log.tail = offsets[min(cut, len(frames))]
        log.commit()
        log.release()
        assert not any(os.pread(log.fd, log.tail - start, start))
        assert payloads(log) == frames[cut:]


def test_what_is_cut_off_but_not_committed_stays(log):
    """A process that is killed before the commit has left the earlier tail."""
    log.append(b"x" * 10_000)
    log.commit()
    log.tail = log.head
    log.release()
    assert payloads(log) == [b"x" * 10_000]


@pytest.mark.parametrize("size", [100, 10_000, 6 * 2**20])
def test_what_an_earlier_process_did_not_commit_is_overwritten(log, size):
    """Killed between a frame and its commit, it has left text past the head, which a shorter frame does not cover."""
    log.append(b"one")
    log.commit()
    log.append(b"x" * size)
    with contextlib.closing(reopened(log)) as other:
        other.append(b"two")
        other.commit()
        other.release()
        assert not any(os.pread(other.fd, os.fstat(other.fd).st_size, other.head))
        other.append(b"three" * 2_000_000)
        other.commit()
        assert payloads(other) == [b"one", b"two", b"three" * 2_000_000]


def test_the_next_one_starts_with_the_slot_that_was_not_read(log):
    """Killed while it writes its first commit, it has left the newest one whole."""
    for number in range(5):
        log.append(b"%d" % number)
        log.commit()
        with contextlib.closing(reopened(log)) as other:
            start = other._slot * 64
        before = os.pread(log.fd, 64, start)
        os.pwrite(log.fd, bytes(64), start)
        assert len(payloads(log)) == number + 1
        os.pwrite(log.fd, before, start)


def damaged(log: MemoryLog, at: int) -> str:
    """Why it cannot be read when that byte has another value."""
    byte = os.pread(log.fd, 1, at)
    os.pwrite(log.fd, bytes([byte[0] ^ 0x40]), at)
    try:
        payloads(log)
    except Unreadable as why:
        return str(why)
    finally:
        os.pwrite(log.fd, byte, at)
    return ""


def test_any_byte_that_differs_is_found(log):
    for number in range(5):
        log.append(b"frame %d" % number)
        log.commit()
    for at in range(log.tail, log.head):
        assert "damaged at byte" in damaged(log, at) or "longer than" in damaged(log, at)


def test_one_damaged_slot_leaves_the_other(log):
    """That is what being killed in the middle of a commit looks like."""
    log.append(b"one")
    log.commit()
    for at in (*range(40), *range(64, 104)):
        assert damaged(log, at) == ""


@pytest.mark.parametrize("keep", [0, 10, 40, 4095, 4096, 4100])
def test_cut_short(log, keep):
    log.append(b"x" * 10_000)
    log.commit()
    log.commit()
    os.ftruncate(log.fd, keep)
    with pytest.raises(Unreadable):
        payloads(log)


def test_of_a_future_version(log):
    for start in (0, 64):
        os.pwrite(log.fd, (VERSION + 1).to_bytes(4, "little"), start + 8)
    with pytest.raises(Unreadable, match=f"it has version {VERSION + 1}"):
        payloads(log)


def test_no_log_at_all():
    fd = os.memfd_create("other")
    os.write(fd, b"something else" * 1000)
    with pytest.raises(Unreadable, match="no beginning"):
        MemoryLog.open(fd)
    os.close(fd)


CUTTER = """
import os, sys
from relayd.hub.memlog import MemoryLog
log = MemoryLog.open(int(sys.argv[1]))
offsets = []
for number in range(10**9):
    offsets.append(log.append(b"%d" % number * 50))
    log.tail = offsets[max(0, number - 20)]
    log.commit()
    log.release()
    os.write(1, b".")
"""


def test_killed_while_it_cuts_off(log):
    """At any moment the last frames can be read, whole and in order."""
    for _ in range(5):
        log.tail = log.head
        log.commit()
        command = [sys.executable, "-c", CUTTER, str(log.fd)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[log.fd]) as process:
            written = len(process.stdout.read(3000))
            process.kill()
            written += len(process.stdout.read())
        with contextlib.closing(reopened(log)) as other:
            numbers = [int(payload[: len(payload) // 50]) for _, payload in other.frames()]
            assert numbers == list(range(numbers[0], numbers[-1] + 1))
            assert len(numbers) >= 20
            assert numbers[-1] + 1 >= written
            other.tail = other.head
            other.commit()
        log.head = log.tail = other.head


WRITER = """
import os, sys
from relayd.hub.memlog import MemoryLog
log = MemoryLog.open(int(sys.argv[1]))
for number in range(10**9):
    log.append(b"%d" % number * 50)
    log.commit()
    os.write(1, b".")
"""


def test_killed_while_it_writes(log):
    """At any moment what is there is a beginning of what was written, up to the last commit at least."""
    for _ in range(5):
        command = [sys.executable, "-c", WRITER, str(log.fd)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[log.fd]) as process:
            committed = len(process.stdout.read(3000))
            process.kill()
            committed += len(process.stdout.read())
        with contextlib.closing(reopened(log)) as other:
            frames = [payload for _, payload in other.frames()]
            assert frames == [b"%d" % number * 50 for number in range(len(frames))]
            assert len(frames) >= committed
            other.tail = other.head
            other.commit()
