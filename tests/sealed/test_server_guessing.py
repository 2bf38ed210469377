"""Guessing passwords is slowed, and locks out nobody who knows the right one."""

from __future__ import annotations

import asyncio
import hmac
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.client.sealing import new_room
from relayd.errors import RateLimited
from relayd.rooms.addresses import SITE_FACTOR, neighbourhood
from relayd.rooms.guessing import FIRST_DELAY_S, MAX_DELAY_S, Guessing
from relayd.rooms.seal import Seal
from relayd.wire.sealing_text import encode_base64url
from tests.conftest import relay_with
from tests.sealed.sealed_people import Person, make_room

ROOM, OTHER = b"r" * 16, b"o" * 16


def test_later_and_later():
    """Each wrong proof is answered twice as late as the one before, up to a bound."""
    guessing = Guessing(30)
    delays = [guessing.fail("192.0.2.1", ROOM, 0.0) for _ in range(8)]
    assert delays[:4] == [FIRST_DELAY_S, 2 * FIRST_DELAY_S, 4 * FIRST_DELAY_S, 8 * FIRST_DELAY_S]
    assert delays[-1] == MAX_DELAY_S


def test_past_the_limit_none_is_looked_at():
    """The address must wait until one more is free; other addresses and other rooms need not."""
    guessing = Guessing(30)
    for _ in range(30):
        guessing.check("192.0.2.1", ROOM, 0.0)
        guessing.fail("192.0.2.1", ROOM, 0.0)
    with pytest.raises(RateLimited) as refused:
        guessing.check("192.0.2.1", ROOM, 0.0)
    assert refused.value.retry_after_s == pytest.approx(2.0)
    guessing.check("192.0.2.1", OTHER, 0.0)
    guessing.check("192.0.2.2", ROOM, 0.0)
    with pytest.raises(RateLimited):
        guessing.check("192.0.2.1", ROOM, 1.9)
    guessing.check("192.0.2.1", ROOM, 2.1)


def test_a_guesser_with_a_whole_site():
    """The networks of one IPv6 /48 have sixteen times the rate together; their neighbours are not touched."""
    guessing = Guessing(3)
    for number in range(SITE_FACTOR * 3):
        address = f"2001:db8:0:{number:x}::1"
        guessing.check(address, ROOM, 0.0)
        assert guessing.fail(address, OTHER, 0.0) <= MAX_DELAY_S
        guessing.fail(address, ROOM, 0.0)
    with pytest.raises(RateLimited) as refused:
        guessing.check("2001:db8:0:ffff::1", ROOM, 0.0)
    assert refused.value.retry_after_s == pytest.approx(60 / 3 / SITE_FACTOR)
    guessing.check("2001:db8:1::1", ROOM, 0.0)
    guessing.check("2001:db8:0:ffff::1", ROOM, 60 / 3 / SITE_FACTOR)


def test_forgotten_with_time():
    """After some minutes a wrong proof is a first one again."""
    guessing = Guessing(30)
    for _ in range(40):
        guessing.fail("192.0.2.1", ROOM, 0.0)
    assert guessing.fail("192.0.2.1", ROOM, 200.0) == FIRST_DELAY_S


def test_a_room_under_attack():
    """From many addresses at once: each one's first wrong proof is answered late, and none is refused a look."""
    guessing = Guessing(30)
    for number in range(100):
        delay = guessing.fail(f"192.0.2.{number}", ROOM, 0.0)
    assert delay == MAX_DELAY_S
    guessing.check("198.51.100.1", ROOM, 0.0)
    assert guessing.fail("198.51.100.1", OTHER, 0.0) == FIRST_DELAY_S


def test_a_guesser_on_a_dual_stack_socket():
    """It uses up its own tries, in either form of its address, and nobody else's."""
    guessing = Guessing(2)
    for address in ("::ffff:192.0.2.1", "192.0.2.1"):
        guessing.check(address, ROOM, 0.0)
        guessing.fail(address, ROOM, 0.0)
    for address in ("::ffff:192.0.2.1", "192.0.2.1", "64:ff9b::192.0.2.1"):
        with pytest.raises(RateLimited):
            guessing.check(address, ROOM, 0.0)
    guessing.check("::ffff:192.0.2.2", ROOM, 0.0)


def test_no_limit():
    """0 means none, and no delay."""
    guessing = Guessing(0)
    assert {guessing.fail("192.0.2.1", ROOM, 0.0) for _ in range(100)} == {0.0}
    guessing.check("192.0.2.1", ROOM, 0.0)


def test_bounded():
    """However many addresses and rooms there are, so much is remembered."""
    guessing = Guessing(30, most=100)
    for number in range(1_000):
        guessing.fail(f"2001:db8:0:{number:x}::1", number.to_bytes(16, "big"), 0.0)
    assert len(guessing._by_address) == 100
    assert len(guessing._by_room) == 100
    assert guessing.fail("2001:db8:0:3e7::1", (999).to_bytes(16, "big"), 0.0) == 2 * FIRST_DELAY_S


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("unix:", "unix:", True),
        ("no:address", "no:address", True),
    ],
)
def test_neighbourhoods(one, other, same):
    """An IPv6 subscriber has 2^64 addresses, and counts as one."""
    assert (neighbourhood(one) == neighbourhood(other)) is same


@given(st.text())
def test_any_address(address):
    """Whatever an address is, it has a neighbourhood."""
    assert neighbourhood(address) == neighbourhood(neighbourhood(address))


@given(st.lists(st.floats(0, 100), max_size=60), st.sampled_from([1.0, 30.0, 1e6]))
def test_delays_are_bounded(pauses, per_minute):
    """No delay is negative or past the bound, however the failures come."""
    guessing, now = Guessing(per_minute), 0.0
    for pause in pauses:
        now += pause
        assert FIRST_DELAY_S <= guessing.fail("192.0.2.1", ROOM, now) <= MAX_DELAY_S


def wrong(number: int) -> str:
    return encode_base64url(number.to_bytes(32, "big"))


def at(address: str) -> dict:
    return {"additional_headers": {"X-Forwarded-For": address}}


async def timed(refusing) -> tuple[tuple[int, str], float]:
    started = time.perf_counter()
    return await refusing, time.perf_counter() - started


async def test_a_guesser_is_slowed_and_members_are_not():
    """While one address guesses, a member joins at once from elsewhere, and one inside is not disturbed anywhere."""
    async with relay_with(trusted_proxies=["127.0.0.1"], timing__close_timeout=0.1) as relay:
        room = await make_room(relay)
        key = room.created["invite_key"]
        inside = await Person(relay, room).join(socket=at("192.0.2.66"))
        eve = Person(relay, room, "eve")
        took = []
        for number in range(4):
            refused, seconds = await timed(eve.refused(key=key, proof=wrong(number), socket=at("192.0.2.66")))
            assert refused == (4003, "forbidden")
            took.append(seconds)
        assert took[0] >= 0.25
        assert took[3] >= 0.75
        assert took[0] < took[2]
        assert took[1] < took[3]
        guessing = [
            asyncio.create_task(timed(eve.refused(key=key, proof=wrong(n), socket=at("192.0.2.66")))) for n in range(20)
        ]
        await asyncio.sleep(0.2)
        await Person(relay, room, "bob").join(socket=at("192.0.2.1"))
        tab = await relay.connect(room.id, **at("192.0.2.66"))
        await tab.send("join", session=inside.session)
        await tab.until("joined")
        assert not any(guess.done() for guess in guessing)
        slow = [await task for task in guessing]
        assert min(seconds for _, seconds in slow) > 1.0
        assert max(seconds for _, seconds in slow) > 4.0
        assert {refused for refused, _ in slow} == {(4003, "forbidden")}
        assert (await inside.said("1"))["seq"] == 1


async def test_past_the_limit_4529():
    """An address that has guessed too often is told when to come back, whatever it sends now."""
    async with relay_with(trusted_proxies=["127.0.0.1"], limits__proof_rate=2, timing__close_timeout=0.1) as relay:
        room = await make_room(relay)
        key, eve = room.created["invite_key"], Person(relay, room, "eve")
        for number in range(2):
            assert (await eve.refused(key=key, proof=wrong(number), socket=at("192.0.2.66")))[0] == 4003
        for proof in (wrong(9), eve.keys.proof_text):
            peer = await relay.connect(room.id, **at("192.0.2.66"))
            await peer.send("join", key=key, proof=proof)
            error = json.loads(await peer.socket.recv())
            assert (error["code"], error["type"]) == ("rate_limited", "error")
            assert 0 < error["retry_after_ms"] <= 30_001
            assert await peer.closed() == (4529, "rate_limited")
        await Person(relay, room).join(socket=at("192.0.2.1"))


async def test_a_missing_proof_is_no_guess():
    """Who comes without any proof is told so at once, and it counts for nothing."""
    async with relay_with(timing__close_timeout=0.1, limits__proof_rate=2) as relay:
        room = await make_room(relay)
        key, ann = room.created["invite_key"], Person(relay, room)
        told = [await timed(ann.refused(key=key)) for _ in range(10)]
        assert [refused for refused, _ in told] == [(4003, "forbidden")] * 10
        assert min(seconds for _, seconds in told[5:]) < 0.25 + 0.2
        await ann.join()


async def test_the_answer_comes_before_the_join_times_out():
    """However late: 4003, not 4001."""
    async with relay_with(timing__join_timeout=0.6, timing__close_timeout=0.1) as relay:
        room = await make_room(relay)
        ann = Person(relay, room)
        for number in range(5):
            refused = await ann.refused(key=room.created["invite_key"], proof=wrong(number))
            assert refused == (4003, "forbidden")


async def test_a_guesser_who_hangs_up(relay):
    """A connection lost while its answer waits takes nothing with it."""
    room = await make_room(relay)
    for number in range(3):
        peer = await relay.connect(room.id)
        await peer.send("join", key=room.created["invite_key"], proof=wrong(number))
        peer.socket.transport.abort()
    ann = await Person(relay, room).join()
    await asyncio.sleep(1.1)
    assert (await ann.said("1"))["seq"] == 1


def test_the_proof_is_compared_in_constant_time(monkeypatch):
    """By the function that is made for it, and with digests of one length."""
    compared = []

    def compare(one, other):
        compared.append((len(one), len(other)))
        return hmac_compare(one, other)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare)
    made = new_room()
    assert not Seal(made.access).fits(wrong(1))
    assert compared == [(32, 32)]
