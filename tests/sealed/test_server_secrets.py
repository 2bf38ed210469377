"""What must not be found in the server: neither in its memory, nor in its log, nor in its arguments."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.conftest import Relay
from tests.faults.world import relayd
from tests.sealed.sealed_people import Person, make_room

MESSAGE, NICK, PASSWORD = "canary-said-6f2a", "canary-nick-9b1d", "canary-password-c37e"

can_read_memory = pytest.mark.skipif(os.geteuid() != 0, reason="reading another process's memory takes root")


def memory_of(pid: int) -> bytes:
    """All that a process can write to: heap, stacks, anonymous maps."""
    parts = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if not found:
                continue
            start, end = (int(text, 16) for text in found.groups())
            try:
                memory.seek(start)
                parts.append(memory.read(end - start))
            except OSError:
                continue  # a map of the kernel's
    return b"".join(parts)


def forms(text: str) -> list[bytes]:
    """A secret as it may lie in memory: as bytes, and as Python keeps wide strings."""
    return [text.encode(), text.encode("utf-16-le"), text.encode("utf-32-le")]


def assert_absent(memory: bytes, *secrets: str | bytes) -> None:
    for number, secret in enumerate(secrets):
        for form in [secret] if isinstance(secret, bytes) else forms(secret):
            assert form not in memory, f"secret {number} was found"


@can_read_memory
@pytest.mark.parametrize("workers", ["0", "2"])
async def test_nothing_in_memory(workers):
    """After people have talked, nothing that they said lies in any process of the server, nor do their keys."""
    async with relayd("--workers", workers, RELAYD_LOG_LEVEL="debug") as process:
        relay = Relay(process.base)
        room = await make_room(relay, PASSWORD)
        ann = await Person(relay, room, NICK, password=PASSWORD).join(owner=True)
        bob = await Person(relay, room, NICK, password=PASSWORD).join()
        eve = await Person(relay, room, NICK, password=PASSWORD).join()
        for number in range(20):
            await ann.said(str(number), f"{MESSAGE} {number}")
        frame = await bob.peer.until("message", id="19")
        assert bob.open(frame, card_of=ann).startswith(MESSAGE)
        rekey = ann.rekey(bob, kick=eve)
        await ann.peer.socket.send(json.dumps(rekey.frame("r")))
        await ann.go_on()
        await bob.go_on()
        said = await bob.said("after", MESSAGE)
        keys = [ann.keys.current.room_key, room.made.secret, rekey.secret, ann.user.private_bytes()]
        memories = {pid: memory_of(pid) for pid in (process.process.pid, *process.workers())}
        for memory in memories.values():
            assert_absent(memory, MESSAGE, NICK, PASSWORD, *keys)
        # The search finds what is there.
        found = [pid for pid, memory in memories.items() if said["body"]["c"].encode() in memory]
        assert process.process.pid in found
        log = "\n".join(process.log)
        assert_absent(log.encode(), MESSAGE, NICK, PASSWORD, ann.keys.proof_text, room.created["owner_key"])
        assert room.created["invite_key"] not in log
        await relay.close()


async def test_a_plain_password_is_nowhere_to_be_read():
    """Neither in the log, at whatever level, nor in the arguments, the answers, nor (soon) in memory."""
    async with relayd(RELAYD_LOG_LEVEL="debug") as process:
        relay = Relay(process.base)
        room = await relay.create(password=PASSWORD)
        response = await relay.request("POST", "/api/v1/room", body={"password": PASSWORD, "access": {}})
        assert response.code == 422
        details = await relay.details(room)
        told = f"{room} {details} {response.body!r}"
        assert "canary" not in told
        arguments = Path(f"/proc/{process.process.pid}/cmdline").read_bytes()
        assert_absent("\n".join(process.log).encode() + arguments, PASSWORD)
        assert process.log
        if os.geteuid() == 0:
            for number in range(20):
                await relay.create(name=f"a room like many others {number}")
            memory = memory_of(process.process.pid)
            assert_absent(memory, PASSWORD)
            assert b"a room like many others 19" in memory
        await relay.close()
