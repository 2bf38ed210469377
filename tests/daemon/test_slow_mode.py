"""Slow mode: members wait between two messages, whatever way they take; those who keep order do not."""

from __future__ import annotations

import asyncio

import pytest
from conftest import problem, relay_with
from test_chat_messages import pair

SLOW_S = 1000  # nobody waits for it


async def slow_mode_refuses(peer, id_: str = "m2") -> None:
    await peer.say(id_, "more")
    refused = await peer.until("error", id=id_)
    assert refused["code"] == "slow_mode"
    assert 0 < refused["retry_after_ms"] <= SLOW_S * 1000
    assert str(SLOW_S) in refused["detail"]


async def test_one_message(relay):
    """The next one is refused, to one person as well; signals and profiles are not."""
    _, ann, bob = await pair(relay, settings={"slow": SLOW_S})
    await bob.say("m1")
    await bob.until("message", id="m1")
    await slow_mode_refuses(bob)
    await bob.say("m3", to=ann.id)
    assert (await bob.until("error", id="m3"))["code"] == "slow_mode"
    await bob.send("signal", kind="typing", data=True)
    await ann.until("signal", kind="typing")
    await bob.send("profile", id="p", profile={"nick": "bobby"})
    await bob.until("ok", id="p")


async def test_a_direct_message_counts(relay):
    _, ann, bob = await pair(relay, settings={"slow": SLOW_S})
    await bob.say("m1", to=ann.id)
    await bob.until("message", id="m1")
    await slow_mode_refuses(bob)


async def test_said_again(relay):
    """A client that is not sure whether it was heard asks again, and is told that it was."""
    _, _, bob = await pair(relay, settings={"slow": SLOW_S})
    await bob.say("m1")
    seq = (await bob.until("message", id="m1"))["seq"]
    await bob.say("m1")
    assert (await bob.until("ok", id="m1"))["seq"] == seq


@pytest.mark.parametrize("way", ["a second tab", "a lost connection", "left and back"])
async def test_by_user(relay, way):
    room, _, bob = await pair(relay, settings={"slow": SLOW_S})
    await bob.say("m1")
    await bob.until("message", id="m1")
    if way == "left and back":
        await bob.send("leave")
        await bob.closed()
    elif way == "a lost connection":
        await bob.socket.close()
    again = await relay.join(room, session=bob.session)
    assert again.id == bob.id
    await slow_mode_refuses(again)


async def test_who_need_not_wait(relay):
    """The owner, and a moderator as long as that."""
    _, ann, bob = await pair(relay, settings={"slow": SLOW_S})
    await ann.send("promote", id="c", user=bob.id)
    await ann.until("ok", id="c")
    for number in range(3):
        for peer in (ann, bob):
            await peer.say(f"m{number}")
            await peer.until("message", id=f"m{number}")
    await ann.send("demote", id="d", user=bob.id)
    await ann.until("ok", id="d")
    await slow_mode_refuses(bob, "late")


async def test_turned_on_and_off(relay):
    """It holds from the next message on, and no longer than the owner wants it."""
    room, ann, bob = await pair(relay)
    for id_ in ("m1", "m2"):
        await bob.say(id_)
        await bob.until("message", id=id_)
    await ann.send("edit", id="on", settings={"slow": SLOW_S})
    await ann.until("ok", id="on")
    await bob.say("m3")
    await bob.until("message", id="m3")
    await slow_mode_refuses(bob, "m4")
    path = f"/api/v1/{room['id']}"
    assert (await relay.request("PATCH", path, room["owner_key"], {"settings": {"slow": 0}})).code == 200
    await bob.say("m5")
    await bob.until("message", id="m5")


async def test_the_wait_ends(relay):
    _, _, bob = await pair(relay, settings={"slow": 1})
    await bob.say("m1")
    await bob.until("message", id="m1")
    await bob.say("m2")
    refused = await bob.until("error", id="m2")
    assert refused["code"] == "slow_mode"
    await asyncio.sleep(refused["retry_after_ms"] / 1000)
    await bob.say("m2")
    await bob.until("message", id="m2")


async def test_file_offers_count(relay):
    _, _, bob = await pair(relay, settings={"slow": SLOW_S})
    await bob.say("m1")
    await bob.until("message", id="m1")
    offer = {"fid": "AAECAwQFBgcICQoLDA0ODw", "size": 10, "chunk": 10}
    await bob.say("m2", file=offer)
    refused = await bob.until("error", id="m2")
    assert (refused["code"], refused["fid"]) == ("slow_mode", offer["fid"])


@pytest.mark.parametrize("value", [-1, 3601, 1.5, "10", None, True])
async def test_wrong_values(relay, value):
    wrong = problem(await relay.request("POST", "/api/v1/room", body={"settings": {"slow": value}}), 422)
    assert wrong["errors"][0]["field"] == "settings.slow"


async def test_a_refused_message_costs_no_wait():
    """Whoever is refused for another reason may send the next one at once."""
    async with relay_with() as relay:
        _, ann, bob = await pair(relay, settings={"slow": SLOW_S})
        await bob.say("m1", to="u_0000000000000000")
        assert (await bob.until("error", id="m1"))["code"] == "no_such_user"
        await ann.send("mute", id="c", user=bob.id)
        await ann.until("ok", id="c")
        await bob.say("m2")
        assert (await bob.until("error", id="m2"))["code"] == "muted"
        await ann.send("unmute", id="d", user=bob.id)
        await ann.until("ok", id="d")
        await bob.say("m3")
        await bob.until("message", id="m3")
