"""A file that this client receives: chunks in their order, to disk, and no more of them than there is room for."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final, NamedTuple

from relayd.client.backoff import Backoff
from relayd.client.errors import ClientError, DiskError, NotConnected, NotWhole, TransferError, Withdrawn
from relayd.client.events import FileOffered
from relayd.client.files.disk import Partial
from relayd.client.files.line import Bell, Line, in_thread
from relayd.client.sealing_errors import FileError
from relayd.client.shapes import FileFrame
from relayd.client.voice import ReceivingPass
from relayd.errors import NoSuchFile, RateLimited, RelayError, TooManyFiles
from relayd.wire.chunks import HEAD_BYTES, ChunkHead
from relayd.wire.sealing_text import Redacted, decode_base64url

SENDER_PATIENCE_S: Final = 60.0  # so long a sender whose connection was lost is waited for
STALLED_S: Final = 30.0  # so long nothing comes of a file until one that waits gets its place
DONE_PATIENCE_S: Final = 10.0  # so long one tries to say that the file has come
DONE_AGAIN_S: Final = 0.25

# Chunks under way hold up what the room says behind them: about this long on the line as it has proved to be.
IN_FLIGHT_S: Final = 0.25
FIRST_WINDOW: Final = 2
GRANT_EVERY: Final = 2  # chunks; each chunk pays for a grant
# Work in a thread costs as much as writing a chunk or two: where they come fast, some are collected for it.
COLLECT_S: Final = 0.002

_REASONS: Final = {
    "withdrawn": "its sender has withdrawn it",
    "left": "its sender has left",
    "off": "no files may be sent in the room any more",
}


class _Chunk(NamedTuple):
    """One chunk that has come and is not written yet."""

    head: ChunkHead
    data: bytes


class Window:
    """How many chunks to have under way, from how fast they come.

    Args:
        most: the protocol's bound for a file of that shape.
        chunk_bytes: of each.
        now: seconds on the caller's clock.
    """

    def __init__(self, most: int, chunk_bytes: int, now: float) -> None:
        self.size = min(FIRST_WINDOW, most)
        self._most = most
        self._chunk_bytes = chunk_bytes
        self._since = now
        self._count = 0

    def take(self, count: int, now: float) -> None:
        """So many chunks have come; the window is measured anew when it has come around once."""
        self._count += count
        if self._count < self.size:
            return
        rate = self._count * self._chunk_bytes / max(now - self._since, 1e-6)
        # One more than fits: else a long way, not a slow one, would keep the window small for ever.
        fits = math.ceil(rate * IN_FLIGHT_S / self._chunk_bytes) + 1
        self.size = max(min(FIRST_WINDOW, self._most), min(self._most, fits))
        self._since, self._count = now, 0


class Receiving(Redacted):
    """A file that was accepted. Made by `Room.accept`; awaiting it gives the path once the whole file is there.

    Lost connections, on either side, are waited for; what has come goes on from where it was.

    Attributes:
        name: what the file will be called, if no other file has that name.
        size: bytes of the whole file.
        paused: whether its sender's connection is lost at the moment.
    """

    def __init__(self, line: Line, offered: FileOffered, directory: Path) -> None:
        self.name = offered.name
        self.size = offered.size
        self.paused = False
        self.fid = offered.file.fid
        self._file = offered.file
        self._sender = offered.user.id
        self._epoch = offered.message.epoch
        self._directory = directory
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._partial: Partial | None = None  # while it has a place
        self._path: Path | None = None  # of the part
        self._pass: ReceivingPass | None = None
        self._stream = -1
        self._waiting: deque[_Chunk] = deque()
        self._next = 0  # the chunk to come next
        self._held = 0  # chunks on disk
        self._upto = 0  # what the server was told there is room for
        self._window = Window(2 * self._file.shape.window, self._file.chunk, self._loop.time())
        self._moved = Bell()
        self._ending: ClientError | None = None
        self._started = False
        self._begun = False
        self._accepting: asyncio.Task[None] | None = None
        self._whole = False
        self.changed = Bell()
        self._result: asyncio.Future[Path] = self._loop.create_future()
        self._result.add_done_callback(lambda _: self.changed.ring())

    def __await__(self) -> Generator[Any, None, Path]:
        """The path of the whole file.

        Raises:
            Withdrawn, NotWhole, DiskError, TransferError: it did not come.
        """
        return asyncio.shield(self._result).__await__()

    @property
    def received_bytes(self) -> int:
        """How much of it is on disk."""
        return min(self.size, self._held * self._file.chunk)

    @property
    def done(self) -> bool:
        """Whether it is there, or will never be."""
        return self._result.done()

    def is_of(self, offered: FileOffered) -> bool:
        """Whether that is the offer which was accepted: the same file, of the same user."""
        return (offered.user.id, offered.file) == (self._sender, self._file)

    def cancel(self) -> None:
        """Wants no more of it; what has come is kept."""
        if not self.done and self._ending is None:
            with contextlib.suppress(NotConnected, ClientError):
                self._line.stream.send({"type": "cancel", "fid": self.fid})
            self.end(TransferError("it was cancelled here"))

    def end(self, error: ClientError) -> None:
        """No more of it will come."""
        if self._ending is None:
            self._ending = error
            self._moved.ring()
            if not self._started:
                self._settle(error)

    # The transfer. ----------------------------------------------------------------------------------------------

    async def run(self, do_others_wait: Callable[[], bool]) -> None:
        """Receives it, to whatever end. Its errors are those of awaiting it.

        Args:
            do_others_wait: asked where nothing comes. If they do, it returns without an end, and is to be run again.
        """
        if self.done:
            return
        self._started = True
        try:
            path = await self._receive(do_others_wait)
        except ClientError as wrong:
            self._settle(wrong)
        except asyncio.CancelledError:
            self._settle(TransferError("it was cancelled here"))
            raise
        except BaseException:
            self._settle(TransferError("this client has failed"))
            raise
        else:
            if path is not None:
                self._result.set_result(path)
        finally:
            self._rest()

    def _rest(self) -> None:
        """Lets go of what is on disk. What is still on its way to here finds nobody, and will come again."""
        if self._accepting is not None:
            self._accepting.cancel()
        if self._partial is not None:
            self._partial.close()
        self._partial = self._pass = None
        self._waiting.clear()
        self._started = self._begun = False

    def _settle(self, error: ClientError) -> None:
        if isinstance(error, TransferError) and self._held and not self._whole:
            error.partial = None if isinstance(error, NotWhole) else self._path
        if not self._result.done():
            self._result.set_exception(error)
            self._result.exception()  # whoever does not await it is not warned

    async def _receive(self, do_others_wait: Callable[[], bool]) -> Path | None:
        sha256 = decode_base64url(self._file.sha256, 32, "sha256")
        try:
            self._partial = await in_thread(Partial, self._directory, self.name, sha256, self.size)
            self._path = self._partial.path
            self._held = self._next = await in_thread(self._partial.recover, self._file.chunk)
        except DiskError:
            self._tell_cancelled()
            raise
        self._accept()
        while not self._whole:
            if not await self._moved.wait_until(self._has_moved, STALLED_S):
                if not do_others_wait():
                    continue
                await self._give_up_place()
                if self._ending is None:
                    return None
            if not self._waiting and self._ending is not None:
                raise self._ending
            await self._moved.wait_until(self._has_enough, COLLECT_S)
            await self._store()
        path = await in_thread(self._partial.finish)
        await self._tell_done(ok=True)
        return path

    def _has_moved(self) -> bool:
        return bool(self._waiting) or self._ending is not None

    def _has_enough(self) -> bool:
        """Whether what has come is worth a thread: a quarter of the window, or all that comes."""
        most = self._next == self._file.chunks or self._ending is not None
        return most or len(self._waiting) >= self._window.size // 4

    async def _store(self) -> None:
        """Writes all that has come, and makes room for more."""
        chunks = list(self._waiting)
        self._waiting.clear()
        try:
            self._whole = await in_thread(self._write, chunks)
        except FileError as wrong:
            await self._tell_done(ok=False)
            await in_thread(self._discard)
            raise NotWhole(f"{self.name} is not what was offered and was deleted: {wrong}") from None
        except DiskError:
            self._tell_cancelled()
            raise
        self._held += len(chunks)
        self._window.take(len(chunks), self._loop.time())
        self._grant()
        self.changed.ring()

    def _write(self, chunks: list[_Chunk]) -> bool:
        """Opens chunks and puts them to disk, in a thread; whether that was all of the file."""
        partial = self._partial
        if partial is None:  # can't happen: chunks are taken only once it is there
            raise RuntimeError
        for head, data in chunks:
            if self._pass is None or (head.stream, head.pass_id) != (self._stream, self._pass.pass_id):
                self._stream = head.stream
                self._pass = self._line.voice.receiving_pass(
                    self._file, self._epoch, head.pass_id, head.index, partial.digest
                )
            partial.write(self._pass.open(data))
        return self._pass is not None and self._pass.complete

    def _discard(self) -> None:
        if self._partial is not None:
            self._partial.discard()

    # What the server says. --------------------------------------------------------------------------------------

    def on_chunk(self, head: ChunkHead, frame: bytes) -> None:
        """A chunk has come. One that was there already is passed over: a sender may begin anew a little earlier."""
        if self._ending is not None or self._partial is None or head.index < self._next:
            return
        if head.index != self._next or head.index >= self._upto or head.last != self._file.shape.is_last(head.index):
            self._tell_cancelled()
            self.end(TransferError("the server sends something else than what was asked for"))
            return
        self.paused, self._begun = False, True
        self._next += 1
        self._waiting.append(_Chunk(head, frame[HEAD_BYTES:]))
        self._moved.ring()

    def on_frame(self, frame: FileFrame) -> None:
        """The server tells of it."""
        if frame.event == "paused":
            self.paused = True
            self.changed.ring()
        elif frame.event == "ended":
            self.end(Withdrawn(f"no more of {self.name} will come: {_REASONS.get(frame.reason, 'it was ended')}"))

    def on_error(self, error: RelayError) -> None:
        """A grant was not taken: its sender may be on the way back, or it was too much at once."""
        if isinstance(error, NoSuchFile | RateLimited) and not self._whole:
            self._loop.call_later(error.retry_after_s or 0.0, self._accept)

    def on_joined(self) -> None:
        """The client is in the room again."""
        if self._partial is not None and not self._whole:
            self._accept()

    # What it says. ----------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        """Asks for the file, from the chunk on that is to come next; asks again where that may help."""
        if self._accepting is not None:
            self._accepting.cancel()
        if not self._whole and self._ending is None:
            self._accepting = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        backoff, asked_at = Backoff(), self._loop.time()
        while self._ending is None and self._partial is not None:
            self._upto = min(self._file.chunks, max(self._upto, self._next + self._window.size))
            frame = {"type": "accept", "fid": self.fid, "from": self._next, "upto": self._upto}
            try:
                await self._line.command(frame)
            except (NoSuchFile, TooManyFiles, RateLimited) as error:
                if isinstance(error, NoSuchFile) and not self._may_come_back(asked_at):
                    self.end(Withdrawn(f"{self.name} is not to be had any more: its sender has withdrawn it or left"))
                else:
                    await asyncio.sleep(max(0.1, backoff.next_s(error.retry_after_s)))
            except RelayError as error:
                self.end(TransferError(f"{self.name} cannot be received: {error.detail}"))
            except ClientError:
                return  # the connection is lost; it is asked for again when there is one
            else:
                self._begun = True
                return

    def _may_come_back(self, asked_at: float) -> bool:
        # Who accepts an offer of long ago is told at once that it is over; unless all have just lost the server.
        since = asked_at if self._begun else self._line.back_at
        return self._loop.time() - since < SENDER_PATIENCE_S

    def _grant(self) -> None:
        upto = min(self._file.chunks, self._held + self._window.size)
        worth_it = upto - self._upto >= min(GRANT_EVERY, self._window.size // 2) or upto == self._file.chunks
        if self._whole or upto <= self._upto or not worth_it:
            return
        self._upto = upto
        with contextlib.suppress(NotConnected):
            self._line.stream.send({"type": "grant", "fid": self.fid, "upto": upto})

    def _tell_cancelled(self) -> None:
        with contextlib.suppress(NotConnected):
            self._line.stream.send({"type": "cancel", "fid": self.fid})

    async def _give_up_place(self) -> None:
        """Cancels it at the server, after whose answer no chunk comes any more."""
        if not self._begun:
            return  # never accepted; and of an own file this would be the end for all
        with contextlib.suppress(TimeoutError, RelayError, ClientError):
            async with asyncio.timeout(DONE_PATIENCE_S):
                await self._line.command({"type": "cancel", "fid": self.fid})

    async def _tell_done(self, *, ok: bool) -> None:
        """Tells the sender; that must not fail for a connection that is lost just now.

        Nor for a relay that has started anew since, and learns of the file only when its sender is back.
        """
        done = {"type": "done", "fid": self.fid, "ok": ok}
        with contextlib.suppress(TimeoutError, RelayError):
            async with asyncio.timeout(DONE_PATIENCE_S):
                while True:
                    try:
                        await self._line.command(done)
                    except ClientError:
                        await self._line.connected.wait()
                    except NoSuchFile:
                        if self._loop.time() - self._line.back_at > DONE_PATIENCE_S:
                            raise
                        await self._accept_nothing()
                    else:
                        return

    async def _accept_nothing(self) -> None:
        """Lets the relay know of somebody who has accepted the file, and needs no more of it."""
        last = self._file.chunks - 1
        try:
            await self._line.command({"type": "accept", "fid": self.fid, "from": last, "upto": last})
        except NoSuchFile:
            await asyncio.sleep(DONE_AGAIN_S)
        except ClientError:
            pass  # the connection is lost again
