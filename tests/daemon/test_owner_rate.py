"""An owner's commands have one rate in a room, whichever way they come."""

from __future__ import annotations

import json
from typing import Any

from conftest import Peer, Relay, problem, relay_with

AT_ONCE = 20


async def answer(peer: Peer) -> dict[str, Any]:
    while True:
        frame = await peer.recv()
        if frame["type"] in ("ok", "error"):
            return frame


async def spend(relay: Relay, room: dict[str, Any]) -> None:
    """Edits over REST until that is refused."""
    for number in range(200):
        told = await relay.request("PATCH", f"/api/v1/{room['id']}", room["owner_key"], {"max": 50 + number})
        if told.code != 200:
            break
    problem(told, 429, "rate_limited")
    assert int(told.headers["Retry-After"]) >= 1


def slow() -> Any:
    """One command a minute, four seconds' worth of which are less than one: the first passes."""
    return relay_with(limits__owner_commands_per_s=1 / 60)


async def test_edits_over_rest():
    """20 at once, then 5 a second; before, as many as one core could."""
    async with relay_with() as relay:
        room = await relay.create()
        codes = []
        for number in range(100):
            told = await relay.request("PATCH", f"/api/v1/{room['id']}", room["owner_key"], {"max": 50 + number})
            codes.append(told.code)
        assert codes[:AT_ONCE] == [200] * AT_ONCE
        assert 429 in codes
        await relay.details(room)


async def test_all_ways_count_together():
    """REST's edits, kicks and invites, and commands on a socket, of a new connection, too."""
    async with slow() as relay:
        room = await relay.create()
        bob = await relay.join(room, "bob")
        await spend(relay, room)
        path = f"/api/v1/{room['id']}"
        problem(await relay.request("POST", f"{path}/invite", room["owner_key"]), 429, "rate_limited")
        problem(await relay.request("DELETE", f"{path}/users/{bob.id}", room["owner_key"]), 429, "rate_limited")
        for _ in range(2):
            owner = await relay.join(room, owner=True)
            for type_, fields in (("edit", {"locked": True}), ("mute", {"user": bob.id}), ("kick", {"user": bob.id})):
                await owner.send(type_, id=type_, **fields)
                refused = await answer(owner)
                assert (refused["id"], refused["code"]) == (type_, "rate_limited")
                assert refused["retry_after_ms"] > 1000
            await owner.socket.close()
        details = await relay.details(room)
        assert (details["locked"], details["users"]) == (False, 2)


async def test_a_room_can_always_be_ended():
    """Over REST and on a socket."""
    async with slow() as relay:
        first, second = await relay.create(), await relay.create()
        await spend(relay, first)
        await spend(relay, second)
        assert (await relay.request("DELETE", f"/api/v1/{first['id']}", first["owner_key"])).code == 204
        owner = await relay.join(second, owner=True)
        await owner.send("close", id="end")
        assert await owner.closed() == (4010, "room_closed")


async def test_each_room_has_its_own():
    """And a wrong key spends nothing."""
    async with slow() as relay:
        first, second = await relay.create(), await relay.create()
        await spend(relay, first)
        for key in (first["owner_key"], second["invite_key"]):
            told = await relay.request("PATCH", f"/api/v1/{second['id']}", key, {"max": 9})
            assert told.code in (403, 404)
        told = await relay.request("PATCH", f"/api/v1/{second['id']}", second["owner_key"], {"max": 9})
        assert told.code == 200


async def test_no_rate():
    """0 means none."""
    async with relay_with(limits__owner_commands_per_s=0) as relay:
        room = await relay.create()
        for number in range(60):
            told = await relay.request("PATCH", f"/api/v1/{room['id']}", room["owner_key"], {"max": 50 + number})
            assert told.code == 200


async def test_an_edit_that_changes_nothing_is_not_announced(relay):
    """Its answer is the room as it is."""
    room = await relay.create(max=9)
    bob = await relay.join(room, "bob")
    owner = await relay.join(room, owner=True)
    path = f"/api/v1/{room['id']}"
    for body in ({}, {"max": 9}, {"locked": False}, {"settings": {"files": True}}, {"name": room["name"]}):
        told = await relay.request("PATCH", path, room["owner_key"], body)
        assert (told.code, json.loads(told.body)["max"]) == (200, 9)
        await owner.send("edit", id="same", **body)
        assert (await answer(owner))["type"] == "ok"
    await relay.request("PATCH", path, room["owner_key"], {"max": 10})
    assert (await bob.until("room"))["room"]["max"] == 10
