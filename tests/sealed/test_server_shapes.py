"""What may be said in a sealed room: sealed things of its epoch, of one sid a connection. Open rooms take anything."""

from __future__ import annotations

import pytest

from relayd.client.sealing import Sealer
from tests.conftest import relay_with
from tests.sealed.sealed_people import Person, make_room, plain


def shapes(sealed: dict) -> list:
    """Everything but a sealed body, from far off to nearly."""
    c = sealed["c"]
    return [
        "text",
        None,
        5,
        [],
        {},
        {"kind": "text", "text": "canary"},
        {key: value for key, value in sealed.items() if key != "n"},
        sealed | {"text": "canary"},
        sealed | {"e": -1},
        sealed | {"e": 2**32},
        sealed | {"e": "0"},
        sealed | {"e": True},
        sealed | {"n": 2**32},
        sealed | {"n": 0.5},
        sealed | {"s": sealed["s"][:-1]},
        sealed | {"s": sealed["s"] + "="},
        sealed | {"s": ""},
        sealed | {"c": ""},
        sealed | {"c": c[:-4]},
        sealed | {"c": c + "AAAA"},
        sealed | {"c": c[:-1] + "="},
        sealed | {"c": "+" + c[1:]},
        sealed | {"c": {"canary": 1}},
    ]


async def test_sealed_things_pass_as_they_are(relay):
    """Messages, signals, cards and direct messages reach the others unchanged, and open there."""
    room = await make_room(relay)
    ann, bob = await Person(relay, room).join(), await Person(relay, room, "bob").join()
    body = ann.message("1", "hi bob")
    await ann.peer.say("1", body)
    frame = await bob.peer.until("message", id="1")
    assert frame["body"] == body
    assert bob.open(frame, card_of=ann) == "hi bob"
    signal = plain(ann.sealer.signal("typing", True))
    await ann.peer.send("signal", kind="sealed", data=signal)
    assert (await bob.peer.until("signal"))["data"] == signal
    card = plain(ann.sealer.card("anna"))
    await ann.peer.send("profile", profile=card)
    changed = await bob.peer.until("presence")
    assert card in [user["profile"] for user in (*changed["changed"], *changed["joined"])]
    direct = plain(ann.sealer.direct(bob.user.public, "2", {"text": "psst"}, 1))
    await ann.peer.say("2", direct, to=bob.id)
    assert (await bob.peer.until("message", id="2"))["body"] == direct


async def test_other_shapes_are_refused():
    """Each gets an error with the frame's id, nobody hears it, and the connection stays."""
    async with relay_with(limits__message_rate=0) as relay:
        room = await make_room(relay)
        ann, bob = await Person(relay, room).join(), await Person(relay, room, "bob").join()
        sealed = ann.message("1")
        for number, body in enumerate(shapes(sealed)):
            await ann.peer.say(f"bad{number}", body)
            error = await ann.peer.until("error")
            assert (error["code"], error["id"]) == ("not_sealed", f"bad{number}"), body
            assert "canary" not in error["detail"]
        await ann.peer.say("1", sealed)
        assert (await bob.peer.until("message"))["id"] == "1"
        assert (await relay.details(room.created))["messages"] == 1


async def test_unsealed_cards_are_refused(relay):
    """A nick in the clear is not shown to anybody."""
    room = await make_room(relay)
    ann = await Person(relay, room).join()
    before = (await ann.said("0"))["body"]
    for number, profile in enumerate(({"nick": "ann"}, {}, before | {"c": before["c"][:-1]})):
        await ann.peer.send("profile", id=str(number), profile=profile)
        assert (await ann.peer.until("error", id=str(number)))["code"] == "not_sealed"
    response = await relay.request("GET", f"/api/v1/{room.id}/users", room.created["invite_key"])
    assert b"nick" not in response.body


async def test_unsealed_signals_are_refused(relay):
    """Neither the kind nor the data of a signal shows."""
    room = await make_room(relay)
    ann = await Person(relay, room).join()
    sealed = plain(ann.sealer.signal("typing", True))
    for fields in (
        {"kind": "typing", "data": sealed},
        {"kind": "sealed"},
        {"kind": "sealed", "data": None},
        {"kind": "sealed", "data": {"typing": True}},
        {"kind": "sealed", "data": sealed | {"kind": "typing"}},
    ):
        await ann.peer.send("signal", **fields)
        assert (await ann.peer.until("error"))["code"] == "not_sealed"


async def test_one_sid_a_connection(relay):
    """A second sid is refused whatever it comes with; another connection has its own."""
    room = await make_room(relay)
    ann = await Person(relay, room).join()
    other = Sealer(ann.keys, ann.user)
    await ann.peer.say("2", plain(other.message("2", {}, 1)))
    assert (await ann.peer.until("error", id="2"))["code"] == "protocol_error"
    await ann.peer.send("profile", id="3", profile=plain(other.card("x")))
    assert (await ann.peer.until("error", id="3"))["code"] == "protocol_error"
    await ann.peer.send("signal", kind="sealed", data=plain(other.signal("typing", 1)))
    assert (await ann.peer.until("error"))["code"] == "protocol_error"
    await ann.said("4")
    tab = await relay.connect(room.id)
    await tab.send("join", session=ann.session)
    await tab.until("joined")
    await tab.say("5", plain(other.message("5", {}, 1)))
    await tab.until("message", id="5")


async def test_the_sid_of_the_card_at_the_door_counts(relay):
    """What comes after a join has the sid of its card."""
    room = await make_room(relay)
    ann = Person(relay, room)
    ann.keys.confirm(room.made.access.public(0, joined=True))
    sealer = Sealer(ann.keys, ann.user)
    await ann.join(card=False, profile=plain(sealer.card("ann")))
    await ann.say("1")  # by the sealer that join() has made
    assert (await ann.peer.until("error", id="1"))["code"] == "protocol_error"
    await ann.peer.say("2", plain(sealer.message("2", {}, 1)))
    await ann.peer.until("message", id="2")


async def test_another_epoch_is_refused(relay):
    """Whatever is sealed in another epoch than the room's gets stale_epoch."""
    room = await make_room(relay)
    ann = await Person(relay, room).join()
    for epoch in (1, 2**32 - 1):
        await ann.peer.say("1", ann.message("1") | {"e": epoch})
        assert (await ann.peer.until("error", id="1"))["code"] == "stale_epoch"
        await ann.peer.send("profile", id="2", profile=plain(ann.sealer.card("x")) | {"e": epoch})
        assert (await ann.peer.until("error", id="2"))["code"] == "stale_epoch"
        await ann.peer.send("signal", kind="sealed", data=plain(ann.sealer.signal("x", 1)) | {"e": epoch})
        assert (await ann.peer.until("error"))["code"] == "stale_epoch"
    assert (await ann.said("3"))["seq"] == 1


@pytest.mark.parametrize("body", ["text", None, {"e": 7, "s": "x"}, {"kind": "text"}])
async def test_open_rooms_take_anything(relay, body):
    """What a body is, is nobody's business there, nor are sids and epochs."""
    room = await relay.create()
    ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
    await ann.say("1", body)
    assert (await bob.until("message"))["body"] == body
    await ann.send("signal", kind="typing", data=body)
    assert (await bob.until("signal"))["data"] == body


async def test_sealed_bodies_in_open_rooms(relay):
    """A sealed body of any epoch and sid passes where nothing is enforced."""
    sealed = await make_room(relay)
    ann = await Person(relay, sealed).join()
    room = await relay.create()
    bob = await relay.join(room, "bob")
    for number in range(2):
        body = plain(Sealer(ann.keys, ann.user).message("1", {}, 1)) | {"e": number + 5}
        await bob.say(str(number), body)
        assert (await bob.until("message", id=str(number)))["body"] == body
