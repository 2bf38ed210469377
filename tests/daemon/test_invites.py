"""Invites: further keys that let newcomers in, limited by uses and time, revoked one by one."""

from __future__ import annotations

import asyncio
import json

import pytest
from conftest import Peer, Relay, problem, relay_with

PATH = "/api/v1/{id}/invites"


async def make(relay: Relay, room, **body) -> dict:
    answer = await relay.request("POST", PATH.format(**room), room["owner_key"], body)
    assert answer.code == 201, answer.body
    return json.loads(answer.body)


async def listed(relay: Relay, room) -> list[dict]:
    return json.loads((await relay.request("GET", PATH.format(**room), room["owner_key"])).body)["invites"]


async def come(relay: Relay, room, invite, **fields) -> tuple[Peer, str]:
    """Somebody tries to join by an invite; the type of the answer, or the close reason."""
    peer = await relay.connect(room["id"])
    await peer.send("join", key=invite["invite_key"], profile={}, **fields)
    try:
        peer.joined = await peer.recv()
    except Exception:  # noqa: BLE001 # closed: the reason says why
        return peer, peer.socket.close_reason
    return peer, peer.joined["type"]


async def test_made_and_listed(relay):
    """All that the owner needs; the key is told once."""
    room = await relay.create(name="tea")
    made = await make(relay, room, uses=2, expires=3600, label="for bob")
    assert set(made) == {"id", "invite_key", "link", "uses", "uses_left", "expires", "label"}
    assert made["link"] == room["link"].replace(room["invite_key"], made["invite_key"])
    assert made["invite_key"] != room["invite_key"]
    assert (made["uses"], made["uses_left"], made["expires"], made["label"]) == (2, 2, 3600, "for bob")
    other = await make(relay, room)
    assert (other["uses"], other["uses_left"], other["expires"], other["label"]) == (None, None, None, "")
    shown = await listed(relay, room)
    assert [one["id"] for one in shown] == [made["id"], other["id"]]
    assert {key: shown[0][key] for key in ("uses", "uses_left", "label")} == {
        "uses": 2,
        "uses_left": 2,
        "label": "for bob",
    }
    assert 3590 <= shown[0]["expires"] <= 3600
    assert "invite_key" not in shown[0]
    by_name = await relay.request("GET", "/api/v1/tea/invites", room["owner_key"])
    assert len(json.loads(by_name.body)["invites"]) == 2
    assert (await make(relay, {**room, "id": "tea"}))["link"].split("#")[0] == room["link"].split("#")[0]


async def test_a_use_is_a_newcomer(relay):
    """Not a second tab, not coming back by session; and the room's own key stays as it was."""
    room = await relay.create()
    invite = await make(relay, room, uses=2)
    bob, came = await come(relay, room, invite)
    assert came == "joined"
    await come(relay, room, invite, session=bob.session)
    await bob.send("leave")
    await bob.closed()
    again, _ = await come(relay, room, invite, session=bob.session)
    assert again.id == bob.id
    assert (await listed(relay, room))[0]["uses_left"] == 1
    _, came = await come(relay, room, invite)
    assert came == "joined"
    assert await listed(relay, room) == []
    _, came = await come(relay, room, invite)
    assert came == "no_such_room"
    await relay.join(room, "by the room's key")


async def test_a_race(relay):
    """Of many who come at once by the last uses, no more get in."""
    room = await relay.create()
    invite = await make(relay, room, uses=3)
    came = await asyncio.gather(*(come(relay, room, invite) for _ in range(20)))
    assert sorted(reason for _, reason in came) == ["joined"] * 3 + ["no_such_room"] * 17


async def test_a_refused_join_uses_none(relay):
    room = await relay.create(max=1)
    invite = await make(relay, room, uses=1)
    ann = await relay.join(room, "ann")
    assert (await come(relay, room, invite))[1] == "room_full"
    await ann.send("leave")
    await ann.closed()
    owner = await relay.join(room, owner=True)
    await owner.send("edit", id="e", locked=True, max=5)
    await owner.until("ok", id="e")
    assert (await come(relay, room, invite))[1] == "locked"
    await owner.send("edit", id="f", locked=False)
    await owner.until("ok", id="f")
    assert (await listed(relay, room))[0]["uses_left"] == 1
    assert (await come(relay, room, invite))[1] == "joined"


async def test_it_shows_the_room_as_long_as_it_is_good(relay):
    """As the room's own invite key does; and it does no owner's work."""
    room = await relay.create()
    invite = await make(relay, room, uses=1)
    path = f"/api/v1/{room['id']}"
    assert (await relay.request("GET", path, invite["invite_key"])).code == 200
    assert (await relay.request("GET", f"{path}/users", invite["invite_key"])).code == 200
    for method, rest, body in (
        ("PATCH", "", {"max": 3}),
        ("DELETE", "", None),
        ("POST", "/invite", {}),
        ("POST", "/invites", {}),
        ("GET", "/invites", None),
        ("DELETE", f"/invites/{invite['id']}", None),
    ):
        problem(await relay.request(method, path + rest, invite["invite_key"], body), 403, "owner_only")
    await come(relay, room, invite)
    problem(await relay.request("GET", path, invite["invite_key"]), 404, "no_such_room")


async def test_revoked(relay):
    """Who came by it stays."""
    room = await relay.create()
    invite, other = await make(relay, room), await make(relay, room)
    bob, _ = await come(relay, room, invite)
    path = f"{PATH.format(**room)}/{invite['id']}"
    assert (await relay.request("DELETE", path, room["owner_key"])).code == 204
    problem(await relay.request("DELETE", path, room["owner_key"]), 404, "no_such_invite")
    assert (await come(relay, room, invite))[1] == "no_such_room"
    assert (await come(relay, room, other))[1] == "joined"
    await bob.say("1")
    await bob.until("message", id="1")


@pytest.mark.parametrize("ended", ["used up", "expired"])
async def test_revoking_one_that_has_ended(relay, ended):
    """Whether it was listed in between or not."""
    room = await relay.create()
    invite = await make(relay, room, **({"uses": 1} if ended == "used up" else {"expires": 1}))
    assert (await come(relay, room, invite))[1] == "joined"
    if ended == "expired":
        await asyncio.sleep(1.1)
    answer = await relay.request("DELETE", f"{PATH.format(**room)}/{invite['id']}", room["owner_key"])
    problem(answer, 404, "no_such_invite")


async def test_expired(relay):
    room = await relay.create()
    invite = await make(relay, room, expires=1)
    assert (await come(relay, room, invite))[1] == "joined"
    await asyncio.sleep(1.1)
    assert (await come(relay, room, invite))[1] == "no_such_room"
    assert await listed(relay, room) == []


async def test_a_renewed_key_leaves_them(relay):
    room = await relay.create()
    invite = await make(relay, room)
    await relay.request("POST", f"/api/v1/{room['id']}/invite", room["owner_key"], {})
    assert (await come(relay, room, invite))[1] == "joined"


async def test_a_ban_counts(relay):
    """An invite is no way round the ban of an address."""
    room = await relay.create()
    invite = await make(relay, room)
    owner, bob = await relay.join(room, owner=True), (await come(relay, room, invite))[0]
    await owner.send("kick", id="k", user=bob.id, ban=True)
    await owner.until("ok", id="k")
    assert (await come(relay, room, invite))[1] == "no_such_room"


@pytest.mark.parametrize(
    "body",
    [
        {"uses": 0}, {"uses": -1}, {"uses": 1001}, {"uses": 1.5}, {"uses": "2"}, {"uses": True},
        {"expires": 0}, {"expires": 86_401}, {"expires": -1}, {"label": "x" * 65}, {"label": None}, {"use": 1},
    ],
)  # fmt: skip
async def test_wrong_fields(relay, body):
    room = await relay.create()
    wrong = problem(await relay.request("POST", PATH.format(**room), room["owner_key"], body), 422, "invalid_fields")
    assert wrong["errors"][0]["field"] == next(iter(body))
    assert await listed(relay, room) == []


async def test_a_form_and_no_body(relay):
    """As everywhere in REST."""
    room = await relay.create()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    path = PATH.format(**room)
    made = await relay.request("POST", path, room["owner_key"], "uses=5&label=a%20b", headers=form)
    assert {name: json.loads(made.body)[name] for name in ("uses", "label")} == {"uses": 5, "label": "a b"}


async def test_number_is_bounded():
    async with relay_with(limits__owner_commands_per_s=0) as relay:
        room = await relay.create()
        for _ in range(100):
            last = await make(relay, room)
        path = PATH.format(**room)
        problem(await relay.request("POST", path, room["owner_key"], {}), 429, "too_many_invites")
        assert (await relay.request("DELETE", f"{path}/{last['id']}", room["owner_key"])).code == 204
        once = await make(relay, room, uses=1)
        problem(await relay.request("POST", path, room["owner_key"], {}), 429, "too_many_invites")
        assert (await come(relay, room, once))[1] == "joined"
        await make(relay, room)  # one that is used up does not count


async def test_making_them_has_a_rate():
    async with relay_with(limits__owner_commands_per_s=1 / 60) as relay:
        room = await relay.create()
        await make(relay, room)
        problem(await relay.request("POST", PATH.format(**room), room["owner_key"], {}), 429, "rate_limited")


@pytest.mark.parametrize("key", ["", "ri_AAAAAAAAAAAAAAAAAAAAAA", "x"])
async def test_without_a_key_of_the_room(relay, key):
    room = await relay.create()
    for reference in (room["id"], "00000000-0000-4000-8000-000000000000"):
        answer = await relay.request("GET", f"/api/v1/{reference}/invites", key)
        problem(answer, 404 if key else 401, "no_such_room" if key else "no_key")
