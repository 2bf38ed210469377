"""Fan-out: what the hub says on a room's topic, to every socket in that room.

A frame's header is put before its bytes once; then the same bytes are written to every member's transport, which
sends what a turn of the loop has brought with one system call.

What would take too long for one turn is spread over several (`FanoutScheduler`). To each socket everything still goes
in the order in which it came:

| event | while deliveries of the room wait |
| --- | --- |
| of the room's topic | queued, for the sockets that are in the room at that moment |
| `Sent`, `Dropped`, `Asked`, `Stopped` | queued behind them |
| `Attached`, `Waiting` | acted on directly: nothing that waits is for the joiner, and all that comes later is queued |
| a chunk of a file | has a queue of its own, so that messages do not wait for files |
| a socket leaves | what waits for it is dropped; its client resumes from what it has received |

`last_seq` is that of the last message received from the bus. A handover completes what waits first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any

from relayd.bus.chunks import Payload
from relayd.bus.messages import (
    Announced,
    Asked,
    Attached,
    Dropped,
    Ended,
    Event,
    FrameLimit,
    PresenceTold,
    Rekeyed,
    Said,
    Sent,
    Signalled,
    Stopped,
    Subscribed,
    Turn,
    Waiting,
)
from relayd.errors import Restarting
from relayd.gateway.hearer import Hearer
from relayd.gateway.scheduler import DELIVERY_COST, FanoutScheduler, Job
from relayd.histogram import Histogram
from relayd.wire import events
from relayd.wire.chunks import HEAD_BYTES
from relayd.wire.frames import Opcode, encode_frame, frame_header
from relayd.wire.ids import RoomId, room_id_text

log = logging.getLogger("relayd.gateway")

Write = Callable[[bytes], None]


class Channel:
    """One room as this gateway sees it."""

    __slots__ = ("_members", "joining", "last_seq", "room_id", "slow", "sockets", "subscribed", "writers")

    def __init__(self, room_id: RoomId) -> None:
        self.room_id = room_id
        self.subscribed = False
        self.joining: dict[Hearer, None] = {}  # waiting for the topic, or for the hub's word
        self.sockets: dict[Hearer, None] = {}  # those in the room
        self.writers: dict[Hearer, Write] = {}  # of those that keep up: written to without a look
        self.slow: dict[Hearer, None] = {}  # the others
        self.last_seq: int | None = None  # of the last message heard, once there is somebody to hear
        self._members: tuple[Hearer, ...] | None = None  # see `members`

    @property
    def members(self) -> tuple[Hearer, ...]:
        """The sockets in the room now. All deliveries that wait share one tuple until somebody joins or leaves."""
        if self._members is None:
            self._members = tuple(self.sockets)
        return self._members

    def attach(self, socket: Hearer) -> None:
        """The hub has let the socket in."""
        del self.joining[socket]
        self.sockets[socket] = None
        self.writers[socket] = socket.write
        self._members = None

    def remove(self, socket: Hearer) -> None:
        """The socket is not here any more."""
        for group in (self.joining, self.sockets, self.writers, self.slow):
            group.pop(socket, None)
        self._members = None

    @property
    def unused(self) -> bool:
        """Whether nobody here needs the topic."""
        return not self.sockets and not self.joining

    def write(self, data: bytes, *, speaker: Hearer | None = None, droppable: bool = False) -> None:
        """Frames for everyone but `speaker`."""
        # Copies: a write that fills a queue makes its socket slow, there and then, and it has the data already.
        slow = [socket for socket in self.slow if socket is not speaker]
        own = self.writers.get(speaker) if speaker is not None else None
        for write in list(self.writers.values()):
            if write is not own:
                write(data)
        for socket in slow:
            socket.offer(data, droppable=droppable)

    def write_to(self, socket: Hearer, data: bytes, *, speaker: Hearer | None, droppable: bool) -> None:
        """The same for one socket, if it is still here."""
        if socket is speaker:
            return
        write = self.writers.get(socket)
        if write is not None:
            write(data)
        elif socket in self.slow:
            socket.offer(data, droppable=droppable)


class Fanout:
    """The rooms that have sockets here.

    Args:
        subscribe, unsubscribe: of the bus.
        monotonic: the machine's clock, which the hub reads, too.

    Attributes:
        deliveries, delivered_bytes, file_bytes, latency: see `Tally`.
    """

    def __init__(
        self,
        subscribe: Callable[[bytes], None],
        unsubscribe: Callable[[bytes], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._subscribe = subscribe
        self._unsubscribe = unsubscribe
        self._monotonic = monotonic
        self._loop = asyncio.get_running_loop()
        self._scheduler = FanoutScheduler()
        self.channels: dict[RoomId, Channel] = {}
        self._on_heard: dict[RoomId, Callable[[RoomId], None]] = {}  # see `hear`
        self.sockets: dict[int, Hearer] = {}  # all of this gateway, by number
        self.deliveries = self.delivered_bytes = self.file_bytes = 0
        self.latency = Histogram()
        self._written: list[float] = []  # when what this turn has written was said
        self.emptied = asyncio.Event()  # set while there are none
        self.emptied.set()
        self._handlers: dict[type, Callable[[RoomId, Any], None]] = {
            Subscribed: self._on_subscribed,
            Said: self._on_said,
            Turn: self._on_turn,
            Signalled: self._on_signalled,
            Announced: self._on_announced,
            PresenceTold: self._on_presence,
            Rekeyed: self._on_rekeyed,
            Ended: self._on_ended,
            Attached: self._on_attached,
            Waiting: self._on_waiting,
            FrameLimit: self._on_frame_limit,
            Sent: self._on_sent,
            Dropped: self._on_dropped,
            Asked: self._on_asked,
            Stopped: self._on_stopped,
        }

    def on(self, kind: type, handler: Callable[[RoomId, Any], None]) -> None:
        """Events of that kind concern no socket in particular, and somebody else hears them."""
        self._handlers[kind] = handler

    def deliver(self, topic: bytes, event: Event) -> None:
        """What the bus brings."""
        self._handlers[type(event)](RoomId(topic), event)

    def deliver_chunk(self, numbers: tuple[int, ...], payload: Payload) -> None:
        """A chunk of a file, for these sockets; none of them copies it."""
        header, data = frame_header(Opcode.BINARY, len(payload)), payload.buffer
        receivers = self._sockets_of(numbers)
        self.file_bytes += len(receivers) * (len(data) - HEAD_BYTES)
        if receivers:
            self._deliver(
                _chunks_of(receivers[0].room_id), receivers, lambda one: one.on_chunk(header, data), len(data)
            )

    def add(self, socket: Hearer) -> None:
        """The gateway has one more socket."""
        self.sockets[socket.number] = socket
        self.emptied.clear()

    def remove(self, socket: Hearer) -> None:
        """The socket is gone."""
        self.sockets.pop(socket.number, None)
        if not self.sockets:
            self.emptied.set()

    def enter(self, socket: Hearer) -> None:
        """The socket wants into its room: `socket.on_subscribed` is called when the topic is heard."""
        channel = self.channels.get(socket.room_id)
        if channel is None:
            channel = self.channels[socket.room_id] = Channel(socket.room_id)
            self._subscribe(socket.room_id)
        channel.joining[socket] = None
        if channel.subscribed:
            socket.on_subscribed()

    def hear(self, room_id: RoomId, sockets: list[Hearer], last_seq: int, on_heard: Callable[[RoomId], None]) -> None:
        """Hears a room for sockets that are in it already, are not connected yet, and have heard up to `last_seq`."""
        channel = self.channels[room_id] = Channel(room_id)
        channel.sockets = dict.fromkeys(sockets)
        channel.last_seq = last_seq
        self._on_heard[room_id] = on_heard
        self._subscribe(room_id)

    def readmit(self, socket: Hearer) -> None:
        """One of those is connected."""
        self.channels[socket.room_id].writers[socket] = socket.write

    def exit(self, socket: Hearer) -> None:
        """The socket is in no room any more, and hears nothing from now on."""
        channel = self.channels.get(socket.room_id)
        if channel is None:
            return
        channel.remove(socket)
        if channel.unused:
            del self.channels[socket.room_id]
            self._scheduler.drop(channel.room_id)
            self._scheduler.drop(_chunks_of(channel.room_id))
            self._unsubscribe(socket.room_id)

    def slow_down(self, socket: Hearer) -> None:
        """The socket does not keep up: from now on it is looked at before each write."""
        channel = self.channels.get(socket.room_id)
        if channel is not None and channel.writers.pop(socket, None) is not None:
            channel.slow[socket] = None

    def speed_up(self, socket: Hearer) -> None:
        """The socket has caught up."""
        channel = self.channels.get(socket.room_id)
        if channel is not None and socket in channel.slow:
            del channel.slow[socket]
            channel.writers[socket] = socket.write

    # Delivering. ------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether every delivery was made."""
        return self._scheduler.is_idle

    def complete(self) -> None:
        """Make every delivery that waits, now."""
        self._scheduler.complete()

    def _broadcast(
        self, channel: Channel, data: bytes, *, speaker: Hearer | None = None, droppable: bool = False
    ) -> None:
        """Write frames to everyone in the room but `speaker`."""
        cost = DELIVERY_COST + len(data)
        if self._scheduler.fits(channel.room_id, len(channel.sockets) * cost):
            channel.write(data, speaker=speaker, droppable=droppable)
        else:
            write = partial(channel.write_to, data=data, speaker=speaker, droppable=droppable)
            self._scheduler.add(channel.room_id, Job(channel.members, write, len(data), cost))

    def _deliver(
        self, key: Hashable, sockets: Sequence[Hearer], deliver: Callable[[Hearer], None], size: int, calls: int = 1
    ) -> None:
        """Make a delivery to each of these sockets.

        Args:
            key: of the queue it may have to wait in: a room's id, or `_chunks_of` it.
            size: of the frame, about.
            calls: how many writes' worth of work it is for one socket.
        """
        cost = calls * DELIVERY_COST + size
        if self._scheduler.fits(key, len(sockets) * cost):
            for socket in sockets:
                deliver(socket)
        else:
            self._scheduler.add(key, Job(sockets, deliver, size, cost))

    def _sockets_of(self, numbers: Iterable[int]) -> list[Hearer]:
        return [socket for number in numbers if (socket := self.sockets.get(number)) is not None]

    # What the room's topic brings. ------------------------------------------------------------------------------

    def _on_subscribed(self, topic: RoomId, event: Subscribed) -> None:
        channel = self.channels.get(topic)
        # A second marker comes when another gateway subscribes.
        if channel is not None and not channel.subscribed:
            channel.subscribed = True
            if topic in self._on_heard:
                self._on_heard.pop(topic)(topic)
            for socket in list(channel.joining):
                socket.on_subscribed()

    def _on_said(self, topic: RoomId, event: Said) -> None:
        channel = self.channels.get(topic)
        if channel is None or channel.last_seq is None:
            return
        if event.first_seq != channel.last_seq + 1:
            self._on_gap(channel, event.first_seq)
            return
        channel.last_seq += len(event.frames)
        hearers = len(channel.sockets)
        if len(event.frames) == 1:
            data = encode_frame(Opcode.TEXT, event.frames[0])
        else:
            data = b"".join([encode_frame(Opcode.TEXT, frame) for frame in event.frames])
        self.deliveries += len(event.frames) * hearers
        self.delivered_bytes += len(data) * hearers
        cost = DELIVERY_COST + len(data)
        if self._scheduler.fits(channel.room_id, hearers * cost):
            channel.write(data)
            self._on_written(event.at)
            return
        write = partial(channel.write_to, data=data, speaker=None, droppable=False)
        written = partial(self._on_written, event.at)
        self._scheduler.add(channel.room_id, Job(channel.members, write, len(data), cost, written))

    def _on_written(self, at: float) -> None:
        """Every socket was written what was said at that time."""
        if not self._written:
            # The next turn begins when the kernel has what this one has written: uvloop sends at a turn's end.
            self._loop.call_soon(self._observe)
        self._written.append(at)

    def _observe(self) -> None:
        written, self._written = self._written, []
        now = self._monotonic()
        for at in written:
            self.latency.observe(now - at)

    def _on_turn(self, topic: RoomId, event: Turn) -> None:
        for room_id, said in event.said:
            self._on_said(RoomId(room_id), said)

    def _on_rekeyed(self, topic: RoomId, event: Rekeyed) -> None:
        channel = self.channels.get(topic)
        if channel is None or channel.last_seq is None:
            return
        if event.seq != channel.last_seq + 1:
            self._on_gap(channel, event.seq)
            return
        channel.last_seq = event.seq
        self.deliveries += len(channel.sockets)

        def rekey(socket: Hearer) -> None:
            frame = events.rekeyed(event.seq, event.epoch, event.check, event.boxes.get(socket.user_id))
            socket.offer(encode_frame(Opcode.TEXT, frame))

        longest = len(max(event.boxes.values(), key=len, default=""))
        self._deliver(topic, channel.members, rekey, longest, calls=2)

    def _on_gap(self, channel: Channel, seq: int) -> None:
        """The bus lost something: everyone comes back and is told what is missing, rather than miss it."""
        log.warning("bus gap room=%s missing=%d", room_id_text(channel.room_id), seq - (channel.last_seq or 0) - 1)
        for socket in list(channel.sockets):
            socket.close(Restarting.close, Restarting.code)

    def _on_signalled(self, topic: RoomId, event: Signalled) -> None:
        channel = self.channels.get(topic)
        if channel is None:
            return
        speaker = self.sockets.get(event.number)
        if speaker is not None and not speaker.is_of(event.gateway):
            speaker = None  # the same number, at another gateway
        self._broadcast(channel, encode_frame(Opcode.TEXT, event.frame), speaker=speaker, droppable=True)

    def _on_announced(self, topic: RoomId, event: Announced) -> None:
        channel = self.channels.get(topic)
        if channel is not None:
            self._broadcast(channel, encode_frame(Opcode.TEXT, event.frame))

    def _on_presence(self, topic: RoomId, event: PresenceTold) -> None:
        channel = self.channels.get(topic)
        if channel is None:
            return
        everything = _presence_frame(event, None)
        joined = {user_id for user_id, _ in event.joined}

        def tell(socket: Hearer) -> None:
            if socket.user_id not in joined:
                socket.offer(everything)
            elif len(event.joined) > 1 or event.left != b"[]" or event.changed != b"[]":
                socket.offer(_presence_frame(event, socket.user_id))

        self._deliver(topic, channel.members, tell, len(everything))

    def _on_ended(self, topic: RoomId, event: Ended) -> None:
        channel = self.channels.get(topic)
        if channel is None:
            return
        data = encode_frame(Opcode.TEXT, event.frame)

        def end(socket: Hearer) -> None:
            socket.offer(data)
            socket.close(event.code, event.reason)

        self._deliver(topic, channel.members, end, len(data), calls=2)

    # What this gateway's own topic brings. ----------------------------------------------------------------------

    def _joining(self, number: int) -> tuple[Hearer, Channel] | None:
        """A socket that the hub answers; None if it was lost in the meantime: the hub is told so."""
        socket = self.sockets.get(number)
        channel = self.channels.get(socket.room_id) if socket is not None else None
        return None if socket is None or channel is None or socket not in channel.joining else (socket, channel)

    def _on_waiting(self, topic: RoomId, event: Waiting) -> None:
        joining = self._joining(event.number)
        if joining is not None:
            socket, _ = joining
            if event.sid is not None:
                socket.seal(event.sid, 0)
            socket.on_waiting(encode_frame(Opcode.TEXT, event.frame))

    def _on_attached(self, topic: RoomId, event: Attached) -> None:
        joining = self._joining(event.number)
        if joining is None:
            return
        socket, channel = joining
        if not channel.sockets:
            channel.last_seq = event.seq
        channel.attach(socket)
        if event.sid is not None:
            socket.seal(event.sid, event.frame_bytes)
        socket.on_attached(event.user_id, b"".join([encode_frame(Opcode.TEXT, frame) for frame in event.frames]))

    def _on_frame_limit(self, topic: RoomId, event: FrameLimit) -> None:
        for number in event.numbers:
            socket = self.sockets.get(number)
            if socket is not None:
                socket.allow_frame(event.frame_bytes)

    def _on_sent(self, topic: RoomId, event: Sent) -> None:
        data = encode_frame(Opcode.TEXT, event.frame)
        self._to_sockets(event.numbers, lambda one: one.offer(data, droppable=event.droppable), len(data))

    def _on_asked(self, topic: RoomId, event: Asked) -> None:
        self._to_sockets([event.number], lambda one: one.on_asked(event))

    def _on_stopped(self, topic: RoomId, event: Stopped) -> None:
        self._to_sockets([event.number], lambda one: one.on_stopped(event))

    def _on_dropped(self, topic: RoomId, event: Dropped) -> None:
        def drop(socket: Hearer) -> None:
            if event.after_s:
                self._loop.call_later(event.after_s, socket.close, event.code, event.reason)
            else:
                socket.close(event.code, event.reason)

        self._to_sockets(event.numbers, drop)

    def _to_sockets(self, numbers: list[int], deliver: Callable[[Hearer], None], size: int = 0) -> None:
        """Make a delivery to sockets of one room, behind what waits there."""
        sockets = self._sockets_of(numbers)
        if sockets:
            self._deliver(sockets[0].room_id, sockets, deliver, size)


def _chunks_of(room_id: RoomId) -> Hashable:
    """The key of the queue of the files of a room."""
    return (room_id, "chunks")


def _presence_frame(event: PresenceTold, without: str | None) -> bytes:
    joined = b",".join([entry for user_id, entry in event.joined if user_id != without])
    payload = b'{"type":"presence","joined":[%b],"left":%b,"changed":%b,"users":%d}' % (
        joined,
        event.left,
        event.changed,
        event.users,
    )
    return encode_frame(Opcode.TEXT, payload)
