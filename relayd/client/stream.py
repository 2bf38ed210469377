"""One user's place in a room, kept over lost connections: connect, join, listen, and come back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from relayd.client.backoff import Backoff
from relayd.client.clock import boot_clock
from relayd.client.errors import BadServer, ClientError, NotConnected, Unreachable, final_error
from relayd.client.http import Place
from relayd.client.liveness import WOKEN_PONG_S, SleepDetector
from relayd.client.shapes import (
    AnyFrame,
    ErrorFrame,
    JoinedFrame,
    MessageFrame,
    PongFrame,
    RoomFrame,
    UnreadableFrame,
    WaitingFrame,
    read_frame,
    unreadable_frame,
)
from relayd.client.socket import TICK_S, ClientSocket, Closed, open_socket
from relayd.errors import RelayError, SlowMode, TooLarge
from relayd.wire.frames import Opcode

MAX_FRAME_BYTES: Final = 65_536  # `max_message` of a server as it comes
JOIN_TIMEOUT_S: Final = 15.0
FIRST_PATIENCE_S: Final = 30.0  # so long a first join is tried again where the server asks for it
LONGEST_AWAY_S: Final = 24 * 3600.0  # no room lives longer
JUST_WOKEN_S: Final = 10.0  # a connection that is lost so soon after a sleep was lost because of it
PAUSE_S: Final = 1.0  # after `rate_limited` a server does not read for at least that time (docs/protocol.md)

_REPLAYED: Final = "replayed"  # of the ping whose pong comes behind everything that was missed
_DIRECTS_REMEMBERED: Final = 4096  # as many as a room's ring holds at most

_encode = msgspec.json.encode


class Lost(NamedTuple):
    """Why there is no connection, and when the server wants to see this client again."""

    reason: str
    retry_s: float | None = None
    code: int = 1006


class Back(NamedTuple):
    """How a join relates to the connection before.

    Attributes:
        first: there was none.
        same_epoch: the room's order goes on as it was.
        gap_s: seconds since the server was last heard from before.
    """

    first: bool
    same_epoch: bool
    gap_s: float


class Listener(Protocol):
    """Who hears the stream. Its methods must not block; `room_for_more` may wait."""

    def on_waiting(self, waiting: WaitingFrame) -> dict[str, Any] | None:
        """Somebody inside has to admit this user first; a frame to be sent meanwhile. An error raised here ends it."""

    def on_joined(self, joined: JoinedFrame, back: Back) -> None:
        """In (again). An error raised here ends the stream."""

    def on_caught_up(self) -> None:
        """All that was missed and can be had has come: from here on it is news."""

    def on_frame(self, frame: AnyFrame) -> None:
        """Anything else; messages to all that were heard before are left out."""

    def on_missed(self, count: int) -> None:
        """So many messages, or other frames, were sent here and did not come, or cannot be read."""

    def on_lost(self, lost: Lost, retry_in_s: float) -> None:
        """The connection is lost; the stream tries again in so many seconds."""

    def on_chunk(self, frame: bytes) -> None:
        """A binary frame: a chunk of a file."""

    async def room_for_more(self) -> None:
        """Returns when the next frame may come."""

    def awaits_answer(self) -> bool:
        """Whether anything was sent on this connection that the server has not answered yet."""


class Stream:
    """Keeps one user in one room.

    Args:
        place: the server.
        room_id: in its text form.
        key: an invite or owner key. It is used for the first join only, then the session is: with the key too, a
            person thrown out while away would silently come back as somebody else.
        listener: who hears it.
        tls: how certificates are checked; by default as the system does.
        backoff: how long to wait between attempts.
        clock: seconds, including those in which the machine sleeps; for all times here.
    """

    def __init__(
        self,
        place: Place,
        room_id: str,
        key: str,
        listener: Listener,
        *,
        tls: ssl.SSLContext | None = None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        self._place = place
        self._target = f"/{room_id}"
        self._key = key
        self._session = ""
        self._user_id = ""
        self._listener = listener
        self._tls = tls
        self._backoff = backoff or Backoff()
        self.clock = clock
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()  # set when the machine has slept
        self._woken_at = -math.inf
        self._connecting: asyncio.Timeout | None = None  # limits the present attempt, until it has joined
        self._socket: ClientSocket | None = None  # joined, and nothing else
        self._epoch = ""
        self._seq: int | None = None  # the last one heard; None before the first join
        self._waits = False  # on the present connection, to be admitted
        self._was_answered = False  # the server has let this client join or wait before
        self._heard_at = 0.0  # when the server was last heard from on a joined connection
        self._retry_at: float | None = None  # when the server wants to see this client again, if it said so
        self._leaving = False
        self._caught_up_at = 0  # the room's last place when this client came back
        self._next_seq: int | None = None  # the place of what comes next; None until what was missed has come
        self._directs: dict[tuple[str, str], None] = {}  # (from, id) of direct messages since the last place

    def __repr__(self) -> str:
        return "<Stream>"

    @property
    def connected(self) -> bool:
        """Whether a frame sent now has a way to go."""
        return self._socket is not None

    @property
    def session(self) -> str:
        """The session key, a secret; "" before the first join."""
        return self._session

    @property
    def seq(self) -> int:
        """The last place in the room's order that was heard."""
        return self._seq or 0

    @property
    def epoch(self) -> str:
        """Of the room's order: another one begins with another life of the server."""
        return self._epoch

    def send(self, frame: dict[str, Any]) -> None:
        """Writes a frame.

        Raises:
            TooLarge: past what a server takes by default; it would end the connection.
            NotConnected: there is no connection at the moment.
        """
        payload = _encode(frame)
        # New keys for a large room are longer, and servers take them.
        if len(payload) > MAX_FRAME_BYTES and frame["type"] != "rekey":
            raise TooLarge(f"That is too large: a message has at most {MAX_FRAME_BYTES // 1024} KiB, sealing included")
        if self._socket is None:
            raise NotConnected("there is no connection at the moment")
        self._socket.send(Opcode.TEXT, payload)

    def send_chunk(self, frame: bytes) -> None:
        """Writes a chunk's frame. Raises NotConnected."""
        if self._socket is None:
            raise NotConnected("there is no connection at the moment")
        self._socket.send(Opcode.BINARY, frame)

    async def drained(self) -> None:
        """Waits until the network has taken most of what was sent."""
        if self._socket is not None:
            await self._socket.drained()

    async def run(self, join: Callable[[], dict[str, Any]]) -> None:
        """Stays in the room until that is over.

        Args:
            join: gives the fields of the join frame besides key, session and `since`; asked anew each time.

        Raises:
            RelayError: the server's last word: kicked, room closed, ...
            ClientError: the server is out of reach, or is none.
            SealingError: it offers something else than the link promised.
        """
        ticking = asyncio.create_task(self._tick())
        try:
            await self._run(join)
        finally:
            ticking.cancel()

    async def _run(self, join: Callable[[], dict[str, Any]]) -> None:
        lost_at = self.clock()
        while True:
            began = self.clock()
            self._waits = False
            lost = await self._attempt(join)
            if self._leaving:
                return
            lived_s = 0.0
            if self._socket is not None or self._waits:
                self._was_answered = True
                lost_at, self._socket = self.clock(), None
                lived_s = lost_at - began
            delay_s = self._delay_s(lost, lived_s)
            patience_s = LONGEST_AWAY_S if self._was_answered else FIRST_PATIENCE_S
            if self.clock() + delay_s - lost_at > patience_s:
                raise Unreachable(f"{self._place.authority} has not let this client in: {lost.reason}")
            self._listener.on_lost(lost, delay_s)
            await self._pause(delay_s, lost.retry_s or 0.0)

    def _delay_s(self, lost: Lost, lived_s: float) -> float:
        """Seconds to wait before the next attempt."""
        just_woken = self.clock() - self._woken_at < JUST_WOKEN_S
        self._woken_at = -math.inf  # one attempt without a delay, not a loop of them
        if just_woken and lost.retry_s is None:
            return 0.0
        return self._backoff.next_s(lost.retry_s, lived_s)

    async def _pause(self, delay_s: float, asked_s: float) -> None:
        """Wait for `delay_s`; after a sleep of the machine, only for the rest of `asked_s`, which the server wants."""
        now = self.clock()
        ends_at, may_come_at = now + delay_s, now + asked_s
        while (left_s := ends_at - self.clock()) > 0:
            self._woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._woken.wait()
                ends_at = min(ends_at, may_come_at)

    async def _tick(self) -> None:
        """End the pause, or the attempt, that began before the machine slept."""
        detector = SleepDetector(self.clock(), TICK_S)
        while True:
            await asyncio.sleep(TICK_S)
            if not detector.slept_s(self.clock()):
                continue
            self._woken_at = self.clock()
            self._backoff.reset()
            self._woken.set()
            if self._connecting is not None:
                self._connecting.reschedule(self._loop.time() + WOKEN_PONG_S)

    async def leave(self) -> None:
        """Says goodbye if there is a connection, and closes it; `run` returns."""
        self._leaving = True
        socket, self._socket = self._socket, None
        if socket is not None:
            with contextlib.suppress(NotConnected):  # the server was faster
                socket.send(Opcode.TEXT, b'{"type":"leave"}')
            await socket.close()

    # One connection. --------------------------------------------------------------------------------------------

    async def _attempt(self, join: Callable[[], dict[str, Any]]) -> Lost:
        """Connects, joins and listens; returns when it may be tried again, raises when not."""
        try:
            async with asyncio.timeout(None) as self._connecting:
                connected = await self._connect(join)
        except TimeoutError:  # see `_tick`
            return Lost("the server does not answer")
        finally:
            self._connecting = None
        if isinstance(connected, Lost):
            return connected
        try:
            return await self._listen(connected)
        except NotConnected:
            return self._why(connected)
        finally:
            connected.abort()

    async def _connect(self, join: Callable[[], dict[str, Any]]) -> ClientSocket | Lost:
        """Connect and join; why that failed, if it may be tried again."""
        try:
            socket = await open_socket(self._place, self._target, self._tls, clock=self.clock)
        except ClientError as wrong:
            if not self._was_answered:
                raise
            return Lost(str(wrong))
        except RelayError as refused:
            if refused.retry_after_s is None and (not self._was_answered or refused.status < 500):
                raise
            return Lost(refused.title, refused.retry_after_s)
        with contextlib.ExitStack() as unless_joined:
            unless_joined.callback(socket.abort)
            try:
                lost = await self._join(socket, join())
            except NotConnected:
                lost = self._why(socket)
            if lost is not None:
                return lost
            unless_joined.pop_all()
        return socket

    async def _join(self, socket: ClientSocket, join: dict[str, Any]) -> Lost | None:
        right = {"session": self._session} if self._session else {"key": self._key}
        if self._seq is not None:
            right["since"] = {"epoch": self._epoch, "seq": self._seq}  # type: ignore[assignment]
        socket.send(Opcode.TEXT, _encode({"type": "join", **right, **join}))
        try:
            async with asyncio.timeout(JOIN_TIMEOUT_S) as deadline:
                while not isinstance(frame := await self._next(socket), JoinedFrame):
                    if frame is None:
                        return self._why(socket)
                    if isinstance(frame, WaitingFrame) and not self._waits:
                        deadline.reschedule(None)
                        self._wait(socket, frame)
        except TimeoutError:
            return Lost("the server does not answer")
        self._take_joined(socket, frame)
        return None

    def _wait(self, socket: ClientSocket, waiting: WaitingFrame) -> None:
        """To be admitted takes minutes; what became of the connection meanwhile, the socket itself finds out."""
        self._waits, self._connecting = True, None
        frame = self._listener.on_waiting(waiting)
        if frame is not None:
            socket.send(Opcode.TEXT, _encode(frame))

    def _take_joined(self, socket: ClientSocket, joined: JoinedFrame) -> None:
        if self._user_id and joined.you.id != self._user_id:
            raise BadServer("the server has taken this user for somebody else")
        back = Back(
            first=self._seq is None,
            same_epoch=joined.epoch == self._epoch,
            gap_s=self.clock() - self._heard_at,
        )
        self._user_id, self._session = joined.you.id, joined.you.session
        # In another life of the server places begin anew; in the same one, what was missed comes first.
        if self._seq is None or not back.same_epoch or joined.seq < self._seq:
            self._seq = joined.seq
        self._epoch, self._caught_up_at = joined.epoch, joined.seq
        self._heard_at, self._socket, self._retry_at = socket.heard_at, socket, None
        socket.awaits_answer = self._listener.awaits_answer
        self._next_seq = joined.seq + 1 if back.first else None
        self._listener.on_joined(joined, back)
        if back.first:
            self._listener.on_caught_up()
        else:
            self.send({"type": "ping", "id": _REPLAYED})

    async def _listen(self, socket: ClientSocket) -> Lost:
        while (frame := await self._next(socket)) is not None:
            self._heard_at = socket.heard_at
            if isinstance(frame, PongFrame) and frame.id == _REPLAYED:
                self._seq = max(self.seq, self._caught_up_at)  # what did not come by now never will
                self._next_seq = self._seq + 1
                self._listener.on_caught_up()
            elif self._is_new(frame):
                self._listener.on_frame(frame)
                await self._listener.room_for_more()
        return self._why(socket)

    def _is_new(self, frame: AnyFrame) -> bool:
        """Whether this was not heard before; takes note of its place."""
        if isinstance(frame, RoomFrame) and frame.retry_in_ms is not None:
            self._retry_at = self.clock() + frame.retry_in_ms / 1000
        if isinstance(frame, RoomFrame) and frame.event == "rekeyed" and frame.seq is not None:
            self._check_gap(frame.seq)
        if isinstance(frame, MessageFrame) and frame.seq is None:
            return self._is_new_direct(frame)
        if isinstance(frame, MessageFrame) or (isinstance(frame, RoomFrame) and frame.event == "removed"):
            return self._is_next(frame.seq)
        return True

    def _is_next(self, seq: int | None) -> bool:
        """Whether what stands at that place was not heard before."""
        if seq is None or seq <= self.seq:
            return False
        self._check_gap(seq)
        self._seq = seq
        self._directs.clear()
        return True

    def _check_gap(self, seq: int) -> None:
        """Tells of places that were left out: the server never does that."""
        if self._next_seq is not None and seq >= self._next_seq:
            if seq > self._next_seq:
                self._listener.on_missed(seq - self._next_seq)
            self._next_seq = seq + 1

    def _miss(self, frame: UnreadableFrame) -> None:
        """Coming back for it would bring the same bytes, so it counts as heard."""
        if frame.seq is not None:
            if frame.seq <= self.seq:
                return
            self._check_gap(frame.seq)
            self._seq = frame.seq
        self._listener.on_missed(1)

    def _is_new_direct(self, frame: MessageFrame) -> bool:
        # Those with `after` >= `since.seq` come again: so only what came since the last place must be known.
        key = (frame.from_, frame.id)
        if key in self._directs:
            return False
        self._directs[key] = None
        if len(self._directs) > _DIRECTS_REMEMBERED:
            del self._directs[next(iter(self._directs))]
        return True

    async def _next(self, socket: ClientSocket) -> AnyFrame | None:
        """The next text frame that can be read; None at the end. Chunks are passed on meanwhile."""
        while (message := await socket.receive()) is not None:
            if message.opcode == Opcode.BINARY:
                self._heard_at = socket.heard_at
                self._listener.on_chunk(message.payload)
                continue
            frame = read_frame(message.payload)
            # Slow mode is about one message: the server goes on reading.
            if isinstance(frame, ErrorFrame) and frame.retry_after_ms is not None and frame.code != SlowMode.code:
                self._retry_at = self.clock() + frame.retry_after_ms / 1000
                socket.expect_pause(max(PAUSE_S, frame.retry_after_ms / 1000))
            if frame is not None:
                return frame
            if self._socket is socket and (lost := unreadable_frame(message.payload)) is not None:
                self._miss(lost)
        return None

    def _why(self, socket: ClientSocket) -> Lost:
        """Why the connection ended, if there is a way back.

        Raises:
            RelayError: there is none.
        """
        code, reason = socket.closed or Closed(1006, "")
        error = final_error(code, reason)
        if error is not None:
            raise error
        retry_s = None if self._retry_at is None else self._retry_at - self.clock()
        # An old wish (a rate limit, minutes ago) has nothing to do with this.
        return Lost(_LOST.get(code, "the connection was lost"), retry_s if retry_s and retry_s > 0 else None, code)


_LOST: Final = {
    1009: "a message was too big for the server",
    1012: "the server is restarting",
    1013: "the server has too much to do",
    4500: "the server is restarting",
    4508: "this client reads too slowly",
    4529: "this client says too much at once",
}
