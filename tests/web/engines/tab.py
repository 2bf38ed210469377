"""What a test needs of a browser. Three small modules implement it: `chromium`, `firefox`, `webkit`."""

from __future__ import annotations

from typing import Any, Protocol

# Steps of pointer and keys are those of the W3C's WebDriver: "pointerMove" with x and y, "pointerDown" and "pointerUp"
# with a button, "keyDown" and "keyUp" with a value, "pause" with a duration in ms.
Steps = list[dict[str, Any]]

# Keys without a character, as WebDriver names them (section 17.4.2, "Keyboard actions").
KEYS = {
    "Backspace": "\ue003",
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Shift": "\ue008",
    "Control": "\ue009",
    "Escape": "\ue00c",
    "Space": " ",
    "ArrowUp": "\ue013",
    "ArrowDown": "\ue015",
}

VIEWPORT = {"width": 1280, "height": 800}


class Tab(Protocol):
    """One tab of a browser profile of its own.

    Attributes:
        errors: uncaught errors of the page's scripts, where the browser's driver reports them.
    """

    errors: list[str]

    async def goto(self, url: str) -> None: ...

    async def reload(self) -> None:
        """Loads the page again. If the page asks whether to leave, the answer is yes."""

    async def evaluate(self, function: str, *args: Any) -> Any:
        """What that JavaScript function returns for these arguments, all of them JSON; a promise is awaited."""

    async def pointer(self, steps: Steps) -> None: ...

    async def keys(self, steps: Steps) -> None: ...

    async def close(self) -> None: ...


class Engine(Protocol):
    """A browser. Launching it skips the test where it is not installed."""

    async def tab(self) -> Tab: ...

    async def close(self) -> None: ...
