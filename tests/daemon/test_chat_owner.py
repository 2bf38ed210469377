"""The owner's work in the chat, done by the owner and tried by others."""

import pytest
from conftest import problem
from test_chat_messages import pair, quiet

COMMANDS = {
    "kick": {"user": "u_0000000000000000"},
    "mute": {"user": "u_0000000000000000"},
    "unmute": {"user": "u_0000000000000000"},
    "admit": {"user": "u_0000000000000000"},
    "deny": {"user": "u_0000000000000000"},
    "edit": {"max": 3},
    "close": {},
}


@pytest.mark.parametrize("command", COMMANDS)
async def test_by_a_member(relay, command):
    """A member is refused with the command's id, and nothing happens."""
    room, ann, bob = await pair(relay)
    before = await relay.details(room)
    fields = {**COMMANDS[command]}
    if "user" in fields:
        fields["user"] = ann.id
    await bob.send(command, id="c1", **fields)
    refusal = await bob.until("error")
    assert (refusal["id"], refusal["code"]) == ("c1", "owner_only")
    assert await quiet(ann) == []
    after = await relay.details(room)
    assert {**before, "time_alive": 0} == {**after, "time_alive": 0}


@pytest.mark.parametrize("command", ["kick", "mute", "unmute", "admit", "deny"])
async def test_on_nobody(relay, command):
    """There is an error for a user who is not there."""
    _, ann, _ = await pair(relay)
    await ann.send(command, id="c1", user="u_0000000000000000")
    refusal = await ann.until("error")
    assert (refusal["id"], refusal["code"]) == ("c1", "no_such_user")


async def test_kick(relay):
    """All tabs go with 4011; the owner gets `ok`; the others are told; one may come again as someone new."""
    room, ann, bob = await pair(relay)
    tab, cem = await relay.join(room, session=bob.session), await relay.join(room, "cem")
    await ann.until("presence")
    await ann.send("kick", id="c1", user=bob.id)
    await ann.until("ok", id="c1")
    assert [await peer.closed() for peer in (bob, tab)] == [(4011, "kicked")] * 2
    assert (await cem.until("presence", left=[bob.id]))["users"] == 2
    assert (await relay.join(room, "bob")).id != bob.id


async def test_ban(relay):
    """A banned session finds no room any more."""
    room, ann, bob = await pair(relay)
    await ann.send("kick", id="c1", user=bob.id, ban=True)
    await ann.until("ok", id="c1")
    assert await bob.closed() == (4011, "kicked")
    for fields in ({"session": bob.session}, {"key": room["invite_key"]}):
        peer = await relay.connect(room["id"])
        await peer.send("join", **fields)
        assert await peer.closed() == (4004, "no_such_room")


async def test_owner_comes_back_after_a_ban(relay):
    """A ban of someone at the owner's own address does not lock the owner out."""
    room, ann, bob = await pair(relay)
    await ann.send("kick", id="c1", user=bob.id, ban=True)
    await ann.until("ok", id="c1")
    assert (await relay.join(room, owner=True)).id == ann.id


async def test_mute(relay):
    """The muted are heard by nobody, in no way, until they are unmuted; they hear on."""
    room, ann, bob = await pair(relay)
    await ann.until("presence")
    await ann.send("mute", id="c1", user=bob.id)
    await ann.until("ok", id="c1")
    tab = await relay.join(room, session=bob.session)
    for peer in (bob, tab):
        await peer.say("1")
        refusal = await peer.until("error", id="1")
        assert refusal["code"] == "muted"
        await peer.say("2", to=ann.id)
        assert (await peer.until("error", id="2"))["code"] == "muted"
        await peer.send("signal", kind="typing", data=1)
    assert [frame for frame in await quiet(ann) if frame["type"] in ("message", "signal")] == []
    await ann.say("3")
    await bob.until("message", id="3")
    await ann.send("unmute", id="c2", user=bob.id)
    await ann.until("ok", id="c2")
    await bob.say("1")
    await ann.until("message", id="1")


async def test_mute_is_kept(relay):
    """Coming back by the session does not unmute."""
    room, ann, bob = await pair(relay)
    await ann.send("mute", id="c1", user=bob.id)
    await ann.until("ok", id="c1")
    bob.socket.transport.abort()
    back = await relay.join(room, session=bob.session)
    await back.say("1")
    assert (await back.until("error", id="1"))["code"] == "muted"


async def test_edit(relay):
    """What PATCH does: `ok` to the owner, `updated` to all."""
    room, ann, bob = await pair(relay)
    await ann.send("edit", id="c1", name="tea", max=7, locked=True, expiration_date=2, settings={"resume": 3})
    await ann.until("ok", id="c1")
    told = (await bob.until("room", event="updated"))["room"]
    details = await relay.details(room)
    assert {**told, "time_alive": 0} == {**details, "time_alive": 0}
    assert (told["name"], told["max"], told["locked"], told["settings"]["resume"]) == ("tea", 7, True, 3)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"max": 0}, "max"),
        ({"max": 10_001}, "max"),
        ({"max": "7"}, "max"),
        ({"expiration_date": 25}, "expiration_date"),
        ({"name": "a/b"}, "name"),
        ({"locked": "yes"}, "locked"),
        ({"settings": {"colour": 1}}, "colour"),
        ({"settings": {"resume": 10**30}}, "settings"),
        ({"settings": {"resume": 1e400}}, "settings"),
        ({"nonsense": 1}, "nonsense"),
        ({"max": 1e400}, "max"),
    ],
    ids=repr,
)
async def test_wrong_edit(relay, fields, field):
    """An error that names the field and carries the id where it could be read; nothing changes."""
    room, ann, bob = await pair(relay)
    await ann.send("edit", id="c1", **fields)
    refusal = await ann.until("error")
    assert refusal.get("id") in ("c1", None)
    if refusal["code"] == "invalid_fields":
        assert field in refusal["detail"]
    assert await quiet(bob) == []
    assert (await relay.details(room))["max"] == 50


async def test_edit_name_clash(relay):
    """A name that is taken is refused here as by PATCH."""
    await relay.create(name="tea")
    _, ann, _ = await pair(relay)
    await ann.send("edit", id="c1", name="Tea")
    assert (await ann.until("error", id="c1"))["code"] == "name_taken"


async def test_close(relay):
    """Everyone is told why and disconnected with 4010, the owner too; the room is gone."""
    room, ann, bob = await pair(relay)
    await ann.send("close", id="c1")
    for peer in (ann, bob):
        assert await peer.until("room") == {"type": "room", "event": "closed", "reason": "terminated"}
        assert await peer.closed() == (4010, "room_closed")
    problem(await relay.request("GET", f"/api/v1/{room['id']}", room["invite_key"]), 404)


async def test_leave(relay):
    """All tabs of the user go with 4014 and the place is free at once; the others stay."""
    room, ann, bob = await pair(relay, max=2)
    tab = await relay.join(room, session=bob.session)
    await ann.until("presence")
    await tab.send("leave")
    assert [await peer.closed() for peer in (bob, tab)] == [(4014, "left")] * 2
    await ann.until("presence", left=[bob.id], users=1)
    await relay.join(room, "cem")


async def test_owner_may_leave(relay):
    """The room goes on without its owner, who may come back by the key."""
    room, ann, bob = await pair(relay)
    await ann.send("leave")
    assert await ann.closed() == (4014, "left")
    await bob.until("presence", left=[ann.id])
    back = await relay.join(room, owner=True)
    assert (back.id, back.joined["you"]["role"]) == (room["owner_id"], "owner")
