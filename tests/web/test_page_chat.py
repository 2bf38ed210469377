"""Two people and a link: they create, share, chat, lose the network, come back, part."""

from __future__ import annotations

import asyncio
import re

from cutter import cutter_before
from playwright.async_api import expect


async def test_two_people_chat(visitors):
    """From nothing to talking in two clicks each; what is said is never in a frame as it was typed."""
    ann, bob = await visitors(), await visitors(width=360, scheme="dark")
    await ann.page.goto(ann.base)
    await ann.page.get_by_role("button", name="Create room").click()
    link = await ann.page.get_by_label("Link to this room").input_value()
    assert link == ann.page.url
    assert re.fullmatch(r"http://[\d.:]+/[0-9a-f-]{36}#ri_[\w-]{22}\.1\.[\w-]{22}", link)
    await bob.page.goto(link)
    assert await bob.page.get_by_label("Your name").input_value() != ""
    await bob.page.get_by_role("button", name="Join").click()
    await ann.hears("joined")
    await ann.say("Marzipan, **anyone**?")
    await bob.hears("Marzipan, anyone?")
    await expect(bob.page.locator("article strong", has_text="anyone")).to_be_visible()
    await bob.say("Marmalade")
    await ann.hears("Marmalade")
    await expect(ann.line("Marzipan").get_by_role("img", name="Sent")).to_be_visible()
    await expect(ann.page.get_by_text("Your room is ready")).to_be_hidden()
    frames = "".join(ann.said + bob.said)
    assert len(ann.said) > 5
    assert not re.search("Marzipan|anyone|Marmalade", frames)


async def test_answers_reactions_corrections(visitors):
    """A reply leads to what it answers; reactions count; a text is put right, and taken back."""
    ann, bob = await visitors(), await visitors()
    await bob.join(await ann.create())
    await ann.say("Tea at five?")
    await bob.hears("Tea at five?")
    await bob.tool(bob.line("Tea at five?"), "Reply")
    await bob.say("Rather at six")
    await expect(ann.line("Rather at six").locator(".quote")).to_contain_text("Tea at five?")
    await bob.tool(bob.line("Tea at five?").first, "React")
    await bob.page.get_by_role("button", name="heart", exact=True).first.click()
    await ann.page.get_by_role("button", name="❤️ 1").click()
    await expect(bob.page.get_by_role("button", name="❤️ 2")).to_be_visible()
    await ann.composer.press("ArrowUp")
    await expect(ann.composer).to_have_value("Tea at five?")
    await ann.say("Tea at six?")
    await expect(bob.line("Tea at six?").first).to_contain_text("edited")
    await bob.tool(bob.line("Rather at six"), "Delete")
    await bob.page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    await ann.hears("Message deleted")
    await expect(ann.line("Rather at six")).to_have_count(0)


async def test_for_one_only(visitors):
    """A private message reaches one, says so on both sides, and is answered in private."""
    ann, bob, carol = [await visitors() for _ in range(3)]
    link = await ann.create()
    await bob.join(link)
    await carol.join(link, "carol")
    await ann.person("bob", "Write privately")
    await ann.say("A surprise for carol")
    await expect(bob.line("A surprise")).to_contain_text("only for you")
    await expect(ann.line("A surprise")).to_contain_text("only for bob")
    await bob.tool(bob.line("A surprise"), "Reply")
    await bob.say("I keep silent")
    await ann.hears("I keep silent")
    await bob.composer.press("Escape")
    await bob.say("Hello carol")
    await carol.hears("Hello carol")
    await expect(carol.line("surprise")).to_have_count(0)
    await expect(carol.line("silent")).to_have_count(0)


async def test_typing_and_reading(visitors):
    """One sees that another writes, and how far they have read; a name that is typed is offered and stands out."""
    ann, bob = await visitors(), await visitors()
    await bob.join(await ann.create())
    await ann.hears("bob joined")
    await bob.composer.press_sequentially("Hm")
    await expect(ann.page.get_by_text("bob is writing …")).to_be_visible()
    await bob.composer.fill("@an")
    await bob.composer.press("End")
    await bob.composer.press_sequentially("n")
    await expect(bob.page.get_by_role("option", name="ann")).to_be_visible()
    await bob.composer.press("Enter")
    await expect(bob.composer).to_have_value("@ann ")
    await bob.composer.press_sequentially("look: :otter:")
    await bob.composer.press("Escape")
    await bob.composer.press("Enter")
    await expect(ann.line("look: 🦦").locator(".mention")).to_have_text("@ann")
    await expect(ann.line("look:")).to_have_class(re.compile("mentions"))
    await bob.page.bring_to_front()
    await ann.say("Seen?")
    await expect(ann.line("Seen?").get_by_role("img", name="Seen by bob")).to_be_visible()


async def test_network_lost_and_back(server, visitors):
    """Who loses the network is told so, goes on writing, and misses nothing; nothing is said twice."""
    ann = await visitors()
    async with cutter_before(server.base) as cutter:
        bob = await visitors(base=cutter.base)
        link = await ann.create()
        await bob.join(link.replace(server.base, cutter.base))
        await ann.say("before")
        await bob.hears("before")
        cutter.refusing = True
        cutter.cut()
        await expect(bob.page.locator(".banner")).to_be_visible()
        await ann.say("meanwhile, ann")
        await bob.say("meanwhile, bob")
        await expect(bob.line("meanwhile, bob").get_by_role("img", name="Being sent")).to_be_visible()
        await bob.page.get_by_role("button", name="Try now").click()
        await expect(bob.page.locator(".banner")).to_be_visible()
        cutter.refusing = False
        await bob.page.evaluate("dispatchEvent(new Event('online'))")  # or else it is tried again by itself, later
        await bob.hears("meanwhile, ann")
        await ann.hears("meanwhile, bob")
        await expect(bob.page.locator(".banner")).to_be_hidden()
        for person in (ann, bob):
            for text in ("before", "meanwhile, ann", "meanwhile, bob"):
                await expect(person.line(text)).to_have_count(1)


async def test_put_out(visitors):
    """Who is put out sees why; the others get new keys and a new link, and the old link is dead."""
    ann, bob, carol = [await visitors() for _ in range(3)]
    link = await ann.create()
    await bob.join(link)
    await carol.join(link, "carol")
    await expect(ann.page.locator("button.person").filter(has_text="carol")).to_be_visible()
    await ann.person("bob", "Put out")
    await ann.page.get_by_role("dialog").get_by_role("button", name="Put out").click()
    await expect(bob.page.get_by_role("alert").filter(has_text="put you out")).to_be_visible()
    await expect(bob.composer).to_be_hidden()
    await ann.hears("new keys and a new link")
    await carol.hears("new keys and a new link")
    await expect(ann.page).not_to_have_url(link)
    await carol.page.get_by_role("button", name="Share the link").first.click()
    await expect(carol.page.get_by_role("dialog")).to_contain_text("Ask the owner for the new one")
    await carol.page.keyboard.press("Escape")
    await carol.say("Are we alone?")
    await ann.hears("Are we alone?")
    dave = await visitors()
    await dave.page.goto(link)
    await expect(dave.page.get_by_role("alert")).to_contain_text("This room is over, or the link is wrong")
    await (await visitors()).join(ann.page.url, "eve")


async def test_one_person_many_tabs(visitors):
    """A second tab and a reload are the same person, without being asked anything."""
    ann, bob = await visitors(), await visitors()
    link = await ann.create()
    await bob.join(link)
    first = bob.page
    await bob.tab()
    await bob.page.goto(link)
    await expect(bob.composer).to_be_visible()
    await bob.say("from the second tab")
    await expect(first.locator("article.mine")).to_contain_text("from the second tab")
    await bob.page.reload()
    await expect(bob.composer).to_be_visible()
    await expect(ann.page.get_by_role("heading", name="2 people here")).to_be_visible()


async def test_run_the_room(server, visitors):
    """Rename, lock, mute, new link, end: each is seen by the others at once."""
    ann, bob = await visitors(), await visitors()
    link = await ann.create(name="Kitchen")
    await bob.join(link)
    await ann.menu("Run the room")
    dialog = ann.page.get_by_role("dialog")
    await dialog.get_by_label("Name of the room").fill("Cellar")
    await dialog.get_by_label("Most people at once").fill("7")
    await dialog.get_by_label("Lock the door").check()
    await dialog.get_by_role("button", name="Save").click()
    await expect(bob.page.get_by_role("heading", name="Cellar")).to_be_visible()
    await expect(bob.page.locator(".bar .about")).to_contain_text("locked")
    carol = await visitors()
    await carol.page.goto(link)
    await carol.page.get_by_role("button", name="Join").click()
    await expect(carol.page.get_by_role("alert").filter(has_text="locked")).to_be_visible()
    await ann.person("bob", "Mute")
    await expect(bob.page.get_by_text("you can read, but not write")).to_be_visible()
    await ann.person("bob", "Let speak again")
    await bob.say("Thank you")
    await ann.hears("Thank you")
    await ann.menu("Run the room")
    await dialog.get_by_role("button", name="New link").click()
    await ann.page.get_by_role("dialog").last.get_by_role("button", name="New link").click()
    await expect(ann.page).not_to_have_url(link)
    await ann.menu("Run the room")
    await dialog.get_by_role("button", name="End the room").click()
    await ann.page.get_by_role("dialog").last.get_by_role("button", name="End the room").click()
    for person in (ann, bob):
        await expect(person.page.get_by_role("alert").filter(has_text="The room was ended")).to_be_visible()
    async with asyncio.timeout(30):
        await ann.page.get_by_role("button", name="To the start page").click()
    await expect(ann.page.get_by_role("button", name="Create room")).to_be_visible()


async def test_unread_in_the_title(visitors):
    """What is said while nobody looks is counted in the title, and no more once it is seen."""
    ann, bob = await visitors(), await visitors()
    await bob.join(await ann.create(name="Attic"))
    await expect(bob.page).to_have_title("Attic \u2013 relayd")
    other = bob.page
    # Playwright has every page believe that it is in front; this one no more.
    focus = await bob.context.new_cdp_session(other)
    await focus.send("Emulation.setFocusEmulationEnabled", {"enabled": False})
    await bob.tab()
    await ann.say("one")
    await ann.say("two")
    await expect(other).to_have_title("(2) Attic \u2013 relayd")
    await other.bring_to_front()
    await expect(other).to_have_title("Attic \u2013 relayd")
