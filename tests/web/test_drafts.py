"""Drafts survive edits, other conversations and other languages, and are not lost without a question."""

from __future__ import annotations

from web.companions import companion
from web.test_private_messages import (
    FIELD,
    Room,
    edit_and_escape,
    edit_and_send,
    is_to_bob,
    language_and_back,
    only_bob_receives,
    room_of_three,
)

# The key that ends the composition of a word, as Safari sends it: after `compositionend`, with key code 229.
COMPOSED = """(field, key) => {
  field.dispatchEvent(new CompositionEvent("compositionend", { data: "テスト", bubbles: true }));
  field.dispatchEvent(new KeyboardEvent("keydown", { key, keyCode: 229, bubbles: true, cancelable: true }));
}"""
ASKS = """() => {
  const leaving = new Event("beforeunload", { cancelable: true });
  return !dispatchEvent(leaving) || leaving.returnValue !== true;
}"""


async def test_drafts_stay_apart(people):
    """Each conversation has its own draft, which survives edits, another language and other conversations."""
    async with room_of_three(people) as room:
        ann = room.ann
        await ann.write("half a sent")
        for detour in (edit_and_escape, edit_and_send, language_and_back):
            await detour(ann)
            await is_to_bob(ann)
            assert await ann.message() == "half a sent"
        await ann.click("button", "Write to everyone")
        assert await ann.message() == ""
        assert "only for bob" not in await ann.text()
        await ann.write("for all")
        await ann.about_person("carol", "Write privately")
        assert await ann.message() == ""
        await ann.about_person("bob", "Write privately")
        assert await ann.message() == "half a sent"
        await ann.write("ence")
        await ann.key("Enter")
        await only_bob_receives(room, "half a sentence")
        await ann.click("button", "Write to everyone")
        assert await ann.message() == "for all"
        await ann.key("Enter")
        assert (await room.carol.receives("for all")).to is None


async def test_escape_never_drops_a_private_draft(people):
    """Escape leaves a private conversation only if the draft is empty and there is nothing else to cancel."""
    async with room_of_three(people) as room:
        await room.ann.write("a secret")
        await room.ann.key("Escape")
        await is_to_bob(room.ann)
        await room.ann.key("Enter")
        await only_bob_receives(room, "a secret")
        await room.ann.key("Escape")
        await room.ann.sees("You are writing to everyone")
        await room.ann.say("for all")
        assert (await room.carol.receives("for all")).to is None


async def test_muted_with_a_draft(people):
    """A muted user can still read the draft and its recipient, and can send it once unmuted."""
    ann, dan = await people(), await people()
    link = await ann.create()
    await dan.join(link, "dan")
    async with companion(link, "bob") as bob, companion(link, "carol") as carol:
        await dan.wait("listitem", text="bob")
        await dan.about_person("bob", "Write privately")
        await dan.write("a secret")
        await ann.about_person("dan", "Mute")
        await dan.sees("muted you")
        await is_to_bob(dan)
        assert await dan.message() == "a secret"
        await dan.key("Enter")
        await ann.about_person("dan", "Let speak again")
        await dan.wait("button", "=Send")
        assert await dan.message() == "a secret"
        await dan.click("button", "=Send")
        await only_bob_receives(Room(dan, bob, carol), "a secret")


async def test_the_room_ends_with_a_draft(people):
    """Unsent text stays readable after the room has ended."""
    ann, dan = await people(), await people()
    await dan.join(await ann.create(), "dan")
    await dan.write("long and unsent")
    await ann.menu("Run the room")
    await ann.click("button", "=End the room")
    await ann.click("button", "=End the room")
    await dan.wait("alert")
    assert await dan.message() == "long and unsent"
    await dan.key("Enter")
    await ann.wait("alert")
    assert await ann.find("textbox", "Message") is None


async def test_a_draft_and_a_reload(people):
    """The browser asks before a reload loses a draft; a lost draft does not come back without its recipient."""
    async with room_of_three(people) as room:
        assert not await room.ann.tab.evaluate(ASKS)
        await room.ann.write("a secret")
        assert await room.ann.tab.evaluate(ASKS)
        await room.ann.tab.reload()
        await room.ann.wait("textbox", "Message")
        assert await room.ann.message() == ""
        await room.ann.say("sentinel")
        await room.carol.receives("sentinel")
        assert "a secret" not in room.carol.bodies


async def test_a_draft_and_back(people):
    """Going back to the start page and forward again keeps the draft with its recipient."""
    async with room_of_three(people) as room:
        await room.ann.write("a secret")
        await room.ann.tab.evaluate("() => history.back()")
        await room.ann.wait("button", "Create room")
        await room.ann.tab.evaluate("() => history.forward()")
        await is_to_bob(room.ann)
        assert await room.ann.message() == "a secret"


async def test_words_that_are_composed(people):
    """Enter and Escape that end the composition of a word neither send nor cancel anything."""
    async with room_of_three(people) as room:
        await room.ann.write("テスト")
        await room.ann.on(FIELD, COMPOSED, "Enter")
        assert await room.ann.message() == "テスト"
        await room.ann.line_tool("hello everyone", "Edit")
        await room.ann.on(FIELD, COMPOSED, "Escape")
        assert await room.ann.message() == "hello everyone"
        await room.ann.key("Escape")
        await room.ann.key("Enter")
        await only_bob_receives(room, "テスト")


async def test_the_first_page_keeps_what_was_typed(people):
    """Another language does not clear the fields of the first page."""
    ann = await people()
    await ann.open()
    await ann.click("button", "More options")
    fields = {
        "Name of the room": "tea party",
        "Your name": "zoe",
        "=Password": "hunter2",
        "Most people": "7",
        "Got a link": "x",
    }
    roles = {"Most people": "spinbutton"}
    for name, text in fields.items():
        await ann.fill(roles.get(name, "textbox"), name, text)
    await ann.choose("How long it lives", "4 hr")
    for language, settings, label in (("Deutsch", "Settings", "Language"), ("English", "Einstellungen", "Sprache")):
        await ann.click("button", settings)
        await ann.choose(label, language)
        await ann.wait("button", {"Deutsch": "Raum", "English": "Create room"}[language])
    for name, text in fields.items():
        assert (await ann.wait(roles.get(name, "textbox"), name))["value"] == text
    assert (await ann.wait("combobox", "How long it lives"))["value"] == "4"
