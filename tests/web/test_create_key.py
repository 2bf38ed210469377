"""A server on which not everyone may create rooms, as a person at the page meets it."""

from __future__ import annotations

import os

from conftest import relay_with

from relayd.wire.ids import CREATE, digest_of, new_key


async def test_a_key_is_asked_for(people):
    """Only by a server that wants one; a wrong one is told from a missing one, and what was filled in stays."""
    key = new_key(CREATE, os.urandom)
    async with relay_with(rooms__create="key", rooms__create_keys=[digest_of(key).hex()]) as relay:
        ann = await people(relay.base)
        await ann.open()
        await ann.fill("textbox", "Name of the room", "tea")
        assert await ann.find("textbox", "Key to create rooms") is None
        await ann.click("button", "Create room")
        await ann.sees("You need a key to create rooms on this server.")
        assert (await ann.wait("textbox", "Key to create rooms"))["isFocused"]
        await ann.type(new_key(CREATE, os.urandom))
        await ann.click("button", "Create room")
        await ann.sees("That key does not let you create rooms on this server.")
        await ann.fill("textbox", "Key to create rooms", f" {key} ")
        await ann.key("Enter")
        await ann.wait("textbox", "Message")
        assert "tea" in await ann.text()
        link = await ann.tab.evaluate("() => location.href")
        assert key not in link
        bob = await people(relay.base)
        await bob.join(link)


async def test_nobody_may(people):
    """Who has no way to create one is not asked for a key."""
    async with relay_with(rooms__create="nobody") as relay:
        ann = await people(relay.base)
        await ann.open()
        await ann.click("button", "Create room")
        await ann.sees("Only the admins of this server create rooms.")
        assert await ann.find("textbox", "Key to create rooms") is None
