"""Health, and the page: addresses that ask for no key."""

import pytest

ROOM = "7f9c24e8-3b12-4fef-91e0-5b2f60f1a0aa"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health(relay, path):
    """A running server says that it lives and is ready."""
    response = await relay.request("GET", path)
    assert response.code == 200
    assert response.headers["Content-Type"] == "application/json"
    head = await relay.request("HEAD", path)
    assert (head.code, head.body) == (200, b"")


async def test_page(relay):
    """`/` and every `/<room_id>` show the same bytes, so that the page tells nothing of rooms."""
    room = await relay.create()
    answers = [await relay.request("GET", path) for path in ("/", f"/{room['id']}", f"/{ROOM}")]
    assert [answer.code for answer in answers] == [200] * 3
    assert len({answer.body for answer in answers}) == 1
    assert all(answer.headers["Content-Type"].startswith("text/html") for answer in answers)
    assert len({tuple((n, v) for n, v in answer.headers.get_all() if n != "Date") for answer in answers}) == 1


@pytest.mark.parametrize("path", [ROOM.upper(), f"{{{ROOM}}}", ROOM.replace("-", ""), f"{ROOM}/", f"{ROOM}x"])
async def test_room_ids_have_one_form(relay, path):
    """Only the canonical lower-case form is an address."""
    assert (await relay.request("GET", f"/{path}")).code == 404
