"""What the fan-out and the pressure on it need of a socket, and no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from relayd.bus.messages import Asked, Stopped
from relayd.wire.ids import RoomId


class Hearer(Protocol):
    """Somebody who hears what is said in a room; `RelaySocket` is one."""

    number: int  # this gateway's own for it
    room_id: RoomId
    address: str  # the client's
    user_id: str  # "" before it is in the room
    write: Callable[[bytes], None]  # frames, without a look at how many wait

    @property
    def waiting_bytes(self) -> int:
        """What was written and not taken yet."""

    def is_of(self, topic: bytes) -> bool:
        """Whether it belongs to the gateway of that topic."""

    def offer(self, data: bytes, *, droppable: bool = False) -> None:
        """Frames, if not too much waits."""

    def close(self, code: int, reason: str) -> None:
        """Starts the closing handshake."""

    def cut_off(self) -> None:
        """Closes it for reading too slowly."""

    def abort(self) -> None:
        """Drops the connection as it stands."""

    def forget_allowance(self) -> None:
        """Other rates hold from now on."""

    def seal(self, sid: bytes, frame_bytes: int) -> None:
        """Its room is sealed: what it may say from now on."""

    def allow_frame(self, frame_bytes: int) -> None:
        """It may send a rekey that is so long."""

    def on_subscribed(self) -> None:
        """The room's topic is heard."""

    def on_waiting(self, data: bytes) -> None:
        """The hub lets it wait until somebody in the room admits it: the frame that tells its client."""

    def on_attached(self, user_id: str, data: bytes) -> None:
        """The hub has let it in: the frames it starts with."""

    def on_asked(self, event: Asked) -> None:
        """It is to send chunks of a file."""

    def on_stopped(self, event: Stopped) -> None:
        """It is to send no more of them."""

    def on_chunk(self, header: bytes, data: memoryview) -> None:
        """A chunk for it: the header of its frame, and all the rest."""
