"""Who may come to the door at all: pages of other sites, old handshakes, floods of passwords, IPv6 neighbours."""

from __future__ import annotations

import json

from relayd.rooms.addresses import neighbourhood
from tests.conftest import relay_with


async def test_a_foreign_page_cannot_make_rooms(relay):
    """A form on another site may be posted here by any browser; it is refused, the own page's is not."""
    foreign = await relay.request("POST", "/api/v1/room", headers={"Origin": "https://evil.example"}, body="")
    assert (foreign.code, json.loads(foreign.body)["code"]) == (403, "wrong_origin")
    own = await relay.request("POST", "/api/v1/room", headers={"Origin": relay.base}, body="")
    assert own.code == 201


async def test_an_old_handshake_is_told_the_version(relay):
    """RFC 6455, section 4.4: the answer to another version says which one is spoken."""
    room = await relay.create()
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "8",
    }
    answer = await relay.request("GET", f"/{room['id']}", headers=headers)
    assert (answer.code, answer.headers["Sec-WebSocket-Version"]) == (426, "13")


async def test_passwords_cost_their_sender():
    """Deriving one takes a core for a while, so an address may ask for so many a minute, wanted or not."""
    async with relay_with(limits__proof_rate=2) as relay:
        codes = [(await relay.request("POST", "/api/v1/room", body={"password": "pw"})).code for _ in range(3)]
        assert codes == [201, 201, 429]
        await relay.create()


async def test_a_wrong_owners_command_is_named(relay):
    """The error says which command it was, though the command could not be read."""
    room = await relay.create()
    ann = await relay.join(room, "ann", owner=True)
    await ann.send("edit", id="e1", max=0)
    assert (await ann.until("error"))["id"] == "e1"


async def test_both_wrong_settings_are_named_in_full(relay):
    """Each with its path, in the sentence as in the list."""
    answer = await relay.request("POST", "/api/v1/room", body={"settings": {"resum": 3, "resume": 90}})
    problem = json.loads(answer.body)
    assert [error["field"] for error in problem["errors"]] == ["settings.resum", "settings.resume"]
    assert "; settings.resume:" in problem["detail"]


def test_ipv6_neighbours_are_one_address():
    """A subscriber has 2^64 addresses; IPv4 and Unix peers stand for themselves."""
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff") != neighbourhood("2001:db8:0:1::1")
    assert [neighbourhood(one) for one in ("192.0.2.1", "unix:", "odd:text")] == ["192.0.2.1", "unix:", "odd:text"]
