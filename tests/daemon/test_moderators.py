"""Moderators: who keeps order beside the owner, how far that goes, and that it stays with the user."""

from __future__ import annotations

import json

import pytest
from conftest import relay_with
from test_chat_messages import pair, quiet


async def does(peer, command: str, **fields) -> str:
    """The code of the refusal, or "" if it was done."""
    await peer.send(command, id=command, **fields)
    while True:
        frame = await peer.recv()
        if frame["type"] in ("ok", "error") and frame.get("id") == command:
            return frame.get("code", "")


async def staff(relay, **fields):
    """A room with its owner, a moderator and two members."""
    room, ann, bob = await pair(relay, **fields)
    assert await does(ann, "promote", user=bob.id) == ""
    return room, ann, bob, await relay.join(room, "cem"), await relay.join(room, "dee")


async def role_of(relay, room, user_id: str) -> str:
    users = json.loads((await relay.request("GET", f"/api/v1/{room['id']}/users", room["invite_key"])).body)["users"]
    return next(user["role"] for user in users if user["id"] == user_id)


async def test_everybody_is_told(relay):
    """By presence, in the list for newcomers, over REST; and the moderator in all tabs and when coming back."""
    room, ann, bob, cem, _ = await staff(relay)
    assert await role_of(relay, room, bob.id) == "moderator"
    eve = await relay.join(room, "eve")
    roles = {user["id"]: user["role"] for user in eve.joined["users"]}
    assert (roles[ann.id], roles[bob.id], roles[cem.id]) == ("owner", "moderator", "member")
    tab = await relay.join(room, session=bob.session)
    assert tab.joined["you"]["role"] == "moderator"
    assert await does(ann, "demote", user=bob.id) == ""
    while True:
        frame = await cem.until("presence")
        # Whose coming has not been told yet is among `joined`.
        told = frame["joined"] + frame["changed"]
        if any(user["id"] == bob.id and user["role"] == "member" for user in told):
            break
    assert await does(tab, "kick", user=cem.id) == "owner_only"


async def test_what_a_moderator_may(relay):
    room, _, bob, cem, dee = await staff(relay)
    assert await does(bob, "mute", user=cem.id) == ""
    await cem.say("1")
    assert (await cem.until("error", id="1"))["code"] == "muted"
    assert await does(bob, "unmute", user=cem.id) == ""
    assert await does(bob, "edit", locked=True) == ""
    assert (await relay.details(room))["locked"] is True
    assert await does(bob, "edit", locked=False) == ""
    assert await does(bob, "kick", user=cem.id) == ""
    assert (await cem.closed())[0] == 4011
    assert await does(bob, "kick", user=dee.id, ban=True) == ""
    assert (await dee.closed())[0] == 4011


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("promote", {"user": "cem"}),
        ("demote", {"user": "bob"}),
        ("close", {}),
        ("edit", {"name": "mine"}),
        ("edit", {"locked": True, "max": 3}),
        ("edit", {"settings": {"slow": 10}}),
        ("edit", {"expiration_date": 1}),
        ("edit", {}),
        ("kick", {"user": "ann"}),
        ("kick", {"user": "eve"}),
        ("mute", {"user": "ann"}),
        ("mute", {"user": "eve"}),
        ("unmute", {"user": "eve"}),
        ("mute", {"user": "bob"}),
    ],
)
async def test_what_a_moderator_may_not(relay, command, fields):
    """What is the owner's, and anything to the owner or another moderator; nothing of it is done."""
    room, ann, bob, cem, _ = await staff(relay)
    eve = await relay.join(room, "eve")
    assert await does(ann, "promote", user=eve.id) == ""
    people = {"ann": ann.id, "bob": bob.id, "cem": cem.id, "eve": eve.id}
    given = {name: people.get(value, value) if name == "user" else value for name, value in fields.items()}
    before = await relay.details(room)
    assert await does(bob, command, **given) == "owner_only"
    assert {**before, "time_alive": 0} == {**await relay.details(room), "time_alive": 0}
    assert [frame for frame in await quiet(ann) if frame["type"] != "presence"] == []
    assert await role_of(relay, room, bob.id) == "moderator"
    assert await role_of(relay, room, cem.id) == "member"


@pytest.mark.parametrize("command", ["promote", "demote"])
async def test_on_whom(relay, command):
    """Not on the owner, not on nobody; a second time changes nothing and is no mistake."""
    _, ann, bob, *_ = await staff(relay)
    assert await does(ann, command, user=ann.id) == "invalid_fields"
    assert await does(ann, command, user="u_0000000000000000") == "no_such_user"
    for _ in range(2):
        assert await does(ann, command, user=bob.id) == ""


async def test_the_role_is_the_users(relay):
    """It outlasts leaving; somebody who left can be made a moderator, and is one on coming back."""
    room, ann, bob, cem, _ = await staff(relay)
    for peer in (bob, cem):
        await peer.send("leave")
        await peer.closed()
    assert await does(ann, "promote", user=cem.id) == ""
    for peer in (bob, cem):
        back = await relay.join(room, session=peer.session)
        assert back.joined["you"]["role"] == "moderator"


async def test_kicked_is_no_moderator(relay):
    """Whoever is put out comes back as a member, whatever their id was."""
    room, ann, bob, *_ = await staff(relay)
    assert await does(ann, "kick", user=bob.id) == ""
    await bob.closed()
    back = await relay.join(room, "bob")
    assert back.joined["you"]["role"] == "member"


async def test_a_muted_moderator(relay):
    """The owner can mute one. Such a moderator keeps order silently, and cannot lift that."""
    _, ann, bob, cem, _ = await staff(relay)
    assert await does(ann, "mute", user=bob.id) == ""
    await bob.say("1")
    assert (await bob.until("error", id="1"))["code"] == "muted"
    assert await does(bob, "unmute", user=bob.id) == "owner_only"
    assert await does(bob, "mute", user=cem.id) == ""


async def test_moderators_cannot_use_up_the_owners_commands():
    """Their commands have a rate of their own, all together; the owner's still pass."""
    async with relay_with(limits__owner_commands_per_s=1 / 60) as relay:
        room, ann, bob, cem, _ = await staff(relay)
        other = await relay.join(room, session=bob.session)
        codes = [await does(peer, "mute", user=cem.id) for peer in (bob, other, bob, other)]
        assert codes == ["", "rate_limited", "rate_limited", "rate_limited"]
        assert await does(ann, "demote", user=bob.id) == "rate_limited"  # the owner has had one: the promotion
        assert await does(ann, "close") == ""
