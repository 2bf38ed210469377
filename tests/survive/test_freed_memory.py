"""What a memory dump finds of messages whose room has ended: nearly nothing, with the drop-in of docs/admin.md."""

from __future__ import annotations

import os
import re
from pathlib import Path

from survive.keeper import until
from tests.conftest import Relay

MESSAGES = 100
CANARY = "canary-of-freed-memory"
DOCS = Path(__file__).parents[2] / "docs" / "admin.md"


def memory_of(pid: int) -> bytes:
    """All that the process can write to, and has written."""
    found = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            start, end, rights = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
            if rights.startswith("rw") and "[v" not in line:
                memory.seek(int(start, 16))
                found.append(memory.read(int(end, 16) - int(start, 16)) or b"")
    return b"".join(found)


async def copies_after_the_room(keeper, **environment: str) -> int:
    """How often text of 100 messages is in memory when their room has ended and another has been used."""
    await keeper.start(**environment)
    relay = Relay(keeper.base)
    room = await relay.create()
    ann, bob = await relay.join(room, owner=True), await relay.join(room, "bob")
    for number in range(MESSAGES):
        await ann.say(f"{number}", f"{CANARY} {number} {'x' * 200}")
        await bob.until("message")
    assert memory_of(keeper.main_pid).count(CANARY.encode()) >= MESSAGES
    assert (await relay.request("DELETE", f"/api/v1/{room['id']}", room["owner_key"])).code == 204
    await ann.closed()
    await bob.closed()
    # The memory log is erased by itself, a moment later; it is not freed memory.
    await until(lambda: not any(CANARY.encode() in os.pread(fd, os.fstat(fd).st_size, 0) for _, fd in keeper.kept))
    carol = await relay.join(await relay.create(), "carol")
    for number in range(MESSAGES):
        await carol.say(f"{number}", "something else")
        await carol.until("message")
    left = memory_of(keeper.main_pid).count(CANARY.encode())
    await relay.close()
    await keeper.end()
    keeper.forget("rooms")
    return left


async def test_the_drop_in_overwrites_what_is_freed(keeper):
    """A few buffers may remain; without it, most of the messages do."""
    shown = re.search(r"^Environment=(PYTHONMALLOC=.*)$", DOCS.read_text(), re.MULTILINE)[1]
    environment = dict(one.split("=", 1) for one in shown.split())
    without = await copies_after_the_room(keeper)
    overwritten = await copies_after_the_room(keeper, **environment)
    assert overwritten <= MESSAGES / 10
    assert overwritten < without / 5
