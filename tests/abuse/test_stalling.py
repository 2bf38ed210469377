"""People are served while others do their worst. `make abuse` has more attacks, and measures what they do."""

from __future__ import annotations

import asyncio

import pytest

from bench.abuse.trial import attack, server
from bench.abuse.wire import Traffic, WebSocket, command, make_room

TRIPS = 100  # messages from one to the other, each sent when the one before has come: a second's, on an idle machine
NEWCOMERS = 10  # who join meanwhile
ATTACK_S = 25.0  # at most; without a limit on what a client makes the server do, so long is enough for ten trips


async def join(port: int, room: dict[str, str]) -> WebSocket:
    joined = await WebSocket.to_room(port, room["id"], "127.0.0.1", Traffic())
    await joined.join(room["invite_key"])
    return joined


async def talk(port: int, room: dict[str, str], people: list[WebSocket]) -> None:
    """Every message arrives at both, in order, and every newcomer gets in."""
    for trip in range(TRIPS):
        await people[trip % 2].send(command("message", id=str(trip), body=trip))
        for hearer in people:
            assert (await hearer.until("message"))["body"] == trip
        if trip % (TRIPS // NEWCOMERS) == 0:
            newcomer = await join(port, room)
            await newcomer.send(command("leave"))
            newcomer.abort()


@pytest.mark.parametrize("name", ["fragments-1", "fragments-2", "fragments-join"])
async def test_people_are_served_during(name):
    """They are done before the attack is."""
    async with server() as (port, _):
        room = make_room(port, max=5)
        people = [await join(port, room), await join(port, room)]
        async with attack(name, port, ATTACK_S) as told:
            assert b"started" in await asyncio.wait_for(told.readline(), 20)
            talking, ended = asyncio.create_task(talk(port, room, people)), asyncio.create_task(told.readline())
            done, left = await asyncio.wait((talking, ended), return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            assert done == {talking}
            await talking
        for one in people:
            one.abort()
