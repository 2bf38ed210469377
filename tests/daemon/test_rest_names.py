"""Names of rooms: what is one, when two are the same, how one is found by it."""

import json
from urllib.parse import quote

import pytest
from conftest import problem


async def found(relay, room, name):
    """The answer of REST for a room's name."""
    return await relay.request("GET", f"/api/v1/{quote(name, safe='')}", room["invite_key"])


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "7",
        "x" * 64,
        "a b-c_d.e",
        "Größe",
        "日本語の部屋",
        "שלום",
        "हिन्दी",
        "Tiếng Việt",
        "٣٤",
        "ß",
        "room1",
        "ri_looks-like-a-key",
    ],
)
async def test_allowed_names(relay, name):
    """Letters and digits of any script, space and -_. ; the room is found by its percent-encoded name."""
    room = await relay.create(name=name)
    assert room["name"] == name
    response = await found(relay, room, name)
    assert response.code == 200, response.body
    assert json.loads(response.body)["id"] == room["id"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  tea \t\n", "tea"),
        ("e\u0301te\u0301", "été"),
        ("a\u030a" * 64, "å" * 64),
        ("\u00a0tea\u3000", "tea"),
        ("  inner  space ", "inner  space"),
    ],
)
async def test_names_are_normalised(relay, given, kept):
    """NFC, and no space around; 64 characters are counted after that."""
    assert (await relay.create(name=given))["name"] == kept


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "x" * 65,
        "x" * 100_000,
        "a/b",
        "a#b",
        "a?b",
        "a%b",
        "a+b",
        "a:b",
        "a@b",
        "<b>",
        'a"b',
        "a\\b",
        "a\x00b",
        "a\nb",
        "a\tb",
        "a\x7fb",
        "a\u0085b",
        "a\u00a0b",
        "a\u2028b",
        "a\u200bb",
        "a\u200db",
        "a\u202eb",
        "a\u2066b",
        "a\ufeffb",
        "a\ufffdb",
        "a\ue000b",
        "\U000e0041a",
        "tea \U0001f375",
        ".",
        "..",
        "\u0301a",
        "z" + "\u0334\u0335\u0336\u0337\u0338\u0321" * 8,
        5,
        True,
        ["tea"],
        {},
    ],
    ids=repr,
)
async def test_refused_names(relay, name):
    """Controls, what cannot be seen, what turns text around, what has a meaning in URLs: none is a name."""
    response = await relay.request("POST", "/api/v1/room", body={"name": name})
    if len(str(name)) > 65_536:
        problem(response, 413)
        return
    told = problem(response, 422, "invalid_fields")
    assert [wrong["field"] for wrong in told["errors"]] == ["name"]


@pytest.mark.parametrize("text", [r'"\ud800"', r'"a\udc00b"', r'"\udbff\udbff"'])
async def test_lone_surrogates(relay, text):
    """Half a character is no text: refused, whichever of the two errors names it."""
    response = await relay.request(
        "POST", "/api/v1/room", body=f'{{"name": {text}}}', headers={"Content-Type": "application/json"}
    )
    assert response.code in (400, 422)
    problem(response, response.code)


@pytest.mark.parametrize("name", ["room", "ROOM", " Room ", "openapi.json", "OpenAPI.json"])
async def test_reserved_words(relay, name):
    """A word that the API uses itself would hide the room."""
    told = problem(await relay.request("POST", "/api/v1/room", body={"name": name}), 422)
    assert [wrong["field"] for wrong in told["errors"]] == ["name"]


@pytest.mark.parametrize(
    "name",
    [
        "7f9c24e8-3b12-4fef-91e0-5b2f60f1a0aa",
        "7F9C24E8-3B12-4FEF-91E0-5B2F60F1A0AA",
        "00000000-0000-0000-0000-000000000000",
    ],
)
async def test_uuid_is_no_name(relay, name):
    """What reads as a room id can be no room's name."""
    told = problem(await relay.request("POST", "/api/v1/room", body={"name": name}), 422)
    assert [wrong["field"] for wrong in told["errors"]] == ["name"]


@pytest.mark.parametrize(
    ("first", "second"),
    [("Tea", "tEA"), ("été", "E\u0301TE\u0301"), ("Straße", "STRASSE"), ("ΌΣΟΣ", "όσος"), ("tea", " tea ")],
)
async def test_names_are_unique_ignoring_case(relay, first, second):
    """Two names that differ in case or normal form only are one."""
    room = await relay.create(name=first)
    problem(await relay.request("POST", "/api/v1/room", body={"name": second}), 409, "name_taken")
    assert json.loads((await found(relay, room, second.strip())).body)["id"] == room["id"]


async def test_name_is_free_again(relay):
    """Names are unique among living rooms only."""
    room = await relay.create(name="tea")
    await relay.request("DELETE", f"/api/v1/{room['id']}", room["owner_key"])
    again = await relay.create(name="Tea")
    assert again["id"] != room["id"]
    problem(await found(relay, room, "tea"), 404)


@pytest.mark.parametrize(
    "path", ["%00", "a%2fb", "%2e%2e", "%", "%zz", "x" * 3000, "%F0%9F%8D%B5", "%ff%fe", "%ed%a0%80"]
)
async def test_addresses_that_are_no_name(relay, path):
    """Whatever stands where a room should is a room that is not there, or cannot be read: bytes that are no UTF-8."""
    response = await relay.request("GET", f"/api/v1/{path}", "ri_AAAAAAAAAAAAAAAAAAAAAA")
    problem(response, 400 if path in ("%ff%fe", "%ed%a0%80") else 404)
