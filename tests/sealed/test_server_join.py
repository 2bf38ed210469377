"""Getting into a sealed room: nobody without the proof, but whoever is inside already."""

from __future__ import annotations

import json

import pytest

from relayd.bus.messages import CreateRoom as Call
from relayd.client.sealing import Sealer, new_room
from relayd.rooms.seal import Rekeying, Seal
from relayd.wire.ids import UserId
from relayd.wire.rest import CreateRoom
from relayd.wire.sealing_text import encode_base64url
from tests.conftest import relay_with
from tests.sealed.sealed_people import Person, make_room, plain


@pytest.mark.parametrize("proof", [None, "", "x", "A" * 43, encode_base64url(b"p" * 31), "é" * 43, "A" * 120])
@pytest.mark.parametrize("key", ["invite_key", "owner_key"])
async def test_nobody_without_the_proof(proof, key):
    """With the invite key alone, and with the owner key alone, there is no way in: 4003."""
    async with relay_with(limits__proof_rate=0) as relay:
        room = await make_room(relay)
        fields = {} if proof is None else {"proof": proof}
        refused = await Person(relay, room).refused(key=room.created[key], profile={"nick": "x"}, **fields)
        assert refused == (4003, "forbidden")
        assert (await relay.details(room.created))["users"] == 0


async def test_without_the_proof_an_invite_is_not_used():
    """Nor by a wrong one; then it still lets somebody in."""
    async with relay_with(limits__proof_rate=0) as relay:
        room = await make_room(relay)
        path, owner_key = f"/api/v1/{room.id}/invites", room.created["owner_key"]
        invite = json.loads((await relay.request("POST", path, owner_key, {"uses": 1})).body)
        for proof in ({}, {"proof": "A" * 43}):
            assert await Person(relay, room).refused(key=invite["invite_key"], **proof) == (4003, "forbidden")
        await Person(relay, room).join(key=invite["invite_key"])
        assert json.loads((await relay.request("GET", path, owner_key)).body) == {"invites": []}


async def test_the_proof_of_another_room(relay):
    """A proof is worth something in its own room only."""
    room, other = await make_room(relay), await make_room(relay)
    refused = await Person(relay, room).refused(key=room.created["invite_key"], proof=other.keys().proof_text)
    assert refused == (4003, "forbidden")


async def test_a_proof_is_no_key(relay):
    """The secret without the invite key lets nobody in."""
    room = await make_room(relay)
    assert await Person(relay, room).refused(proof=room.keys().proof_text) == (4004, "no_such_room")


async def test_an_open_room_asks_for_nothing(relay):
    """A proof nobody asked for does no harm."""
    room = await relay.create()
    peer = await relay.join(room, proof="whatever")
    assert "rekey" not in peer.joined


async def test_a_session_inside_needs_no_proof(relay):
    """Neither another tab nor somebody who lost the connection is asked again."""
    room = await make_room(relay)
    ann = await Person(relay, room).join()
    tab = await relay.connect(room.id)
    await tab.send("join", session=ann.session)
    assert (await tab.recv())["you"]["id"] == ann.id
    await tab.socket.close()
    await ann.peer.socket.close()
    back = await relay.connect(room.id)
    await back.send("join", session=ann.session)
    joined = await back.recv()
    assert joined["you"]["id"] == ann.id
    assert joined["room"]["access"]["check"] == plain(room.made.access)["check"]


async def test_a_session_of_somebody_gone_needs_the_proof(relay):
    """Who has left proves it again, and is the same user then."""
    room = await make_room(relay)
    ann = await Person(relay, room).join()
    await ann.peer.send("leave")
    assert (await ann.peer.closed())[0] == 4014
    assert await ann.refused(session=ann.session) == (4003, "forbidden")
    assert await ann.refused(session=ann.session, proof="A" * 43) == (4003, "forbidden")
    before = ann.id
    await ann.join(proof=ann.keys.proof_text)
    assert ann.id == before


async def test_the_owner_is_the_owner_with_a_proof(relay):
    """The owner key and the proof together make the owner."""
    room = await make_room(relay, password="a password, too")
    owner = await Person(relay, room, password="a password, too").join(owner=True)
    assert owner.peer.joined["you"]["role"] == "owner"
    assert owner.peer.joined["room"]["protected"] is True


async def test_a_card_at_the_door(relay):
    """A sealed card may come with the join, and none; anything else is refused."""
    room = await make_room(relay)
    ann = await Person(relay, room).join(card=False)
    keys = room.keys()
    keys.confirm(room.made.access.public(0, joined=True))
    card = plain(Sealer(keys, ann.user).card("bob"))
    bob = await Person(relay, room).join(card=False, profile=card)
    assert [user["profile"] for user in bob.peer.joined["users"]] == [{}, card]
    for profile in ({"nick": "eve"}, card | {"x": 1}, card | {"c": card["c"][:-2]}, card | {"s": "AA"}):
        refused = await ann.refused(key=room.created["invite_key"], proof=ann.keys.proof_text, profile=profile)
        assert refused == (4000, "not_sealed")
    stale = await ann.refused(key=room.created["invite_key"], proof=ann.keys.proof_text, profile=card | {"e": 1})
    assert stale == (4000, "stale_epoch")


async def test_a_locked_room_stays_locked(relay):
    """The right proof opens no locked room to newcomers."""
    room = await make_room(relay)
    owner = await Person(relay, room).join(owner=True)
    await owner.peer.send("edit", id="l", locked=True)
    await owner.peer.until("ok", id="l")
    assert await owner.refused(key=room.created["invite_key"], proof=room.keys().proof_text) == (4013, "locked")


def test_nothing_is_shown_of_it():
    """Neither a seal nor what carries it has a repr that says anything."""
    access = new_room().access
    call = Call(CreateRoom(name="n", password="canary", access=access), "192.0.2.1")
    shown = f"{Seal(access)!r} {Rekeying(1, 1, 'canary', {UserId('u'): 'canary'})!r} {call!r} {Seal(access).public()!r}"
    assert "canary" not in shown
    assert not any(part in shown for part in (access.verifier, access.check, access.salt))
