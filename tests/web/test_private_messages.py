"""What is written to one person reaches that person only, whatever one does in between."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from cutter import cutter_before

from web.companions import Companion, companion
from web.person import Person, query, until

# A file or a text, as it comes from the clipboard or from elsewhere on the desk.
GIVE = """(field, kind, name) => {
  const data = new DataTransfer();
  data.items.add(new File(["hello"], name, { type: "text/plain" }));
  const event = kind === "paste" ? new ClipboardEvent("paste", { bubbles: true, cancelable: true })
    : new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
  if (kind === "paste") Object.defineProperty(event, "clipboardData", { value: data });
  field.dispatchEvent(event);
}"""
# Enter that ends the composition of a word, as Safari sends it: after `compositionend`, with key code 229.
COMPOSED = """(field, key) => {
  field.dispatchEvent(new CompositionEvent("compositionend", { data: "テスト", bubbles: true }));
  field.dispatchEvent(new KeyboardEvent("keydown", { key, keyCode: 229, bubbles: true, cancelable: true }));
}"""
ASKS = """() => {
  const leaving = new Event("beforeunload", { cancelable: true });
  return !dispatchEvent(leaving) || leaving.returnValue !== true;
}"""
FIELD = query("textbox", "Message")


class Room(NamedTuple):
    ann: Person  # at a browser, and the owner
    bob: Companion
    carol: Companion


@contextlib.asynccontextmanager
async def room_of_three(people, base: str = "") -> AsyncIterator[Room]:
    """Ann writes privately to bob; carol is there, too."""
    ann = await people(base)
    link = await ann.create()
    async with companion(link, "bob") as bob, companion(link, "carol") as carol:
        await ann.wait("listitem", text="carol")
        await ann.say("hello everyone")
        await carol.hears("hello everyone")
        await carol.say("hello ann")
        await ann.sees("hello ann")
        await ann.about_person("bob", "Write privately")
        yield Room(ann, bob, carol)


async def is_to_bob(ann: Person) -> None:
    """The recipient can be seen, and is part of the field's name."""
    await ann.sees("only for bob")
    await ann.wait("textbox", "bob")


async def only_bob_hears(room: Room, secret: str) -> None:
    message = await room.bob.hears(secret)
    assert message.to == room.bob.room.me.id
    await room.bob.say(f"after {secret}")
    await room.carol.hears(f"after {secret}")  # in the room's order: all before it has come, too
    assert f"'{secret}'" not in room.carol.bodies


async def edit_and_send(ann: Person) -> None:
    await ann.line_tool("hello everyone", "Edit")
    await ann.sees("Editing your message")
    await ann.sees("only for bob")
    await ann.type("!")
    await ann.key("Enter")
    await ann.wait("article", text="hello everyone!")


async def edit_and_escape(ann: Person) -> None:
    await ann.line_tool("hello everyone", "Edit")
    await ann.key("Escape")


async def arrow_up_and_escape(ann: Person) -> None:
    await ann.click(*FIELD_NAME)
    await ann.key("ArrowUp")
    await ann.key("Escape")


async def reply_and_escape(ann: Person) -> None:
    await ann.line_tool("hello ann", "Reply")
    await is_to_bob(ann)
    await ann.key("Escape")


async def reply_and_send(ann: Person) -> None:
    await ann.line_tool("hello ann", "Reply")
    await ann.say("an answer")


async def language_and_back(ann: Person) -> None:
    await ann.menu("Settings")
    await ann.choose("Language", "Deutsch")
    await ann.sees("nur für bob")
    await ann.click("button", "Menü")
    await ann.click("menuitem", "Einstellungen")
    await ann.choose("Sprache", "English")


async def emoji(ann: Person) -> None:
    await ann.click("button", "=Emoji")
    await ann.key("Escape")
    await ann.click("button", "=Emoji")
    await ann.fill("searchbox", "Find an emoji", "tada")
    await ann.click("button", "=tada")
    await ann.key("Backspace")


async def enter_twice(ann: Person) -> None:
    await ann.say("twice")
    await ann.key("Enter")


FIELD_NAME = ("textbox", "Message")
DETOURS = (
    edit_and_send,
    edit_and_escape,
    arrow_up_and_escape,
    reply_and_escape,
    reply_and_send,
    emoji,
    enter_twice,
    language_and_back,
)


@pytest.mark.slow
async def test_the_recipient_stays(people):
    """Whatever one does in a private conversation, the next message goes to that person, and the composer shows it."""
    async with room_of_three(people) as room:
        for detour in DETOURS:
            await detour(room.ann)
            await is_to_bob(room.ann)
            await room.ann.say(f"secret {detour.__name__}")
            await only_bob_hears(room, f"secret {detour.__name__}")
        assert "an answer" not in room.carol.bodies


async def test_nothing_to_edit(people):
    """Arrow up and Escape keep the recipient also for somebody who has not written anything yet."""
    ann = await people()
    async with companion(await ann.create(), "bob") as bob:
        await ann.wait("listitem", text="bob")
        await ann.about_person("bob", "Write privately")
        await ann.key("ArrowUp")
        await ann.key("Escape")
        await is_to_bob(ann)
        await ann.say("secret")
        assert (await bob.hears("secret")).to == bob.room.me.id


async def test_drafts_stay_apart(people):
    """Each conversation has its own draft; editing, a language and another conversation bring it back as it was."""
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
        await only_bob_hears(room, "half a sentence")
        await ann.click("button", "Write to everyone")
        assert await ann.message() == "for all"
        await ann.key("Enter")
        assert (await room.carol.hears("for all")).to is None


async def test_escape_never_drops_a_private_draft(people):
    """Escape leaves a private conversation only where nothing is written and nothing else is to be ended."""
    async with room_of_three(people) as room:
        await room.ann.write("a secret")
        await room.ann.key("Escape")
        await is_to_bob(room.ann)
        await room.ann.key("Enter")
        await only_bob_hears(room, "a secret")
        await room.ann.key("Escape")
        await room.ann.sees("You are writing to everyone")
        await room.ann.say("for all")
        assert (await room.carol.hears("for all")).to is None


async def test_the_edited_line_says_who_reads_it(people):
    """While a line is edited, the composer says whether everyone reads that line or one person only."""
    async with room_of_three(people) as room:
        ann = room.ann
        await ann.say("only you")
        await ann.line_tool("hello everyone", "Edit")
        await ann.sees("to everyone")
        await ann.wait("textbox", "everyone")
        await ann.key("Escape")
        await ann.click("button", "Write to everyone")
        await ann.line_tool("only you", "Edit")
        await is_to_bob(ann)
        await ann.type(" two")
        await ann.key("Enter")
        await ann.wait("article", text="only you two")
        await ann.wait("textbox", "everyone")
        await ann.say("sentinel")
        await room.carol.hears("sentinel")
        assert "only you" not in room.carol.bodies


async def test_a_private_line_is_answered_in_private(people):
    """A reply to somebody's private line goes to them, and what was written for others stays with those."""
    async with room_of_three(people) as room:
        ann = room.ann
        await ann.write("for bob")
        hello = await room.carol.hears("hello everyone")
        await room.carol.say("between us", to=hello.user.id)
        await ann.sees("between us")
        await ann.line_tool("between us", "Reply")
        await ann.sees("only for carol")
        assert await ann.message() == ""
        await ann.say("yes")
        answer = await room.carol.hears("yes")
        assert answer.to == room.carol.room.me.id
        await ann.about_person("bob", "Write privately")
        assert await ann.message() == "for bob"


async def test_typing_in_private_is_not_told(people):
    """Nobody is shown that one writes to somebody else, and a public draft that is left is no longer shown."""
    async with room_of_three(people) as room:
        before = len(_typing(room.carol))

        async def told(*wanted: bool) -> bool:
            return _typing(room.carol)[before:] == list(wanted)

        await room.ann.write("a secret")
        await room.ann.click("button", "Write to everyone")
        await room.ann.write("x")
        await until(lambda: told(True), "carol is told of typing once, and not before")
        await room.ann.about_person("bob", "Write privately")
        await until(lambda: told(True, False), "carol is told that ann stopped")
        await room.ann.key("Enter")
        await only_bob_hears(room, "a secret")
        assert await told(True, False)


def _typing(one: Companion) -> list[bool]:
    return [data for kind, data in one.signals if kind == "typing"]


async def test_files_go_where_text_goes(people):
    """What is pasted or dropped in a private conversation is offered to that person only."""
    async with room_of_three(people) as room:
        for kind in ("paste", "drop"):
            await room.ann.on(FIELD, GIVE, kind, f"{kind}.txt")
            await room.ann.wait("article", text=f"{kind}.txt")
        await until(lambda: _has_files(room.bob, 2), "bob is offered two files")
        assert {file.message.to for file in room.bob.files} == {room.bob.room.me.id}
        await room.ann.line_tool("hello ann", "Reply")
        await room.ann.on(FIELD, GIVE, "drop", "third.txt")
        await until(lambda: _has_files(room.bob, 3), "bob is offered a third")
        await room.bob.say("sentinel")
        await room.carol.hears("sentinel")
        assert room.carol.files == []


async def _has_files(one: Companion, count: int) -> bool:
    return len(one.files) == count


async def test_a_recipient_who_changes(people):
    """A new name is shown; to somebody who has left nothing is sent, to nobody else either, and the text stays."""
    async with room_of_three(people) as room:
        ann = room.ann
        room.bob.room.set_nick("robert")
        await ann.wait("textbox", "robert")
        await ann.sees("only for robert")
        await ann.write("a secret")
        await room.bob.room.leave()
        await ann.sees("has left")
        await ann.key("Enter")
        assert await ann.message() == "a secret"
        await ann.wait("textbox", "robert")
        await ann.click("button", "Write to everyone")
        await ann.say("sentinel")
        await room.carol.hears("sentinel")
        assert "a secret" not in room.carol.bodies


async def test_through_a_lost_connection_and_a_mute(server, people):
    """The recipient and the draft are there after a reconnect, and after one was muted for a while."""
    async with cutter_before(server.base) as cutter, room_of_three(people, cutter.base) as room:
        await room.ann.write("a secret")
        cutter.cut()
        await room.ann.tab.evaluate("() => dispatchEvent(new Event('online'))")
        await room.carol.say("meanwhile")
        await room.ann.sees("meanwhile")
        await is_to_bob(room.ann)
        await room.ann.key("Enter")
        await only_bob_hears(room, "a secret")


async def test_muted_with_a_draft(people):
    """Who is muted can still read what they had written, and to whom; unmuted, they go on with it."""
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
        await only_bob_hears(Room(dan, bob, carol), "a secret")


async def test_the_room_ends_with_a_draft(people):
    """What was not sent when the room ends can still be read and copied."""
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
    """Before a draft is lost the browser asks; one that is lost does not come back without its recipient."""
    async with room_of_three(people) as room:
        assert not await room.ann.tab.evaluate(ASKS)
        await room.ann.write("a secret")
        assert await room.ann.tab.evaluate(ASKS)
        await room.ann.tab.reload()
        await room.ann.wait("textbox", "Message")
        assert await room.ann.message() == ""
        await room.ann.say("sentinel")
        await room.carol.hears("sentinel")
        assert "a secret" not in room.carol.bodies


async def test_a_draft_and_back(people):
    """Who goes back to the start page and forward again finds the draft, and its recipient with it."""
    async with room_of_three(people) as room:
        await room.ann.write("a secret")
        await room.ann.tab.evaluate("() => history.back()")
        await room.ann.wait("button", "Create room")
        await room.ann.tab.evaluate("() => history.forward()")
        await is_to_bob(room.ann)
        assert await room.ann.message() == "a secret"


async def test_words_that_are_composed(people):
    """The Enter that ends the composition of a word sends nothing, and its Escape ends nothing."""
    async with room_of_three(people) as room:
        await room.ann.write("テスト")
        await room.ann.on(FIELD, COMPOSED, "Enter")
        assert await room.ann.message() == "テスト"
        await room.ann.line_tool("hello everyone", "Edit")
        await room.ann.on(FIELD, COMPOSED, "Escape")
        assert await room.ann.message() == "hello everyone"
        await room.ann.key("Escape")
        await room.ann.key("Enter")
        await only_bob_hears(room, "テスト")


async def test_the_first_page_keeps_what_was_typed(people):
    """Another language on the first page changes its words only."""
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
