"""People without a browser: Python clients that send messages and record what they receive."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from relayd.client import Event, FileOffered, Message, Room, Signal, join
from relayd.errors import RelayError
from web.person import WAIT_S, until


class Companion:
    """A member of the room.

    Attributes:
        events: all events, in order.
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
        """All bodies, those of edits too, as text to search."""
        return "\n".join(str(message.body) for message in self.messages)

    @property
    def signals(self) -> list[tuple[str, Any]]:
        return [(event.kind, event.data) for event in self.events if isinstance(event, Signal)]

    @property
    def files(self) -> list[FileOffered]:
        return [event for event in self.events if isinstance(event, FileOffered)]

    async def receives(self, text: str) -> Message:
        """Waits for a message with that text."""

        async def look() -> Message | None:
            return next((message for message in self.messages if message.text == text), None)

        return await until(look, f"{self.room.me.nick} receives {text!r}")

    async def say(self, text: str, to: str | None = None) -> None:
        """Sends a text; `to` is a user id."""
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
