"""Files from servers and senders that do as they like: what was not offered is not kept, nothing grows for ever."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cutter import heard
from fake_relay import FakeRelay, fake_relay

from relayd.client import (
    FileOffered,
    Message,
    NotWhole,
    Offer,
    Receiving,
    Reconnected,
    Room,
    TransferError,
    Withdrawn,
    create,
    join,
)
from relayd.client.files import receiving as receiving_module

WAIT_S = 30


class Pair(NamedTuple):
    """Two people in a room of a relay that is not ours."""

    fake: FakeRelay
    ann: Room
    bob: Room

    async def offered(self, path: Path) -> tuple[Offer, FileOffered]:
        offer = await self.ann.offer(path)
        return offer, await heard(self.bob, FileOffered, timeout=WAIT_S)


@contextlib.asynccontextmanager
async def pair(*, sealed: bool = True) -> AsyncIterator[Pair]:
    async with fake_relay() as fake:
        made = await create(fake.base, sealed=sealed)
        async with join(made.link, "ann") as ann, join(made.link, "bob") as bob:
            yield Pair(fake, ann, bob)


def a_file(directory: Path, size: int, name: str = "a.bin") -> Path:
    path = directory / name
    path.write_bytes(os.urandom(size))
    return path


@pytest.fixture
def inbox(tmp_path):
    directory = tmp_path / "inbox"
    directory.mkdir()
    return directory


async def fails(receiving: Receiving, kind: type[Exception], match: str) -> TransferError:
    async with asyncio.timeout(WAIT_S):
        with pytest.raises(kind, match=match) as raised:
            await receiving
    return raised.value


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("size", [0, 1, 61_440, 61_441, 500_000])
async def test_a_file_arrives_as_it_was(tmp_path, inbox, sealed, size):
    async with pair(sealed=sealed) as (fake, ann, bob):
        path = a_file(tmp_path, size)
        offer = await ann.offer(path)
        offered = await heard(bob, FileOffered, timeout=WAIT_S)
        assert (offered.name, offered.size, offered.user.nick) == ("a.bin", size, "ann")
        came = await bob.accept(offered, inbox)
        assert came == inbox / "a.bin"
        assert came.read_bytes() == path.read_bytes()
        assert list(inbox.iterdir()) == [came]
        delivered = await offer.delivered()
        assert delivered == ((bob.me.id,), ())
        assert offer.sent_bytes == size
        sent = b"".join(fake.logged)
        assert not sealed or b"a.bin" not in sent
        assert not sealed or size < 1000 or path.read_bytes()[:100] not in sent


CHANGES = {
    "another byte": lambda frame: [frame[:-1] + bytes([frame[-1] ^ 1])],
    "one byte less": lambda frame: [frame[:-1]],
    "one byte more": lambda frame: [frame + b"\0"],
    "another pass": lambda frame: [frame[:22] + bytes(16) + frame[38:]],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_chunk_that_was_changed_ends_a_sealed_file(tmp_path, inbox, change):
    """It is deleted, and its sender told that it did not arrive."""
    async with pair() as both:
        offer, offered = await both.offered(a_file(tmp_path, 200_000))
        both.fake.chunk = lambda frame: change(frame) if frame[45] == 2 else [frame]
        await fails(both.bob.accept(offered, inbox), NotWhole, "not what was offered")
        assert list(inbox.iterdir()) == []
        assert await offer.delivered() == ((), (both.bob.me.id,))


async def test_another_file_of_the_same_size_is_deleted(tmp_path, inbox):
    """In an open room only the SHA-256 at the end can tell."""
    async with pair(sealed=False) as both:
        offer, offered = await both.offered(a_file(tmp_path, 200_000))
        both.fake.chunk = lambda frame: [frame[:46] + bytes(len(frame) - 46)]
        await fails(both.bob.accept(offered, inbox), NotWhole, "not the one that was offered")
        assert list(inbox.iterdir()) == []
        assert await offer.delivered() == ((), (both.bob.me.id,))


ORDERS = {
    "left out": lambda frame: [] if frame[45] == 1 else [frame],
    "last too early": lambda frame: [frame[:1] + b"\1" + frame[2:]],
    "far ahead": lambda frame: [frame[:38] + (1 << 40).to_bytes(8, "big") + frame[46:]],
    "more than asked for": lambda frame: [frame[:38] + bytes([0] * 7 + [index]) + frame[46:] for index in range(3)],
}


@pytest.mark.parametrize("change", ORDERS.values(), ids=ORDERS)
async def test_chunks_nobody_asked_for_end_it(tmp_path, inbox, change):
    """No more than was asked for is ever kept in memory; what came before stays on disk."""
    async with pair(sealed=False) as both:
        _, offered = await both.offered(a_file(tmp_path, 300_000))
        both.fake.chunk = change
        await fails(both.bob.accept(offered, inbox), TransferError, "something else than what was asked for")
        assert all(path.name.endswith(".part") for path in inbox.iterdir())


async def test_chunks_that_come_twice_or_mean_nothing_are_passed_over(tmp_path, inbox):
    async with pair(sealed=False) as both:
        path = a_file(tmp_path, 300_000)
        _, offered = await both.offered(path)
        strange = [b"", b"\1", os.urandom(46), b"\1\0" + os.urandom(100), b"\2" * 200]
        both.fake.chunk = lambda frame: [*strange, frame, frame, *strange]
        assert (await both.bob.accept(offered, inbox)).read_bytes() == path.read_bytes()


async def test_frames_about_files_that_nobody_knows_do_nothing(tmp_path, inbox):
    async with pair(sealed=False) as both:
        path = a_file(tmp_path, 100_000)
        offer, offered = await both.offered(path)
        for socket in both.fake.sockets:
            for event in (
                "send",
                "stop",
                "accepted",
                "received",
                "ended",
                "paused",
                "cancelled",
                "deliveries",
                "dance",
            ):
                for fid in ("A" * 22, "", offer.file.fid if event in ("stop", "dance") else "?"):
                    both.fake.tell(socket, {"type": "file", "event": event, "fid": fid, "stream": 9})
            both.fake.tell(socket, {"type": "file", "event": "send", "fid": offer.file.fid, "upto": "many"})
            both.fake.tell(socket, {"type": "error", "code": "no_such_file", "detail": "", "fid": "A" * 22})
        assert (await both.bob.accept(offered, inbox)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("epoch", ["x", None, [], 1.5, -1, 1, 1 << 40])
async def test_an_offer_is_of_no_epoch_that_was_not_yet(tmp_path, inbox, epoch):
    """A server that says so of one's own offer changes nothing: the file can be had."""
    async with pair() as both:

        def change(user: str, frame: dict[str, Any]) -> list[dict[str, Any]]:
            if frame["type"] != "message" or user != both.ann.me.id:
                return [frame]
            return [{**frame, "body": {**frame["body"], "e": epoch}}]

        both.fake.mangle = change
        path = a_file(tmp_path, 100)
        _, offered = await both.offered(path)
        async with asyncio.timeout(WAIT_S):
            assert (await both.bob.accept(offered, inbox)).read_bytes() == path.read_bytes()


async def test_a_server_that_asks_for_what_is_not_there_ends_nothing_else(tmp_path):
    """Streams from beyond the end, or from before the beginning: no bytes, and the offer lives."""
    async with pair() as both:
        offer = await both.ann.offer(a_file(tmp_path, 100))
        socket = both.fake.offers[offer.file.fid][0]
        for first, upto in ((5, 9), (-3, 1), (1 << 60, 1 << 61)):
            both.fake.tell_file(offer.file.fid, "send", stream=first & 0xFFFF, **{"from": first}, upto=upto)
        both.fake.chunk = lambda frame: []
        for stream in range(1, 1000):
            both.fake.streams[stream] = (socket, offer.file.fid, 0)
            both.fake.tell_file(offer.file.fid, "send", stream=stream, **{"from": 0}, upto=0)
            both.fake.tell_file(offer.file.fid, "accepted", user="u_" + os.urandom(8).hex())
        await both.ann.say("still here")
        await heard(both.bob, Message, timeout=WAIT_S)
        assert len(offer._uploads) <= 16, "each of them reads ahead"
        assert socket in both.fake.sockets
        assert not offer.is_over


async def test_an_offer_with_a_hostile_name_lands_in_the_directory(tmp_path, inbox):
    async with pair(sealed=False) as both:
        path = a_file(tmp_path, 10)
        names = ["../../etc/passwd", "CON", "\U0001f600" * 400, "photo\u202egpj.exe", ".bashrc", "a/b\0c"]
        for name in names:
            await both.ann.offer(path, name=name)
            offered = await heard(both.bob, FileOffered, timeout=WAIT_S)
            came = await both.bob.accept(offered, inbox)
            assert came.parent == inbox
            assert came.read_bytes() == path.read_bytes()
        got = {came.name for came in inbox.iterdir()}
        assert {"passwd", "_CON", "photogpj.exe", "bashrc", "bc"} < got
        assert all(len(name.encode()) <= 255 for name in got)


BAD: dict[str, Any] = {"fid": "short", "size": -1, "chunk": 0, "sha256": "x", "name": 7}


async def test_an_offer_that_is_none_is_an_ordinary_message(tmp_path):
    async with pair(sealed=False) as both:
        await both.ann.offer(a_file(tmp_path, 10))
        body = (await heard(both.bob, FileOffered, timeout=WAIT_S)).file.body()
        for field, wrong in BAD.items():
            await both.ann.say({**body, field: wrong})
            assert (await heard(both.bob, Message, timeout=WAIT_S)).body["kind"] == "file"
    async with pair() as both:
        await both.ann.say(body)  # without a key, in a sealed room
        assert (await heard(both.bob, Message, timeout=WAIT_S)).body["kind"] == "file"


CLAIMS: dict[str, dict[str, Any]] = {
    "the same, of somebody else": {},
    "another name": {"name": "b.bin"},
    "another size": {"size": 400_001},
    "another digest": {"sha256": "A" * 43},
    "another key": {"key": "A" * 43},
}


@pytest.mark.parametrize("changes", CLAIMS.values(), ids=CLAIMS)
async def test_an_offer_under_the_fid_of_anothers_file_is_none_of_it(tmp_path, inbox, changes):
    """Who offers again what somebody else offers is not taken for its sender; the other file is not touched."""
    async with pair() as both, join(both.bob.link, "mallory") as mallory:
        path = a_file(tmp_path, 400_000)
        offer, offered = await both.offered(path)
        held: list[bytes] = []
        both.fake.chunk = lambda frame: held.append(frame) or []
        receiving = both.bob.accept(offered, inbox)
        assert both.bob.accept(offered, inbox) is receiving
        await mallory.say({**offer.file.body(), **changes})
        claimed = await heard(both.bob, FileOffered, timeout=WAIT_S)
        assert claimed.user.nick == "mallory"
        await fails(both.bob.accept(claimed, inbox), TransferError, "names another one that is coming")
        assert not receiving.done
        async with asyncio.timeout(WAIT_S):
            while len(held) < 2:
                await asyncio.sleep(0.01)
        both.fake.chunk = lambda frame: [frame]
        for frame in held:
            both.fake.hear_chunk(frame)
        assert (await asyncio.wait_for(receiving, WAIT_S)).read_bytes() == path.read_bytes()
        assert list(inbox.iterdir()) == [inbox / "a.bin"]


@contextlib.asynccontextmanager
async def stalled(tmp_path: Path, inbox: Path) -> AsyncIterator[tuple[Pair, list[Receiving], list[bytes]]]:
    """Four files that are being received, of which nothing but two chunks comes; and the other chunks."""
    held: list[bytes] = []
    async with pair() as both:
        both.fake.chunk = lambda frame: [frame] if frame[45] < 2 else held.append(frame) or []
        offered = [(await both.offered(a_file(tmp_path, 300_000, f"{name}.bin")))[1] for name in "abcd"]
        receiving = [both.bob.accept(one, inbox) for one in offered]
        for one in receiving:
            assert await one.changed.wait_until(lambda one=one: one.received_bytes == 2 * 61_440, WAIT_S)
        yield both, receiving, held


def said_of_files(both: Pair, fid: str) -> list[tuple[str, int]]:
    """What bob has said of a file: types of frames, and from where."""
    frames = [frame for user, frame in both.fake.heard if user == both.bob.me.id and frame.get("fid") == fid]
    return [(frame["type"], frame.get("from", 0)) for frame in frames if frame["type"] in ("accept", "cancel")]


async def test_files_of_which_nothing_comes_make_room_for_others(tmp_path, inbox, monkeypatch):
    """Not as long as nobody waits. They go on later, from where they were."""
    monkeypatch.setattr(receiving_module, "STALLED_S", 0.1)
    async with stalled(tmp_path, inbox) as (both, receiving, held):
        await asyncio.sleep(0.5)
        assert said_of_files(both, receiving[0].fid) == [("accept", 0)]
        honest = a_file(tmp_path, 100_000, "honest.bin")
        _, offered = await both.offered(honest)
        path = await asyncio.wait_for(both.bob.accept(offered, inbox), WAIT_S)
        assert path.read_bytes() == honest.read_bytes()
        assert not any(one.done for one in receiving)
        rested = [one for one in receiving if ("cancel", 0) in said_of_files(both, one.fid)]
        assert rested
        both.fake.chunk = lambda frame: [frame]
        for frame in held:
            both.fake.hear_chunk(frame)
        for one in receiving:
            path = await asyncio.wait_for(one, WAIT_S)
            assert path.read_bytes() == (tmp_path / one.name).read_bytes()
        for one in rested:
            assert said_of_files(both, one.fid)[:3] == [("accept", 0), ("cancel", 0), ("accept", 2)]
        assert len(list(inbox.iterdir())) == 5


async def test_what_is_withdrawn_while_others_have_its_place_is_over_at_its_next_turn(tmp_path, inbox, monkeypatch):
    """And what is cancelled, at once; the parts are kept."""
    monkeypatch.setattr(receiving_module, "STALLED_S", 0.1)
    async with stalled(tmp_path, inbox) as (both, receiving, _):
        more = [both.bob.accept((await both.offered(a_file(tmp_path, 300_000, f"{n}.bin")))[1], inbox) for n in "efgh"]
        for one in more:  # those have the places now
            assert await one.changed.wait_until(lambda one=one: one.received_bytes == 2 * 61_440, WAIT_S)
        for fid in [one.fid for one in receiving]:
            del both.fake.offers[fid]
        resting = next(one for one in (*receiving, *more) if not one._started)
        resting.cancel()
        assert resting.done
        await fails(resting, TransferError, "was cancelled here")
        for one in set(receiving) - {resting}:
            wrong = await fails(one, Withdrawn, "not to be had any more")
            assert wrong.partial is not None
            assert wrong.partial.stat().st_size == 2 * 61_440
        assert not any(one.done for one in set(more) - {resting})


async def test_who_accepts_what_is_long_gone_is_told_at_once(tmp_path, inbox):
    async with pair() as both:
        offer, offered = await both.offered(a_file(tmp_path, 10))
        offer.withdraw()
        await both.ann.say("after")
        await heard(both.bob, Message, timeout=WAIT_S)
        await fails(both.bob.accept(offered, inbox), Withdrawn, "not to be had any more")


async def test_a_sender_that_does_not_come_back_is_given_up(tmp_path, inbox, monkeypatch):
    """What has come is kept, and said where."""
    monkeypatch.setattr(receiving_module, "SENDER_PATIENCE_S", 0.5)
    async with pair() as both:
        _, offered = await both.offered(a_file(tmp_path, 3_000_000))
        fid = offered.file.fid

        def forget(frame: bytes) -> list[bytes]:
            if frame[45] < 4:
                return [frame]
            both.fake.offers.pop(fid, None)
            return []

        both.fake.chunk = forget
        both.fake.refuse = lambda user, frame: (
            {"fid": fid, "code": "no_such_file", "detail": ""}
            if frame["type"] == "grant" and fid not in both.fake.offers
            else None
        )
        wrong = await fails(both.bob.accept(offered, inbox), Withdrawn, "not to be had any more")
        assert wrong.partial is not None
        assert wrong.partial.stat().st_size >= 2 * 61_440


async def test_a_relay_that_starts_anew_before_it_has_heard_that_a_file_has_come(tmp_path, inbox):
    """It has forgotten who offered and who accepted what, and learns enough: the sender does not wait for ever."""
    async with pair() as both:
        fake = both.fake
        offer, offered = await both.offered(a_file(tmp_path, 100_000))

        def start_anew(user: str, frame: dict[str, Any]) -> dict[str, Any] | None:
            if frame["type"] == "done" and fake.accepted:
                fake.offers.clear()
                fake.accepted.clear()
                fake.silent = {"done"}
                asyncio.get_running_loop().call_later(0.5, lambda: fake.drop(both.ann.me.id, 1012, "restart"))
                fake.drop(both.bob.me.id, 1012, "restart")
            return None

        fake.refuse = start_anew
        receiving = both.bob.accept(offered, inbox)
        await heard(both.bob, Reconnected, timeout=WAIT_S)
        fake.refuse, fake.silent = (lambda user, frame: None), set()
        async with asyncio.timeout(WAIT_S):
            assert (await receiving).stat().st_size == 100_000
            assert await offer.delivered() == ((both.bob.me.id,), ())


async def test_the_reason_why_it_ended_is_told_and_the_part_is_kept(tmp_path, inbox):
    async with pair() as both:
        for reason, words in (("withdrawn", "withdrawn it"), ("left", "has left"), ("off", "any more"), ("?", "ended")):
            _, offered = await both.offered(a_file(tmp_path, 500_000, f"{reason.strip('?') or 'x'}.bin"))
            both.fake.chunk = lambda frame: [frame] if frame[45] < 2 else []
            receiving = both.bob.accept(offered, inbox)
            await receiving.changed.wait_until(lambda one=receiving: one.received_bytes >= 61_440, WAIT_S)
            both.fake.end_file(offered.file.fid, reason)
            wrong = await fails(receiving, Withdrawn, words)
            assert wrong.partial is not None
            assert wrong.partial.stat().st_mode & 0o777 == 0o600


async def test_what_is_too_much_at_once_is_asked_for_again(tmp_path, inbox):
    """A grant that a server does not take costs a moment, not the file."""
    async with pair() as both:
        path = a_file(tmp_path, 3_000_000)
        _, offered = await both.offered(path)
        refused = 0

        def refuse(user: str, frame: dict[str, Any]) -> dict[str, Any] | None:
            nonlocal refused
            if frame["type"] not in ("grant", "accept") or refused >= 3:
                return None
            refused += 1
            return {"fid": offered.file.fid, "code": "rate_limited", "detail": "", "retry_after_ms": 50}

        both.fake.refuse = refuse
        async with asyncio.timeout(WAIT_S):
            assert (await both.bob.accept(offered, inbox)).read_bytes() == path.read_bytes()
        assert refused == 3
