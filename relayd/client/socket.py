"""A client's WebSocket (RFC 6455) on a transport of the loop's own, with the relay's frame codec.

Measured against the alternatives, CPU a frame of 64 KiB, sending and receiving: see docs/client.md, "Transport".
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import ssl
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, cast

from relayd.client.clock import boot_clock
from relayd.client.errors import BadServer, NotConnected, Unreachable
from relayd.client.http import (
    MAX_HEAD_BYTES,
    Answer,
    Place,
    error_of,
    parse_head,
    request_head,
    tls_context,
    unreachable,
)
from relayd.client.liveness import Action, Liveness, Patience
from relayd.wire.frames import FrameReader, Message, Opcode, Unmask, close_payload, encode_masked, parse_close

SUBPROTOCOL: Final = "relay.v1"
MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024  # a `joined` with 200 profiles has 300 KiB; a server may be anybody's

OPEN_TIMEOUT_S: Final = 15.0
CLOSE_TIMEOUT_S: Final = 2.0
# A relay pings every 20 to 30 s. After a longer silence the client pings, and then gives up; `liveness` has the shorter
# times for when somebody waits.
TICK_S: Final = 1.0
ASK_AFTER_S: Final = 32.0
DEAD_AFTER_S: Final = 42.0

# What may wait to be taken before the server is no longer read from; it would cut off at 1 MiB on its side.
PAUSE_BYTES: Final = 1024 * 1024
RESUME_BYTES: Final = 256 * 1024
WRITE_HIGH_BYTES: Final = 256 * 1024

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_ABNORMAL: Final = 1006  # section 7.1.5: no close frame came


def _xor_in_python(mask: bytes, data: bytes) -> bytes:
    size = len(data)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")).to_bytes(size, "little")


def _fastest_xor() -> Unmask:
    # Tornado's C extension alone, 0.3 ms to import: 7 us for 64 KiB, where Python's integers take 190.
    try:
        from tornado.speedups import websocket_mask  # noqa: PLC0415
    except ImportError:
        return _xor_in_python
    return cast(Unmask, websocket_mask)


_xor = _fastest_xor()


class Closed(NamedTuple):
    """How a connection ended: the close frame's code and reason, 1006 if none came."""

    code: int
    reason: str


class ClientSocket(asyncio.Protocol):
    """One connection, from its handshake on. Made by `open_socket`.

    `receive` gives whole messages; pings are sent and answered inside. `Liveness` decides when the peer is lost.

    Attributes:
        awaits_answer: whether anything was sent that the server has not answered; set by the owner of the socket.
    """

    def __init__(
        self,
        place: Place,
        target: str,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: Closed | None = None
        self.awaits_answer: Callable[[], bool] = lambda: False
        self._clock = clock
        self._liveness = Liveness(Patience(TICK_S, ASK_AFTER_S, DEAD_AFTER_S), clock())
        self._loop = loop
        self._place = place
        self._target = target
        self._key = base64.b64encode(os.urandom(16))
        self._transport: asyncio.Transport
        self._head: bytearray | None = bytearray()  # the answer to the handshake; None once it is read
        self._reader = FrameReader(max_message_bytes, None)
        self._messages: deque[Message] = deque()
        self._waiting_bytes = 0
        self._wake: asyncio.Future[None] | None = None  # the one who waits in `receive`
        self._ended = asyncio.Event()
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._paused = False
        self._said: Closed | None = None  # what the server's close frame says
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def heard_at(self) -> float:
        """When the last bytes were received, on the clock."""
        return self._liveness.heard_at

    # What its owner calls. --------------------------------------------------------------------------------------

    async def receive(self) -> Message | None:
        """The next text or binary message; None when the connection has ended, `closed` says how."""
        while not self._messages:
            if self.closed is not None:
                return None
            self._wake = self._loop.create_future()
            try:
                await self._wake
            finally:
                self._wake = None
        message = self._messages.popleft()
        self._waiting_bytes -= len(message.payload)
        if self._paused and self._waiting_bytes < RESUME_BYTES and self.closed is None:
            self._paused = False
            self._transport.resume_reading()
        return message

    def send(self, opcode: int, payload: bytes) -> None:
        """Writes one message; `drained` tells when more would be wise.

        Raises:
            NotConnected: it has ended, or is about to.
        """
        if self.closed is not None or self._closing:
            raise NotConnected("the connection is closed")
        self._write(opcode, payload)

    async def drained(self) -> None:
        """Waits until the network has taken most of what was sent."""
        await self._can_write.wait()

    def expect_pause(self, seconds: float) -> None:
        """The server has announced that it does not read for `seconds`."""
        self._liveness.expect_pause(seconds, self._clock())

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Says goodbye and waits for the answer, for 2 s at most. What was received can still be taken."""
        if self.closed is None:
            self._start_closing(code, reason)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), CLOSE_TIMEOUT_S)
            self._transport.abort()

    def abort(self) -> None:
        """Drops the connection at once."""
        self._transport.abort()

    # The transport's calls. -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks for the upgrade (RFC 6455, section 4.1)."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": self._key.decode(),
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": SUBPROTOCOL,
        }
        self._transport.write(request_head("GET", self._target, self._place, headers))

    def data_received(self, data: bytes) -> None:
        """Bytes of the server."""
        self._liveness.received(self._clock())
        if self._head is not None:
            self._head += data
            head, end, rest = bytes(self._head).partition(b"\r\n\r\n")
            if not end:
                if len(head) > MAX_HEAD_BYTES:
                    self._fail_opening(BadServer(f"{self._place.authority} does not speak HTTP"))
                return
            self._head = None
            if not self._read_answer(head, rest):
                return
            data = rest
        for message in self._reader.receive_data(data):
            self._hear(message)
        if self._reader.failure is not None and not self._closing:
            self._start_closing(*self._reader.failure)
            self._transport.close()

    def eof_received(self) -> bool:
        """The server sends nothing more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, one way or another."""
        if self._timer is not None:
            self._timer.cancel()
        self._fail_opening(Unreachable(f"{self._place.authority} has broken off the connection"))
        self.closed = self._said or Closed(_ABNORMAL, "")
        self._ended.set()
        self._can_write.set()
        self._wake_up()

    def pause_writing(self) -> None:
        """The network takes less than is sent."""
        self._can_write.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._can_write.set()

    # Inside. ----------------------------------------------------------------------------------------------------

    def _read_answer(self, head: bytes, rest: bytes) -> bool:
        """Whether the server has agreed (RFC 6455, section 4.1, the client's checks)."""
        try:
            status, headers = parse_head(head)
        except BadServer as wrong:
            self._fail_opening(wrong)
            return False
        if status != 101:
            self._fail_opening(error_of(Answer(status, headers, rest)))
            return False
        accept = base64.b64encode(hashlib.sha1(self._key + _GUID, usedforsecurity=False).digest()).decode()
        agreed = headers.get("upgrade", "").lower() == "websocket" and headers.get("sec-websocket-accept") == accept
        if not agreed or "sec-websocket-extensions" in headers:
            self._fail_opening(BadServer(f"{self._place.authority} does not speak WebSocket"))
            return False
        self.opened.set_result(None)
        self._timer = self._loop.call_later(TICK_S, self._tick)
        return True

    def _fail_opening(self, error: Exception) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)
            self._transport.abort()

    def _hear(self, message: Message) -> None:
        if message.opcode <= Opcode.BINARY:
            self._messages.append(message)
            self._waiting_bytes += len(message.payload)
            if self._waiting_bytes > PAUSE_BYTES and not self._paused:
                self._paused = True
                self._transport.pause_reading()
            self._wake_up()
        elif message.opcode == Opcode.PING:
            if not self._closing:
                self._write(Opcode.PONG, message.payload)
        elif message.opcode == Opcode.PONG:
            self._liveness.pong_received(message.payload, self._clock())
        elif message.opcode == Opcode.CLOSE:
            self._answer_close(message.payload)

    def _answer_close(self, payload: bytes) -> None:
        code, failure = parse_close(payload)
        if self._said is None and failure is None:
            self._said = Closed(code, payload[2:].decode())
        self._start_closing(code, "")
        self._transport.close()

    def _start_closing(self, code: int, reason: str) -> None:
        if not self._closing:
            self._write(Opcode.CLOSE, close_payload(code, reason))
            self._closing = True

    def _write(self, opcode: int, payload: bytes) -> None:
        self._liveness.sent(len(payload), self._clock())
        self._transport.write(encode_masked(opcode, payload, os.urandom(4), _xor))

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _tick(self) -> None:
        now, awaiting = self._clock(), self.awaits_answer()
        action = self._liveness.check(now, awaiting=awaiting)
        if self._paused:
            self._liveness.received(now)  # there is data in the kernel's buffer, and this side does not read
        elif action is Action.ABORT:
            self._transport.abort()
            return
        elif action is Action.PING and not self._closing:
            self._write(Opcode.PING, self._liveness.ping_payload)
        self._timer = self._loop.call_later(self._liveness.next_check_s(now, awaiting=awaiting), self._tick)


async def open_socket(
    place: Place,
    target: str,
    tls: ssl.SSLContext | None = None,
    *,
    timeout_s: float = OPEN_TIMEOUT_S,
    clock: Callable[[], float] = boot_clock,
) -> ClientSocket:
    """Connects and shakes hands.

    Args:
        place: the server.
        target: the path, `/<room_id>`.
        tls: how certificates are checked; by default as the system does.
        timeout_s: for all of it.
        clock: measures the silence of the server.

    Raises:
        Unreachable: no connection, or it broke.
        BadServer: no certificate to be trusted, no HTTP, no WebSocket.
        RelayError: what the server says instead, with the time after which to try again.
    """
    loop = asyncio.get_running_loop()

    def make() -> ClientSocket:
        return ClientSocket(place, target, clock=clock)

    try:
        async with asyncio.timeout(timeout_s):
            if place.unix_path:
                _, socket = await loop.create_unix_connection(make, place.unix_path)
            else:
                _, socket = await loop.create_connection(make, place.host, place.port, ssl=tls_context(place, tls))
            try:
                await socket.opened
            except BaseException:
                socket.abort()
                raise
            return socket
    except TimeoutError:
        raise Unreachable(f"{place.authority} does not answer") from None
    except (OSError, UnicodeError) as wrong:
        raise unreachable(place, wrong) from None
