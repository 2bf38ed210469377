"""Making sealed rooms: what may be given, what is shown of it, and that plain passwords block nobody."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
import unicodedata

import msgspec
import pytest
from tornado.httpclient import AsyncHTTPClient

from relayd.client import join
from relayd.client.sealing import RoomKeys, parse_fragment, parse_link, unlock
from relayd.wire.sealing import PublicAccess, access_of, derive_access, derive_epoch, derive_password_key
from relayd.wire.sealing_text import decode_base64url, encode_base64url
from tests.conftest import problem, relay_with
from tests.sealed.sealed_people import Person, make_room, plain

ACCESS = {
    "suite": 1,
    "salt": encode_base64url(b"s" * 16),
    "owner": encode_base64url(b"o" * 32),
    "verifier": "ab" * 32,
    "check": encode_base64url(b"c" * 16),
    "password": False,
}


def without(name: str) -> dict:
    return {key: value for key, value in ACCESS.items() if key != name}


async def unlocked(relay, created: dict, password: str) -> RoomKeys:
    """The keys of somebody who has the link of a room made with a plain password."""
    details = await relay.details(created)
    return unlock(
        parse_fragment(created["link"].partition("#")[2]), msgspec.convert(details["access"], PublicAccess), password
    )


async def test_what_is_shown_of_access(relay):
    """Details show salt, owner and epoch, and neither verifier nor check; who has joined sees the check, too."""
    room = await make_room(relay)
    access = plain(room.made.access)
    details = await relay.details(room.created)
    public = {"suite": 1, "salt": access["salt"], "owner": access["owner"], "password": False, "epoch": 0}
    assert details["access"] == public
    assert (details["sealed"], details["protected"]) == (True, False)
    assert "." not in room.created["link"].partition("#")[2]
    owner = await Person(relay, room).join(owner=True)
    assert owner.peer.joined["room"]["access"] == public | {"check": access["check"]}
    assert "verifier" not in json.dumps(owner.peer.joined)
    await owner.peer.send("edit", id="e", max=7)
    updated = await owner.peer.until("room", event="updated")
    assert updated["room"]["access"] == public


async def test_an_open_room_has_no_access(relay):
    """Without password and access a room is open."""
    room = await relay.create()
    details = await relay.details(room)
    assert (details["sealed"], details["protected"], details["access"]) == (False, False, None)
    assert room["link"].endswith("#" + room["invite_key"])


async def test_a_plain_password_seals_the_room(relay):
    """Joining takes its link, which ends in a secret that the server drew, and the password."""
    room = await relay.create(password="correct horse")
    assert re.search(rf"#{room['invite_key']}\.1p\.[\w-]{{22}}$", room["link"])
    details = await relay.details(room)
    assert (details["sealed"], details["protected"]) == (True, True)
    assert "owner" not in details["access"]
    assert details["access"]["secret"] is True
    keys = await unlocked(relay, room, "correct horse")
    peer = await relay.connect(room["id"])
    await peer.send("join", key=room["invite_key"], proof=keys.proof_text)
    joined = await peer.recv()
    keys.confirm(msgspec.convert(joined["room"]["access"], PublicAccess))
    wrong = await unlocked(relay, room, "correct horse ")
    other = await relay.connect(room["id"])
    await other.send("join", key=room["invite_key"], proof=wrong.proof_text)
    assert await other.closed() == (4003, "forbidden")


async def test_the_password_alone_opens_nothing(relay):
    """A proof derived from the password without the link secret is refused: what the server keeps fits no password."""
    room = await relay.create(password="correct horse")
    access = msgspec.convert((await relay.details(room))["access"], PublicAccess)
    password_key = derive_password_key("correct horse", decode_base64url(access.salt))
    alone = derive_epoch(decode_base64url(access.salt), 0, password_key=password_key, link_secret=None)
    peer = await relay.connect(room["id"])
    await peer.send("join", key=room["invite_key"], proof=alone.proof_text)
    assert await peer.closed() == (4003, "forbidden")


async def test_a_room_of_an_earlier_version_opens_with_the_password_alone(relay):
    """Rooms whose keys have no link secret, with links that end in .1p, work as before."""
    salt = os.urandom(16)
    keys = derive_epoch(salt, 0, password_key=derive_password_key("old", salt), link_secret=None)
    room = await relay.create(access=msgspec.to_builtins(access_of(keys, owner=None, password=True)))
    assert "secret" not in (await relay.details(room))["access"]
    async with join(room["link"] + ".1p", "ann", password="old") as ann:
        assert ann.sealed


@pytest.mark.parametrize(
    ("made", "typed"),
    [
        (unicodedata.normalize("NFD", "Café"), unicodedata.normalize("NFC", "Café")),
        ("🐙🔑👩‍👩‍👧", "🐙🔑👩‍👩‍👧"),
        (" spaces stay ", " spaces stay "),
        ("p" * 1024, "p" * 1024),
    ],
)
async def test_passwords_of_all_kinds(relay, made, typed):
    """A password is normalised and never trimmed."""
    room = await relay.create(password=made)
    keys = await unlocked(relay, room, typed)
    peer = await relay.connect(room["id"])
    await peer.send("join", key=room["invite_key"], proof=keys.proof_text)
    assert (await peer.recv())["type"] == "joined"


@pytest.mark.parametrize("password", ["", "p" * 1025, "p" * 10_240, "é" * 513, 5, ["secret"], True])
async def test_what_is_no_password(relay, password):
    """422 names the field and repeats nothing of it."""
    response = await relay.request("POST", "/api/v1/room", body={"password": password})
    told = problem(response, 422, "invalid_fields")
    assert [wrong["field"] for wrong in told["errors"]] == ["password"]
    assert b"ppp" not in response.body
    assert b"secret" not in response.body


async def test_half_a_character_is_no_password(relay):
    """A lone surrogate is no text."""
    response = await relay.request(
        "POST", "/api/v1/room", body='{"password":"\\ud800x"}', headers={"Content-Type": "application/json"}
    )
    problem(response, 400 if response.code == 400 else 422)


async def test_not_both(relay):
    """A password and an access part would be two secrets for one room."""
    response = await relay.request("POST", "/api/v1/room", body={"password": "hunter2-canary", "access": ACCESS})
    told = problem(response, 422, "invalid_fields")
    assert sorted(wrong["field"] for wrong in told["errors"]) == ["access", "password"]
    assert b"canary" not in response.body


@pytest.mark.parametrize(
    ("access", "field"),
    [
        (ACCESS | {"suite": 2}, "access.suite"),
        (ACCESS | {"suite": "1"}, "access.suite"),
        (ACCESS | {"salt": ""}, "access.salt"),
        (ACCESS | {"salt": encode_base64url(b"canary" * 1_700)}, "access.salt"),
        (ACCESS | {"salt": encode_base64url(b"canary" * 2)}, "access.salt"),
        (ACCESS | {"salt": ACCESS["salt"][:-1]}, "access.salt"),
        (ACCESS | {"salt": ACCESS["salt"] + "=="}, "access.salt"),
        (ACCESS | {"salt": ACCESS["salt"][:-1] + "x"}, "access.salt"),
        (ACCESS | {"salt": ACCESS["salt"] + "\n"}, "access.salt"),
        (ACCESS | {"owner": encode_base64url(b"o" * 31)}, "access.owner"),
        (ACCESS | {"verifier": "AB" * 32}, "access.verifier"),
        (ACCESS | {"verifier": "ab" * 31}, "access.verifier"),
        (ACCESS | {"check": encode_base64url(b"c" * 17)}, "access.check"),
        (ACCESS | {"password": "yes"}, "access.password"),
        (ACCESS | {"epoch": 3}, "access.epoch"),
        (without("salt"), "access.salt"),
        (without("verifier"), "access.verifier"),
        (without("check"), "access.check"),
        (without("password"), "access.password"),
        ("canary", "access"),
        ([], "access"),
    ],
)
async def test_what_is_no_access(relay, access, field):
    """422 names the field; nothing of what came is repeated, and no room is made."""
    response = await relay.request("POST", "/api/v1/room", body={"name": "never made", "access": access})
    told = problem(response, 422, "invalid_fields")
    assert [wrong["field"] for wrong in told["errors"]] == [field]
    assert b"canary" not in response.body
    assert encode_base64url(b"canary")[:6].encode() not in response.body
    await relay.create(name="never made")


async def test_forms_make_sealed_rooms(relay):
    """A form's fields serve as well."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    response = await relay.request("POST", "/api/v1/room", body="password=open+sesame", headers=dict(form))
    assert parse_link(json.loads(response.body)["link"]).link.secret is not None
    fields = "&".join(f"access.{name}={str(value).lower()}" for name, value in ACCESS.items() if name != "salt")
    response = await relay.request(
        "POST", "/api/v1/room", body=f"{fields}&access.salt={ACCESS['salt']}", headers=dict(form)
    )
    assert (await relay.details(json.loads(response.body)))["access"]["salt"] == ACCESS["salt"]


async def test_born_so(relay):
    """Neither an open nor a sealed room can be changed into the other, nor get another password."""
    for room in (await relay.create(), (await make_room(relay)).created):
        for fields in ({"password": "x"}, {"access": ACCESS}, {"access": None}, {"sealed": False}):
            path, key = f"/api/v1/{room['id']}", room["owner_key"]
            told = problem(await relay.request("PATCH", path, key, body=fields), 422, "invalid_fields")
            assert [wrong["field"] for wrong in told["errors"]] == list(fields)


async def test_many_passwords_block_nobody(relay):
    """Of too many at once some are told to come back, and meanwhile everything else is answered at once."""
    client = AsyncHTTPClient(force_instance=True, max_clients=24)
    headers, url = {"Content-Type": "application/json"}, relay.base + "/api/v1/room"
    making = [
        asyncio.ensure_future(
            client.fetch(url, method="POST", headers=headers, body=f'{{"password":"p{n}"}}', raise_error=False)
        )
        for n in range(24)
    ]
    await asyncio.sleep(0.1)
    slowest = 0.0
    while not all(task.done() for task in making):
        started = time.perf_counter()
        assert (await relay.request("GET", "/healthz")).code == 200
        slowest = max(slowest, time.perf_counter() - started)
        await asyncio.sleep(0.02)
    answers = [task.result() for task in making]
    assert sorted({answer.code for answer in answers}) == [201, 503]
    refused = [answer for answer in answers if answer.code == 503]
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert {problem(answer, 503)["code"] for answer in refused} == {"overloaded"}
    assert slowest < 1.0  # 18 derivations on the loop would hold it up for 4 s and more
    client.close()
    assert (await relay.request("POST", "/api/v1/room", body={"password": "later"})).code == 201


def test_derived_access_is_random():
    """Two rooms with one password have nothing in common."""
    (one, secret), (other, other_secret) = derive_access("same"), derive_access("same")
    assert {one.salt, one.verifier, one.check}.isdisjoint({other.salt, other.verifier, other.check})
    assert secret != other_secret


async def test_admins_make_sealed_rooms(tmp_path):
    """The control API takes a password and an access part as REST does."""
    path = str(tmp_path / "control.sock")
    async with relay_with(control=path) as relay:
        made = await control(path, {"password": "open sesame"})
        assert parse_link(made["link"]).link.secret is not None
        keys = await unlocked(relay, made, "open sesame")
        peer = await relay.connect(made["id"])
        await peer.send("join", key=made["invite_key"], proof=keys.proof_text)
        await peer.until("joined")
        assert (await relay.details(await control(path, {"access": ACCESS})))["sealed"] is True
        refused = await control(path, {"password": ""})
        assert [wrong["field"] for wrong in refused["errors"]] == ["password"]


async def control(path: str, body: dict) -> dict:
    """Asks the control API for a room."""
    reader, writer = await asyncio.open_unix_connection(path)
    text = json.dumps(body)
    head = "POST /v1/rooms HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return json.loads(answer.partition(b"\r\n\r\n")[2])
