"""Freed memory: when it is worth returning, and that the kernel really gets it."""

from __future__ import annotations

import subprocess
import sys

from relayd.machine.heap import WORTH_BYTES, FreedMemory

MIB = 2**20


def looks(*free_mib: float) -> list[bool]:
    """What is decided at each look, by so many MiB that the allocator has free."""
    freed = FreedMemory()
    return [freed.is_worth_returning(int(mib * MIB)) for mib in free_mib]


def test_once_after_a_storm():
    """And not again as long as nothing more is used."""
    assert looks(1, 2, 60, 60, 59, 60) == [False, False, True, False, False, False]


def test_again_after_the_next_storm():
    """What was returned counts as free until it is used."""
    assert looks(1, 60, 20, 5, 60, 60) == [False, True, False, False, True, False]


def test_not_for_a_little():
    assert not any(looks(1, 1 + WORTH_BYTES / MIB / 2, 1 + WORTH_BYTES / MIB / 2))


PROGRAM = """
import asyncio, ctypes
from relayd.machine import heap
heap.LOOK_S, heap.QUIET_SHARE = 0.02, 1.0

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096

async def main():
    trimmer = heap.HeapTrimmer(asyncio.get_running_loop())
    await asyncio.sleep(0.1)
    before = resident()
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [libc.malloc(2048) for _ in range(30_000)]
    for block in blocks:
        ctypes.memset(block, 1, 2048)
    for block in blocks[:-1]:  # the last one keeps the heap from shrinking by itself
        libc.free(block)
    full = resident()
    async with asyncio.timeout(30):
        while resident() > before + 20 * 2**20:
            await asyncio.sleep(0.02)
    trimmer.close()
    print(full - before > 50 * 2**20)

asyncio.run(main())
"""


def test_the_kernel_gets_it():
    """60 MB of small blocks, freed."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
