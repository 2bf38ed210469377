"""Keeping order in the page: moderators, removed messages, slow mode."""

from __future__ import annotations

import pytest
from cutter import heard
from playwright.async_api import expect

from relayd.client import Message, UserChanged, create, join


async def staff(visitors):
    """Owner, moderator and member, by their pages."""
    ann, bob, cem = [await visitors() for _ in range(3)]
    link = await ann.create()
    await bob.join(link, "bob")
    await cem.join(link, "cem")
    await expect(ann.page.locator("button.person")).to_have_count(3)
    await ann.person("bob", "Make a moderator")
    await ann.page.get_by_role("dialog").get_by_role("button", name="Make a moderator").click()
    await ann.hears("bob is a moderator now")
    await bob.hears("You are a moderator now")
    return ann, bob, cem


async def test_a_moderator_keeps_order(visitors):
    """Mutes, locks, removes a message, puts somebody out; and can do none of it to the owner."""
    ann, bob, cem = await staff(visitors)
    await expect(cem.page.locator("button.person").filter(has_text="bob")).to_contain_text("moderator")
    await bob.person("cem", "Mute")
    await expect(cem.page.locator(".closed")).to_be_visible()
    await bob.person("cem", "Let speak again")
    await expect(cem.composer).to_be_editable()
    await cem.say("a rude word")
    await bob.tool(bob.line("a rude word"), "Remove")
    await bob.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    for person in (ann, bob, cem):
        await person.hears("A moderator removed this message")
        await expect(person.line("a rude word")).to_have_count(0)
    await bob.menu("Lock the room")
    await expect(ann.page.locator(".bar")).to_contain_text("locked")
    await bob.menu("Unlock the room")
    await expect(ann.page.locator(".bar")).not_to_contain_text("locked")
    await bob.page.locator("button.person").filter(has_text="ann").first.click()
    await expect(bob.page.get_by_role("menuitem", name="Write privately")).to_be_visible()
    await expect(bob.page.get_by_role("menuitem", name="Put out")).to_have_count(0)
    await bob.page.keyboard.press("Escape")
    await bob.person("cem", "Put out")
    await bob.page.get_by_role("dialog").get_by_role("button", name="Put out").click()
    await expect(cem.page.get_by_role("alert").filter(has_text="put you out")).to_be_visible()
    await bob.page.reload()
    await expect(bob.composer).to_be_visible()
    await expect(bob.page.locator(".bar")).to_be_visible()
    await ann.person("bob", "Take moderation back")
    await bob.hears("You are no longer a moderator")
    await bob.page.get_by_role("button", name="Menu", exact=True).click()
    await expect(bob.page.get_by_role("menuitem", name="Leave")).to_be_visible()
    await expect(bob.page.get_by_role("menuitem", name="Lock the room")).to_have_count(0)


async def test_members_are_offered_none_of_it(visitors):
    ann, _, cem = await staff(visitors)
    await ann.say("hello")
    await cem.hears("hello")
    await cem.line("hello").hover()
    await expect(cem.line("hello").get_by_role("button", name="Reply")).to_be_visible()
    await expect(cem.line("hello").get_by_role("button", name="Remove")).to_have_count(0)
    await cem.page.locator("button.person").filter(has_text="bob").click()
    for name in ("Mute", "Put out", "Make a moderator", "Take moderation back"):
        await expect(cem.page.get_by_role("menuitem", name=name)).to_have_count(0)


async def test_slow_mode(visitors):
    """The owner turns it on; a member sees it, and what is sent too soon goes out when it may."""
    ann, bob = await visitors(), await visitors()
    link = await ann.create()
    await bob.join(link)
    await ann.menu("Run the room")
    dialog = ann.page.get_by_role("dialog")
    await dialog.get_by_label("Slow mode").select_option("5")
    await dialog.get_by_role("button", name="Save").click()
    await expect(bob.page.locator(".composer")).to_contain_text("Slow mode: one message every 5 sec")
    await expect(ann.page.locator(".composer").get_by_text("Slow mode")).to_be_hidden()
    await bob.say("first")
    await bob.say("second")
    await ann.hears("first")
    await expect(bob.line("second").get_by_role("img", name="Being sent")).to_be_visible()
    await ann.say("not slow")
    await ann.say("at all")
    await bob.hears("at all")
    await expect(ann.line("second")).to_be_visible(timeout=20_000)
    await expect(bob.line("second").get_by_role("img", name="Sent")).to_be_visible()


@pytest.mark.parametrize("sealed", [True, False])
async def test_page_and_python_client(server, visitors, sealed):
    """A moderator with one removes for the other, also from who was away meanwhile."""
    made = await create(server.base, sealed=sealed)
    bob = await visitors(base=server.base)
    async with join(made.link, "ann", owner=made.owner) as ann:
        await bob.join(made.link)
        await bob.say("from the page")
        message = await heard(ann, Message, 30)
        await ann.remove(message)
        await bob.hears("A moderator removed this message")
        await ann.promote(message.user)
        assert (await heard(ann, UserChanged, 30)).user.is_moderator
        await ann.say("from Python")
        await bob.tool(bob.line("from Python"), "Remove")
        await bob.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(bob.line("A moderator removed this message")).to_have_count(2)


@pytest.mark.parametrize("sealed", [True, False])
async def test_invites(visitors, sealed):
    """The owner makes a link for one person, sees it used, and revokes another."""
    ann, bob, cem = [await visitors() for _ in range(3)]
    await ann.create(**({} if sealed else {"Encrypt from end to end": False}))
    await ann.menu("Run the room")
    await ann.page.get_by_role("dialog").get_by_role("button", name="Invites").click()
    dialog = ann.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("No invites yet")
    links = []
    for label, uses in (("for bob", "1"), ("for all", "")):
        await dialog.get_by_label("For whom").fill(label)
        await dialog.get_by_label("How many people").fill(uses)
        await dialog.get_by_role("button", name="Create an invite").click()
        await expect(dialog.locator("li").filter(has_text=label)).to_be_visible()
        links.append(await dialog.locator(".made input").input_value())
    await expect(dialog.locator("li").filter(has_text="for bob")).to_contain_text("1 of 1 uses left")
    await bob.join(links[0])
    await cem.page.goto(links[0])
    await expect(cem.page.get_by_role("alert")).to_contain_text("This room is over, or the link is wrong")
    await dialog.get_by_role("button", name="Revoke for all").click()
    await expect(dialog).to_contain_text("No invites yet")
    await ann.page.keyboard.press("Escape")
    await bob.say("I am in")
    await ann.hears("I am in")
    await bob.page.reload()
    await bob.say("I am back, by no further use")
    await ann.hears("I am back, by no further use")
    await expect(bob.page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("sealed", [True, False])
async def test_the_lobby(visitors, sealed):
    """A newcomer waits, with a name; a moderator lets one in and turns another away; turned off, all come in."""
    ann, bob, cem, dee = [await visitors() for _ in range(4)]
    link = await ann.create(**({} if sealed else {"Encrypt from end to end": False}))
    await bob.join(link, "bob")
    await ann.person("bob", "Make a moderator")
    await ann.page.get_by_role("dialog").get_by_role("button", name="Make a moderator").click()
    await bob.hears("You are a moderator now")
    await ann.menu("Run the room")
    await ann.page.get_by_role("dialog").get_by_label("Newcomers wait").check()
    await ann.page.get_by_role("dialog").get_by_role("button", name="Save").click()
    await cem.knock(link, "cem")
    await expect(cem.page.get_by_role("button", name="Waiting until somebody lets you in")).to_be_visible()
    for person in (ann, bob):
        await expect(person.page.locator(".lobby")).to_contain_text("cem wants to come in")
    await dee.knock(link, "dee")
    await bob.page.get_by_role("button", name="Turn dee away").click()
    await expect(dee.page.get_by_role("alert")).to_contain_text("You were not let in")
    await bob.page.get_by_role("button", name="Let cem in").click()
    await expect(cem.composer).to_be_visible()
    await cem.say("thank you")
    await ann.hears("thank you")
    await expect(ann.page.locator(".lobby")).to_be_hidden()
    await cem.page.reload()
    await expect(cem.composer).to_be_visible()
    await dee.knock(link, "dee")
    await expect(ann.page.locator(".lobby")).to_contain_text("dee wants to come in")
    await ann.menu("Run the room")
    await ann.page.get_by_role("dialog").get_by_label("Newcomers wait").uncheck()
    await ann.page.get_by_role("dialog").get_by_role("button", name="Save").click()
    await expect(dee.composer).to_be_visible()
    await dee.say("at last")
    await ann.hears("at last")
