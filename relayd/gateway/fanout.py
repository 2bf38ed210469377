"""Fan-out: what the hub says on a room's topic, to every socket in that room.

A frame's header is put before its bytes once; then the same bytes are written to every member's transport, which
sends what a turn of the loop has brought with one system call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
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
)
from relayd.errors import Restarting
from relayd.gateway.hearer import Hearer
from relayd.histogram import Histogram
from relayd.wire import events
from relayd.wire.chunks import HEAD_BYTES
from relayd.wire.frames import Opcode, encode_frame, frame_header
from relayd.wire.ids import RoomId, room_id_text

log = logging.getLogger("relayd.gateway")

Write = Callable[[bytes], None]


class Channel:
    """One room as this gateway sees it."""

    __slots__ = ("joining", "last_seq", "room_id", "slow", "sockets", "subscribed", "writers")

    def __init__(self, room_id: RoomId) -> None:
        self.room_id = room_id
        self.subscribed = False
        self.joining: dict[Hearer, None] = {}  # waiting for the topic, or for the hub's word
        self.sockets: dict[Hearer, None] = {}  # those in the room
        self.writers: dict[Hearer, Write] = {}  # of those that keep up: written to without a look
        self.slow: dict[Hearer, None] = {}  # the others
        self.last_seq: int | None = None  # of the last message heard, once there is somebody to hear

    @property
    def unused(self) -> bool:
        """Whether nobody here needs the topic."""
        return not self.sockets and not self.joining

    def write(self, data: bytes, *, droppable: bool = False) -> None:
        """Frames for everyone."""
        self.write_but(None, data, droppable=droppable)

    def write_but(self, speaker: Hearer | None, data: bytes, *, droppable: bool) -> None:
        """Frames for everyone but one."""
        # Copies: a write that fills a queue makes its socket slow, there and then, and it has the data already.
        slow = [socket for socket in self.slow if socket is not speaker]
        own = self.writers.get(speaker) if speaker is not None else None
        for write in list(self.writers.values()):
            if write is not own:
                write(data)
        for socket in slow:
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
        for number in numbers:
            socket = self.sockets.get(number)
            if socket is not None:
                socket.on_chunk(header, data)
                self.file_bytes += len(data) - HEAD_BYTES

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
        for group in (channel.joining, channel.sockets, channel.writers, channel.slow):
            group.pop(socket, None)
        if channel.unused:
            del self.channels[socket.room_id]
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
        channel.write(data)
        self.deliveries += len(event.frames) * hearers
        self.delivered_bytes += len(data) * hearers
        if not self._written:
            # The next turn begins when the kernel has what this one has written: uvloop sends at a turn's end.
            self._loop.call_soon(self._observe)
        self._written.append(event.at)

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
        for socket in list(channel.sockets):
            frame = events.rekeyed(event.seq, event.epoch, event.check, event.boxes.get(socket.user_id))
            socket.offer(encode_frame(Opcode.TEXT, frame))

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
        channel.write_but(speaker, encode_frame(Opcode.TEXT, event.frame), droppable=True)

    def _on_announced(self, topic: RoomId, event: Announced) -> None:
        channel = self.channels.get(topic)
        if channel is not None:
            channel.write(encode_frame(Opcode.TEXT, event.frame))

    def _on_presence(self, topic: RoomId, event: PresenceTold) -> None:
        channel = self.channels.get(topic)
        if channel is None:
            return
        everything = _presence_frame(event, None)
        joined = {user_id for user_id, _ in event.joined}
        for socket in list(channel.sockets):
            own = socket.user_id in joined
            if not own:
                socket.offer(everything)
            elif len(event.joined) > 1 or event.left != b"[]" or event.changed != b"[]":
                socket.offer(_presence_frame(event, socket.user_id))

    def _on_ended(self, topic: RoomId, event: Ended) -> None:
        channel = self.channels.get(topic)
        if channel is None:
            return
        data = encode_frame(Opcode.TEXT, event.frame)
        for socket in list(channel.sockets):
            socket.offer(data)
            socket.close(event.code, event.reason)

    # What this gateway's own topic brings. ----------------------------------------------------------------------

    def _on_attached(self, topic: RoomId, event: Attached) -> None:
        socket = self.sockets.get(event.number)
        channel = self.channels.get(socket.room_id) if socket is not None else None
        if socket is None or channel is None or socket not in channel.joining:
            return  # lost in the meantime; the hub is told so
        if not channel.sockets:
            channel.last_seq = event.seq
        del channel.joining[socket]
        channel.sockets[socket] = None
        channel.writers[socket] = socket.write
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
        for number in event.numbers:
            socket = self.sockets.get(number)
            if socket is not None:
                socket.offer(data, droppable=event.droppable)

    def _on_asked(self, topic: RoomId, event: Asked) -> None:
        socket = self.sockets.get(event.number)
        if socket is not None:
            socket.on_asked(event)

    def _on_stopped(self, topic: RoomId, event: Stopped) -> None:
        socket = self.sockets.get(event.number)
        if socket is not None:
            socket.on_stopped(event)

    def _on_dropped(self, topic: RoomId, event: Dropped) -> None:
        for number in event.numbers:
            socket = self.sockets.get(number)
            if socket is not None and event.after_s:
                asyncio.get_running_loop().call_later(event.after_s, socket.close, event.code, event.reason)
            elif socket is not None:
                socket.close(event.code, event.reason)


def _presence_frame(event: PresenceTold, without: str | None) -> bytes:
    joined = b",".join([entry for user_id, entry in event.joined if user_id != without])
    payload = b'{"type":"presence","joined":[%b],"left":%b,"changed":%b,"users":%d}' % (
        joined,
        event.left,
        event.changed,
        event.users,
    )
    return encode_frame(Opcode.TEXT, payload)
