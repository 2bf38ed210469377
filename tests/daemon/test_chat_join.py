"""The first frame: all ways in, and what newcomers are told."""

import re
from datetime import datetime

import pytest
import websockets
from conftest import relay_with

BAD_KEY = "ri_AAAAAAAAAAAAAAAAAAAAAA"
NO_ROOM = "7f9c24e8-3b12-4fef-91e0-5b2f60f1a0aa"


async def refusal(relay, room_id, **fields):
    """The close code and reason that answer a join, and that no frame came before it."""
    peer = await relay.connect(room_id)
    await peer.send("join", **fields)
    told = await peer.closed()
    assert not peer.joined
    return told


async def test_joined(relay):
    """The answer has exactly what the protocol says."""
    room = await relay.create(name="tea")
    ann = await relay.join(room, "ann", owner=True)
    bob = await relay.join(room, "bob")
    told = bob.joined
    assert set(told) == {"type", "you", "room", "users", "epoch", "seq", "recovered", "missed"}
    assert set(told["you"]) == {"id", "session", "role"}
    assert re.fullmatch(r"u_[0-9a-f]{16}", bob.id)
    assert re.fullmatch(r"rs_[A-Za-z0-9_-]{43}", bob.session)
    assert told["you"]["role"] == "member"
    assert (told["seq"], told["missed"], told["epoch"]) == (0, 0, ann.joined["epoch"])
    assert (told["room"]["name"], told["room"]["users"], told["room"]["connections"]) == ("tea", 2, 2)
    datetime.fromisoformat(told["room"]["date"])
    users = {user["id"]: user for user in told["users"]}
    assert set(users) == {ann.id, bob.id}
    assert (users[ann.id]["role"], users[ann.id]["profile"], users[ann.id]["away"]) == ("owner", {"nick": "ann"}, False)
    assert users[bob.id]["role"] == "member"


async def test_owner_key_is_being_the_owner(relay):
    """With the owner key one is `owner_id`; once more adds a connection to that user."""
    room = await relay.create()
    first, second = await relay.join(room, owner=True), await relay.join(room, owner=True)
    assert first.id == second.id == room["owner_id"]
    assert first.joined["you"]["role"] == second.joined["you"]["role"] == "owner"
    details = await relay.details(room)
    assert (details["users"], details["connections"]) == (1, 2)


async def test_session_is_being_the_same(relay):
    """With a session no key is needed, and the profile stays unless a new one is given."""
    room = await relay.create()
    bob = await relay.join(room, "bob")
    tab = await relay.join(room, session=bob.session)
    assert tab.id == bob.id
    assert tab.joined["users"][0]["profile"] == {"nick": "bob"}
    third = await relay.join(room, session=bob.session, profile={"nick": "rob"})
    assert third.joined["users"][0]["profile"] == {"nick": "rob"}


async def test_owners_session(relay):
    """The owner's session gives the owner's role without the key."""
    room = await relay.create()
    ann = await relay.join(room, owner=True)
    tab = await relay.join(room, session=ann.session)
    assert (tab.id, tab.joined["you"]["role"]) == (room["owner_id"], "owner")
    await tab.send("edit", id="1", max=3)
    await tab.until("ok", id="1")


async def test_invite_key_makes_a_new_user_each_time(relay):
    """Without a session one is somebody new."""
    room = await relay.create()
    assert (await relay.join(room)).id != (await relay.join(room)).id


async def test_dead_session_with_a_key(relay):
    """A session that is none does not bar the way of a good key: one comes in as somebody new."""
    room, other = await relay.create(), await relay.create()
    elsewhere = await relay.join(other)
    for session in ("rs_" + "A" * 43, elsewhere.session):
        peer = await relay.join(room, session=session, key=room["invite_key"], profile={"nick": "new"})
        assert peer.session != session
        assert peer.id != elsewhere.id


@pytest.mark.parametrize("profile", [{}, {"nick": "ann"}, {"nick": "\u202e\x00<b>", "deep": [[{"a": 1.5}]], "n": None}])
async def test_profile(relay, profile):
    """Any JSON object of up to 1 KiB, passed on as it is."""
    room = await relay.create()
    peer = await relay.join(room, profile=profile)
    assert peer.joined["users"][0]["profile"] == profile


async def test_profile_may_be_left_out(relay):
    """Nobody has to say who they are."""
    room = await relay.create()
    peer = await relay.connect(room["id"])
    await peer.send("join", key=room["invite_key"])
    assert (await peer.recv())["type"] == "joined"


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"message","id":"1","body":"hi"}',
        '{"type":"ping"}',
        '{"type":"leave"}',
        '{"type":"nonsense"}',
        '{"key":"ri_x"}',
        "{}",
        "[]",
        "null",
        "",
        "{",
        "\x00",
        '{"type":"join","key":"ri_x"}}',
        '{"type":"join","key":5}',
        '{"type":"join","key":"ri_x","profile":"ann"}',
        '{"type":"join","key":"ri_x","profile":[1]}',
        '{"type":"join","key":"ri_x","profile":{"a":"' + "x" * 1024 + '"}}',
        '{"type":"join","key":"ri_x","nonsense":1}',
        '{"type":"join","key":"ri_x","since":5}',
        '{"type":"join","key":"ri_x","since":{"epoch":"x","seq":-1}}',
        '{"type":"join","key":"ri_x","since":{"epoch":"x","seq":1e400}}',
        "[" * 60_000,
        b"\x00\x01\x02",
        b"",
    ],
    ids=lambda frame: repr(frame[:40]),
)
async def test_wrong_first_frame(relay, frame):
    """What is no join frame ends the connection, whether or not there is such a room."""
    room = await relay.create()
    for room_id in (room["id"], NO_ROOM):
        peer = await relay.connect(room_id)
        await peer.socket.send(frame)
        assert await peer.closed() == (4000, "protocol_error")


async def test_join_that_never_comes():
    """Who says nothing is sent away with 4001, who joined in time is not."""
    async with relay_with(timing__join_timeout=0.2) as relay:
        room = await relay.create()
        ann = await relay.join(room)
        silent = [await relay.connect(room["id"]), await relay.connect(NO_ROOM)]
        for peer in silent:
            assert await peer.closed() == (4001, "join_timeout")
        await ann.send("ping", id="1")
        await ann.until("pong", id="1")


@pytest.mark.parametrize(
    "fields",
    [
        {"key": BAD_KEY},
        {"key": "ro_" + "A" * 43},
        {"key": ""},
        {"key": "x"},
        {"key": "ri_"},
        {"key": "\x00"},
        {"key": "ри_ключ"},
        {"key": "ri_" + "A" * 125},
        {"key": "ri_" + "A" * 2000},
        {"session": "rs_" + "A" * 43},
        {"session": "x" * 2000},
        {"session": "", "key": ""},
        {"session": BAD_KEY, "key": BAD_KEY},
        {"key": "rs_" + "A" * 43},
        {},
    ],
    ids=lambda fields: repr(fields)[:40],
)
async def test_no_such_room(relay, fields):
    """4004 is the one answer to no room and to a key that does not fit, however it is shaped."""
    room = await relay.create()
    there = await refusal(relay, room["id"], profile={}, **fields)
    nowhere = await refusal(relay, NO_ROOM, profile={}, **fields)
    assert there == nowhere == (4004, "no_such_room")


async def test_keys_of_another_room(relay):
    """Keys and sessions fit their own room only, and each its own field."""
    room, other = await relay.create(), await relay.create()
    ann = await relay.join(other, owner=True)
    for fields in (
        {"key": other["invite_key"]},
        {"key": other["owner_key"]},
        {"session": ann.session},
        {"session": room["invite_key"]},
        {"session": room["owner_key"]},
        {"key": ann.session},
    ):
        assert await refusal(relay, room["id"], **fields) == (4004, "no_such_room")


async def test_room_full(relay):
    """The last place goes to one; the next is told so. Tabs of those inside take no place."""
    room = await relay.create(max=2)
    ann, bob = await relay.join(room, "ann", owner=True), await relay.join(room, "bob")
    assert await refusal(relay, room["id"], key=room["invite_key"]) == (4009, "room_full")
    await relay.join(room, session=bob.session)
    await relay.join(room, owner=True)
    await bob.send("leave")
    await bob.closed()
    await relay.join(room, "cem")
    await ann.send("edit", id="1", max=3)
    await ann.until("ok", id="1")
    await relay.join(room, "dan")


async def test_last_place(relay):
    """Of many who come for one place at once, one gets it."""
    room = await relay.create(max=1)

    peers = [await relay.connect(room["id"]) for _ in range(10)]
    for peer in peers:
        await peer.send("join", key=room["invite_key"])
    codes = []
    for peer in peers:
        try:
            assert (await peer.recv())["type"] == "joined"
        except websockets.ConnectionClosed:
            codes.append(peer.socket.close_code)
    assert codes == [4009] * 9


async def test_locked(relay):
    """Newcomers are kept out with 4013, those who were in may return; a bad key learns nothing of it."""
    room = await relay.create()
    ann, bob = await relay.join(room, "ann", owner=True), await relay.join(room, "bob")
    await ann.send("edit", id="1", locked=True)
    await ann.until("ok", id="1")
    assert await refusal(relay, room["id"], key=room["invite_key"]) == (4013, "locked")
    assert await refusal(relay, room["id"], key=BAD_KEY) == (4004, "no_such_room")
    assert (await relay.join(room, session=bob.session)).id == bob.id
    assert (await relay.join(room, owner=True)).id == ann.id
    await bob.socket.close()
    assert (await relay.join(room, session=bob.session)).id == bob.id
    await ann.send("edit", id="2", locked=False)
    await ann.until("ok", id="2")
    await relay.join(room, "cem")


async def test_locked_and_full(relay):
    """To a stranger without a key a room that is locked or full looks like none."""
    room = await relay.create(max=1)
    await relay.join(room)
    assert await refusal(relay, room["id"], key=BAD_KEY) == (4004, "no_such_room")


async def test_joining_too_often():
    """4529 sends away for a while who tries more than `join_rate` a minute."""
    async with relay_with(limits__join_rate=3) as relay:
        codes = [(await refusal(relay, NO_ROOM, key=BAD_KEY))[0] for _ in range(4)]
        assert codes == [4004] * 3 + [4529]
