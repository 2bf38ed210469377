"""A file that this client offers, and sends to those who accept it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, ClassVar, Final, NamedTuple

from relayd.client.errors import DiskError, NotConnected, TransferError
from relayd.client.files.disk import Source
from relayd.client.files.line import Bell, Line, in_thread
from relayd.client.seal.files import FileOffer
from relayd.client.shapes import FileFrame
from relayd.client.voice import SendingPass
from relayd.errors import BadChunk, RateLimited, RelayError
from relayd.wire.chunks import FID_BYTES, ChunkHead
from relayd.wire.events import Delivery
from relayd.wire.sealing_text import Redacted, SealingError, decode_base64url

CHUNKS_AT_ONCE: Final = 8  # read and sealed in one go: as many as a relay asks for, and worth a thread
MOST_STREAMS: Final = 16  # a relay has 8 of a file at once
MOST_DELIVERIES: Final = 10_000  # as many as a room may have users
WAIT_S: Final = 30.0
GATHER_S: Final = 10.0

_REASONS: Final = {
    "withdrawn": "it was withdrawn",
    "left": "this user is not heard in the room any more",
    "off": "no files may be sent in the room any more",
}


class Delivered(NamedTuple):
    """Whom a file has reached: user ids."""

    received: tuple[str, ...]
    failed: tuple[str, ...]


class Offer(Redacted):
    """A file that is offered in a room. Made by `Room.offer`; it is served until it is withdrawn or the room is left.

    Attributes:
        name, size: of the file.
        deliveries: user id -> how far it has come with them.
        error: why it can be sent no more; None while it can.
    """

    def __init__(self, line: Line, source: Source, file: FileOffer, to: str | None) -> None:
        self.name = file.name
        self.size = file.size
        self.deliveries: dict[str, Delivery] = {}
        self.error: Exception | None = None
        self.changed = Bell()
        self.file = file
        self.to = to
        self._line = line
        self._source = source
        self._epoch: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._uploads: dict[int, _Upload] = {}  # by stream
        self._furthest_bytes = 0
        self._readers: set[asyncio.Task[None]] = set()  # uploads, those that were told to stop included
        self._over = False

    @property
    def sent_bytes(self) -> int:
        """How much of it the receiver who is furthest has been sent."""
        return self._furthest_bytes

    @property
    def is_over(self) -> bool:
        """Whether it is withdrawn, or cannot be sent any more."""
        return self._over

    async def say(self) -> str:
        """Offers it in the room; the message's id."""
        receipt, epoch = await self._line.say_offer(self.file.body(), self.to, self.registration)
        if not self._epoch.done():
            self._epoch.set_result(epoch)
        return receipt.id

    @property
    def registration(self) -> dict[str, Any]:
        """What the server is told of it."""
        return {"fid": self.file.fid, "size": self.file.size, "chunk": self.file.chunk}

    async def delivered(self, wait_s: float = WAIT_S, gather_s: float = GATHER_S) -> Delivered:
        """Waits until everyone who accepts it soon has it.

        Args:
            wait_s: how long one waits for the first one to accept.
            gather_s: how long after that others may; it ends sooner where everyone here has it.

        Raises:
            TransferError: nobody has accepted it, or it can be sent no more.
        """
        await self.changed.wait_until(lambda: bool(self.deliveries) or self._over, wait_s)
        if not self.deliveries:
            raise self.error or TransferError("nobody has accepted it")
        await self.changed.wait_until(self._has_reached_all, gather_s)
        taken = self.deliveries.keys() | set()
        await self.changed.wait_until(lambda: self._over or taken <= self._finished())
        if self.error is not None:
            raise self.error
        received = tuple(user for user in taken if self.deliveries[user] is Delivery.RECEIVED)
        return Delivered(received, tuple(taken.difference(received)))

    def _finished(self) -> set[str]:
        return {user for user, state in self.deliveries.items() if state is not Delivery.ACCEPTED}

    def _has_reached_all(self) -> bool:
        wanted = self._others() if self.to is None else {self.to}
        return self._over or (wanted | self.deliveries.keys()) <= self._finished()

    def _others(self) -> set[str]:
        return {user.id for user in self._line.hearing.roster.all()} - {self._line.me}

    def withdraw(self) -> None:
        """Takes it back: nobody gets more of it."""
        self._withdraw(None)

    def fail(self, error: Exception) -> None:
        """It cannot be sent any more."""
        self._withdraw(error)

    def _withdraw(self, error: Exception | None) -> None:
        if not self._over:
            with contextlib.suppress(NotConnected):
                self._line.stream.send({"type": "cancel", "fid": self.file.fid})
            self.end(error)

    # What happens to it. ----------------------------------------------------------------------------------------

    def on_frame(self, frame: FileFrame) -> None:
        """The server tells of it."""
        handler = self._EVENTS.get(frame.event)
        if handler is not None and not self._over:
            handler(self, frame)
            self.changed.ring()

    def _on_send(self, frame: FileFrame) -> None:
        upload = self._uploads.get(frame.stream)
        if upload is None and (len(self._uploads) >= MOST_STREAMS or not 0 <= frame.from_ < self.file.chunks):
            return  # no honest server asks for that
        if upload is None:
            upload = self._uploads[frame.stream] = _Upload(self, frame.stream, frame.from_)
            self._readers.add(upload.task)
            upload.task.add_done_callback(self._read_no_more)
        upload.allow(min(frame.upto, self.file.chunks))

    def _on_stop(self, frame: FileFrame) -> None:
        upload = self._uploads.pop(frame.stream, None)
        if upload is not None:
            upload.stop()

    def _on_accepted(self, frame: FileFrame) -> None:
        self._mark(frame.user, Delivery.ACCEPTED)

    def _on_cancelled(self, frame: FileFrame) -> None:
        self._mark(frame.user, Delivery.CANCELLED)

    def _on_received(self, frame: FileFrame) -> None:
        self._mark(frame.user, Delivery.RECEIVED if frame.ok else Delivery.DAMAGED)

    def _on_deliveries(self, frame: FileFrame) -> None:
        for user, state in frame.deliveries.items():
            self._mark(user, state)
        self.on_presence()  # for those who have left since

    def _mark(self, user: str, state: Delivery) -> None:
        if user in self.deliveries or len(self.deliveries) < MOST_DELIVERIES:
            self.deliveries[user] = state

    def _on_ended(self, frame: FileFrame) -> None:
        self.end(TransferError(f"{self.name} is not offered any more: {_REASONS.get(frame.reason, 'it was ended')}"))

    _EVENTS: ClassVar[dict[str, Callable[..., None]]] = {
        "send": _on_send,
        "stop": _on_stop,
        "accepted": _on_accepted,
        "cancelled": _on_cancelled,
        "received": _on_received,
        "deliveries": _on_deliveries,
        "ended": _on_ended,
    }

    def on_presence(self) -> None:
        """Somebody has come or gone."""
        for user, state in self.deliveries.items():
            if state is Delivery.ACCEPTED and self._line.hearing.roster.has_left(user):
                self.deliveries[user] = Delivery.LEFT
        self.changed.ring()

    def on_joined(self) -> None:
        """The client is in the room again: it goes on serving."""
        if self._epoch.done() and not self._over:
            target = {} if self.to is None else {"to": self.to}
            with contextlib.suppress(NotConnected):
                self._line.stream.send({"type": "serve", **self.registration, **target})

    def on_lost(self) -> None:
        """The connection is gone, and its streams with it."""
        for upload in self._uploads.values():
            upload.stop()
        self._uploads.clear()

    def on_error(self, error: RelayError) -> None:
        """The server refuses something about it."""
        if isinstance(error, RateLimited):
            asyncio.get_running_loop().call_later(error.retry_after_s or 1.0, self.on_joined)
        elif not isinstance(error, BadChunk):  # a chunk that is not wanted: the server asks again for what is missing
            self.fail(TransferError(f"{self.name} cannot be sent any more: {error.detail}"))

    # For its uploads. -------------------------------------------------------------------------------------------

    async def begin_pass(self, first: int) -> SendingPass:
        """Another pass over the file."""
        return self._line.voice.sending_pass(self.file, await self._epoch, first)

    def prepare(self, sealing: SendingPass, stream: int) -> list[bytes]:
        """The frames of the next chunks of a pass, none at its end. It blocks."""
        shape, frames = self.file.shape, []
        fid = decode_base64url(self.file.fid, FID_BYTES, "fid")
        for index in range(sealing.index, min(sealing.index + CHUNKS_AT_ONCE, shape.chunks)):
            data = self._source.read(index * shape.chunk, shape.bytes_of(index))
            head = ChunkHead(shape.is_last(index), stream, fid, sealing.pass_id, index)
            frames.append(head.encode() + sealing.seal(data))
        return frames

    async def transmit(self, frames: list[bytes], upto: int) -> None:
        """Writes frames, the last of which is the one before `upto`. Raises NotConnected."""
        for frame in frames:
            self._line.stream.send_chunk(frame)
            await self._line.stream.drained()
        self._furthest_bytes = max(self._furthest_bytes, min(self.size, upto * self.file.chunk))

    def end(self, error: Exception | None) -> None:
        """It is over; the file is closed as soon as nothing reads it any more."""
        if self._over:
            return
        self.error, self._over = error, True
        self.on_lost()
        if not self._epoch.done():
            self._epoch.cancel()
        if not self._readers:
            self._source.close()
        self.changed.ring()

    def _read_no_more(self, task: asyncio.Task[None]) -> None:
        self._uploads = {stream: upload for stream, upload in self._uploads.items() if upload.task is not task}
        self._readers.discard(task)
        if self._over and not self._readers:
            self._source.close()


class _Upload:
    """One stream: one pass over the file, as far as the server allows."""

    def __init__(self, offer: Offer, stream: int, first: int) -> None:
        self._offer = offer
        self._stream = stream
        self._next = first
        self._upto = first
        self._allowed = Bell()
        self.task = asyncio.create_task(self._run())

    def allow(self, upto: int) -> None:
        """Chunks below `upto` may be sent."""
        self._upto = max(self._upto, upto)
        self._allowed.ring()

    def stop(self) -> None:
        """Nobody wants more of it."""
        self.task.cancel()

    async def _run(self) -> None:
        reading: asyncio.Task[list[bytes]] | None = None
        try:
            sealing = await self._offer.begin_pass(self._next)
            reading = self._read(sealing)
            while self._next < self._offer.file.chunks:
                frames = await reading
                reading = self._read(sealing)  # while these are sent
                await self._send(frames)
        except (DiskError, SealingError) as wrong:
            self._offer.fail(wrong)
        except NotConnected:
            pass  # the stream is gone with its connection
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    def _read(self, sealing: SendingPass) -> asyncio.Task[list[bytes]]:
        return asyncio.create_task(in_thread(self._offer.prepare, sealing, self._stream))

    async def _send(self, frames: list[bytes]) -> None:
        while frames:
            await self._allowed.wait_until(lambda: self._next < self._upto)
            allowed = self._upto - self._next
            now, frames = frames[:allowed], frames[allowed:]
            self._next += len(now)
            await self._offer.transmit(now, self._next)
