"""Updates of a line keep presses, focus, selection and open menus."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from conftest import relay_with
from cutter import cutter_before

from web.companions import Companion, companion
from web.person import PRESS_MS, Person, query, until
from web.test_private_messages import GIVE

SLOW = 2_000_000  # bytes a second: 33 chunks
LARGE = 40_000_000
LONG = "long\n" * 30 + "end of it"
# Time for a frame that was just sent to arrive, during a press.
ARRIVED_S = 0.3
FOCUS = "(element) => { element.focus(); globalThis.focused = element; }"
HAS_FOCUS = "() => globalThis.focused.isConnected && document.activeElement === globalThis.focused"
# Records the text of each line when it is added to the document.
WATCH_LINES = """() => {
  globalThis.seen = [];
  const watch = ({ addedNodes }) => [...addedNodes].filter((node) => node.localName === "article");
  new MutationObserver((all) => seen.push(...all.flatMap(watch).map((line) => line.innerText)))
    .observe(document.body, { childList: true, subtree: true });
}"""
# Counts the changes of a progress bar within so many ms.
FOCUSED = """() => [document.activeElement.tagName,
  document.activeElement.closest("article")?.innerText.includes("number 29") ?? false]"""

COUNT_CHANGES = """(bar, ms) => new Promise((resolve) => {
  const end = performance.now() + ms;
  let [last, count] = [null, 0];
  const look = () => {
    const value = document.querySelector("progress, [role=progressbar]")?.value;
    if (value !== last) count += 1;
    last = value;
    if (performance.now() < end) requestAnimationFrame(look);
    else resolve(count);
  };
  look();
})"""


async def react(bob: Companion, text: str, emoji: str) -> None:
    """Adds a reaction to the message with that text."""
    message = await bob.receives(text)
    await bob.room.say({"kind": "reaction", "re": message.ref, "emoji": emoji, "on": True})


@contextlib.asynccontextmanager
async def pressing(ann: Person, role: str, name: str, **more) -> AsyncIterator[None]:
    """Presses an element for as long as the block runs, and a moment longer."""
    await ann.point_at(role, name, **more)
    await ann.tab.pointer([{"type": "pointerDown", "button": 0}])
    yield
    await asyncio.sleep(ARRIVED_S)
    await ann.tab.pointer([{"type": "pause", "duration": PRESS_MS}, {"type": "pointerUp", "button": 0}])


async def test_stop_during_a_transfer(people, tmp_path: Path):
    """One click of 100 ms on "Stop" works while 33 chunks a second arrive, and so does one on "Go on"."""
    async with offered(people, tmp_path) as ann:
        for _ in range(3):
            await ann.click("button", "Stop")
            await ann.sees("stopped")
            await ann.click("button", "Go on")
            await ann.wait("progressbar")


async def test_focus_during_a_transfer(people, tmp_path: Path):
    """The "Stop" button keeps the focus during a transfer, and works by a key that is pressed for 100 ms."""
    async with offered(people, tmp_path) as ann:
        await ann.on(query("button", "Stop"), FOCUS)
        before = (await ann.wait("progressbar"))["value"]

        async def has_come_further() -> bool:
            return (await ann.wait("progressbar"))["value"] > before + SLOW

        await until(has_come_further, "the file comes")
        assert await ann.tab.evaluate(HAS_FOCUS)
        space = [
            {"type": "keyDown", "value": " "},
            {"type": "pause", "duration": PRESS_MS},
            {"type": "keyUp", "value": " "},
        ]
        await ann.tab.keys(space)
        await ann.sees("stopped")
        assert await ann.tab.evaluate(HAS_FOCUS)


async def test_progress_is_calm(people, tmp_path: Path):
    """A transfer of 33 chunks a second updates its line at most four times a second."""
    async with offered(people, tmp_path) as ann:
        seconds = 3
        changes = await ann.on(query("progressbar"), COUNT_CHANGES, seconds * 1000)
        assert 1 < changes <= 4 * seconds + 2


@contextlib.asynccontextmanager
async def offered(people, tmp_path: Path) -> AsyncIterator[Person]:
    """A large file is being transferred to ann, slowly."""
    path = tmp_path / "large.bin"
    await asyncio.to_thread(path.write_bytes, bytes(LARGE))
    async with relay_with(limits__file_rate__user_bytes=SLOW) as relay:
        ann = await people(relay.base)
        async with companion(await ann.create(), "bob") as bob:
            async with asyncio.timeout(30):
                await bob.room.offer(path)
            await ann.click("button", "=Get")
            await ann.wait("progressbar")
            yield ann


async def test_a_file_comes_with_its_line(people, tmp_path: Path):
    """The line of a file is added together with the file's name and button."""
    path = tmp_path / "small.bin"
    path.write_bytes(b"small")
    ann = await people()
    async with companion(await ann.create(), "bob") as bob:
        await ann.sees("bob joined")
        await ann.tab.evaluate(WATCH_LINES)
        async with asyncio.timeout(30):
            await bob.room.offer(path)
        await ann.wait("article", text="small.bin")
        first = next(line for line in await ann.tab.evaluate("() => seen") if "joined" not in line)
        assert "small.bin" in first
        assert "Get" in first


async def test_a_line_changes_under_a_press(people):
    """A click on a button of a line works if the line changes or moves during the press."""
    ann = await people()
    async with companion(await ann.create(), "bob") as bob, companion(bob.room.link, "carol") as carol:
        await ann.wait("listitem", text="carol")
        await bob.say("Tea?")
        line = query("article", text="Tea?")
        await ann.wait("article", text="Tea?")

        async def edit() -> None:
            message = await bob.receives("Tea?")
            await bob.room.say({"kind": "edit", "re": message.ref, "text": "Tea?\nOr something else?"})

        async def rename() -> None:
            bob.room.set_nick("robert")

        changes: dict[str, Callable[[], Awaitable[None]]] = {
            "reaction": lambda: react(carol, "Tea?", "🍵"),
            "edit": edit,
            "message behind": lambda: carol.say("Coffee!\n" * 12),
            "name of the author": rename,
            "author gone": bob.room.leave,
        }
        for name, change in changes.items():
            await ann.point_at("article", text="Tea?")
            async with pressing(ann, "button", "=Reply", within=line):
                await change()
            await ann.wait("button", "Cancel")  # the reply can be ended
            await ann.click("button", "Cancel")
            assert name
        await ann.wait("button", "🍵", text="1")
        await ann.sees("Or something else?")


async def test_messages_before_a_line(server, people):
    """The button of an unsent file keeps the focus while messages are inserted before it, and when it is sent."""
    async with cutter_before(server.base) as cutter:
        ann = await people(cutter.base)
        link = await ann.create()
        async with companion(link.replace(cutter.base, server.base), "bob") as bob:
            await ann.sees("bob joined")
            await ann.on(query("textbox", "Message"), GIVE, "drop", "first.txt")
            await ann.click("button", "=Withdraw")
            await ann.sees("no longer on offer")
            cutter.refusing = True
            cutter.cut()
            await ann.wait("button", "Try now")
            await ann.on(query("textbox", "Message"), GIVE, "drop", "list.txt")
            await ann.on(query("button", "=Stop"), FOCUS)
            for text in ("one", "two", "three"):
                await bob.say(text)
            cutter.refusing = False
            await ann.tab.evaluate("() => dispatchEvent(new Event('online'))")
            await ann.wait("button", "=Withdraw")
            await ann.wait("article", text="three")
            assert await ann.tab.evaluate(HAS_FOCUS)
            await ann.click("button", "=Withdraw")
            await ann.gone("button", "=Withdraw")


async def test_focus_and_selection_stay(people):
    """Reactions, receipts, renames and new messages change neither focus nor selection nor an unfolded text."""
    ann = await people()
    async with companion(await ann.create(), "bob") as bob, companion(bob.room.link, "carol") as carol:
        await ann.wait("listitem", text="carol")
        await bob.say(LONG)
        await ann.click("button", "=Show all")
        await react(carol, LONG, "🍵")
        await ann.wait("button", "🍵", text="1")
        await ann.wait("button", "=Show less")
        await bob.say("Tea for two")
        await ann.wait("article", text="Tea for two")
        await react(carol, "Tea for two", "🎉")
        await ann.wait("button", "🎉", text="1")
        await ann.on(query("button", "🎉", text="1"), FOCUS)
        select = """(line) => {
          const walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
          while (walker.nextNode()) {
            const { currentNode: text } = walker;
            if (text.data.includes("Tea for two")) getSelection().setBaseAndExtent(text, 0, text, 7);
          }
        }"""
        await ann.on(query("article", text="Tea for two"), select)
        await react(bob, "Tea for two", "🎉")
        await ann.wait("button", "🎉", text="2")
        await react(carol, "Tea for two", "👋")
        await ann.wait("button", "👋", text="1")
        await carol.say("and me")
        await ann.wait("article", text="and me")
        bob.room.set_nick("robert")
        await ann.wait("listitem", text="robert")
        carol.room.signal("read", {"seq": (await carol.receives("and me")).seq})
        await ann.wait("img", "Seen by carol")
        assert await ann.tab.evaluate(HAS_FOCUS)
        assert await ann.tab.evaluate("() => getSelection().toString()") == "Tea for"
        await ann.key("Enter")
        await ann.wait("button", "🎉", text="3")


async def test_the_keyboard_keeps_the_tools(people):
    """Lines that move under a resting pointer take neither tools nor focus from the keyboard; a moving pointer does."""
    ann = await people()
    async with companion(await ann.create(), "bob") as bob:
        for number in range(30):
            await bob.say(f"number {number} of many")
        await ann.sees("number 29 of many")
        await ann.point_at("article", text="number 25")
        await ann.on(query("article", text="number 29"), "(line) => line.focus()")
        await ann.key("Tab")
        assert await ann.tab.evaluate(FOCUSED) == ["BUTTON", True]
        for number in range(3):
            await bob.say(f"later {number}")
            await ann.sees(f"later {number}")
        await asyncio.sleep(ARRIVED_S)
        assert await ann.tab.evaluate(FOCUSED) == ["BUTTON", True]
        await ann.line_tool("later 1", "Reply")
        await ann.wait("button", "=Cancel")


async def test_an_open_menu_stays(people):
    """A menu opened at a line stays open while the line changes, and works."""
    ann = await people()
    async with companion(await ann.create(), "bob") as bob:
        await bob.say("Tea?")
        await ann.wait("article", text="Tea?")
        await ann.line_tool("Tea?", "React")
        await ann.wait("dialog", "Emoji")
        await react(bob, "Tea?", "🍵")
        await ann.wait("button", "🍵", text="1")
        await ann.wait("dialog", "Emoji")
        await ann.fill("searchbox", "Find an emoji", "tada")
        await ann.click("button", "=tada")
        await ann.wait("button", "🎉", text="1")
        await ann.click("button", "bob", within=query("article", text="Tea?"))
        await react(bob, "Tea?", "👋")
        await ann.wait("button", "👋", text="1")
        await ann.click("menuitem", "Write privately")
        await ann.wait("textbox", "bob")


async def test_people_come_under_a_press(people):
    """A row of the list of people can be clicked, and keeps the focus, while other people join."""
    ann = await people()
    async with companion(await ann.create(), "bob") as bob:
        row = query("listitem", text="bob")
        await ann.wait("listitem", text="bob")
        async with pressing(ann, "button", "bob", within=row), companion(bob.room.link, "carol"):
            await asyncio.sleep(ARRIVED_S)
        await ann.wait("menuitem", "Write privately")
        await ann.key("Escape")
        await ann.on(query("button", "bob", within=row), FOCUS)
        async with companion(bob.room.link, "dan"):
            await ann.wait("listitem", text="dan")
            assert await ann.tab.evaluate(HAS_FOCUS)
