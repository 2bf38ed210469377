"""What one connection in a sealed room may say: sealed shapes only, and all of one sid."""

from __future__ import annotations

import msgspec

from relayd.errors import NotSealed, ProtocolViolation
from relayd.wire import commands
from relayd.wire.sealed_shapes import SIGNAL_KIND, SealedBody, parse_sealed
from relayd.wire.sealing_text import SealingError

_decode = msgspec.json.Decoder(SealedBody).decode


class Seal:
    """Checks what a connection says. What it cannot see, the epoch, is for the hub, which owns it.

    Args:
        sid: of the card that came with the join; b"" if there was none.
        max_message_bytes: of frames that are no rekey.
    """

    __slots__ = ("_max_message_bytes", "_sid")

    def __init__(self, sid: bytes, max_message_bytes: int) -> None:
        self._sid = sid
        self._max_message_bytes = max_message_bytes

    @property
    def sid(self) -> bytes:
        """The one it keeps to; b"" until it is known."""
        return self._sid

    @property
    def max_message_bytes(self) -> int:
        """Of frames that are no rekey."""
        return self._max_message_bytes

    def is_too_long(self, frame: bytes, command: commands.Command) -> bool:
        """Whether the frame has a length that only a rekey may have, and is none."""
        return len(frame) > self._max_message_bytes and not isinstance(command, commands.Rekey)

    def epoch_of(self, body: bytes, what: str = "body") -> int:
        """The epoch that JSON text of a sealed shape is of.

        Raises:
            NotSealed: it has another shape.
            ProtocolViolation: it is of another sid than what came before it.
        """
        try:
            head = parse_sealed(_decode(body))
        except (msgspec.DecodeError, SealingError) as wrong:
            raise NotSealed(f"{what}: {wrong}") from None
        if head.sid != self._sid:
            if self._sid:
                raise ProtocolViolation("s: a connection keeps to one sid; draw another for another connection")
            self._sid = head.sid
        return head.epoch

    def epoch_of_signal(self, kind: str, data: bytes) -> int:
        """The same for a signal.

        Raises:
            NotSealed, ProtocolViolation: as `epoch_of`; also for another kind.
        """
        if kind != SIGNAL_KIND:
            raise NotSealed(f"kind: signals of a sealed room have the kind {SIGNAL_KIND!r}")
        return self.epoch_of(data, "data")
