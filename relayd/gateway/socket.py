"""RelaySocket: one client's WebSocket, from its first byte after the handshake to its last."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from enum import IntEnum
from random import Random
from typing import ClassVar, cast

import msgspec

from relayd.bus.chunks import GatewayChunks
from relayd.bus.messages import Asked, Behind, Gone, Item, Spoiled, Stopped
from relayd.bus.messages import Join as JoinItem
from relayd.errors import (
    BadChunk,
    JoinTimeout,
    ProtocolViolation,
    RateLimited,
    RelayError,
    Restarting,
    SlowConsumer,
    TooLarge,
)
from relayd.gateway.fanout import Fanout
from relayd.gateway.items import Spoken, spoken
from relayd.gateway.pressure import Pressure
from relayd.gateway.publisher import Publisher
from relayd.gateway.sealed import Seal
from relayd.gateway.uploads import Download, Uploads
from relayd.gateway.wheel import Wheel
from relayd.rooms.limits import Allowance, user_allowance
from relayd.settings import Settings
from relayd.wire import commands, events
from relayd.wire.chunks import fid_in
from relayd.wire.commands import MAX_PROFILE_BYTES, check_object
from relayd.wire.frames import FrameReader, Message, Opcode, Unmask, encode_close, encode_frame, parse_close
from relayd.wire.ids import RoomId
from relayd.wire.sealing_text import encode_base64url

# A reader that takes less than that in so long is gone or hostile: the slowest telephone line takes 50 KiB.
STUCK_BYTES, STUCK_S = 16 * 1024, 10.0
RESUME_WRITING_BYTES, SLOW_BYTES = 16 * 1024, 64 * 1024  # waiting for one reader: caught up, and behind
FRAMES_AT_ONCE = 256  # acted on in one turn of the loop
_PING = encode_frame(Opcode.PING, b"")
TOO_MUCH_SHARE = 4  # of what may wait for a reader: behind by that part of it, it gets no more of files for now
PAUSE_S = 1.0  # at least so long a client that says too much is not read from
MAX_STRIKES = 10  # so often it may run into a limit with less than FORGIVEN_S in between
FORGIVEN_S = 10.0
FULL_S = 0.005  # a sender of files is not read from for so long when the way to the hub is full


class State(IntEnum):
    """What is expected of the client next."""

    OPEN = 0  # a join frame
    JOINING = 1  # patience
    JOINED = 2  # anything
    CLOSING = 3  # its close frame
    CLOSED = 4


class Station(msgspec.Struct):
    """What all sockets of a gateway share; `settings` are replaced when they are reloaded."""

    topic: bytes
    settings: Settings
    fanout: Fanout
    publisher: Publisher
    chunks: GatewayChunks
    wheel: Wheel
    pressure: Pressure
    unmask: Unmask
    random: Random  # for ping times only
    joins_refused: Counter[str]  # before the hub heard of them, by error code
    halted: bool = False  # nothing is read while connections are handed over


class SocketState(msgspec.Struct, array_like=True, gc=False):
    """What the gateway of another process needs to go on with a connection."""

    number: int
    room_id: RoomId
    user_id: str  # "" before it is in the room
    address: str
    rest: tuple[bytes, int, bytes | None]  # see FrameReader.rest
    held: list[tuple[int, bytes]]  # messages that were read, and not acted on
    seal: tuple[bytes, int, int] | None  # sid, and bytes of a message and of a rekey at most
    debts: tuple[float, float, float] | None  # see Allowance.debts
    strikes: int
    struck_at: float
    spoke_at: float  # like all times on the loop's clock, which counts from the machine's start


class RelaySocket(asyncio.Protocol):
    """A client's WebSocket.

    Args:
        station: what it shares with the others.
        number: this gateway's own for it.
        room_id: of the path.
        address: the client's.
        early: bytes that came with the handshake request.
    """

    __slots__ = (
        "_allowance",
        "_behind",
        "_download",
        "_early",
        "_heard",
        "_held",
        "_joining",
        "_pinged",
        "_reader",
        "_seal",
        "_spoke_at",
        "_state",
        "_station",
        "_strikes",
        "_struck_at",
        "_transport",
        "_uploads",
        "address",
        "due_tick",
        "number",
        "on_lost",
        "room_id",
        "user_id",
        "write",
    )

    def __init__(self, station: Station, number: int, room_id: RoomId, address: str, early: bytes) -> None:
        self.number = number
        self.room_id = room_id
        self.user_id = ""
        self.due_tick = 0
        self.on_lost: Callable[[], None] | None = None
        self.write: Callable[[bytes], None]
        self._station = station
        self.address = address
        self._early = early
        self._state = State.OPEN
        self._reader = FrameReader(station.settings.limits.max_message, station.unmask)
        self._transport: asyncio.Transport
        self._allowance: Allowance | None = None
        self._seal: Seal | None = None  # None in an open room
        self._heard = True  # anything at all since the last ping
        self._pinged = False  # and not answered yet
        self._spoke_at = station.wheel.now
        self._held: list[Message] | None = None  # read, but not to be acted on yet
        self._joining: commands.Join | None = None  # the frame, until the room's topic is heard
        self._strikes = 0
        self._struck_at = 0.0
        # What waited for the reader when it fell behind, and what came since; None while it keeps up.
        self._behind: int | None = None
        # Of files; most connections never have to do with any.
        self._uploads: Uploads | None = None
        self._download: Download | None = None

    @classmethod
    def restored(cls, station: Station, state: SocketState) -> RelaySocket:
        """A connection that another process had, before it is connected; it acts on nothing until it is to go on."""
        socket = cls(station, state.number, state.room_id, state.address, b"")
        socket.user_id = state.user_id
        socket._held = [Message(*message) for message in state.held]
        socket._strikes, socket._struck_at, socket._spoke_at = state.strikes, state.struck_at, state.spoke_at
        socket._reader.go_on(state.rest)
        if state.seal is not None:
            sid, message_bytes, rekey_bytes = state.seal
            socket._seal = Seal(sid, message_bytes)
            socket._reader.max_message_bytes = rekey_bytes
        if state.debts is not None:
            socket._own_allowance().debts = state.debts
        return socket

    @property
    def is_open(self) -> bool:
        """Whether it has a connection."""
        return self._state is not State.CLOSED

    def is_of(self, topic: bytes) -> bool:
        """Whether it belongs to the gateway of that topic."""
        return self._station.topic == topic

    # The transport's calls. -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        self._transport = cast(asyncio.Transport, transport)
        self.write = self._transport.write
        self._transport.set_write_buffer_limits(high=SLOW_BYTES, low=RESUME_WRITING_BYTES)
        self._station.fanout.add(self)
        self._station.wheel.set(self, self._station.settings.timing.join_timeout)
        if self.user_id:  # another process had it, and the hub knows it
            self._state = State.JOINED
            self._station.fanout.readmit(self)
            self._schedule_ping()
        if self._early:
            early, self._early = self._early, b""
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        self._heard = True
        if self._state is State.CLOSED:
            return
        messages = self._reader.receive_data(data)
        if self._held is not None:
            self._held += messages
        elif messages:
            self._act(messages)
        failure = self._reader.failure
        if failure is not None and self._held is None:
            self.close(failure.code, failure.reason)

    def eof_received(self) -> bool:
        """The client sends nothing more, so it is gone: a WebSocket is closed as a whole."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._part()
        self._state = State.CLOSED
        self._station.wheel.cancel(self)
        self._station.pressure.remove(self)
        self._station.fanout.remove(self)
        # The wheel may know it for half a minute yet: nothing that a peer has sent may stay that long.
        self._held, self._joining, self._early = None, None, b""
        self._uploads = None
        self._reader = FrameReader(0, self._station.unmask)
        if self.on_lost is not None:
            self.on_lost()

    def never_connected(self) -> None:
        """The connection was lost before it was this socket's."""
        self._state = State.CLOSED
        if self.on_lost is not None:
            self.on_lost()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is written to."""
        self._behind = self.waiting_bytes
        self._station.pressure.add(self)
        self._station.fanout.slow_down(self)
        if self._state is State.JOINED:
            self._station.wheel.set(self, STUCK_S)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._behind = None
        self._station.pressure.remove(self)
        self._station.fanout.speed_up(self)
        if self._download is not None and self._download.behind:
            self._download.behind = False
            self._say(Behind(self.number, False))
        if self._state is State.JOINED:
            self._schedule_ping()

    # For another process. ---------------------------------------------------------------------------------------

    @property
    def descriptor(self) -> int:
        """That of its socket."""
        return cast(int, self._transport.get_extra_info("socket").fileno())

    def halt(self) -> None:
        """Reads nothing more."""
        if self._state in (State.OPEN, State.JOINED):
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Acts on what was held back, and reads on."""
        if self._state in (State.OPEN, State.JOINED):
            self._release()

    def state(self) -> SocketState | None:
        """All that another process needs; None if it cannot go on with this one, and its client has to come back."""
        failed = self._reader.failure is not None
        if self._state not in (State.OPEN, State.JOINED) or failed or self.waiting_bytes:
            return None
        seal = self._seal
        return SocketState(
            number=self.number,
            room_id=self.room_id,
            user_id=self.user_id,
            address=self.address,
            rest=self._reader.rest(),
            held=[(message.opcode, message.payload) for message in self._held or ()],
            seal=None if seal is None else (seal.sid, seal.max_message_bytes, self._reader.max_message_bytes),
            debts=None if self._allowance is None else self._allowance.debts,
            strikes=self._strikes,
            struck_at=self._struck_at,
            spoke_at=self._spoke_at,
        )

    def send_away(self) -> None:
        """Its client is to come back to the other process."""
        self.close(Restarting.close, Restarting.code)

    def let_go(self) -> None:
        """Another process has it: drops this one's copy without a word to anybody."""
        self._state = State.CLOSED
        self._transport.abort()

    # What the fan-out calls. ------------------------------------------------------------------------------------

    def forget_allowance(self) -> None:
        """Other limits hold from the next word on."""
        self._allowance = None

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

    def on_asked(self, event: Asked) -> None:
        """Chunks of a file are wanted of this client."""
        if self._state is not State.JOINED:
            return
        self._own_uploads().ask(event)
        fid = encode_base64url(event.fid)
        self._reply(events.FileEvent("send", fid, stream=event.stream, from_=event.first, upto=event.upto))

    def on_stopped(self, event: Stopped) -> None:
        """Chunks that were wanted of it are not any more."""
        if self._uploads is not None:
            self._uploads.stop(event.stream)
            self._reply(events.FileEvent("stop", encode_base64url(event.fid), stream=event.stream))

    def on_chunk(self, header: bytes, data: memoryview) -> None:
        """A chunk for this client."""
        if self._state is not State.JOINED:
            return
        if self._download is None:
            self._download = Download()
        self._download.pay_grant()
        self._spoke_at = self._station.wheel.now  # whoever receives is not idle
        if self._behind is None:
            self._transport.writelines((header, data))
            return
        # Whole or not at all: what is closed in between would be read as part of it.
        self.offer(b"".join((header, data)))
        too_much = self._station.settings.limits.max_outbox // TOO_MUCH_SHARE
        if not self._download.behind and self.waiting_bytes > too_much and self._state is State.JOINED:
            self._download.behind = True
            self._say(Behind(self.number, True))

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

    def on_subscribed(self) -> None:
        """The room's topic is heard, so nothing can be missed after the hub has let this socket in."""
        frame, self._joining = self._joining, None
        if frame is None:  # asked twice; the hub has the first
            return
        profile = bytes(frame.profile) if isinstance(frame.profile, msgspec.Raw) else None
        since = frame.since or commands.Since("", 0)
        self._say(
            JoinItem(
                self.number,
                self.room_id,
                self.address,
                frame.key,
                frame.session,
                frame.proof,
                profile,
                since.epoch,
                since.seq,
            )
        )

    def seal(self, sid: bytes, frame_bytes: int) -> None:
        """The room is sealed: `sid` is that of the card sent with the join, `frame_bytes` a rekey's at most."""
        ordinary = self._reader.max_message_bytes
        self._seal = Seal(sid, ordinary)
        self._reader.max_message_bytes = max(ordinary, frame_bytes)

    def on_attached(self, user_id: str, data: bytes) -> None:
        """The hub has let this socket in: `data` are the frames it starts with."""
        self.user_id = user_id
        self._state = State.JOINED
        self.offer(data)
        self._schedule_ping()
        self._release()

    def close(self, code: int, reason: str) -> None:
        """Starts the closing handshake. What still comes is read and dropped, so that the code arrives."""
        if self._state >= State.CLOSING:
            return
        self._part()
        self._state = State.CLOSING
        self._held = None  # nothing of it is acted on any more; the peer's close frame must not wait behind it
        self._station.pressure.remove(self)
        self.write(encode_close(code, reason))
        if self._reader.failure is not None:
            self._transport.write_eof()  # its answer would not be understood, so it need not wait for ours
        self._station.wheel.set(self, self._station.settings.timing.close_timeout)
        self._transport.resume_reading()

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
        if cast(int, self._behind) - waiting < STUCK_BYTES:
            self.cut_off()
            return
        self._behind = waiting
        self._station.wheel.set(self, STUCK_S)

    def _schedule_ping(self) -> None:
        interval = self._station.settings.timing.ping_interval
        # A fifth either way, so that thousands that came at once are not pinged at once.
        self._station.wheel.set(self, interval * self._station.random.uniform(0.8, 1.2))

    # Frames. ----------------------------------------------------------------------------------------------------

    def _act(self, messages: list[Message]) -> None:
        for index, message in enumerate(messages):
            if index == FRAMES_AT_ONCE:
                self._take_a_break(messages[index:])
                return
            if self._state >= State.CLOSING:
                if message.opcode == Opcode.CLOSE:
                    self._transport.close()
                continue
            self._ON[message.opcode](self, message)
            if self._held is not None:
                self._held += messages[index + 1 :]
                return

    def _on_text(self, message: Message) -> None:
        self._spoke_at = self._station.wheel.now
        self._hear(message)

    def _on_ping(self, message: Message) -> None:
        self._book_answer(len(message.payload))
        self.offer(encode_frame(Opcode.PONG, message.payload))

    def _on_pong(self, message: Message) -> None:
        if self._pinged:
            self._pinged = False
        else:  # nobody asked for it, and it was read all the same
            self._book_answer(0)

    def _on_binary(self, message: Message) -> None:
        frame = message.payload
        try:
            stream, upload = self._own_uploads().check(frame)
        except BadChunk as error:
            self._book_answer(len(frame))
            self._refuse(error, None, fid_in(frame))
            return
        self._spoke_at = self._station.wheel.now
        if upload.over or self._station.chunks.send(self.number, stream, frame):
            self._own_uploads().passed(stream, upload)
        else:
            self._held = [message]
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(FULL_S, self._release)

    def _own_uploads(self) -> Uploads:
        if self._uploads is None:
            self._uploads = Uploads(lambda stream: self._say(Spoiled(self.number, stream)))
        return self._uploads

    def _on_close(self, message: Message) -> None:
        code, failure = parse_close(message.payload)
        self.close(code, failure.reason if failure else "")
        self._transport.close()

    _ON: ClassVar[dict[int, Callable[[RelaySocket, Message], None]]] = {
        Opcode.TEXT: _on_text,
        Opcode.BINARY: _on_binary,
        Opcode.CLOSE: _on_close,
        Opcode.PING: _on_ping,
        Opcode.PONG: _on_pong,
    }

    def _take_a_break(self, rest: list[Message]) -> None:
        """Lets the others have their turn of the loop."""
        self._held = rest
        self._transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._release)

    def _hear(self, message: Message) -> None:
        command: commands.Command | None = None
        try:
            command = commands.decode(message.payload)
            if self._seal is not None and self._seal.is_too_long(message.payload, command):
                self.close(TooLarge.close, "message too big")
            elif self._state is State.OPEN:
                self._join(command)
            elif isinstance(command, commands.Ping):
                self._book_answer(len(message.payload))
                self._reply(events.Pong(command.id))
            else:
                self._speak(spoken(self.number, command, self._seal))
        except RelayError as error:
            message_id = commands.id_of(message.payload) if command is None else getattr(command, "id", None)
            self._refuse(error, message_id, getattr(command, "fid", None))
            if not isinstance(error, RateLimited):
                self._book_answer(len(message.payload))

    def _join(self, command: commands.Command) -> None:
        if not isinstance(command, commands.Join):
            raise ProtocolViolation("the first frame must be a join")
        if isinstance(command.profile, msgspec.Raw):
            check_object(bytes(command.profile), MAX_PROFILE_BYTES, "profile")
        self._state = State.JOINING
        self._joining, self._held = command, []
        self._transport.pause_reading()
        self._station.fanout.enter(self)

    def _say(self, item: Item) -> None:
        self._station.publisher.add(item)

    def _speak(self, spoken: Spoken) -> None:
        """Passes on what was said, if this connection may say so much; the hub asks the same of user and room.

        Raises:
            RateLimited: with the time to wait. The client is not read from for a while.
        """
        now, wait_s = self._station.wheel.now, 0.0
        if spoken.message_bytes is not None:
            wait_s = self._own_allowance().take_message(spoken.message_bytes, now)
        elif spoken.signal_bytes is not None:
            wait_s = self._own_allowance().take_signal(spoken.signal_bytes, now)
        elif spoken.is_grant and not (self._download is not None and self._download.take_grant()):
            wait_s = self._own_allowance().take_message(0, now)
        if wait_s:
            self._strike(now, wait_s)
            raise RateLimited(retry_after_s=wait_s)
        self._say(spoken.item)

    def _book_answer(self, size: int) -> None:
        """A frame that nobody but this client hears of costs what a message does: the answer to it is one."""
        now = self._station.wheel.now
        wait_s = self._own_allowance().take_message(size, now)
        if wait_s and self._state is State.JOINED:
            self._strike(now, wait_s)

    def _own_allowance(self) -> Allowance:
        if self._allowance is None:
            self._allowance = user_allowance(self._station.settings.limits.rate, self._station.wheel.now)
        return self._allowance

    def _strike(self, now: float, wait_s: float) -> None:
        self._strikes = self._strikes + 1 if now - self._struck_at < FORGIVEN_S else 1
        self._struck_at = now
        if self._strikes > MAX_STRIKES:
            self.close(RateLimited.close, RateLimited.code)
        elif self._held is None:
            self._held = []
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(max(wait_s, PAUSE_S), self._release)

    def _release(self) -> None:
        """Acts on what was held back, and reads on."""
        if self._station.halted and self._state is not State.CLOSED:
            self._held = self._held or []
            return
        held, self._held = self._held, None
        if self._state is State.CLOSED:
            return
        self._transport.resume_reading()
        if held:
            self._act(held)  # while closing: its close frame may be among it
        if self._held is None and self._reader.failure is not None:
            self.close(self._reader.failure.code, self._reader.failure.reason)

    def _refuse(self, error: RelayError, message_id: str | None, fid: str | None = None) -> None:
        if self._state is State.OPEN:
            self._turn_away(ProtocolViolation)
            return
        self._reply(events.refusal(error, message_id, fid))

    def _turn_away(self, error: type[RelayError]) -> None:
        """It will be in no room."""
        self._station.joins_refused[error.code] += 1
        self.close(error.close, error.code)

    def _reply(self, event: events.Event) -> None:
        self.offer(encode_frame(Opcode.TEXT, events.encode(event)))

    def _part(self) -> None:
        """Out of the room, and the hub is told if it knows of this socket."""
        if self._state in (State.JOINING, State.JOINED):
            self._station.fanout.exit(self)
            self._say(Gone(self.number))
