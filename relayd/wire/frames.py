"""WebSocket frames (RFC 6455, section 5), without I/O: bytes in, whole messages out.

One reader serves both sides: a server's, where all that comes in is masked, and a client's, where nothing is.
permessage-deflate is never negotiated, so that one frame can be shared by every member of a room.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import msgspec

Unmask = Callable[[bytes, bytes], bytes]  # (4 bytes of mask, data) -> data; masking is the same


class Opcode(IntEnum):
    """RFC 6455, section 11.8."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Failure(NamedTuple):
    """Why the connection must be failed: close code and reason (RFC 6455, section 7.1.7)."""

    code: int
    reason: str


class Message(msgspec.Struct, frozen=True, gc=False):
    """One whole message or control frame."""

    opcode: int
    payload: bytes


# "Control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented" (section 5.5), RSV
# bits and other opcodes "MUST _Fail the WebSocket Connection_" (section 5.2): so these are all the first bytes.
_FIRST_BYTES = frozenset({0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A})
_MAX_CONTROL_BYTES = 125
_MASK_BIT = 0x80
_UNMASKED = Failure(1002, "a client's frames must be masked")
_MASKED = Failure(1002, "a server's frames must not be masked")
_TOO_BIG = Failure(1009, "message too big")
_NOT_UTF8 = Failure(1007, "text must be UTF-8")
# Of one message. A fragment may be empty, so that no limit of bytes ever stops them. Where messages may be larger than
# 64 KiB there may be more: the largest in fragments of 64 bytes. In network packets of the usual size 64 KiB are 45.
MAX_FRAGMENTS, _MIN_FRAGMENT_BYTES = 1_024, 64
_TOO_MANY_FRAGMENTS = Failure(1008, "a message has too many fragments")


class FrameReader:
    """Puts messages together from the bytes of one peer.

    Bytes are added by `feed` and read frame by frame by `next_frame`, so that the caller decides how many frames it
    takes; what it has not taken stays as the bytes that came. `receive_data` does both, for a peer that is trusted.

    Args:
        max_message_bytes: a longer message fails the connection with 1009, as soon as its header says so.
        unmask: XORs data with a mask; passed in because the fast ones are written in C and live elsewhere. None
            reads what a server sends, which is not masked.

    Attributes:
        failure: why the connection must be failed; set once, and nothing that comes after it is read.
        messages: how many were complete so far; control frames count unless they came between fragments.
    """

    __slots__ = (
        "_at",
        "_cut",
        "_data",
        "_fragments",
        "_fragments_number",
        "_fragments_opcode",
        "_mask_bit",
        "_mask_bytes",
        "_needed",
        "_unmask",
        "failure",
        "max_message_bytes",
        "messages",
    )

    def __init__(self, max_message_bytes: int, unmask: Unmask | None) -> None:
        self.max_message_bytes = max_message_bytes
        self.failure: Failure | None = None
        self.messages = 0
        self._unmask = unmask or _unmasked
        self._mask_bit, self._mask_bytes = (_MASK_BIT, 4) if unmask else (0, 0)
        # All three are empty, or None, on an idle connection, of which there are thousands.
        self._cut: bytearray | None = None  # an unfinished frame
        self._data = b""  # what came after it; up to `_at` it has been read
        # One buffer: of many small pieces each would cost twenty times its size.
        self._fragments: bytearray | None = None  # of an unfinished message
        self._fragments_opcode = self._fragments_number = 0
        self._at = 0
        self._needed = 0  # bytes that `_cut` must have before another look can find a whole frame

    @property
    def unread_bytes(self) -> int:
        """Bytes held: of frames that were not taken, of an unfinished frame, and of an unfinished message."""
        return len(self._data) - self._at + len(self._cut or b"") + len(self._fragments or b"")

    @property
    def is_within_message(self) -> bool:
        """Whether a frame or a message has begun whose end has not come, and all that has come is read."""
        return self._at == len(self._data) and (self._cut is not None or self._fragments is not None)

    def rest(self) -> tuple[bytes, int, int, bytes | None]:
        """What another reader needs to continue: bytes that were not read; opcode, number of fragments and bytes of an
        unfinished message, None if there is none.
        """
        fragments = None if self._fragments is None else bytes(self._fragments)
        unread = b"".join((self._cut or b"", memoryview(self._data)[self._at :]))
        return unread, self._fragments_opcode, self._fragments_number, fragments

    def go_on(self, rest: tuple[bytes, int, int, bytes | None]) -> None:
        """Starts where another one has stopped."""
        self._data, self._fragments_opcode, self._fragments_number, fragments = rest
        self._fragments = None if fragments is None else bytearray(fragments)

    def receive_data(self, data: bytes) -> list[Message]:
        """Takes what came from the socket.

        Returns:
            The messages now complete, in order, control frames at their place. `failure` may be set after
            them: the messages are valid all the same, then the connection must be failed.
        """
        self.feed(data)
        messages: list[Message] = []
        while (message := self.next_frame()) is not None:
            if message.opcode != Opcode.CONTINUATION:
                messages.append(message)
        return messages

    def feed(self, data: bytes) -> None:
        """Adds bytes to those that `next_frame` has not read yet."""
        if self._at < len(self._data):
            data = b"".join((memoryview(self._data)[self._at :], data))
        self._data, self._at = data, 0

    def next_frame(self) -> Message | None:
        """Reads one more frame.

        Returns:
            A whole message or control frame; a fragment that does not end its message, as a CONTINUATION with the
            fragment's payload; None if no whole frame has come, or `failure` is set.
        """
        if self.failure is not None:
            self._data, self._at, self._cut = b"", 0, None
            return None
        if self._cut is not None:
            return self._complete_cut(self._cut)
        data, at = self._data, self._at
        end = len(data)
        header = self._read_header(data, at) if at < end else None
        if header is None or end - header[1] < header[2]:
            if header is not None:
                self._needed = header[1] + header[2] - at
            self._cut = bytearray(memoryview(data)[at:]) if at < end and self.failure is None else None
            self._data, self._at = b"", 0
            return None
        first, body, length = header
        at = body + length
        self._data, self._at = (b"", 0) if at == end else (data, at)
        return self._put_together(first, self._unmask(data[body - 4 : body], data[body:at]))

    def _complete_cut(self, cut: bytearray) -> Message | None:
        """Reads the frame that was cut, if all of it has come."""
        missing = max(0, self._needed - len(cut))
        if missing > len(self._data) - self._at:
            cut += memoryview(self._data)[self._at :]
            self._data, self._at = b"", 0
            return None
        self._cut = None
        if not missing:  # it was cut within its header
            self._data, self._at = b"".join((cut, memoryview(self._data)[self._at :])), 0
            return self.next_frame()
        # Only this frame is put together; what follows it is read where it is.
        frame = b"".join((cut, memoryview(self._data)[self._at : self._at + missing]))
        self._at += missing
        if self._at == len(self._data):
            self._data, self._at = b"", 0
        header = self._read_header(frame, 0)
        assert header is not None  # noqa: S101 - its header was read before: `_needed` is made of it
        first, body, _ = header
        return self._put_together(first, self._unmask(frame[body - 4 : body], frame[body:]))

    def _read_header(self, data: bytes, at: int) -> tuple[int, int, int] | None:
        """First byte, start of the payload, its length; None if that cannot be had (yet, or any more)."""
        self._needed = 0
        end = len(data)
        if self.failure is not None or end - at < 2:
            return None
        first, second = data[at], data[at + 1]
        length, head = second & 0x7F, at + 2
        if length > _MAX_CONTROL_BYTES:
            width = 2 if length == 126 else 8
            if end - head < width:
                return None
            length = int.from_bytes(data[head : head + width], "big")
            head += width
        self.failure = self._header_failure(first, second, length, head - at)
        return None if self.failure is not None else (first, head + self._mask_bytes, length)

    def _put_together(self, first: int, payload: bytes) -> Message | None:
        # One frame that is a whole message, or a control frame: nearly always so.
        if first & 0x80 and first != 0x80:
            if first == 0x81 and not _is_utf8(payload):
                self.failure = _NOT_UTF8
                return None
            if self._fragments is None:
                self.messages += 1
            return Message(first & 0x0F, payload)
        return self._add_fragment(first, payload)

    def _header_failure(self, first: int, second: int, length: int, header_bytes: int) -> Failure | None:
        if first not in _FIRST_BYTES:
            return Failure(1002, "reserved bits or opcode")
        if second & _MASK_BIT != self._mask_bit:
            return _UNMASKED if self._mask_bit else _MASKED
        # "the minimal number of bytes MUST be used to encode the length" (section 5.2)
        if length < (0, 0, 0, 0, 126, 0, 0, 0, 0, 0, 65536)[header_bytes]:
            return Failure(1002, "length not in its shortest form")
        opcode = first & 0x0F
        if opcode >= Opcode.CLOSE:
            return Failure(1002, "control frame too long") if length > _MAX_CONTROL_BYTES else None
        if (opcode == Opcode.CONTINUATION) != (self._fragments is not None):
            return Failure(1002, "continuation out of place")
        return _TOO_BIG if length + len(self._fragments or b"") > self.max_message_bytes else None

    def _add_fragment(self, first: int, payload: bytes) -> Message | None:
        if self._fragments is None:
            self._fragments, self._fragments_opcode, self._fragments_number = bytearray(), first & 0x0F, 0
        self._fragments += payload
        self._fragments_number += 1
        if not first & 0x80:
            if self._fragments_number >= max(MAX_FRAGMENTS, self.max_message_bytes // _MIN_FRAGMENT_BYTES):
                self.failure = _TOO_MANY_FRAGMENTS
                return None
            return Message(Opcode.CONTINUATION, payload)
        whole, self._fragments = bytes(self._fragments), None
        if self._fragments_opcode == Opcode.TEXT and not _is_utf8(whole):
            self.failure = _NOT_UTF8
            return None
        self.messages += 1
        return Message(self._fragments_opcode, whole)


def _unmasked(_mask: bytes, data: bytes) -> bytes:
    return data


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def frame_header(opcode: int, length: int) -> bytes:
    """The header of an unmasked, unfragmented frame: what a server writes before `length` bytes of payload."""
    if length <= _MAX_CONTROL_BYTES:
        return bytes((0x80 | opcode, length))
    if length < 65536:
        return bytes((0x80 | opcode, 126, length >> 8, length & 0xFF))
    return bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big")


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """A whole unmasked frame."""
    return frame_header(opcode, len(payload)) + payload


def encode_masked(opcode: int, payload: bytes, mask: bytes, xor: Unmask) -> bytes:
    """A whole masked frame, as a client sends it.

    Args:
        mask: 4 bytes from a strong source of randomness, fresh for every frame (RFC 6455, section 10.3).
        xor: as for `FrameReader`.
    """
    header = bytearray(frame_header(opcode, len(payload)))
    header[1] |= _MASK_BIT
    return b"".join((header, mask, xor(mask, payload)))


def encode_close(code: int, reason: str) -> bytes:
    """A close frame, unmasked."""
    return encode_frame(Opcode.CLOSE, close_payload(code, reason))


def close_payload(code: int, reason: str) -> bytes:
    """What a close frame carries. A reason too long for a control frame is cut at a character."""
    text = reason.encode()[: _MAX_CONTROL_BYTES - 2].decode(errors="ignore")
    return code.to_bytes(2, "big") + text.encode()


def parse_close(payload: bytes) -> tuple[int, Failure | None]:
    """What a peer's close frame says.

    Returns:
        The code to answer with, and what is wrong with the frame. An empty one is answered with 1000.

    Source: RFC 6455, sections 5.5.1 and 7.4; codes that may not be sent are protocol errors (7.4.1).
    """
    if not payload:
        return 1000, None
    code = int.from_bytes(payload[:2], "big")
    registered = 1000 <= code <= 1014 and code not in (1004, 1005, 1006)
    if len(payload) == 1 or not (registered or 3000 <= code <= 4999):
        return 1002, Failure(1002, "close code that may not be sent")
    if not _is_utf8(payload[2:]):
        return 1007, Failure(1007, "close reason must be UTF-8")
    return code, None
