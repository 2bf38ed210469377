"""People without a browser, by the Python client: they write, and note down what reaches them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from relayd.client import Event, FileOffered, Message, Room, Signal, join
from relayd.errors import RelayError
from web.person import WAIT_S, until


class Companion:
    """Somebody in the room.

    Attributes:
        events: all that came, in order.
    """

    def __init__(self, room: Room) -> None:
        self.room = room
        self.events: list[Event] = []

    async def listen(self) -> None:
        async for event in self.room:
            self.events.append(event)

    @property
    def messages(self) -> list[Message]:
        return [event for event in self.events if isinstance(event, Message)]

    @property
    def bodies(self) -> str:
        """Every body that came, edits too, to be searched for what must not be in it."""
        return "\n".join(str(message.body) for message in self.messages)

    @property
    def signals(self) -> list[tuple[str, Any]]:
        return [(event.kind, event.data) for event in self.events if isinstance(event, Signal)]

    @property
    def files(self) -> list[FileOffered]:
        return [event for event in self.events if isinstance(event, FileOffered)]

    async def hears(self, text: str) -> Message:
        """The first message with that text."""

        async def look() -> Message | None:
            return next((message for message in self.messages if message.text == text), None)

        return await until(look, f"{self.room.me.nick} is told {text!r}")

    async def say(self, text: str, to: str | None = None) -> None:
        """Says it, to one person only if `to` is a user id."""
        async with asyncio.timeout(WAIT_S):
            await self.room.say(text, to=to)


@contextlib.asynccontextmanager
async def companion(link: str, nick: str, **how: Any) -> AsyncIterator[Companion]:
    """Joins as `nick` until the block ends."""
    async with join(link, nick, **how) as room:
        one = Companion(room)
        listening = asyncio.create_task(one.listen())
        try:
            yield one
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError, RelayError):  # removed, or the room has ended
                await listening
