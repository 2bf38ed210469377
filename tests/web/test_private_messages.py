"""A message to one person reaches that person only, whatever else is done in between."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from cutter import cutter_before

from web.companions import Companion, companion
from web.person import Person, query, until

# A file that is pasted or dropped.
GIVE = """(field, kind, name) => {
  const data = new DataTransfer();
  data.items.add(new File(["hello"], name, { type: "text/plain" }));
  const event = kind === "paste" ? new ClipboardEvent("paste", { bubbles: true, cancelable: true })
    : new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
  if (kind === "paste") Object.defineProperty(event, "clipboardData", { value: data });
  field.dispatchEvent(event);
}"""
FIELD = query("textbox", "Message")


class Room(NamedTuple):
    ann: Person  # at a browser, and the owner
    bob: Companion
    carol: Companion


@contextlib.asynccontextmanager
async def room_of_three(people, base: str = "") -> AsyncIterator[Room]:
    """Ann is in a private conversation with bob; carol is in the room, too."""
    ann = await people(base)
    link = await ann.create()
    async with companion(link, "bob") as bob, companion(link, "carol") as carol:
        await ann.wait("listitem", text="carol")
        await ann.say("hello everyone")
        await carol.receives("hello everyone")
        await carol.say("hello ann")
        await ann.sees("hello ann")
        await ann.about_person("bob", "Write privately")
        yield Room(ann, bob, carol)


async def is_to_bob(ann: Person) -> None:
    """The recipient is visible, and part of the field's accessible name."""
    await ann.sees("only for bob")
    await ann.wait("textbox", "bob")


async def only_bob_receives(room: Room, secret: str) -> None:
    message = await room.bob.receives(secret)
    assert message.to == room.bob.room.me.id
    await room.bob.say(f"after {secret}")
    await room.carol.receives(f"after {secret}")  # messages arrive in order
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
    """After any other action, the next message still goes to the recipient, and the composer shows the recipient."""
    async with room_of_three(people) as room:
        for detour in DETOURS:
            await detour(room.ann)
            await is_to_bob(room.ann)
            await room.ann.say(f"secret {detour.__name__}")
            await only_bob_receives(room, f"secret {detour.__name__}")
        assert "an answer" not in room.carol.bodies


async def test_nothing_to_edit(people):
    """Arrow up and Escape keep the recipient, also if there is no message to edit."""
    ann = await people()
    async with companion(await ann.create(), "bob") as bob:
        await ann.wait("listitem", text="bob")
        await ann.about_person("bob", "Write privately")
        await ann.key("ArrowUp")
        await ann.key("Escape")
        await is_to_bob(ann)
        await ann.say("secret")
        assert (await bob.receives("secret")).to == bob.room.me.id


async def test_the_edited_line_says_who_reads_it(people):
    """While a message is edited, the composer shows who can read that message."""
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
        await room.carol.receives("sentinel")
        assert "only you" not in room.carol.bodies


async def test_a_private_line_is_answered_in_private(people):
    """A reply to a private message goes to its author only; the draft for somebody else stays with them."""
    async with room_of_three(people) as room:
        ann = room.ann
        await ann.write("for bob")
        hello = await room.carol.receives("hello everyone")
        await room.carol.say("between us", to=hello.user.id)
        await ann.sees("between us")
        await ann.line_tool("between us", "Reply")
        await ann.sees("only for carol")
        assert await ann.message() == ""
        await ann.say("yes")
        answer = await room.carol.receives("yes")
        assert answer.to == room.carol.room.me.id
        await ann.about_person("bob", "Write privately")
        assert await ann.message() == "for bob"


async def test_reactions_and_deletion_stay_private(people):
    """A reaction to a private message and its deletion reach its two people only."""
    async with room_of_three(people) as room:
        ann = room.ann
        await ann.say("only you")
        message = await room.bob.receives("only you")
        await room.bob.say("only for ann", to=message.user.id)
        await ann.sees("only for ann")
        await ann.line_tool("only for ann", "React")
        await ann.fill("searchbox", "Find an emoji", "tada")
        await ann.click("button", "=tada")
        await ann.line_tool("only you", "Delete")
        await ann.click("button", "=Delete")
        await ann.click("button", "Write to everyone")
        await ann.say("sentinel")
        for one in (room.bob, room.carol):
            await one.receives("sentinel")
        assert {"reaction", "delete"} <= _kinds(room.bob)
        assert not {"reaction", "delete"} & _kinds(room.carol)


def _kinds(one: Companion) -> set[str]:
    return {message.body["kind"] for message in one.messages if isinstance(message.body, dict)}


async def test_commands_of_other_programs(people):
    """`/msg bob …` is a private message elsewhere, `relay join` included: it is not sent to everyone here."""
    async with room_of_three(people) as room:
        ann = room.ann
        await ann.click("button", "Write to everyone")
        for command in ("/msg bob secret", "  /MSG bob secret", "/w bob secret", "/whisper bob: secret"):
            await ann.fill("textbox", "Message", command)
            await ann.key("Enter")
            await ann.sees("This page has no commands")
            assert await ann.message() == command
        await ann.fill("textbox", "Message", "sentinel")
        await ann.key("Enter")
        for text in ("/srv is full", "//msg", "see /msg", "/message"):
            await ann.say(text)
            await room.carol.receives(text)
        assert "secret" not in room.carol.bodies


async def test_typing_in_private_is_not_told(people):
    """Private typing is not signalled; leaving a public draft ends its typing signal."""
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
        await only_bob_receives(room, "a secret")
        assert await told(True, False)


def _typing(one: Companion) -> list[bool]:
    return [data for kind, data in one.signals if kind == "typing"]


async def test_files_go_where_text_goes(people):
    """Files pasted or dropped in a private conversation are offered to the recipient only."""
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
        await room.carol.receives("sentinel")
        assert room.carol.files == []


async def _has_files(one: Companion, count: int) -> bool:
    return len(one.files) == count


async def test_a_recipient_who_changes(people):
    """The composer shows a new name. If the recipient has left, nothing is sent and the text stays."""
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
        await room.carol.receives("sentinel")
        assert "a secret" not in room.carol.bodies


async def test_the_recipient_after_a_reconnect(server, people):
    """Recipient and draft survive a reconnect."""
    async with cutter_before(server.base) as cutter, room_of_three(people, cutter.base) as room:
        await room.ann.write("a secret")
        cutter.cut()
        await room.ann.tab.evaluate("() => dispatchEvent(new Event('online'))")
        await room.carol.say("meanwhile")
        await room.ann.sees("meanwhile")
        await is_to_bob(room.ann)
        await room.ann.key("Enter")
        await only_bob_receives(room, "a secret")
