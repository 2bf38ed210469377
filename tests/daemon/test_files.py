"""Files: offered, accepted, sent through the room."""

from __future__ import annotations

import os

from conftest import Relay
from file_people import Client, File


async def client(relay: Relay, room, nick: str = "ann", **fields) -> Client:
    return Client(await relay.join(room, nick, **fields))


async def test_a_file_is_sent(relay):
    room = await relay.create()
    ann, bob = await client(relay, room, "ann"), await client(relay, room, "bob")
    file = File(os.urandom(100_500))
    await ann.offer(file)
    await bob.hear("message", id="f1")
    await bob.accept(file)
    assert await bob.has(file) == file.data
    await bob.peer.send("done", fid=file.fid, ok=True, id="d")
    await bob.hear("ok", id="d")
    assert (await ann.hear("file", event="received"))["user"] == bob.peer.id
    assert (await relay.details(room))["data_volume"] > 100_500
