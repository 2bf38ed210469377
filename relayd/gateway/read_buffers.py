"""Bytes of clients that are not acted on yet, over all connections of a gateway: a limit, and progress."""

from __future__ import annotations

from typing import Protocol

from relayd.gateway.pressure import KEPT_SHARE
from relayd.gateway.wheel import Wheel

# A peer that sends or takes less than that in so long is gone or hostile: the slowest telephone line takes 50 KiB.
PROGRESS_BYTES, PROGRESS_S = 16 * 1024, 10.0


class Source(Protocol):
    """A connection whose bytes are held: of an unfinished frame or message, or because it is not read from now."""

    number: int

    @property
    def unread_bytes(self) -> int:
        """Bytes held now."""

    @property
    def message_number(self) -> int | None:
        """Which of its messages is unfinished; None if none is, or if the gateway itself lets it wait."""

    def drop_unread(self) -> None:
        """Closes the connection, as all together hold too much."""

    def fail_stalled(self) -> None:
        """Closes the connection, as its message does not progress."""


class ReadBuffers:
    """The connections that hold bytes, and how many.

    Args:
        max_bytes: of all together; past it the connections that hold most are closed. 0 means no limit.
        wheel: wakes the deadlines of unfinished messages.

    Attributes:
        bytes: held by all together.
    """

    def __init__(self, max_bytes: int, wheel: Wheel) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._wheel = wheel
        self._held: dict[Source, int] = {}

    def hold(self, source: Source) -> None:
        """The connection holds bytes; to be called whenever their number grows."""
        size = source.unread_bytes
        self.bytes += size - self._held.get(source, 0)
        self._held[source] = size
        if self.max_bytes and self.bytes > self.max_bytes:
            self._enforce()

    def release(self, source: Source) -> None:
        """The connection holds nothing any more."""
        self.bytes -= self._held.pop(source, 0)

    def watch(self, source: Source) -> Deadline:
        """Starts the deadline of an unfinished message."""
        return Deadline(source, self._wheel)

    def _enforce(self) -> None:
        """Closes the connections that hold most until the others hold less than 7/8 of the limit."""
        for source in sorted(self._held, key=lambda one: self._held[one], reverse=True):
            if self.bytes <= self.max_bytes * KEPT_SHARE:
                return
            self.release(source)
            source.drop_unread()


class Deadline:
    """The deadline of an unfinished message, which must end within `PROGRESS_S` or grow by `PROGRESS_BYTES`.

    One deadline serves for all messages of a connection that come in pieces while it runs.
    """

    __slots__ = ("_bytes", "_message", "_source", "_wheel", "due_tick", "is_over")

    def __init__(self, source: Source, wheel: Wheel) -> None:
        self.due_tick = 0
        self.is_over = False
        self._source = source
        self._wheel = wheel
        self._look()

    def _look(self) -> None:
        self._message, self._bytes = self._source.message_number, self._source.unread_bytes
        self._wheel.set(self, PROGRESS_S)

    def on_due(self) -> None:
        """Closes the connection if the same message is unfinished and has hardly grown."""
        number = self._source.message_number
        if number is not None and number == self._message and self._source.unread_bytes - self._bytes < PROGRESS_BYTES:
            self._source.fail_stalled()
        elif self._source.unread_bytes:
            self._look()
            return
        self.is_over = True
