"""Who may create rooms: anyone, those with a key, nobody but admins."""

from __future__ import annotations

import json

import pytest
from conftest import problem, relay_with

from relayd.errors import SettingsError
from relayd.settings import load
from relayd.wire.ids import CREATE, INVITE, OWNER, digest_of, new_key


def key_of(kind, first=1):
    return new_key(kind, lambda size: bytes(range(first, first + size)))


KEY, OTHER = key_of(CREATE), key_of(CREATE, 2)
KEYED = {"rooms__create": "key", "rooms__create_keys": [digest_of(OTHER).hex(), digest_of(KEY).hex()]}


async def test_with_a_key():
    """Any of the keys, by the header that all of REST has; everything else about the room is as ever."""
    async with relay_with(**KEYED) as relay:
        for key in (KEY, OTHER):
            answer = await relay.request("POST", "/api/v1/room", key, {"max": 3})
            assert answer.code == 201
        room = json.loads(answer.body)
        await relay.join(room)
        assert (await relay.details(room))["max"] == 3


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", f"Basic {KEY}", KEY])
async def test_without_a_key(authorization):
    """401, and what to do about it; a key anywhere else does not count."""
    async with relay_with(**KEYED) as relay:
        headers = {} if authorization is None else {"Authorization": authorization}
        answer = await relay.request("POST", f"/api/v1/room?key={KEY}", headers=headers, body={})
        assert "create rooms" in problem(answer, 401, "no_key")["detail"]
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert (await relay.request("POST", "/api/v1/room", body={"key": KEY})).code in (401, 422)


WRONG = [key_of(CREATE, 3), key_of(INVITE), key_of(OWNER), KEY[:-1], KEY + "A", "x"]


@pytest.mark.parametrize("key", [*WRONG, KEY.upper(), digest_of(KEY).hex(), "é"])
async def test_with_a_wrong_key(key):
    """403, which repeats none of it. The digest, which the settings have, is no key."""
    async with relay_with(**KEYED) as relay:
        answer = await relay.request("POST", "/api/v1/room", key, {})
        told = problem(answer, 403, "not_permitted")
        assert key not in told["detail"] or key == "x"


async def test_nobody():
    """Not with a key either; rooms are looked at as ever."""
    async with relay_with(rooms__create="nobody", rooms__create_keys=KEYED["rooms__create_keys"]) as relay:
        for key in ("", KEY):
            assert (
                "admins"
                in problem(await relay.request("POST", "/api/v1/room", key, {}), 403, "not_permitted")["detail"]
            )
        problem(await relay.request("GET", "/api/v1/tea", key_of(INVITE)), 404)


async def test_a_refusal_comes_before_the_work():
    """No password is stretched for somebody who may create no room; fields are not looked at."""
    async with relay_with(**KEYED) as relay:
        for body in ({"password": "long enough"}, {"max": "x"}):
            problem(await relay.request("POST", "/api/v1/room", body=body), 401, "no_key")


async def test_anyone(relay):
    """A key that is not needed does no harm."""
    assert (await relay.request("POST", "/api/v1/room", KEY, {})).code == 201


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"rooms.create": "key"}, "is empty"),
        ({"rooms.create_keys": [KEY]}, "holds no digest"),
        ({"rooms.create_keys": [digest_of(KEY).hex().upper()]}, "holds no digest"),
    ],
)
def test_settings_that_cannot_be_meant(flags, reason):
    """Among them a key instead of its digest, which is not repeated."""
    with pytest.raises(SettingsError, match=reason) as wrong:
        load(None, {}, flags)
    assert KEY not in str(wrong.value)
