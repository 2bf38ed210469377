"""RelaySocket: one client's WebSocket, from its first byte after the handshake to its last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, cast

import msgspec

from relayd.bus.messages import Asked, Behind, Gone, Item, Spoiled, Stopped
from relayd.bus.messages import Join as JoinItem
from relayd.errors import (
    BadChunk,
    NotAdmitted,
    Overloaded,
    ProtocolViolation,
    RateLimited,
    RelayError,
    Restarting,
    TooLarge,
)
from relayd.gateway.items import Spoken, spoken
from relayd.gateway.outlet import ANSWERED, Outlet, State, Station
from relayd.gateway.read_buffers import Deadline
from relayd.gateway.sealed import Seal
from relayd.gateway.uploads import Download, Uploads
from relayd.rooms.limits import Allowance, user_allowance
from relayd.rooms.refusals import FRAME, JOIN
from relayd.wire import commands, events
from relayd.wire.chunks import fid_in
from relayd.wire.commands import MAX_PROFILE_BYTES, check_object
from relayd.wire.frames import FrameReader, Message, Opcode, encode_frame, parse_close
from relayd.wire.ids import RoomId
from relayd.wire.sealing_text import encode_base64url

FRAMES_AT_ONCE = 256  # read, and acted on, in one turn of the loop
SMALL_FRAGMENT_BYTES = 1_024  # a shorter one costs what a message does: it is as much work
CLOSING_BYTES = 64 * 1024  # so much is still looked through for the peer's close frame; the rest is discarded
TOO_MUCH_SHARE = 4  # of what may wait for a reader: behind by that part of it, it gets no more of files for now
PAUSE_S = 1.0  # at least so long a client that says too much is not read from
MAX_STRIKES = 10  # so often it may run into a limit with less than FORGIVEN_S in between
FORGIVEN_S = 10.0
FULL_S = 0.005  # a sender of files is not read from for so long when the way to the hub is full


class SocketState(msgspec.Struct, array_like=True, gc=False):
    """What the gateway of another process needs to go on with a connection."""

    number: int
    room_id: RoomId
    user_id: str  # "" before it is in the room
    address: str
    rest: tuple[bytes, int, int, bytes | None]  # see FrameReader.rest
    waiting: bytes | None  # a chunk of a file that the way to the hub had no room for
    seal: tuple[bytes, int, int] | None  # sid, and bytes of a message and of a rekey at most
    debts: tuple[float, float, float] | None  # see Allowance.debts
    strikes: int
    struck_at: float
    spoke_at: float  # like all times on the loop's clock, which counts from the machine's start


class RelaySocket(Outlet):
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
        "_closing_bytes",
        "_deadline",
        "_download",
        "_early",
        "_is_paused",
        "_joining",
        "_reader",
        "_seal",
        "_strikes",
        "_struck_at",
        "_uploads",
        "_waiting",
        "address",
        "on_lost",
    )

    def __init__(self, station: Station, number: int, room_id: RoomId, address: str, early: bytes) -> None:
        super().__init__(station, number, room_id)
        self.address = address
        self.on_lost: Callable[[], None] | None = None
        self._early = early
        self._reader = FrameReader(station.settings.limits.max_message, station.unmask)
        self._allowance: Allowance | None = None
        self._seal: Seal | None = None  # None in an open room
        self._is_paused = False  # nothing is read from it; what has come stays in the reader, as bytes
        self._closing_bytes = CLOSING_BYTES  # that may still come once it is closing
        self._deadline: Deadline | None = None  # of an unfinished message
        self._joining: commands.Join | None = None  # the frame, until the room's topic is heard
        self._strikes = 0
        self._struck_at = 0.0
        # Of files; most connections never have to do with any.
        self._uploads: Uploads | None = None
        self._download: Download | None = None
        self._waiting: Message | None = None  # a chunk that the way to the hub had no room for

    @classmethod
    def restored(cls, station: Station, state: SocketState) -> RelaySocket:
        """A connection that another process had, before it is connected; it acts on nothing until it is to go on."""
        socket = cls(station, state.number, state.room_id, state.address, b"")
        socket.user_id = state.user_id
        socket._is_paused = True
        socket._waiting = None if state.waiting is None else Message(Opcode.BINARY, state.waiting)
        socket._strikes, socket._struck_at, socket._spoke_at = state.strikes, state.struck_at, state.spoke_at
        socket._reader.go_on(state.rest)
        if state.seal is not None:
            sid, message_bytes, rekey_bytes = state.seal
            socket._seal = Seal(sid, message_bytes)
            socket._reader.max_message_bytes = rekey_bytes
        if state.debts is not None:
            socket._own_allowance().debts = state.debts
        return socket

    # The transport's calls. -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        super().connection_made(transport)
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
        if self._state >= State.CLOSING:
            self._closing_bytes -= len(data)
            if self._state is State.CLOSED or self._closing_bytes < 0:
                return
        self._reader.feed(data)
        if self._is_paused:
            self._station.read_buffers.hold(self)
        else:
            self._read()

    def eof_received(self) -> bool:
        """The client sends nothing more, so it is gone: a WebSocket is closed as a whole."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        super().connection_lost(exc)
        # Something may refer to it for a while yet: nothing that a peer has sent may stay that long.
        self._forget_input()
        if self.on_lost is not None:
            self.on_lost()

    def never_connected(self) -> None:
        """The connection was lost before it was this socket's."""
        self._state = State.CLOSED
        if self.on_lost is not None:
            self.on_lost()

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if self._download is not None and self._download.behind:
            self._download.behind = False
            self._say(Behind(self.number, False))

    # For another process. ---------------------------------------------------------------------------------------

    @property
    def descriptor(self) -> int:
        """That of its socket."""
        return cast(int, self._transport.get_extra_info("socket").fileno())

    def halt(self) -> None:
        """Reads nothing more."""
        if self._state is State.OPEN or self._state in ANSWERED:
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Acts on what was held back, and reads on."""
        if self._state is State.OPEN or self._state in ANSWERED:
            self._resume()

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
            waiting=None if self._waiting is None else self._waiting.payload,
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
        if self._seal is None:  # else it has waited, and perhaps sent its card
            self._seal = Seal(sid, self._reader.max_message_bytes)
        self.allow_frame(frame_bytes)

    def allow_frame(self, frame_bytes: int) -> None:
        """A rekey may be so long; it never becomes shorter again, as one may be on its way."""
        self._reader.max_message_bytes = max(self._reader.max_message_bytes, frame_bytes)

    def on_waiting(self, data: bytes) -> None:
        """The hub lets it wait until somebody in the room admits it."""
        self._state = State.WAITING
        self.offer(data)
        self._schedule_ping()
        self._resume()

    def on_attached(self, user_id: str, data: bytes) -> None:
        """The hub has let this socket in: `data` are the frames it starts with."""
        self.user_id = user_id
        self._state = State.JOINED
        self.offer(data)
        self._schedule_ping()
        self._resume()

    # Reading. ---------------------------------------------------------------------------------------------------

    def close(self, code: int, reason: str) -> None:
        """Starts the closing handshake. Of what the client sends then, `CLOSING_BYTES` are searched for its answer."""
        if self._state >= State.CLOSING:
            return
        super().close(code, reason)
        self._joining = self._waiting = None
        self._closing_bytes -= self._reader.unread_bytes
        if self._closing_bytes < 0:
            self._forget_input()
        elif self._is_paused:
            self._is_paused = False
            asyncio.get_running_loop().call_soon(self._read)

    def _forget_input(self) -> None:
        self._station.read_buffers.release(self)
        self._joining, self._waiting, self._uploads, self._early = None, None, None, b""
        self._reader = FrameReader(0, self._station.unmask)

    def _read(self) -> None:
        """Acts on frames until none is left, the client is to wait, or it is the turn of the others."""
        reader = self._reader
        for _ in range(FRAMES_AT_ONCE):
            message = reader.next_frame()
            if message is None:
                self._all_read()
                return
            if self._state >= State.CLOSING:
                if message.opcode == Opcode.CLOSE:
                    self._transport.close()
                    return
            else:
                self._ON[message.opcode](self, message)
                if self._is_paused:
                    self._station.read_buffers.hold(self)
                    return
        self._pause(0.0)

    def _all_read(self) -> None:
        failure = self._reader.failure
        if failure is not None:
            self.close(failure.code, failure.reason)
        if self._reader.is_within_message:
            self._station.read_buffers.hold(self)
            if self._deadline is None or self._deadline.is_over:
                self._deadline = self._station.read_buffers.watch(self)
        else:
            self._station.read_buffers.release(self)

    def _pause(self, seconds: float) -> None:
        """Reads nothing for a while: what the client sends stays with the kernel, and what has come, in the reader."""
        self._is_paused = True
        self._transport.pause_reading()
        self._station.read_buffers.hold(self)
        asyncio.get_running_loop().call_later(seconds, self._resume)

    def _resume(self) -> None:
        """Acts on what has come meanwhile, and reads on."""
        if self._station.halted and self._state is not State.CLOSED:
            self._is_paused = True
            return
        self._is_paused = False
        if self._state is State.CLOSED:
            return
        self._transport.resume_reading()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._on_binary(waiting)
        if not self._is_paused:
            self._read()

    # What `ReadBuffers` calls. ----------------------------------------------------------------------------------

    @property
    def unread_bytes(self) -> int:
        """Bytes that have come and were not acted on."""
        return self._reader.unread_bytes

    @property
    def message_number(self) -> int | None:
        """Which of its messages is unfinished; None if none is, or if this gateway lets the client wait."""
        return self._reader.messages if self._reader.is_within_message and not self._is_paused else None

    def drop_unread(self) -> None:
        """All clients together have sent too much that is not acted on yet, and this one most of it."""
        self.close(Overloaded.close, Overloaded.code)

    def fail_stalled(self) -> None:
        """The end of a message does not come."""
        self.close(1008, "message too slow")

    # Frames. ----------------------------------------------------------------------------------------------------

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
            self._waiting = message
            self._pause(FULL_S)

    def _own_uploads(self) -> Uploads:
        if self._uploads is None:
            self._uploads = Uploads(lambda stream: self._say(Spoiled(self.number, stream)))
        return self._uploads

    def _on_fragment(self, message: Message) -> None:
        if len(message.payload) < SMALL_FRAGMENT_BYTES:
            self._book_answer(0)

    def _on_close(self, message: Message) -> None:
        code, failure = parse_close(message.payload)
        self.close(code, failure.reason if failure else "")
        self._transport.close()

    _ON: ClassVar[dict[int, Callable[[RelaySocket, Message], None]]] = {
        Opcode.CONTINUATION: _on_fragment,
        Opcode.TEXT: _on_text,
        Opcode.BINARY: _on_binary,
        Opcode.CLOSE: _on_close,
        Opcode.PING: _on_ping,
        Opcode.PONG: _on_pong,
    }

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
            elif self._state is State.WAITING and not isinstance(command, commands.Profile | commands.Leave):
                raise NotAdmitted
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
        self._joining, self._is_paused = command, True
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
        """A frame that nobody but this client hears of costs what a message does: it is as much work."""
        now = self._station.wheel.now
        wait_s = self._own_allowance().take_message(size, now)
        if wait_s and self._state < State.CLOSING:
            self._strike(now, wait_s)

    def _own_allowance(self) -> Allowance:
        if self._allowance is None:
            self._allowance = user_allowance(self._station.settings.limits.rate, self._station.wheel.now)
        return self._allowance

    def _strike(self, now: float, wait_s: float) -> None:
        self._strikes = self._strikes + 1 if now - self._struck_at < FORGIVEN_S else 1
        self._struck_at = now
        if self._strikes > MAX_STRIKES:
            self._end(RateLimited)
        elif not self._is_paused:
            self._pause(max(wait_s, PAUSE_S))

    def _end(self, error: type[RelayError]) -> None:
        """Closes the connection, in a room or before the join."""
        if self._state is State.OPEN:
            self._turn_away(error)
        else:
            self.close(error.close, error.code)

    def _turn_away(self, error: type[RelayError]) -> None:
        self._station.refusals.add(JOIN, error.code, self.address)
        super()._turn_away(error)

    def _refuse(self, error: RelayError, message_id: str | None, fid: str | None = None) -> None:
        if self._state is State.OPEN:
            self._turn_away(ProtocolViolation)
            return
        self._station.refusals.add(FRAME, error.code, self.address)
        self._reply(events.refusal(error, message_id, fid))

    @property
    def _is_deaf(self) -> bool:
        return self._reader.failure is not None

    def _part(self) -> None:
        """Out of the room, and the hub is told if it knows of this socket."""
        if self._state is State.JOINING or self._state in ANSWERED:
            self._station.fanout.exit(self)
            self._say(Gone(self.number))
