"""Rekeying: a new epoch at its place in the order, for those who stay, and all of it or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json

import msgspec
import pytest
import websockets

from relayd.client.sealing import new_room, parse_fragment, unlock
from relayd.client.sealing_errors import RekeyError
from relayd.wire.sealing import PublicAccess
from relayd.wire.sealing_text import encode_base64url
from tests.conftest import Relay, problem, relay_with
from tests.faults.world import relayd
from tests.sealed.sealed_people import Person, kicked_out, make_room, people, plain, send


async def test_those_who_stay_read_on(relay):
    """Everyone hears their own box at one place; the kicked user is gone, and all that is said after is new to them."""
    room, (owner, ann, eve) = await people(relay, "owner", "ann", "eve")
    before = await ann.said("before")
    rekey = owner.rekey(ann, kick=eve)
    await send(owner, rekey)
    for person in (owner, ann):
        event = await person.peer.until("room", event="rekeyed")
        assert set(event) == {"type", "event", "seq", "epoch", "check", "box"}
        assert (event["seq"], event["epoch"]) == (before["seq"] + 1, 1)
        assert event["box"] == rekey.part.boxes[person.id]
        assert person.take(event) == rekey.secret
    assert await eve.peer.closed() == (4011, "kicked")
    after = await ann.said("after", "without eve")
    assert after["seq"] == before["seq"] + 2
    heard = await owner.peer.until("message", id="after")
    assert owner.open(heard, card_of=ann) == "without eve"
    assert heard["body"]["e"] == 1
    details = await relay.details(room.created)
    assert (details["access"]["epoch"], details["users"]) == (1, 2)


async def test_the_old_link_is_dead(relay):
    """The old proof lets nobody in, the session of the kicked user neither; the new link does."""
    room, (owner, ann, eve) = await people(relay, "owner", "ann", "eve")
    old = room.keys().proof_text
    rekey = await kicked_out(owner, ann, kick=eve)
    for fields in ({"key": room.created["invite_key"]}, {"key": room.created["owner_key"]}):
        assert await eve.refused(**fields, proof=old) == (4003, "forbidden")
    assert await eve.refused(session=eve.session, proof=old) == (4004, "no_such_room")
    peer = await relay.connect(room.id)
    newcomer = room.keys().derive(1, rekey.secret)
    await peer.send("join", key=room.created["invite_key"], proof=newcomer.proof_text)
    joined = await peer.recv()
    access = joined["room"]["access"]
    assert (access["epoch"], access["check"]) == (1, encode_base64url(newcomer.check))
    assert "rekey" not in joined


async def test_the_kicked_user_opens_nothing_new(relay):
    """With all that eve has and hears, the new secret does not open."""
    _, (owner, ann, eve) = await people(relay, "owner", "ann", "eve")
    rekey = owner.rekey(ann, kick=eve)
    await send(owner, rekey)
    event = await owner.peer.until("room", event="rekeyed")
    for box in rekey.part.boxes.values():
        with pytest.raises(RekeyError):
            eve.take(event | {"box": box})
    assert not any(frame.get("event") == "rekeyed" for frame in await eve_hears(eve))


async def eve_hears(eve: Person) -> list[dict]:
    heard = []
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            heard.append(json.loads(await asyncio.wait_for(eve.peer.socket.recv(), 5)))
    return heard


async def test_old_bodies_are_stale(relay):
    """From its place on, what is sealed in the old epoch is refused; what was said before keeps its id."""
    _, (owner, ann, eve) = await people(relay, "owner", "ann", "eve")
    old, stale, card = ann.message("1"), ann.message("2"), plain(ann.sealer.card("ann"))
    await ann.peer.say("1", old)
    first = await ann.peer.until("message", id="1")
    await kicked_out(owner, ann, kick=eve)
    await ann.peer.say("2", stale)
    assert (await ann.peer.until("error", id="2"))["code"] == "stale_epoch"
    await ann.peer.send("profile", id="3", profile=card)
    assert (await ann.peer.until("error", id="3"))["code"] == "stale_epoch"
    await ann.peer.say("1", old)
    assert (await ann.peer.until("ok", id="1"))["seq"] == first["seq"]


async def test_a_user_without_a_box_goes(relay):
    """4003, and the session is worth nothing: neither for one inside nor for one away. A tab goes with its user."""
    room, (owner, ann, bob, cat) = await people(relay, "owner", "ann", "bob", "cat")
    tab = await relay.connect(room.id)
    await tab.send("join", session=bob.session)
    await tab.until("joined")
    await cat.peer.socket.close()
    await send(owner, owner.rekey(ann))
    assert await bob.peer.closed() == (4003, "forbidden")
    assert await tab.closed() == (4003, "forbidden")
    await ann.go_on()
    for person in (bob, cat):
        assert await person.refused(session=person.session) == (4004, "no_such_room")
        proof, key = person.keys.proof_text, room.created["invite_key"]
        assert await person.refused(session=person.session, key=key, proof=proof) == (4003, "forbidden")
    assert (await relay.details(room.created))["users"] == 2


async def test_two_tabs_rekey_at_once(relay):
    """One wins; the other is told, and its user to be kicked is still there."""
    _, (owner, ann, eve) = await people(relay, "owner", "ann", "eve")
    tab = Person(relay, owner.room, "tab")
    tab.user, tab.session = owner.user, owner.session
    await tab.join(card=False)
    first, second = owner.rekey(ann, kick=eve), owner.rekey(eve, kick=ann)
    await asyncio.gather(send(owner, first, "a"), send(tab, second, "b"))
    answers = [await answer(owner, "a"), await answer(tab, "b")]
    assert sorted(answer["type"] for answer in answers) == ["error", "ok"]
    assert [one["code"] for one in answers if one["type"] == "error"] == ["stale_epoch"]
    winner = first if answers[0]["type"] == "ok" else second
    stays = ann if winner is first else eve
    event = await stays.peer.until("room", event="rekeyed")
    assert event["box"] == winner.part.boxes[stays.id]
    details = await relay.details(owner.room.created)
    assert (details["access"]["epoch"], details["users"]) == (1, 2)


async def answer(person: Person, id_: str) -> dict:
    while True:
        frame = await person.peer.recv()
        if frame["type"] in ("ok", "error") and frame.get("id") == id_:
            return frame


@pytest.mark.parametrize("epoch", [2, 7, 2**32 - 1])
async def test_only_the_next_epoch(relay, epoch):
    """A rekey to any other than the next epoch is stale, and nothing happens."""
    _, (owner, ann) = await people(relay, "owner", "ann")
    frame = owner.rekey(kick=ann).frame("x") | {"epoch": epoch}
    await owner.peer.socket.send(json.dumps(frame))
    assert (await owner.peer.until("error", id="x"))["code"] == "stale_epoch"
    assert (await ann.said("still here"))["seq"] == 1


async def test_members_cannot_rekey(relay):
    """It is the owner's work."""
    _, (owner, ann) = await people(relay, "owner", "ann")
    frame = owner.rekey(ann).frame("x")
    await ann.peer.socket.send(json.dumps(frame))
    assert (await ann.peer.until("error", id="x"))["code"] == "owner_only"
    assert (await owner.said("1"))["body"]["e"] == 0


async def test_all_or_nothing(relay):
    """Whatever is wrong with a rekey: nobody is put out, the epoch stays, and the answer says what it is."""
    room, (owner, ann, eve) = await people(relay, "owner", "ann", "eve")
    good = owner.rekey(ann, kick=eve).frame("x")
    boxes = good["boxes"]
    box = boxes[ann.id]
    wrong = [
        (good | {"kick": "u_0123456789abcdef"}, "no_such_user"),
        (good | {"boxes": boxes | {eve.id: box}}, "invalid_fields"),
        (good | {"boxes": {ann.id: box}}, "invalid_fields"),
        (good | {"boxes": {}}, "invalid_fields"),
        ({key: value for key, value in good.items() if key != "boxes"}, "protocol_error"),
        (good | {"boxes": boxes | {ann.id: box[:-1]}}, "protocol_error"),
        (good | {"boxes": boxes | {ann.id: box + "A"}}, "protocol_error"),
        (good | {"boxes": boxes | {"canary": box}}, "protocol_error"),
        (good | {"verifier": good["verifier"].upper()}, "protocol_error"),
        (good | {"check": "canary"}, "protocol_error"),
        (good | {"epoch": 0}, "protocol_error"),
        (good | {"epoch": 2**32}, "protocol_error"),
        (good | {"kick": "canary"}, "protocol_error"),
        (good | {"secret": "canary"}, "protocol_error"),
    ]
    for frame, code in wrong:
        await owner.peer.socket.send(json.dumps(frame))
        error = await owner.peer.until("error")
        assert error["code"] == code, (frame, error)
        assert "canary" not in error["detail"].replace("`secret`", "")
    kick_owner = {**good, "kick": owner.id, "boxes": boxes}
    await owner.peer.socket.send(json.dumps(kick_owner))
    assert (await owner.peer.until("error"))["code"] == "invalid_fields"
    details = await relay.details(room.created)
    assert (details["users"], details["access"]["epoch"]) == (3, 0)
    assert (await eve.said("1"))["seq"] == 1


async def test_a_room_with_a_plain_password_cannot(relay):
    """Nobody can sign for it: a rekey says so and does nothing; a kick works, and says what it does not do."""
    room = await relay.create(password="open sesame")
    public = msgspec.convert((await relay.details(room))["access"], PublicAccess)
    keys = unlock(parse_fragment(room["link"].partition("#")[2]), public, "open sesame")
    owner = await relay.connect(room["id"])
    await owner.send("join", key=room["owner_key"], proof=keys.proof_text)
    await owner.until("joined")
    ann = await relay.connect(room["id"])
    await ann.send("join", key=room["invite_key"], proof=keys.proof_text)
    user = (await ann.until("joined"))["you"]["id"]
    box = encode_base64url(bytes(128))
    boxes = {room["owner_id"]: box}
    fields = {"verifier": "0" * 64, "check": encode_base64url(bytes(16)), "boxes": boxes}
    await owner.send("rekey", id="r", epoch=1, kick=user, **fields)
    error = await owner.until("error", id="r")
    assert error["code"] == "cannot_rekey"
    assert "password" in error["detail"]
    assert (await relay.details(room))["users"] == 2
    await owner.send("kick", id="k", user=user)
    done = await owner.until("ok", id="k")
    assert "password" in done["detail"]
    assert await ann.closed() == (4011, "kicked")


async def test_an_open_room_cannot(relay):
    """It has no keys; a kick there has nothing to add."""
    room = await relay.create()
    owner, ann = await relay.join(room, owner=True), await relay.join(room)
    sealed = await make_room(relay)
    boss = await Person(relay, sealed).join(owner=True)
    await owner.socket.send(json.dumps(boss.rekey().frame("r")))
    assert (await owner.until("error", id="r"))["code"] == "cannot_rekey"
    await owner.send("kick", id="k", user=ann.id)
    assert "detail" not in await owner.until("ok", id="k")


async def test_a_kick_alone_where_there_is_an_owner_pair(relay):
    """A plain kick begins no epoch, and there is nothing to say."""
    _, (owner, ann) = await people(relay, "owner", "ann")
    await owner.peer.send("kick", id="k", user=ann.id)
    assert "detail" not in await owner.peer.until("ok", id="k")
    assert (await owner.said("1"))["body"]["e"] == 0


async def test_a_great_room(relay):
    """A rekey may be longer than other frames, for its owner and for nothing else, also for users who came later."""
    room, (owner, ann) = await people(relay, "owner", "ann", max=2_000)
    others = [await Person(relay, room, str(number)).join(card=False) for number in range(520)]
    box = encode_base64url(bytes(128))
    many = {one.id: box for one in others}
    rekey = owner.rekey(ann).frame("r")
    frame = json.dumps(rekey | {"boxes": rekey["boxes"] | many})
    assert len(frame) > 65_536
    with contextlib.suppress(websockets.ConnectionClosed):
        await ann.peer.socket.send(frame)
    assert (await ann.peer.closed())[0] == 1009
    await owner.peer.socket.send(frame)
    event = await others[-1].peer.until("room", event="rekeyed")
    assert event["box"] == box
    await owner.go_on()
    long = owner.message("long", "x" * 60_000)
    assert len(json.dumps(long)) > 65_536
    with contextlib.suppress(websockets.ConnectionClosed):
        await owner.peer.say("long", long)
    assert (await owner.peer.closed())[0] == 1009
    assert (await relay.details(room.created))["messages"] == 0


async def test_an_owner_alone_has_no_longer_frames(relay):
    """However many may come: an unfinished frame of megabytes would be held for a room of one."""
    _, (owner, _) = await people(relay, "owner", "ann", max=10_000)
    with contextlib.suppress(websockets.ConnectionClosed):
        await owner.peer.send("rekey", id="x" * 70_000)
    assert (await owner.peer.closed())[0] == 1009


async def test_an_owner_of_an_open_room_has_no_longer_frames(relay):
    """Where nothing is sealed there is nothing to rekey."""
    room = await relay.create()
    owner = await relay.join(room, owner=True)
    with contextlib.suppress(websockets.ConnectionClosed):
        await owner.socket.send(json.dumps({"type": "rekey", "id": "x" * 70_000}))
    assert (await owner.closed())[0] == 1009


async def test_rekeys_are_rated():
    """An owner who rekeys without end runs into the limits of messages."""
    async with relay_with(limits__message_rate__user_messages=2) as relay:
        _, (owner,) = await people(relay, "owner")
        for number in range(12):
            await owner.peer.socket.send(json.dumps(owner.rekey().frame(str(number)) | {"epoch": 9}))
        codes = set()
        with contextlib.suppress(websockets.ConnectionClosed):
            while len(codes) < 2:
                frame = await owner.peer.recv()
                codes.add(frame["code"]) if frame["type"] == "error" else None
        assert codes == {"stale_epoch", "rate_limited"}


async def test_over_two_gateways():
    """Wherever people are connected, they hear their own box once, in one order."""
    async with relayd("--workers", "2") as process:
        relay = Relay(process.base)
        _, (owner, *others, eve) = await people(relay, *"oabcdefg")
        rekey = owner.rekey(*others, kick=eve)
        await send(owner, rekey)
        for person in (owner, *others):
            event = await person.go_on()
            assert (event["seq"], event["box"]) == (1, rekey.part.boxes[person.id])
        said = await owner.said("1")
        assert said["seq"] == 2
        for person in others:
            assert (await person.peer.until("message"))["seq"] == 2
        assert await eve.peer.closed() == (4011, "kicked")
        await relay.close()


async def test_no_longer_frames_without_an_owner_pair(relay):
    """Where nobody can rekey, the owner's frames are as long as everyone's."""
    made = new_room()
    access = {name: value for name, value in plain(made.access).items() if name != "owner"}
    room = await relay.create(access=access)
    owner = await relay.connect(room["id"])
    await owner.send("join", key=room["owner_key"], proof=made.keys.proof_text)
    await owner.until("joined")
    with contextlib.suppress(websockets.ConnectionClosed):
        await owner.send("rekey", id="x" * 70_000)
    assert (await owner.closed())[0] == 1009


# The invite key. ------------------------------------------------------------------------------------------------


async def test_a_rekey_can_renew_the_invite_key(relay):
    """The user thrown out cannot read details or ids by the old key; the owner is answered the new one, others not."""
    room, (owner, ann, eve) = await people(relay, "owner", "ann", "eve")
    old = room.created["invite_key"]
    rekey = owner.rekey(ann, kick=eve)
    await owner.peer.socket.send(json.dumps(rekey.frame("r") | {"renew_invite": True}))
    key = (await owner.peer.until("ok", id="r"))["invite_key"]
    assert key != old
    event = await ann.peer.until("room", event="rekeyed")
    assert key not in json.dumps(event)
    await eve.peer.closed()
    for path in (room.id, f"{room.id}/users"):
        for credential in (old, eve.session):
            problem(await relay.request("GET", f"/api/v1/{path}", credential), 404, "no_such_room")
        for credential in (key, ann.session):
            assert (await relay.request("GET", f"/api/v1/{path}", credential)).code == 200
    newcomer = room.keys().derive(1, rekey.secret)
    assert await eve.refused(key=old, proof=newcomer.proof_text) == (4004, "no_such_room")
    peer = await relay.connect(room.id)
    await peer.send("join", key=key, proof=newcomer.proof_text)
    assert (await peer.recv())["type"] == "joined"


@pytest.mark.parametrize("more", [{}, {"renew_invite": False}])
async def test_without_being_asked_the_invite_key_stays(relay, more):
    """A client that does not know of the new key goes on showing links that work."""
    room, (owner, ann) = await people(relay, "owner", "ann")
    await owner.peer.socket.send(json.dumps(owner.rekey(kick=ann).frame("r") | more))
    assert "invite_key" not in await owner.peer.until("ok", id="r")
    assert (await relay.details(room.created))["access"]["epoch"] == 1


@pytest.mark.parametrize("wrong", [{"epoch": 7}, {"kick": "u_" + "0" * 16}, {"renew_invite": 1}])
async def test_a_rekey_that_fails_leaves_the_invite_key(relay, wrong):
    """All of it happens, or nothing."""
    room, (owner, ann) = await people(relay, "owner", "ann")
    frame = owner.rekey(kick=ann).frame("r") | {"renew_invite": True} | wrong
    await owner.peer.socket.send(json.dumps(frame))
    await owner.peer.until("error", id="r")
    assert (await relay.details(room.created))["access"]["epoch"] == 0
