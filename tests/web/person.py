"""A person at one of the three browsers: uses the page by roles, accessible names and visible text only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from web.engines.tab import KEYS, Steps, Tab

T = TypeVar("T")

WAIT_S = 30  # generous: the machine may be busy
LOOK_S = 0.05
STILL_LOOKS = 3  # an element stands still if so many looks in a row find it at one place
PRESS_MS = 100  # the duration of a human click
HERE = Path(__file__).parent
AXE = HERE / "node_modules/axe-core/axe.min.js"
FIND = (HERE / "accessible.js").read_text()

_DESCRIBE = """(element) => {
  element.scrollIntoView({ block: "nearest", behavior: "instant" });
  const { left, top, width, height } = element.getBoundingClientRect();
  const [x, y] = [Math.round(left + width / 2), Math.round(top + height / 2)];
  return { x, y, isOnTop: element.contains(document.elementFromPoint(x, y)), value: element.value ?? null,
    checked: element.checked ?? null, text: element.innerText, isFocused: element === document.activeElement };
}"""


def query(role: str, name: str = "", text: str = "", within: dict[str, Any] | None = None) -> dict[str, Any]:
    """What to look for; see accessible.js."""
    return {"role": role, "name": name, "text": text, "within": within}


async def until(look: Callable[[], Awaitable[T | None]], what: str, timeout_s: float = WAIT_S) -> T:
    """The first answer of `look` that is true."""
    end = time.monotonic() + timeout_s
    while not (found := await look()):
        assert time.monotonic() < end, f"not within {timeout_s:.0f} s: {what}"
        await asyncio.sleep(LOOK_S)
    return found


class Person:
    """A browser profile with one tab."""

    def __init__(self, tab: Tab, base: str) -> None:
        self.tab = tab
        self.base = base

    # Seeing. ---------------------------------------------------------------------------------------------------------

    async def open(self, url: str = "") -> None:
        await self.tab.goto(url or self.base)

    async def on(self, wanted: dict[str, Any], function: str, *args: Any) -> Any:
        """What that JavaScript function returns for the last such element, once there is one."""
        return (await until(lambda: self._look_for(wanted, function, *args), str(wanted)))[0]

    async def _look_for(self, wanted: dict[str, Any], function: str, *args: Any) -> list[Any]:
        """The same in a list, which is empty if there is no such element now."""
        script = f"""(wanted, ...args) => {{
          if (!globalThis.axe) return "no axe";
          const found = ({FIND})(wanted).slice(-1);
          return Promise.all(found.map(async (element) => await ({function})(element, ...args) ?? null));
        }}"""
        while (answer := await self.tab.evaluate(script, wanted, *args)) == "no axe":  # the document is another one
            if not AXE.exists():
                pytest.skip("there is no axe-core: npm ci --prefix tests/web")
            await self.tab.evaluate(f"() => {{ {await asyncio.to_thread(AXE.read_text)} }}")
        return answer

    async def find(self, role: str, name: str = "", **more: Any) -> dict[str, Any] | None:
        """The last such element, if there is one: where it is, `value`, `checked`, `text`, `isFocused`."""
        found = await self._look_for(query(role, name, **more), _DESCRIBE)
        return found[0] if found else None

    async def wait(self, role: str, name: str = "", **more: Any) -> dict[str, Any]:
        """The same, once there is one."""
        return await self._until(lambda: self.find(role, name, **more), f"{role} {name!r} {more or ''}")

    async def gone(self, role: str, name: str = "", **more: Any) -> None:
        """Waits until there is no such element."""

        async def look() -> bool:
            return await self.find(role, name, **more) is None

        await self._until(look, f"no {role} {name!r} {more or ''}")

    async def text(self) -> str:
        """All text that is visible."""
        return await self.tab.evaluate("() => document.body.innerText")

    async def sees(self, text: str, timeout_s: float = WAIT_S) -> None:
        async def look() -> bool:
            return text in await self.text()

        await self._until(look, f"the text {text!r}", timeout_s)

    async def _until(self, look: Callable[[], Awaitable[T | None]], what: str, timeout_s: float = WAIT_S) -> T:
        """As `until`; and if it fails, what the page shows instead is said, too."""
        try:
            return await until(look, what, timeout_s)
        except AssertionError as late:
            late.add_note(f"{await self.tab.evaluate('() => location.href')} shows:\n{await self.text()}")
            raise

    # Doing. ----------------------------------------------------------------------------------------------------------

    async def point_at(self, role: str, name: str = "", **more: Any) -> tuple[int, int]:
        """Moves the pointer to the middle of an element that stands still and that nothing covers."""
        places: list[tuple[int, int] | None] = []

        async def look() -> tuple[int, int] | None:
            found = await self.find(role, name, **more)
            places.append((found["x"], found["y"]) if found and found["isOnTop"] else None)
            stands_still = len(places) >= STILL_LOOKS and len(set(places[-STILL_LOOKS:])) == 1
            return places[-1] if stands_still else None

        place = await until(look, f"{role} {name!r} {more or ''} that can be pointed at")
        # A pointer that is there already, since the page has scrolled, enters an element only after it has moved.
        await self.tab.pointer([_move((place[0] - 2, place[1])), _move(place)])
        return place

    async def click(self, role: str, name: str = "", *, press_ms: int = PRESS_MS, **more: Any) -> None:
        """Presses the button of the mouse on an element, as long as a person does."""
        place = await self.point_at(role, name, **more)
        await self.tab.pointer([_move(place), *_press(press_ms)])

    async def fill(self, role: str, name: str, text: str, **more: Any) -> None:
        """Puts the focus into a field by a click, and text in place of what is there."""
        await self.click(role, name, **more)
        await self.key("a", "Control")
        await self.type(text)

    async def type(self, text: str) -> None:
        await self.tab.keys([step for character in text for step in _strike(character)])

    async def key(self, key: str, *held: str) -> None:
        """Strikes a key, with others held down."""
        down = [{"type": "keyDown", "value": KEYS[name]} for name in held]
        up = [{"type": "keyUp", "value": KEYS[name]} for name in held]
        await self.tab.keys([*down, *_strike(KEYS.get(key, key)), *up])

    async def choose(self, name: str, option: str) -> None:
        """Chooses in a list that drops down: the browser's own, which cannot be driven alike in all of them."""
        await self.wait("combobox", name)
        script = """(select, option) => {
          select.value = [...select.options].find(({ text }) => text === option).value;
          select.dispatchEvent(new Event("change", { bubbles: true }));
        }"""
        await self.on(query("combobox", name), script, option)

    # The page. -------------------------------------------------------------------------------------------------------

    async def create(self) -> str:
        """Makes a room, called as the page proposes; its link."""
        await self.open()
        await self.click("button", "Create room")
        await self.wait("textbox", "Message")
        return await self.tab.evaluate("() => location.href")

    async def join(self, link: str, nick: str = "bob") -> None:
        await self.open(link)
        await self.fill("textbox", "Your name", nick)
        await self.click("button", "Join")
        await self.wait("textbox", "Message")

    async def write(self, text: str) -> None:
        """Types where one writes, after what is there."""
        await self.click("textbox", "Message")
        await self.type(text)

    async def say(self, text: str) -> None:
        await self.write(text)
        await self.key("Enter")

    async def message(self) -> str:
        """What stands where one writes."""
        return (await self.wait("textbox", "Message"))["value"]

    async def line_tool(self, text: str, name: str) -> None:
        """Uses a button that appears at the line with that text."""
        line = query("article", text=text)
        await self.point_at("article", text=text)
        await self.click("button", f"={name}", within=line)

    async def about_person(self, nick: str, item: str) -> None:
        """Chooses what to do about somebody in the list of people."""
        await self.click("button", nick, within=query("listitem", text=nick))
        await self.click("menuitem", item)

    async def menu(self, item: str) -> None:
        await self.click("button", "=Menu")
        await self.click("menuitem", item)


def _move(place: tuple[int, int]) -> dict[str, Any]:
    return {"type": "pointerMove", "x": place[0], "y": place[1], "duration": 0}


def _press(press_ms: int) -> Steps:
    down, up = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
    return [down, {"type": "pause", "duration": press_ms}, up]


def _strike(key: str) -> Steps:
    return [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
