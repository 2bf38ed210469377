"""Chromium, Firefox and WebKit can each make a room, join it, send and receive."""

from __future__ import annotations

from web.person import query


async def test_two_people_chat(people):
    """Two people meet and talk, with clicks and keys as people make them."""
    ann, bob = await people(), await people()
    link = await ann.create()
    await bob.join(link)
    await ann.sees("bob joined")
    await ann.say("Grüße, **bob**")
    await bob.sees("Grüße, bob")
    await bob.line_tool("Grüße, bob", "Reply")
    await bob.say("Hello ann")
    await ann.wait("article", text="Hello ann")
    await ann.wait("img", "Sent", within=query("article", text="Grüße"))
