"""What one socket has to do with files: what it was asked for, and whether what it sends is that; what it receives."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from relayd.bus.messages import Asked
from relayd.errors import BadChunk
from relayd.wire.chunks import HEAD_BYTES, ChunkHead, Shape, read_head

# Streams that are over, of which chunks may be under way yet. Past it the oldest is forgotten: a chunk of it is an
# error then, and does no other harm.
_MAX_OVER = 64
_MAX_GRANTS_PAID = 64


class Upload:
    """One stream: which chunk comes next, and which it was asked for last.

    Attributes:
        fid: of the file, 16 bytes.
        at: the chunk that comes next.
        over: it was stopped or spoiled: what is under way in it is dropped.
    """

    __slots__ = ("_last", "_pass", "_shape", "_tag_bytes", "_upto", "at", "fid", "over")

    def __init__(self, asked: Asked) -> None:
        self.fid = asked.fid
        self.at = asked.first
        self.over = False
        self._shape = Shape(asked.size, asked.chunk)
        self._last = self._shape.chunks - 1
        self._tag_bytes = asked.tag_bytes
        self._upto = asked.upto
        self._pass = b""  # of its first chunk

    @property
    def _bytes(self) -> int:
        """What the next chunk has."""
        return self._shape.bytes_of(self.at) + self._tag_bytes

    @property
    def exhausted(self) -> bool:
        """Whether nothing that was asked for is missing."""
        return self.at >= self._upto

    @property
    def finished(self) -> bool:
        """Whether the final chunk has come."""
        return self.at > self._last

    def widen(self, upto: int) -> None:
        """It was asked for more."""
        self._upto = upto

    def fits(self, head: ChunkHead, length: int) -> bool:
        """Whether that is the next chunk that it was asked for."""
        if not self._pass:
            self._pass = head.pass_id
        return (
            head.index == self.at < self._upto
            and length == self._bytes
            and head.last == (self.at == self._last)
            and head.fid == self.fid
            and head.pass_id == self._pass
        )

    def why_not(self, head: ChunkHead) -> str:
        """What is wrong with a chunk that does not fit."""
        reasons = (
            (head.fid != self.fid, "fid: is another than this stream is for"),
            (head.index != self.at, f"index: the next chunk of this stream is {self.at}"),
            (self.exhausted, f"index: so far the chunks below {self._upto} were asked for"),
            (head.last != (self.at == self._last), "the second byte is 1 on the final chunk, and 0 on all others"),
            (head.pass_id != self._pass, "pass: a stream keeps to one; draw another for another stream"),
        )
        return next((reason for wrong, reason in reasons if wrong), f"this chunk has {self._bytes} bytes of data")


class Uploads:
    """All that one socket is asked for.

    Args:
        on_spoiled: told of a stream in which a wrong chunk came; once, as what follows in it is dropped.
    """

    __slots__ = ("_on_spoiled", "_over", "_streams")

    def __init__(self, on_spoiled: Callable[[int], None]) -> None:
        self._on_spoiled = on_spoiled
        self._streams: dict[int, Upload] = {}
        self._over: OrderedDict[int, Upload] = OrderedDict()

    def ask(self, asked: Asked) -> None:
        """Chunks were asked for."""
        upload = self._streams.get(asked.stream)
        if upload is not None:
            upload.widen(asked.upto)
        elif asked.stream not in self._over:  # spoiled in the meantime; the hub hears of it
            self._streams[asked.stream] = Upload(asked)

    def stop(self, stream: int) -> None:
        """Chunks are not wanted any more; those under way are dropped."""
        upload = self._streams.pop(stream, None)
        if upload is not None and not upload.exhausted:
            self._end(stream, upload)

    def check(self, frame: bytes) -> tuple[int, Upload]:
        """Which stream a chunk belongs to; `passed` is to be called once it has been dealt with.

        Raises:
            BadChunk: it is none, or none that was asked for.
        """
        head = read_head(frame)
        upload = self._over.get(head.stream)
        if upload is not None:
            return head.stream, upload
        upload = self._streams.get(head.stream)
        if upload is None:
            raise BadChunk(f"stream {head.stream}: nothing was asked for in it, or no more is wanted")
        if not upload.fits(head, len(frame) - HEAD_BYTES):
            del self._streams[head.stream]
            self._end(head.stream, upload)
            self._on_spoiled(head.stream)
            raise BadChunk(upload.why_not(head))
        return head.stream, upload

    def passed(self, stream: int, upload: Upload) -> None:
        """The chunk was passed on, or dropped."""
        upload.at += 1
        if upload.over:
            if upload.exhausted:
                self._over.pop(stream, None)
        elif upload.finished:
            del self._streams[stream]

    def _end(self, stream: int, upload: Upload) -> None:
        upload.over = True
        self._over[stream] = upload
        if len(self._over) > _MAX_OVER:
            self._over.popitem(last=False)


class Download:
    """What one socket receives of files, all of them together.

    Attributes:
        behind: the hub was told that too much waits for it.
    """

    __slots__ = ("_grants_paid", "behind")

    def __init__(self) -> None:
        self.behind = False
        self._grants_paid = 0

    def pay_grant(self) -> None:
        """A chunk pays for one grant: the answer to it. They can be saved up, within reason."""
        self._grants_paid = min(self._grants_paid + 1, _MAX_GRANTS_PAID)

    def take_grant(self) -> bool:
        """Whether the next grant is paid for."""
        if not self._grants_paid:
            return False
        self._grants_paid -= 1
        return True
