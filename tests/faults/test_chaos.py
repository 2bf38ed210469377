"""Everything at once: random faults, from a seed, against a model of who must have heard what.

The seed and the counts are printed (`pytest -s`, or on failure); `CHAOS_SEED` runs one again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter

import pytest

from relayd.supervisor import QUICK_S
from tests.faults.world import Process, Talker, chatter, everyone_heard, relayd, talkers


class Chaos:
    """Makes one fault after the other, until it is told to stop."""

    def __init__(self, seed: int, process: Process, people: list[Talker]) -> None:
        self.made: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._process = process
        self._people = people
        self._born = dict.fromkeys(process.workers(), asyncio.get_running_loop().time() - QUICK_S)  # by pid
        self._stopped: set[asyncio.Task] = set()
        self._faults = {
            self.cut_a_line: 12,
            self.cut_many_lines: 2,
            self.kill_a_worker: 1,
            self.stop_a_worker: 2,
            self.repeat_a_message: 4,
        }

    async def run(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await asyncio.sleep(self._random.uniform(0.05, 0.4))
                    fault = self._random.choices(list(self._faults), list(self._faults.values()))[0]
                    self.made[fault.__name__] += 1
                    await fault()
        await asyncio.gather(*self._stopped)

    async def cut_a_line(self) -> None:
        self._cut(self._random.choice(self._people))

    async def cut_many_lines(self) -> None:
        for person in self._random.sample(self._people, len(self._people) // 2):
            self._cut(person)

    async def kill_a_worker(self) -> None:
        workers = self._process.workers()
        now = asyncio.get_running_loop().time()
        for pid in workers:
            self._born.setdefault(pid, now)
        # Not the last one: then nobody could be told anything for a while. And not a young one: five that die at
        # once end the daemon. Both are other tests.
        grown = [pid for pid in workers if now - self._born[pid] > QUICK_S]
        if len(workers) > 1 and grown:
            os.kill(self._random.choice(grown), signal.SIGKILL)

    async def stop_a_worker(self) -> None:
        pid = self._random.choice(self._process.workers())
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            task = asyncio.create_task(self._continue(pid, self._random.uniform(0.2, 2)))
            self._stopped.add(task)

    async def repeat_a_message(self) -> None:
        """Says again what was heard long ago, as a client does that lost the echo."""
        person = self._random.choice(self._people)
        own = [id_ for _, id_ in person.heard if id_.startswith(f"{person.nick}-")]
        if own:
            await person.say(self._random.choice(own[-50:]), "again")

    async def _continue(self, pid: int, seconds: float) -> None:
        await asyncio.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def _cut(self, person: Talker) -> None:
        if person.socket is not None:
            person.socket.transport.abort()


async def _run(seconds: float) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(2**32))
    async with relayd("--workers", "2", RELAYD_LIMITS_MESSAGE_RATE="0") as process:
        room = await process.create(max=100, expiration_date=1)
        async with talkers(process.base, room, 10) as people:
            chaos = Chaos(seed, process, people)
            said, _ = await asyncio.gather(chatter(people, seconds, rate=10), chaos.run(seconds))
            await everyone_heard(people, said)
            resumes = sum(person.resumes for person in people)
            print(f"seed={seed} said={said} resumes={resumes} faults={dict(chaos.made)}")  # noqa: T201
            assert {len(person.heard) for person in people} <= {said, *(said - person.first_seq for person in people)}
        assert not any("Traceback" in line for line in process.log), "\n".join(process.log)


async def test_a_short_chaos():
    """Eight seconds of random faults: nothing lost, nothing twice, one order."""
    await _run(8)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_minute_of_chaos():
    """The same for a minute."""
    await _run(60)
