"""What can be done about the author of a message who has left the room."""

from __future__ import annotations

import json
import re

from playwright.async_api import expect

from web.companions import companion
from web.person import query

BAN = "Do not let them back in"


async def test_the_owner_bans_an_author_who_has_left(visitors):
    """The owner can ban the author of any message, by pointer and by keyboard; the server decides."""
    ann = await visitors()
    link = await ann.create()
    async with companion(link, "bob") as bob:
        await bob.say("spam one")
        await bob.say("spam two")
        await ann.hears("spam two")
        user = bob.room.me.id
        await bob.room.leave()
    await ann.hears("bob left")
    line = ann.line("spam two").last
    await line.focus()
    await ann.page.keyboard.press("Tab")
    for _ in range(9):
        if await ann.page.evaluate("document.activeElement.getAttribute('aria-label')") == "About bob":
            break
        await ann.page.keyboard.press("Tab")
    await ann.page.keyboard.press("Enter")
    await expect(ann.page.get_by_role("menuitem")).to_have_text([BAN])
    await ann.page.keyboard.press("Enter")
    dialog = ann.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("bob has left the room. A ban keeps them from coming back")
    await dialog.get_by_role("button", name="Cancel").click()
    await ann.line("spam one").locator(".who").click()
    await ann.page.get_by_role("menuitem", name=BAN).click()
    await dialog.get_by_role("button", name=BAN).click()
    await expect(ann.page.locator(".toast")).to_have_text(re.compile("left the room|Saved"))
    kicks = [json.loads(frame) for frame in ann.said if '"kick"' in frame]
    assert [(kick["user"], kick["ban"]) for kick in kicks] == [(user, True)]


async def test_others_are_told_that_somebody_has_left(people):
    """Who is not the owner has no menu there, but is told why; at a message of somebody present there is one."""
    ann = await people()
    ann_link = await ann.create()
    async with companion(ann_link, "carol") as carol:
        bob = await people()
        await bob.join(ann_link)
        await carol.say("Hello")
        await carol.say("Bye")
        await bob.line_tool("Bye", "About carol")
        await bob.wait("menuitem", "Write privately")
        await bob.key("Escape")
        await carol.room.leave()
    await bob.sees("carol left")
    await bob.click("button", "carol", within=query("article", text="Hello"))
    await bob.sees("This person has left the room.")
