"""Files through a real relay: whole, however often the line is cut; and what becomes of those that do not come."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conftest import Relay, relay_with
from cutter import cutter_before, heard

from relayd.client import (
    Backoff,
    Delivery,
    Disconnected,
    DiskError,
    FileChanged,
    FileOffered,
    Message,
    Offer,
    Rekeyed,
    Room,
    TransferError,
    UserJoined,
    Withdrawn,
    create,
    join,
)
from relayd.client.files.line import Bell
from relayd.client.files.receiving import Window
from relayd.errors import FilesOff, FileTooLarge

WAIT_S = 30
CHUNK = 61_440


@pytest.fixture
def inbox(tmp_path):
    directory = tmp_path / "inbox"
    directory.mkdir()
    return directory


def a_file(directory: Path, size: int, name: str = "a.bin") -> Path:
    path = directory / name
    path.write_bytes(os.urandom(size))
    return path


def quick() -> Backoff:
    """Comes back at once."""

    class AtOnce(random.Random):
        def random(self) -> float:
            return 0.02

    return Backoff(AtOnce())


@contextlib.asynccontextmanager
async def people(relay: Relay, *names: str, sealed: bool = True, **options: object) -> AsyncIterator[list[Room]]:
    made = await create(relay.base, sealed=sealed, **options)
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(join(made.link, name)) for name in names]


async def offered(room: Room) -> FileOffered:
    return await heard(room, FileOffered, timeout=WAIT_S)


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 3_000_000])
async def test_a_file_arrives(relay, tmp_path, inbox, sealed, size):
    path = a_file(tmp_path, size)
    async with people(relay, "ann", "bob", sealed=sealed) as (ann, bob):
        offer = await ann.offer(path)
        async with asyncio.timeout(WAIT_S):
            came = await bob.accept(await offered(bob), inbox)
            assert came.read_bytes() == path.read_bytes()
            assert await offer.delivered() == ((bob.me.id,), ())


async def test_many_files_at_once_and_chat_between(relay, tmp_path, inbox):
    """More than a connection may receive at once: the others wait their turn."""
    paths = [a_file(tmp_path, 400_000 + number, f"{number}.bin") for number in range(9)]
    async with people(relay, "ann", "bob", "cyd") as (ann, bob, cyd):
        for path in paths:
            await ann.offer(path)
        receiving = []
        for room in (bob, cyd):
            (inbox / room.me.id).mkdir()
            receiving += [room.accept(await offered(room), inbox / room.me.id) for _ in paths]
        await ann.say("meanwhile")
        async with asyncio.timeout(WAIT_S):
            await heard(bob, Message, timeout=WAIT_S)
            for one in receiving:
                path = await one
                assert path.read_bytes() == (tmp_path / path.name).read_bytes()


async def test_files_of_one_name_do_not_meet(relay, tmp_path, inbox):
    """Two at once into one directory, and the same file twice."""
    async with people(relay, "ann", "bob") as (ann, bob):
        (tmp_path / "other").mkdir()
        first, second = a_file(tmp_path, 200_000), a_file(tmp_path / "other", 200_000)
        for path in (first, second, first):
            await ann.offer(path)
        three = [bob.accept(await offered(bob), inbox) for _ in range(3)]
        async with asyncio.timeout(WAIT_S):
            got = [(await one).read_bytes() for one in three]
        assert got == [first.read_bytes(), second.read_bytes(), first.read_bytes()]
        assert sorted(path.name for path in inbox.iterdir()) == ["a (1).bin", "a (2).bin", "a.bin"]


async def test_to_one_alone(relay, tmp_path, inbox):
    """Whoever it is not for does not hear of it, and is no reason to wait."""
    path = a_file(tmp_path, 100_000)
    async with people(relay, "ann", "bob", "cyd") as (ann, bob, cyd):
        await heard(ann, UserJoined, timeout=WAIT_S)  # with the card that it is sealed to
        offer = await ann.offer(path, to=bob.me)
        async with asyncio.timeout(WAIT_S):
            assert (await bob.accept(await offered(bob), inbox)).read_bytes() == path.read_bytes()
            assert await offer.delivered() == ((bob.me.id,), ())
        await ann.say("to all")
        async for event in cyd:
            assert not isinstance(event, FileOffered)
            if isinstance(event, Message):
                break


# Coming back. ---------------------------------------------------------------------------------------------------


@pytest.mark.timeout(200)
@pytest.mark.parametrize("who", ["sender", "receiver", "both"])
async def test_it_goes_on_where_it_was_however_often_the_line_is_cut(relay, tmp_path, inbox, who):
    seed = random.randrange(10**6)
    sys.stdout.write(f"seed {seed}\n")
    draw = random.Random(seed)
    path = a_file(tmp_path, 12_000_000)
    made = await create(relay.base)
    async with cutter_before(relay.base) as way:
        link = dict.fromkeys(("sender", "receiver"), made.link)
        for name in link if who == "both" else [who]:
            link[name] = made.link.replace(relay.base, way.base)
        async with (
            join(link["sender"], "ann", backoff=quick()) as ann,
            join(link["receiver"], "bob", backoff=quick()) as bob,
        ):
            offer = await ann.offer(path)
            receiving = bob.accept(await offered(bob), inbox)
            cuts = 0
            # Long: a machine that is busy has the relay turn away newcomers for seconds, those who come back included.
            async with asyncio.timeout(6 * WAIT_S):
                for share in (0.1, 0.3, 0.5, 0.7, 0.9):
                    wanted = int(share * len(path.read_bytes()))
                    await receiving.changed.wait_until(lambda w=wanted: receiving.received_bytes >= w or receiving.done)
                    if not receiving.done:
                        way.after[draw.choice(["up", "down"])] = draw.randrange(100_000)
                        await asyncio.sleep(draw.random() * 0.05)
                        way.cut()
                        cuts += 1
                came = await receiving
                assert came.read_bytes() == path.read_bytes()
                assert await offer.delivered() == ((bob.me.id,), ())
            assert cuts >= 3
            assert way.connections > 3


async def test_a_sender_who_was_away_at_the_end_hears_of_it(relay, tmp_path, inbox):
    """The line is lost before anybody says that it has the file."""
    path = a_file(tmp_path, 100_000)
    made = await create(relay.base)
    async with (
        cutter_before(relay.base) as way,
        join(made.link.replace(relay.base, way.base), "ann", backoff=quick()) as ann,
        join(made.link, "bob") as bob,
        join(made.link, "cyd") as cyd,
    ):
        offer = await ann.offer(path)
        await bob.accept(await offered(bob), inbox)
        async with asyncio.timeout(WAIT_S):
            await offer.changed.wait_until(lambda: offer.deliveries.get(bob.me.id) is Delivery.RECEIVED)
        offer.deliveries[bob.me.id] = Delivery.ACCEPTED  # as if that had been lost
        way.refusing = True
        way.cut()
        await heard(ann, Disconnected, timeout=WAIT_S)
        gives_up = cyd.accept(await offered(cyd), inbox)
        await gives_up.changed.wait_until(lambda: gives_up.paused, WAIT_S)
        gives_up.cancel()
        way.refusing = False
        assert sorted(offer.deliveries) == [bob.me.id]
        async with asyncio.timeout(WAIT_S):
            assert await offer.delivered(gather_s=1) == ((bob.me.id,), (cyd.me.id,))
        assert offer.deliveries == {bob.me.id: Delivery.RECEIVED, cyd.me.id: Delivery.CANCELLED}


async def test_a_program_that_starts_anew_does_not_fetch_again_what_it_has(relay, tmp_path, inbox):
    path = a_file(tmp_path, 6_000_000)
    made = await create(relay.base)
    async with join(made.link, "ann") as ann:
        await ann.offer(path)
        async with join(made.link, "bob") as bob:
            await ann.offer(path)
            receiving = bob.accept(await offered(bob), inbox)
            await receiving.changed.wait_until(lambda: receiving.received_bytes > 10 * CHUNK, WAIT_S)
            receiving.cancel()
            with pytest.raises(TransferError, match="cancelled here") as raised:
                await receiving
            part = raised.value.partial
            assert part is not None
            assert part.stat().st_size >= 10 * CHUNK
        async with join(made.link, "bob") as bob:
            offer = await ann.offer(path)
            receiving = bob.accept(await offered(bob), inbox)
            shown: list[int] = []
            while not receiving.done:
                await receiving.changed.wait(WAIT_S)
                shown.append(receiving.received_bytes)
            assert (await receiving).read_bytes() == path.read_bytes()
            assert min(shown) >= 10 * CHUNK
            assert await offer.delivered() == ((bob.me.id,), ())
        assert [one.name for one in inbox.iterdir()] == ["a.bin"]


async def test_a_part_that_was_spoiled_is_found_out(relay, tmp_path, inbox):
    """The SHA-256 is of the whole file, what was there before included; the next attempt begins anew."""
    path = a_file(tmp_path, 3_000_000)
    async with people(relay, "ann", "bob") as (ann, bob):
        await ann.offer(path)
        first = await offered(bob)
        digest = first.file.sha256
        from relayd.wire.sealing_text import decode_base64url

        part = inbox / f"a.bin.{decode_base64url(digest, 32, 'sha256').hex()[:8]}.part"
        part.write_bytes(bytes(10 * CHUNK))
        with pytest.raises(TransferError, match="not what was offered"):
            await asyncio.wait_for(_whole(bob, first, inbox), WAIT_S)
        assert list(inbox.iterdir()) == []
        assert (await asyncio.wait_for(_whole(bob, first, inbox), WAIT_S)).read_bytes() == path.read_bytes()


async def _whole(room: Room, file: FileOffered, inbox: Path) -> Path:
    return await room.accept(file, inbox)


@pytest.mark.slow
async def test_a_worker_that_is_killed_costs_nothing(tmp_path, inbox):
    path = a_file(tmp_path, 30_000_000)
    made_way: list[int] = []
    async with relay_with(workers=2) as relay:
        made = await create(relay.base)
        async with join(made.link, "ann", backoff=quick()) as ann, join(made.link, "bob", backoff=quick()) as bob:
            await ann.offer(path)
            receiving = bob.accept(await offered(bob), inbox)
            await receiving.changed.wait_until(lambda: receiving.received_bytes > 20 * CHUNK, WAIT_S)
            for pid in _children():
                made_way.append(pid)
                os.kill(pid, 9)
            assert made_way
            async with asyncio.timeout(2 * WAIT_S):
                assert (await receiving).read_bytes() == path.read_bytes()


def _children() -> list[int]:
    """Gateways among this process's children."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"relayd.gateway" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


# Ending. --------------------------------------------------------------------------------------------------------


async def begun(relay: Relay, ann: Room, bob: Room, directory: Path, inbox: Path) -> tuple[Offer, object]:
    offer = await ann.offer(a_file(directory, 40_000_000))
    receiving = bob.accept(await offered(bob), inbox)
    await receiving.changed.wait_until(lambda: receiving.received_bytes > 0, WAIT_S)
    return offer, receiving


async def test_withdrawn_while_it_is_sent(relay, tmp_path, inbox):
    async with people(relay, "ann", "bob") as (ann, bob):
        offer, receiving = await begun(relay, ann, bob, tmp_path, inbox)
        offer.withdraw()
        with pytest.raises(Withdrawn, match="withdrawn it") as raised:
            await receiving
        assert raised.value.partial is not None
        assert raised.value.partial.exists()
        assert offer.is_over


async def test_the_sender_leaves(relay, tmp_path, inbox):
    async with people(relay, "ann", "bob") as (ann, bob):
        offer, receiving = await begun(relay, ann, bob, tmp_path, inbox)
        await ann.leave()
        with pytest.raises(Withdrawn, match="has left") as raised:
            await receiving
        assert raised.value.partial is not None
        assert raised.value.partial.stat().st_size > 0
        with pytest.raises(TransferError):
            await offer.delivered()


async def test_the_receiver_gives_up_or_leaves(relay, tmp_path, inbox):
    async with people(relay, "ann", "bob", "cyd") as (ann, bob, cyd):
        offer, receiving = await begun(relay, ann, bob, tmp_path, inbox)
        receiving.cancel()
        with pytest.raises(TransferError, match="cancelled here"):
            await receiving
        await offer.changed.wait_until(lambda: offer.deliveries[bob.me.id] is Delivery.CANCELLED, WAIT_S)
        second = cyd.accept(await offered(cyd), inbox)
        await second.changed.wait_until(lambda: second.received_bytes > 0, WAIT_S)
        await cyd.leave()
        delivered = await asyncio.wait_for(offer.delivered(), WAIT_S)
        assert (delivered.received, set(delivered.failed)) == ((), {bob.me.id, cyd.me.id})
        assert offer.deliveries == {bob.me.id: Delivery.CANCELLED, cyd.me.id: Delivery.LEFT}


async def test_nobody_accepts(relay, tmp_path):
    async with people(relay, "ann", "bob") as (ann, _):
        offer = await ann.offer(a_file(tmp_path, 10))
        with pytest.raises(TransferError, match="nobody has accepted"):
            await offer.delivered(wait_s=0.2)


async def test_a_file_that_is_changed_is_withdrawn(relay, tmp_path, inbox):
    """Nobody gets half of one and half of the other, and both are told why."""
    async with people(relay, "ann", "bob") as (ann, bob):
        path = a_file(tmp_path, 5_000_000)
        offer = await ann.offer(path)
        with path.open("r+b") as file:
            file.write(b"changed")
        receiving = bob.accept(await offered(bob), inbox)
        with pytest.raises(Withdrawn):
            await asyncio.wait_for(_awaited(receiving), WAIT_S)
        with pytest.raises(FileChanged, match="offer it again"):
            await offer.delivered()


async def _awaited(receiving: object) -> Path:
    return await receiving  # type: ignore[misc]


async def test_no_place_to_put_it(relay, tmp_path):
    async with people(relay, "ann", "bob") as (ann, bob):
        offer = await ann.offer(a_file(tmp_path, 10))
        with pytest.raises(DiskError, match="No such file or directory"):
            await bob.accept(await offered(bob), tmp_path / "nowhere")
        assert not offer.deliveries


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("takes the right to mount")
    yield place
    subprocess.run(["umount", place], check=True)


async def test_a_full_disk(relay, tmp_path, small_disk):
    """Both ends are told; what has come is kept, and goes on once there is room."""
    path = a_file(tmp_path, 1_200_000)
    rubbish = small_disk / "rubbish"
    rubbish.write_bytes(bytes(300_000))
    async with people(relay, "ann", "bob") as (ann, bob):
        offer = await ann.offer(path)
        event = await offered(bob)
        with pytest.raises(DiskError, match="No space left on device") as raised:
            await asyncio.wait_for(_whole(bob, event, small_disk), WAIT_S)
        assert raised.value.partial is not None
        assert raised.value.partial.stat().st_size > 500_000
        await offer.changed.wait_until(lambda: offer.deliveries == {bob.me.id: Delivery.CANCELLED}, WAIT_S)
        rubbish.unlink()
        with pytest.raises(DiskError):
            await asyncio.wait_for(_whole(bob, event, small_disk), WAIT_S)
        assert raised.value.partial.stat().st_size > 900_000


async def test_new_keys_while_a_file_is_on_offer(relay, tmp_path, inbox):
    """Chunks belong to the keys under which the file was offered, whatever holds since."""
    path = a_file(tmp_path, 3_000_000)
    made = await create(relay.base)
    async with (
        join(made.link, "ann", owner=made.owner) as ann,
        join(made.link, "bob") as bob,
        join(made.link, "cyd") as cyd,
    ):
        await ann.offer(path)
        event = await offered(bob)
        for _ in range(2):
            await heard(ann, UserJoined, timeout=WAIT_S)
        await ann.kick(cyd.me)
        await heard(bob, Rekeyed, timeout=WAIT_S)
        assert (await asyncio.wait_for(_whole(bob, event, inbox), WAIT_S)).read_bytes() == path.read_bytes()


async def test_one_file_again_and_again(tmp_path, inbox):
    """More often than there are streams of one file at once."""
    path = a_file(tmp_path, 70_000)
    async with relay_with(timing__gather=0.01) as relay, people(relay, "ann", "bob") as (ann, bob):
        offer = await ann.offer(path)
        event = await offered(bob)
        async with asyncio.timeout(2 * WAIT_S):
            for _ in range(20):
                came = await bob.accept(event, inbox)
                assert came.read_bytes() == path.read_bytes()
        assert await offer.delivered() == ((bob.me.id,), ())


async def test_refused(tmp_path):
    path = a_file(tmp_path, 1001)
    async with relay_with(rooms__max_file=1000) as relay:
        async with people(relay, "ann") as (ann,):
            with pytest.raises(FileTooLarge):
                await ann.offer(path)
            await ann.say("all else goes on")
        async with people(relay, "ann", settings={"files": False}) as (ann,):
            with pytest.raises(FilesOff):
                await ann.offer(path)
            with pytest.raises(DiskError, match="No such file"):
                await ann.offer(tmp_path / "none")


@pytest.mark.parametrize(("frame", "chunk"), [(16_384, 15_360), (15_000, 4_096), (4_224, 4_096), (4_223, 896)])
async def test_a_server_with_shorter_frames(tmp_path, inbox, frame, chunk):
    """Chunks become shorter, too."""
    path = a_file(tmp_path, 100_000)
    async with relay_with(limits__max_message=frame) as relay, people(relay, "ann", "bob") as (ann, bob):
        offer = await ann.offer(path)
        assert offer.file.chunk == chunk
        event = await offered(bob)
        assert (await asyncio.wait_for(_whole(bob, event, inbox), WAIT_S)).read_bytes() == path.read_bytes()


# Resources. -----------------------------------------------------------------------------------------------------


async def test_the_loop_is_not_held_up_by_a_large_file(relay, tmp_path):
    """Its SHA-256 takes a while; who waits for it goes on chatting."""
    path = tmp_path / "holes"
    with path.open("wb") as file:
        file.truncate(600_000_000)
    async with people(relay, "ann") as (ann,):
        loop, longest, over = asyncio.get_running_loop(), 0.0, False

        async def watch() -> None:
            nonlocal longest
            while not over:
                at = loop.time()
                await asyncio.sleep(0.005)
                longest = max(longest, loop.time() - at - 0.005)

        watching = asyncio.create_task(watch())
        began = loop.time()
        await ann.offer(path)
        took, over = loop.time() - began, True
        await watching
    assert longest < took / 2


async def test_a_bell_that_rings_while_it_is_not_waited_for_any_more():
    """An upload that is stopped stays stopped, even if it is allowed more in the same moment."""
    bell, went_on = Bell(), False

    async def wait() -> None:
        nonlocal went_on
        await bell.wait(WAIT_S)
        went_on = True

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    bell.ring()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not went_on
    assert not await bell.wait(0)


def test_the_window_follows_the_line():
    """About a quarter of a second is under way: two chunks on a slow line, all on a fast one."""
    for rate, expected in ((100_000, 2), (500_000, 4), (50_000_000, 8)):
        window, now = Window(8, CHUNK, 0.0), 0.0
        for _ in range(100):
            now += CHUNK / rate
            window.take(1, now)
        assert window.size == expected
    far, now = Window(8, CHUNK, 0.0), 0.0
    for _ in range(20):
        now += 0.3  # a round trip, in which a whole window goes
        far.take(far.size, now)
    assert far.size >= 5
    tiny = Window(1, CHUNK, 0.0)
    tiny.take(1, 0.001)
    assert tiny.size == 1
