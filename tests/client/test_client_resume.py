"""Coming back: nothing that is said is lost, nothing is said twice, and no longer wait than the server asks for."""

from __future__ import annotations

import asyncio
import random
import sys
import time

import pytest
from cutter import cutter_before, heard
from fake_relay import fake_relay

from relayd.client import (
    Backoff,
    Disconnected,
    Message,
    Reconnected,
    Unconfirmed,
    Unreachable,
    UserChanged,
    UserJoined,
    create,
    join,
)
from relayd.client.outbox import Outbox
from relayd.client.stream import Back
from relayd.errors import Kicked, NoSuchRoom, RateLimited, TooLarge


def quick() -> Backoff:
    """Comes back at once."""

    class AtOnce(random.Random):
        def random(self) -> float:
            return 0.02

    return Backoff(AtOnce())


async def test_nothing_is_lost_and_nothing_comes_twice_however_often_the_line_is_cut(relay):
    seed = random.randrange(10**6)
    sys.stdout.write(f"seed {seed}\n")
    draw = random.Random(seed)
    made = await create(relay.base, sealed=False)
    async with cutter_before(relay.base) as way:
        link = made.link.replace(relay.base, way.base)
        async with (
            join(made.link, "ann") as ann,
            join(link, "bob", backoff=quick()) as bob,
            join(link, "cyd", backoff=quick()) as cyd,
        ):
            bob_id = bob.me.id

            async def cut() -> None:
                for _ in range(12):
                    await asyncio.sleep(draw.random() * 0.2)
                    way.after[draw.choice(["up", "down"])] = draw.randrange(4000)
                    await asyncio.sleep(draw.random() * 0.2)
                    way.cut()

            async def speak(room, name: str) -> None:
                for number in range(60):
                    await room.say([name, number], to=ann.me if number % 10 == 9 else None)
                    await asyncio.sleep(0.03)

            async def listen(room, direct: bool) -> list:
                said = []
                async for event in room:
                    if isinstance(event, Message):
                        said.append(event.body)
                        if event.text == "end":
                            return said[:-1]
                raise AssertionError

            hearing = [asyncio.create_task(listen(room, room is ann)) for room in (ann, bob, cyd)]
            cutting = asyncio.create_task(cut())
            await asyncio.gather(speak(bob, "b"), speak(ann, "a"))
            await cutting
            await ann.say("end")  # in the same order for all
            by_ann, by_bob, by_cyd = [await task for task in hearing]
            assert way.connections > 10
            assert bob.me.id == bob_id
            for name in "ab":
                everything = [[name, number] for number in range(60)]
                assert [body for body in by_ann if body[0] == name] == everything, "ann hears the direct ones, too"
                to_all = [body for body in everything if body[1] % 10 != 9]
                assert [body for body in by_cyd if body[0] == name] == to_all
            to_all = [body for body in by_ann if body[1] % 10 != 9]
            assert by_cyd == to_all, "one order for all"
            assert [body for body in by_bob if body[1] % 10 != 9] == to_all


async def test_it_says_that_it_is_away_and_back(relay):
    made = await create(relay.base, sealed=False)
    async with cutter_before(relay.base) as way:
        link = made.link.replace(relay.base, way.base)
        async with join(made.link, "ann") as ann, join(link, "bob", backoff=quick()) as bob:
            await heard(ann, UserJoined)
            way.refusing = True
            way.cut()
            assert (await heard(bob, Disconnected)).reason == "the connection was lost"
            assert not bob.connected
            assert (await heard(ann, UserChanged)).user.away
            await heard(bob, Disconnected)
            saying = asyncio.create_task(bob.say("from the tunnel"))
            await ann.say("missed")
            await ann.say("psst", to=bob.me)
            way.refusing = False
            back = await heard(bob, Reconnected)
            assert (back.recovered, back.missed) == (True, 0)
            assert [(await heard(bob, Message)).text for _ in range(2)] == ["missed", "psst"]
            assert (await saying).seq == 2
            assert (await heard(ann, UserChanged, user=bob.me)).before.away


async def test_a_person_thrown_out_while_away_does_not_come_back_as_somebody_else(relay):
    made = await create(relay.base, sealed=False)
    async with cutter_before(relay.base) as way:
        link = made.link.replace(relay.base, way.base)
        async with join(made.link, "ann", owner=made.owner) as ann, join(link, "bob", backoff=quick()) as bob:
            way.refusing = True
            way.cut()
            await heard(bob, Disconnected)
            await ann.kick(bob.me)
            way.refusing = False
            with pytest.raises(NoSuchRoom):
                await heard(bob, Reconnected)
            assert len(ann.users) == 1


async def test_what_comes_again_is_told_once():
    """After a reconnect, or because a server is confused: known by its place, or by sender and id."""
    async with fake_relay() as fake:
        made = await create(fake.base, sealed=False)
        async with join(made.link, "ann") as ann:
            socket = next(iter(fake.sockets))
            said = {"type": "message", "at": 0, "from": ann.me.id, "body": "x"}
            for _ in range(3):
                fake.tell(socket, {**said, "seq": 1, "id": "one"})
                fake.tell(socket, {**said, "after": 1, "to": ann.me.id, "id": "two"})
            fake.tell(socket, {**said, "seq": 2, "id": "three"})
            fake.tell(socket, {**said, "seq": 1, "id": "one"})
            fake.seq = 2
            await ann.say("end")
            told = [await heard(ann, Message) for _ in range(4)]
            assert [one.id for one in told[:3]] == ["one", "two", "three"]
            assert told[3].text == "end"


@pytest.mark.parametrize("code", [1001, 1012, 1013, 4500, 4508, 4529, 4999])
async def test_codes_that_say_come_back(code):
    async with fake_relay() as fake:
        made = await create(fake.base)
        async with join(made.link, "ann", backoff=quick()) as ann:
            me = ann.me.id
            next(iter(fake.sockets)).close(code, "")
            await heard(ann, Reconnected)
            assert (await ann.say("back")).seq == 1
            assert ann.me.id == me
            assert "key" not in fake.heard[-3][1], "the session alone brings it back"


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (4011, "kicked", Kicked),
        (4011, "", Kicked),
        (4011, "you won a prize \x1b[31m", Kicked),
        (4004, "room_closed", NoSuchRoom),
        (4004, "no_such_room", NoSuchRoom),
    ],
)
async def test_final_codes_end_it_with_their_reason(code, reason, kind):
    async with fake_relay() as fake:
        made = await create(fake.base)
        async with join(made.link, "ann", backoff=quick()) as ann:
            next(iter(fake.sockets)).close(code, reason)
            with pytest.raises(kind) as caught:
                await heard(ann, Reconnected)
            assert "prize" not in str(caught.value)
            with pytest.raises(kind):
                await ann.say("anyone?")


async def test_an_unknown_final_code_is_final():
    async with fake_relay() as fake:
        made = await create(fake.base)
        async with join(made.link, "ann", backoff=quick()) as ann:
            next(iter(fake.sockets)).close(4321, "")
            with pytest.raises(Exception, match="4321"):
                await heard(ann, Reconnected)


async def test_it_waits_as_long_as_the_server_asks():
    async with fake_relay() as fake:
        made = await create(fake.base)
        async with join(made.link, "ann", backoff=quick()) as ann:
            socket = next(iter(fake.sockets))
            fake.tell(socket, {"type": "room", "event": "restarting", "retry_in_ms": 700})
            socket.close(4500, "restarting")
            began = time.monotonic()
            assert 0.6 < (await heard(ann, Disconnected)).retry_in_s <= 0.7
            await heard(ann, Reconnected)
            assert time.monotonic() - began >= 0.6


async def test_a_rate_limit_is_waited_for():
    async with fake_relay() as fake:
        made = await create(fake.base, sealed=False)
        async with join(made.link, "ann") as ann:
            refusals = iter([{"code": "rate_limited", "detail": "", "retry_after_ms": 300}])
            fake.refuse = lambda user, frame: next(refusals, None) if frame["type"] == "message" else None
            began = time.monotonic()
            assert (await ann.say("patience")).seq == 1
            assert time.monotonic() - began > 0.29
            fake.refuse = lambda user, frame: {"code": "rate_limited", "detail": ""}
            with pytest.raises(RateLimited):
                await ann.say("refused for good")


async def test_what_was_too_big_is_not_sent_again():
    async with fake_relay() as fake:
        made = await create(fake.base, sealed=False)
        fake.silent = {"message"}
        async with join(made.link, "ann", backoff=quick()) as ann:
            saying = asyncio.create_task(ann.say("x" * 50_000))
            await asyncio.sleep(0.05)
            next(iter(fake.sockets)).close(1009, "")
            with pytest.raises(TooLarge):
                await saying
            await heard(ann, Reconnected)
            assert sum(frame["type"] == "message" for _, frame in fake.heard) == 1


async def test_an_echo_that_never_came_is_asked_for_again_under_the_same_id():
    async with fake_relay() as fake:
        made = await create(fake.base)
        fake.silent = {"message"}
        async with join(made.link, "ann", backoff=quick()) as ann:
            saying = asyncio.create_task(ann.say("once"))
            await asyncio.sleep(0.05)
            fake.silent = set()
            next(iter(fake.sockets)).close(4500, "")
            receipt = await saying
            first, second = [frame for _, frame in fake.heard if frame["type"] == "message"]
            assert first["id"] == second["id"] == receipt.id
            assert first["body"] != second["body"], "sealed anew"


async def test_a_place_taken_for_somebody_else_ends_it():
    async with fake_relay() as fake:
        made = await create(fake.base)
        async with join(made.link, "ann", backoff=quick()) as ann:

            def somebody_else(user, frame):
                return [{**frame, "you": {**frame["you"], "id": "u_0123456789abcdef"}} if "you" in frame else frame]

            fake.mangle = somebody_else
            next(iter(fake.sockets)).close(4500, "")
            with pytest.raises(Exception, match="somebody else"):
                await heard(ann, Reconnected)


async def test_a_server_that_is_not_there(unused_tcp_port):
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        await create(f"http://127.0.0.1:{unused_tcp_port}")
    assert time.monotonic() - began < 15  # a server that asks for it is tried again for 30


# When it may be sent again. -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("back", "recovered", "to", "age_s", "again"),
    [
        (Back(first=False, same_epoch=True, gap_s=3), False, None, 5, True),  # the server remembers the id
        (Back(first=False, same_epoch=True, gap_s=3), False, None, 115, False),  # not any more
        (Back(first=False, same_epoch=True, gap_s=61), False, None, 62, False),  # nor if the place is gone
        (Back(first=False, same_epoch=True, gap_s=500), True, None, 501, True),  # but all was replayed, without it
        (Back(first=False, same_epoch=True, gap_s=500), True, "u_1", 501, False),  # which says nothing of a direct one
        (Back(first=False, same_epoch=False, gap_s=1), True, None, 2, False),  # another life of the server
    ],
)
async def test_only_what_cannot_be_said_twice_is_sent_again(back, recovered, to, age_s, again):
    outbox = Outbox()
    sent, unsent = outbox.add("sent", to, 0), outbox.add("unsent", to, 0)
    sent.sent_at = 1000.0
    outbox.settle(back, recovered=recovered, place_kept_s=60, now=1000.0 + age_s)
    assert not unsent.done.done()
    assert sent.done.done() is not again
    if not again:
        assert isinstance(sent.done.exception(), Unconfirmed)


def test_waiting_times_double_and_are_drawn_from_all_of_their_range():
    class Most(random.Random):
        def random(self) -> float:
            return 0.999999

    backoff = Backoff(Most())
    assert [round(backoff.next_s(), 2) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert round(backoff.next_s(lived_s=11), 2) == 0.5, "a connection that held makes it a first failure"
    draws = [Backoff(random.Random(seed)).next_s() for seed in range(400)]
    assert min(draws) < 0.05
    assert max(draws) > 0.45


def test_what_a_server_asks_for_is_kept_to_within_reason():
    assert Backoff().next_s(3.0) == 3.0
    backoff = Backoff(random.Random(1))
    backoff.next_s(1.0)
    assert backoff.next_s(1.0) > 1.0, "asked again: spread further"
    assert Backoff().next_s(1e12) == 600.0
    assert Backoff().next_s(-5.0) == 0.0
