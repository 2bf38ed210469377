"""All files of one user in one room: what the server says of each goes to the right one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import Final

from relayd.client.errors import NotConnected, TransferError
from relayd.client.events import FileOffered
from relayd.client.files.disk import Source
from relayd.client.files.line import Line, in_thread
from relayd.client.files.receiving import Receiving
from relayd.client.files.sending import Offer
from relayd.client.seal.files import new_offer
from relayd.client.shapes import FileFrame
from relayd.errors import BadChunk, FilesOff, FileTooLarge, ProtocolViolation, RelayError
from relayd.wire.chunks import CLIENT_CHUNK_BYTES, MIN_CHUNK_BYTES, SHORT_CHUNK_BYTES, read_head
from relayd.wire.sealing_text import encode_base64url

MOST_RECEIVED: Final = 4  # at once; a server refuses more on one connection
# Of a chunk. A server does not say how long its frames may be: where the usual ones are refused, shorter ones are
# tried, at last those that fit into the least that can be set.
CHUNK_BYTES: Final = (CLIENT_CHUNK_BYTES, 15_360, MIN_CHUNK_BYTES, SHORT_CHUNK_BYTES)


class Files:
    """Offers and receptions by the file's id.

    Args:
        line: the way to the server.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._offers: dict[str, Offer] = {}
        self._received: dict[str, Receiving] = {}
        self._slots = asyncio.Semaphore(MOST_RECEIVED)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether a frame of the server may be waited for."""
        return bool(self._offers or self._received)

    async def offer(self, path: Path, to: str | None, name: str | None) -> Offer:
        """Reads a file for its SHA-256, and offers it.

        Raises:
            DiskError, RelayError, Unconfirmed: as `Room.offer`.
        """
        source = await in_thread(Source, path)
        try:
            self._check_allowed(source.size)
            stop = threading.Event()
            sha256 = await in_thread(source.digest, stop, stop=stop)
            for chunk_bytes in CHUNK_BYTES[:-1]:
                with contextlib.suppress(ProtocolViolation):
                    return await self._say(source, to, name or source.name, sha256, chunk_bytes)
            return await self._say(source, to, name or source.name, sha256, CHUNK_BYTES[-1])
        except BaseException:
            source.close()
            raise

    async def _say(self, source: Source, to: str | None, name: str, sha256: bytes, chunk_bytes: int) -> Offer:
        sealed = self._line.voice.sealed
        file = new_offer(
            name, source.media_type, size=source.size, sha256=sha256, chunk_bytes=chunk_bytes, sealed=sealed
        )
        offer = self._offers[file.fid] = Offer(self._line, source, file, to)
        try:
            await offer.say()
        except BaseException as wrong:
            del self._offers[file.fid]
            if not isinstance(wrong, RelayError):  # it may have been said, and nobody would serve it
                with contextlib.suppress(NotConnected):
                    self._line.stream.send({"type": "cancel", "fid": file.fid})
            raise
        return offer

    def _check_allowed(self, size: int) -> None:
        """Refuses what the server would, before all of a file is read. The server has the last word."""
        settings = self._line.hearing.details.settings
        most = settings.get("max_file")
        if settings.get("files") is False:
            raise FilesOff
        if isinstance(most, int) and size > most:
            raise FileTooLarge(f"The file has {size} bytes, and the room lets {most} through")

    def accept(self, offered: FileOffered, directory: Path) -> Receiving:
        """Begins to receive a file; one that is being received already is not received twice."""
        receiving = Receiving(self._line, offered, directory)
        before = self._received.setdefault(receiving.fid, receiving)
        if before is not receiving:
            if before.is_of(offered):
                return before
            # A message of anybody's may name any file; the server knows one by its fid alone, and has another under it.
            receiving.end(TransferError(f"{receiving.name} cannot be had: its offer names another one that is coming"))
            return receiving
        task = asyncio.create_task(self._receive(receiving))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return receiving

    async def _receive(self, receiving: Receiving) -> None:
        try:
            while not receiving.done:  # again where it has given its place to others: whoever waits longest is next
                async with self._slots:
                    await receiving.run(self._do_others_wait)
        finally:
            del self._received[receiving.fid]

    def _do_others_wait(self) -> bool:
        return sum(not one.done for one in self._received.values()) > MOST_RECEIVED

    # The server's word. -----------------------------------------------------------------------------------------

    def on_chunk(self, frame: bytes) -> None:
        """A binary frame; what is none of a file that is received here is dropped."""
        try:
            head = read_head(frame)
        except BadChunk:
            return
        receiving = self._received.get(encode_base64url(head.fid))
        if receiving is not None:
            receiving.on_chunk(head, frame)

    def on_frame(self, frame: FileFrame) -> None:
        """A `file` frame."""
        for one in (self._offers.get(frame.fid), self._received.get(frame.fid)):
            if one is not None:
                one.on_frame(frame)

    def on_error(self, fid: str, error: RelayError) -> None:
        """An `error` about a file."""
        for one in (self._offers.get(fid), self._received.get(fid)):
            if one is not None:
                one.on_error(error)

    def on_presence(self) -> None:
        """Somebody came or went."""
        for offer in self._living():
            offer.on_presence()

    def on_joined(self) -> None:
        """The client is in the room again."""
        for offer in self._living():
            offer.on_joined()
        for receiving in self._received.values():
            receiving.on_joined()

    def on_lost(self) -> None:
        """The connection is lost."""
        for offer in self._living():
            offer.on_lost()

    def _living(self) -> list[Offer]:
        self._offers = {fid: offer for fid, offer in self._offers.items() if not offer.is_over}
        return list(self._offers.values())

    def end(self, error: Exception) -> None:
        """The room is over, or was left."""
        for offer in self._living():
            offer.end(TransferError(f"{offer.name} cannot be sent any more: {error}"))
        for receiving in self._received.values():
            receiving.end(TransferError(f"{receiving.name} did not come: {error}"))

    async def wait_closed(self) -> None:
        """Returns when nothing is written to disk any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)
