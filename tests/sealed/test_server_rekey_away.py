"""Rekeying while somebody is away: the box waits, and everything comes at its place."""

from __future__ import annotations

import json

from tests.conftest import relay_with
from tests.sealed.sealed_people import Person, SealedRoom, kicked_out, people, plain


async def test_away_for_a_moment(relay):
    """Who lost the connection comes back without proof, is given the box, and resumes at the right places."""
    room, (owner, ann, eve) = await people(relay, "owner", "ann", "eve")
    first = await owner.said("1", "one")
    await ann.peer.until("message", id="1")
    await ann.peer.socket.close()
    await owner.said("2", "two")
    rekey = await kicked_out(owner, ann, kick=eve)
    await owner.said("3", "three")
    await ann.join(since={"epoch": ann.peer.joined["epoch"], "seq": first["seq"]}, card=False)
    joined = ann.peer.joined
    seq = first["seq"] + 2
    check = rekey.part.check
    assert joined["rekey"] == {"seq": seq, "epoch": 1, "check": check, "box": rekey.part.boxes[ann.id]}
    assert (joined["recovered"], joined["missed"]) == (True, 0)
    missed = [await ann.peer.recv() for _ in range(3)]
    assert [frame["seq"] for frame in missed] == [seq - 1, seq, seq + 1]
    assert missed[1] == {"type": "room", "event": "rekeyed", **joined["rekey"]}
    assert [frame["body"]["e"] for frame in (missed[0], missed[2])] == [0, 1]
    assert [ann.open(frame, card_of=owner) for frame in (missed[0],)] == ["two"]
    assert ann.open(missed[2]) == "three"
    assert rekey.part.boxes[owner.id] not in json.dumps([joined, missed])
    assert (await relay.details(room.created))["users"] == 2


async def test_a_box_waits_until_it_was_heard(relay):
    """A box that got lost with its connection is given again; not to those whose `since` shows that they have it."""
    _, (owner, ann, eve) = await people(relay, "owner", "ann", "eve")
    await ann.peer.socket.close()
    await kicked_out(owner, ann, kick=eve)
    for _ in range(2):
        tab = await relay.connect(ann.room.id)
        await tab.send("join", session=ann.session)
        assert (await tab.recv())["rekey"]["epoch"] == 1
        await tab.socket.close()
    tab = await relay.connect(ann.room.id)
    seq = owner.peer.joined["seq"] + 1
    await tab.send("join", session=ann.session, since={"epoch": ann.peer.joined["epoch"], "seq": seq})
    assert "rekey" not in await tab.recv()
    tab = await relay.connect(ann.room.id)
    await tab.send("join", session=ann.session, since={"epoch": "another", "seq": seq})
    assert "rekey" in await tab.recv()


async def test_two_rekeys_while_away(relay):
    """The last box is given; the event of the first keeps its place without one."""
    _, (owner, ann, eve, bob) = await people(relay, "owner", "ann", "eve", "bob")
    await ann.peer.socket.close()
    await kicked_out(owner, ann, bob, kick=eve)
    await kicked_out(owner, ann, kick=bob)
    await ann.join(since={"epoch": ann.peer.joined["epoch"], "seq": 0}, card=False)
    assert ann.peer.joined["rekey"]["epoch"] == 2
    events = [await ann.peer.recv() for _ in range(2)]
    assert [(event["seq"], event["epoch"], "box" in event) for event in events] == [(1, 1, False), (2, 2, True)]


async def test_gone_but_given_a_box(relay):
    """Who has left and is given a box comes back by session without the new proof; without a box, not."""
    async with relay_with() as relay:
        _, (owner, ann, bob, eve) = await people(relay, "owner", "ann", "bob", "eve")
        for person in (ann, bob):
            await person.peer.send("leave")
            await person.peer.closed()
        await kicked_out(owner, ann, kick=eve)
        await ann.join()
        assert ann.keys.epoch == 1
        await ann.said("back")
        assert await bob.refused(session=bob.session, proof=bob.keys.proof_text) == (4003, "forbidden")


async def test_a_card_of_the_old_epoch_at_the_door(relay):
    """Who comes back could not know of the new epoch: let in, told of it, the old card left as it was."""
    room, (owner, ann, eve) = await people(relay, "owner", "ann", "eve")
    old = plain(ann.sealer.card("another nick"))
    shown = await profile_of(relay, room, ann)
    await ann.peer.socket.close()
    await kicked_out(owner, ann, kick=eve)
    await ann.join(profile=old, card=False)
    assert ann.keys.epoch == 1
    assert await profile_of(relay, room, ann) == shown
    await ann.peer.send("profile", id="c", profile=plain(ann.sealer.card("ann")))
    # The connection has the sid of the card that it came with, which this sealer is not of.
    assert (await ann.peer.until("error", id="c"))["code"] == "protocol_error"


async def profile_of(relay, room: SealedRoom, person: Person) -> dict:
    response = await relay.request("GET", f"/api/v1/{room.id}/users", room.created["invite_key"])
    return next(user["profile"] for user in json.loads(response.body)["users"] if user["id"] == person.id)


async def test_a_direct_message_right_after_the_rekey(relay):
    """It has the event's number as its `after`, and comes again as itself."""
    _, (owner, ann, eve) = await people(relay, "owner", "ann", "eve")
    await ann.peer.socket.close()
    await kicked_out(owner, ann, kick=eve)
    direct = plain(owner.sealer.direct(ann.user.public, "d", {"text": "psst"}, 1))
    await owner.peer.say("d", direct, to=ann.id)
    await owner.peer.until("message", id="d")
    await ann.join(since={"epoch": ann.peer.joined["epoch"], "seq": 0}, card=False)
    frames = [await ann.peer.recv() for _ in range(2)]
    assert [(frame["type"], frame.get("after")) for frame in frames] == [("room", None), ("message", 1)]
    assert frames[1]["body"] == direct
