"""What this client has said and the server has not acknowledged: said exactly once, or known not to be.

A message is sent, and counts as said when it comes back. After a lost connection it is sent again under the same
id: the server says an id of one user only once. That holds for as long as the server remembers the id; past it,
only a complete replay of what was missed can tell. Where neither can, the author is told so.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from relayd.client.errors import Unconfirmed
from relayd.client.stream import Back
from relayd.client.voice import Outgoing
from relayd.wire.sealing_text import Redacted, encode_base64url

# docs/protocol.md: ids are remembered for 2 min, and with the user's place; less what the way may take.
REMEMBERED_S: Final = 110.0
NOT_SENT: Final = -1  # the epoch of a message that was not sent on the present connection
SHORTEST_PLACE_S: Final = 10.0


class Receipt(NamedTuple):
    """The server's word for a message.

    Attributes:
        id: the message's.
        seq: its place in the room's order; None for a direct one.
    """

    id: str
    seq: int | None


class Pending(Redacted):
    """One message on its way."""

    __slots__ = ("done", "epoch", "said", "sent_at")

    def __init__(self, said: Outgoing, done: asyncio.Future[Receipt]) -> None:
        self.said = said
        self.done = done
        self.sent_at: float | None = None  # when it was first written, on the stream's clock
        self.epoch = NOT_SENT  # in which it was last sealed on the present connection


def new_id() -> str:
    """A message id: 16 random bytes, so that no two of any client are the same."""
    return encode_base64url(os.urandom(16))


class Outbox:
    """Messages on their way, in the order they were said."""

    def __init__(self) -> None:
        self._pending: dict[str, Pending] = {}

    def __bool__(self) -> bool:
        return bool(self._pending)

    def add(self, body: Any, to: str | None, t_ms: int, file: dict[str, Any] | None = None) -> Pending:
        """One more."""
        pending = Pending(Outgoing(new_id(), body, to, t_ms, file), asyncio.get_running_loop().create_future())
        self._pending[pending.said.id] = pending
        return pending

    def drop(self, pending: Pending) -> None:
        """Its author waits no longer, or knows."""
        self._pending.pop(pending.said.id, None)

    def get(self, message_id: str | None) -> Pending | None:
        """The one with that id."""
        return self._pending.get(message_id or "")

    def all(self) -> Iterable[Pending]:
        """Those on their way, the oldest first."""
        return list(self._pending.values())

    def said(self, message_id: str | None, seq: int | None) -> None:
        """The server has said it."""
        pending = self.get(message_id)
        if pending is not None and not pending.done.done():
            pending.done.set_result(Receipt(pending.said.id, seq))

    def fail(self, pending: Pending, error: Exception) -> None:
        """It was not said, or nobody can tell."""
        if not pending.done.done():
            pending.done.set_exception(error)

    def fail_all(self, error: Exception) -> None:
        """It is over."""
        for pending in self.all():
            self.fail(pending, error)

    def settle(self, back: Back, *, recovered: bool, place_kept_s: float, now: float) -> None:
        """After coming back and hearing what was missed: fails those that must not be sent again.

        Args:
            back: how long the connection was away.
            recovered: everything said to all meanwhile has come again.
            place_kept_s: how long the room keeps a user's place, and the ids with it.
            now: on the stream's clock.
        """
        known = back.same_epoch and back.gap_s < max(SHORTEST_PLACE_S, place_kept_s)
        for pending in self.all():
            if pending.sent_at is None:
                continue
            remembered = known and now - pending.sent_at < REMEMBERED_S
            # Not among what has come again, so it was not said; that says nothing of direct ones.
            unsaid = back.same_epoch and recovered and pending.said.to is None
            if not (remembered or unsaid):
                self.fail(pending, Unconfirmed("the connection was away too long: it may have been said, or not"))
