"""The way out to one client: a queue with a bound, a look whether it reads and lives, and the end of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from enum import IntEnum
from random import Random
from typing import TYPE_CHECKING, cast

import msgspec

from relayd.bus.chunks import GatewayChunks
from relayd.errors import JoinTimeout, RelayError, SlowConsumer
from relayd.gateway.fanout import Fanout
from relayd.gateway.hearer import Hearer
from relayd.gateway.pressure import Pressure
from relayd.gateway.publisher import Publisher
from relayd.gateway.read_buffers import PROGRESS_BYTES, PROGRESS_S, ReadBuffers
from relayd.gateway.refusals import RefusalCounter
from relayd.gateway.wheel import Wheel
from relayd.settings import Settings
from relayd.wire import events
from relayd.wire.frames import Opcode, Unmask, encode_close, encode_frame
from relayd.wire.ids import RoomId

RESUME_WRITING_BYTES, SLOW_BYTES = 16 * 1024, 64 * 1024  # waiting for one reader: caught up, and behind
_PING = encode_frame(Opcode.PING, b"")


class State(IntEnum):
    """What is expected of the client next."""

    OPEN = 0  # a join frame
    JOINING = 1  # patience
    WAITING = 2  # a profile; somebody in the room has to admit it
    JOINED = 3  # anything
    CLOSING = 4  # its close frame
    CLOSED = 5


ANSWERED = (State.WAITING, State.JOINED)  # the hub has answered the join, and has not refused it


class Station(msgspec.Struct):
    """What all sockets of a gateway share; `settings` are replaced when they are reloaded."""

    topic: bytes
    settings: Settings
    fanout: Fanout
    publisher: Publisher
    chunks: GatewayChunks
    wheel: Wheel
    pressure: Pressure
    read_buffers: ReadBuffers
    unmask: Unmask
    random: Random  # for ping times only
    joins_refused: Counter[str]  # before the hub heard of them, by error code
    halted: bool = False  # nothing is read while connections are handed over
    refusals: RefusalCounter = msgspec.field(default_factory=RefusalCounter)


if TYPE_CHECKING:

    class _Base(Hearer, asyncio.Protocol):
        """A `Hearer`; not said at run time, as it would give each of thousands of sockets a `__dict__`."""

else:
    _Base = asyncio.Protocol


class Outlet(_Base):
    """What is written to one client. What is read of it is for `RelaySocket`, which is one of these.

    Args:
        station: what it shares with the others.
        number: this gateway's own for it.
        room_id: of the path.
    """

    __slots__ = (
        "_behind",
        "_heard",
        "_pinged",
        "_spoke_at",
        "_state",
        "_station",
        "_transport",
        "due_tick",
        "number",
        "room_id",
        "user_id",
        "write",
    )

    def __init__(self, station: Station, number: int, room_id: RoomId) -> None:
        self.number = number
        self.room_id = room_id
        self.user_id = ""
        self.due_tick = 0
        self.write: Callable[[bytes], None]
        self._station = station
        self._state = State.OPEN
        self._transport: asyncio.Transport
        self._heard = True  # anything at all since the last ping
        self._pinged = False  # and not answered yet
        self._spoke_at = station.wheel.now
        # What waited for the reader when it fell behind, and what came since; None while it keeps up.
        self._behind: int | None = None

    # What `RelaySocket` adds. -----------------------------------------------------------------------------------

    def _part(self) -> None:
        """Out of the room."""

    @property
    def _is_deaf(self) -> bool:
        """Whether nothing that still comes can be understood."""
        return False

    # The transport's calls. -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        self._transport = cast(asyncio.Transport, transport)
        self.write = self._transport.write
        self._transport.set_write_buffer_limits(high=SLOW_BYTES, low=RESUME_WRITING_BYTES)
        self._station.fanout.add(self)
        self._station.wheel.set(self, self._station.settings.timing.join_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._part()
        self._state = State.CLOSED
        self._station.wheel.cancel(self)
        self._station.pressure.remove(self)
        self._station.fanout.remove(self)

    def pause_writing(self) -> None:
        """The client reads more slowly than it is written to."""
        self._behind = self.waiting_bytes
        self._station.pressure.add(self)
        self._station.fanout.slow_down(self)
        if self._state in ANSWERED:
            self._station.wheel.set(self, PROGRESS_S)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._behind = None
        self._station.pressure.remove(self)
        self._station.fanout.speed_up(self)
        if self._state in ANSWERED:
            self._schedule_ping()

    # What the fan-out calls. ------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether it has a connection."""
        return self._state is not State.CLOSED

    def is_of(self, topic: bytes) -> bool:
        """Whether it belongs to the gateway of that topic."""
        return self._station.topic == topic

    def offer(self, data: bytes, *, droppable: bool = False) -> None:
        """Frames for this client alone, or for one that is behind."""
        if self._state >= State.CLOSING:
            return
        if self._behind is not None:
            if droppable:
                return
            self._behind += len(data)
            if self.waiting_bytes + len(data) > self._station.settings.limits.max_outbox:
                self.cut_off()
                return
            self._station.pressure.grow(len(data))
        self.write(data)

    @property
    def waiting_bytes(self) -> int:
        """What the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Drops the connection as it stands."""
        self._transport.abort()

    def cut_off(self) -> None:
        """The client reads too slowly; it may come back and be told what it missed."""
        self._station.pressure.closed += 1
        self.close(SlowConsumer.close, SlowConsumer.code)

    def close(self, code: int, reason: str) -> None:
        """Starts the closing handshake. What still comes is read and dropped, so that the code arrives."""
        if self._state >= State.CLOSING:
            return
        self._part()
        self._state = State.CLOSING
        self._station.pressure.remove(self)
        self.write(encode_close(code, reason))
        if self._is_deaf:
            self._transport.write_eof()  # its answer would not be understood, so it need not wait for ours
        self._station.wheel.set(self, self._station.settings.timing.close_timeout)
        self._transport.resume_reading()

    def _turn_away(self, error: type[RelayError]) -> None:
        """It will be in no room."""
        self._station.joins_refused[error.code] += 1
        self.close(error.close, error.code)

    def _reply(self, event: events.Event) -> None:
        self.offer(encode_frame(Opcode.TEXT, events.encode(event)))

    # The wheel's call. ------------------------------------------------------------------------------------------

    def on_due(self) -> None:
        """Time has passed: for joining, for closing, for a ping."""
        if self._state in (State.OPEN, State.JOINING):
            self._turn_away(JoinTimeout)
        elif self._state is State.CLOSING:
            self._transport.abort()
        elif self._behind is not None:
            self._check_progress()
        elif not self._heard:
            self._transport.abort()  # dead: not even an answer to the last ping
        else:
            self._heard = False
            self._pinged = True
            self.offer(_PING)
            silent_s = self._station.wheel.now - self._spoke_at
            if self._state is State.JOINED and silent_s > self._station.settings.timing.ping_interval:
                self._station.publisher.tell_silent(self.number, silent_s)
            self._schedule_ping()

    def _check_progress(self) -> None:
        waiting = self.waiting_bytes
        if cast(int, self._behind) - waiting < PROGRESS_BYTES:
            self.cut_off()
            return
        self._behind = waiting
        self._station.wheel.set(self, PROGRESS_S)

    def _schedule_ping(self) -> None:
        interval = self._station.settings.timing.ping_interval
        # A fifth either way, so that thousands that came at once are not pinged at once.
        self._station.wheel.set(self, interval * self._station.random.uniform(0.8, 1.2))
