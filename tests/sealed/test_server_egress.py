"""What a sealed room of 300 is sent, with a card for each user, is within what one address may cause."""

from __future__ import annotations

import asyncio

from tests.sealed.sealed_people import Person, make_room


async def test_a_class_of_300_behind_one_address(relay):
    """All join with their cards, lose their connections and come back: nobody is refused."""
    room = await make_room(relay, max=300)
    pupils = [Person(relay, room, f"pupil {number}") for number in range(300)]
    for one in pupils:
        await one.join()
    ids = [one.id for one in pupils]
    await asyncio.gather(*[one.peer.socket.close() for one in pupils])
    for one in pupils:
        await one.join(since={"epoch": one.peer.joined["epoch"], "seq": 0})
    assert [one.id for one in pupils] == ids
