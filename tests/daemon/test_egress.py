"""What the server sends because of what one address did has a rate, as has what is sent in one room."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from conftest import Peer, Relay, problem, relay_with

PROFILE = {"nick": "x" * 900}


def budget(address_bytes: float = 0, room_bytes: float = 0, burst_s: float = 60, **settings: Any) -> Any:
    """A daemon where so much may be sent at once, and again within `burst_s`; a proxy tells it addresses."""
    return relay_with(
        limits__egress_rate__address_bytes=address_bytes / burst_s,
        limits__egress_rate__room_bytes=room_bytes / burst_s,
        limits__egress_rate__burst_s=burst_s,
        trusted_proxies=["127.0.0.1"],
        **settings,
    )


async def enter(relay: Relay, room: dict[str, Any], address: str = "192.0.2.1", **fields: Any) -> Peer:
    """Joins from that address; `joined` is the first answer, whatever it is."""
    peer = await relay.connect(room["id"], additional_headers={"X-Forwarded-For": address})
    if "session" not in fields:
        fields = {"key": room["invite_key"], "profile": PROFILE, **fields}
    await peer.send("join", **fields)
    peer.joined = await peer.recv()
    return peer


async def admitted(relay: Relay, room: dict[str, Any], address: str = "192.0.2.1", **fields: Any) -> bool:
    """Whether that join is not refused for its rate; a refusal says when to come back, and 4529."""
    peer = await enter(relay, room, address, **fields)
    if peer.joined["type"] == "joined":
        return True
    assert peer.joined["code"] == "rate_limited"
    assert peer.joined["retry_after_ms"] > 0
    assert await peer.closed() == (4529, "rate_limited")
    return False


async def test_joins_are_charged_to_the_address():
    """Each answer lists the users, so joins cost more than they look; nobody else pays for it."""
    async with budget(address_bytes=2_000) as relay:
        room = await relay.create()
        answers = [await admitted(relay, room) for _ in range(8)]
        assert answers[0]
        assert not answers[-1]
        assert await admitted(relay, room, "192.0.2.2")


async def test_a_refused_join_comes_in_after_the_time_it_was_told():
    """What is owed is paid for with time."""
    async with budget(address_bytes=1_000, burst_s=1) as relay:
        room = await relay.create()
        while (peer := await enter(relay, room)).joined["type"] == "joined":
            pass
        await asyncio.sleep(peer.joined["retry_after_ms"] / 1000)
        assert await admitted(relay, room)


async def test_a_large_ipv6_network_is_one_address_16_times():
    """To draw another /64 of one's /48 costs nothing."""
    async with budget(address_bytes=1_500) as relay:
        rooms = [await relay.create() for _ in range(40)]
        answers = [await admitted(relay, room, f"2001:db8:1:{i:x}::1") for i, room in enumerate(rooms)]
        assert all(answers[:6])
        assert not answers[-1]
        assert await admitted(relay, rooms[0], "2001:db8:2::1")


async def test_missed_messages_are_charged():
    """Whoever resumes is sent up to a room's whole replay buffer."""
    async with budget(address_bytes=50_000) as relay:
        room = await relay.create()
        ann = await enter(relay, room, "192.0.2.9")
        for number in range(10):
            await ann.say(f"m{number}", "x" * 20_000)
            await ann.until("message", id=f"m{number}")
        since = {"epoch": ann.joined["epoch"], "seq": 0}
        bob = await enter(relay, room)
        missed = [await admitted(relay, room, session=bob.session, since=since) for _ in range(3)]
        assert all(missed), "nothing was missed: the user has just come"
        missed = [await admitted(relay, room, "192.0.2.9", session=ann.session, since=since) for _ in range(2)]
        assert missed == [True, False]


async def test_profiles_are_charged_to_the_address():
    """A change goes to everyone in the room; past the rate it is refused, and the profile stays."""
    async with budget(address_bytes=30_000) as relay:
        room = await relay.create()
        ann = await enter(relay, room)
        for number in range(5):
            await enter(relay, room, f"192.0.2.1{number}", profile={})
        codes = []
        for number in range(20):
            await ann.send("profile", id=f"p{number}", profile={"nick": f"{number}" + "x" * 900})
            codes.append(await _answer(ann))
        assert codes[0] == "ok"
        assert codes[-1] == "rate_limited"


async def _answer(peer: Peer) -> str:
    while True:
        frame = await peer.recv()
        if frame["type"] in ("ok", "error"):
            return frame.get("code", "ok")


async def test_the_same_profile_again_is_free():
    """Nobody is told of it."""
    async with budget(address_bytes=3_000) as relay:
        room = await relay.create()
        ann = await enter(relay, room)
        for number in range(20):
            await ann.send("profile", id=f"p{number}", profile=PROFILE)
            assert await _answer(ann) == "ok"


async def test_coming_and_going_is_charged():
    """Everyone is told that a user is away, and back."""
    async with budget(address_bytes=40_000) as relay:
        room = await relay.create()
        for number in range(5):
            await enter(relay, room, f"192.0.2.1{number}", profile={})
        ann = await enter(relay, room)
        for _ in range(10):
            await ann.socket.close()
            ann = await enter(relay, room, session=ann.session)
            if ann.joined["type"] == "error":
                return
        raise AssertionError


async def test_lists_of_users_are_charged():
    """Over REST, too: 429, with the time to wait."""
    async with budget(address_bytes=5_000) as relay:
        room = await relay.create()
        for number in range(5):
            await enter(relay, room, f"192.0.2.1{number}")
        path = f"/api/v1/{room['id']}/users"
        answers = [await relay.request("GET", path, room["invite_key"]) for _ in range(4)]
        assert answers[0].code == 200
        told = answers[-1]
        problem(told, 429, "rate_limited")
        assert int(told.headers["Retry-After"]) >= 1


async def test_edits_are_charged():
    """Each goes to everyone."""
    async with budget(address_bytes=3_000, limits__owner_commands_per_s=0) as relay:
        room = await relay.create()
        for number in range(5):
            await enter(relay, room, f"192.0.2.1{number}", profile={})
        answers = [
            (await relay.request("PATCH", f"/api/v1/{room['id']}", room["owner_key"], {"max": 10 + number})).code
            for number in range(4)
        ]
        assert answers[0] == 200
        assert answers[-1] == 429
        owner = await enter(relay, room, "192.0.2.1", key=room["owner_key"])
        codes = []
        for number in range(4):
            await owner.send("edit", id=f"e{number}", max=20 + number)
            codes.append(await _answer(owner))
        assert codes[-1] == "rate_limited"


async def test_a_room_that_was_sent_too_much_is_told_later():
    """Its presence is summed up for longer than the interval, and nothing of it is lost."""
    async with budget(room_bytes=4_000, burst_s=1, timing__presence_interval=0.05) as relay:
        room = await relay.create()
        ann, bob = await enter(relay, room), await enter(relay, room)
        told: list[dict[str, Any]] = []
        began, changes = time.monotonic(), 20
        for number in range(1, changes + 1):
            await bob.send("profile", id=f"p{number}", profile={"nick": f"{number} " + "x" * 900})
            assert await _answer(bob) == "ok"
            told += [frame for frame in await ann.frames(0.1) if frame["type"] == "presence"]
        while not told or not told[-1]["changed"] or not told[-1]["changed"][-1]["profile"]["nick"].startswith("20 "):
            told.append(await ann.until("presence"))
        assert len(told) <= 2 + (time.monotonic() - began) / 0.4, "a frame costs half a second"


async def test_no_rate():
    """0 means none."""
    async with budget() as relay:
        room = await relay.create()
        assert all([await admitted(relay, room) for _ in range(20)])


async def test_a_school_behind_one_address():
    """300 join one room, lose their connections and come back, as do ten classes of 30: nobody is refused."""
    async with relay_with() as relay:
        room = await relay.create(max=300)
        await _class(relay, room, 300)
        for _ in range(10):
            await _class(relay, await relay.create(max=30), 30)


async def _class(relay: Relay, room: dict[str, Any], size: int) -> None:
    pupils = await asyncio.gather(*[relay.join(room, f"pupil {number}") for number in range(size)])
    await asyncio.gather(*[one.socket.close() for one in pupils])
    again = await asyncio.gather(
        *[relay.join(room, session=one.session, since={"epoch": one.joined["epoch"], "seq": 0}) for one in pupils]
    )
    assert {one.id for one in again} == {one.id for one in pupils}
    await asyncio.gather(*[one.socket.close() for one in again])


async def test_room_deliveries():
    """A message or signal counts for each connection that it goes to; one for a single user does not."""
    async with relay_with(limits__message_rate__room_deliveries=2) as relay:
        room = await relay.create()
        people = [await relay.join(room, f"u{number}") for number in range(6)]
        await people[0].say("of six, where ten may come at once")
        await people[1].say("refused")
        refused = await people[1].until("error", id="refused")
        assert refused["code"] == "rate_limited"
        assert 0 < refused["retry_after_ms"] <= 1_001
        await people[0].say("direct", to=people[2].id)
        await people[2].until("message", id="direct")
        await people[3].send("signal", kind="typing", data=1)
        assert (await people[3].until("error"))["code"] == "rate_limited"
