"""The frame reader against RFC 6455; the encoder on the other side is the `websockets` library's."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.exceptions import ProtocolError
from websockets.frames import Close, Frame
from websockets.frames import Opcode as Op
from websockets.streams import StreamReader

from relayd.wire.frames import (
    MAX_FRAGMENTS,
    Failure,
    FrameReader,
    Message,
    Opcode,
    encode_close,
    encode_frame,
    encode_masked,
    frame_header,
    parse_close,
)

LIMIT = 65_536
MASK = b"\xa1\x02\xfe\x37"


def unmask(mask: bytes, data: bytes) -> bytes:
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))


def reader(limit: int = LIMIT) -> FrameReader:
    return FrameReader(limit, unmask)


def raw(first: int, payload: bytes = b"", *, length: bytes = b"") -> bytes:
    """A masked frame with any first byte, and its length in any form."""
    head = length or bytes((0x80 | len(payload),))
    return bytes((first,)) + head + MASK + unmask(MASK, payload)


def whole(opcode: int, data: bytes, *, fin: bool = True) -> bytes:
    """A client's frame as `websockets` writes it."""
    return Frame(Op(opcode), data, fin=fin).serialize(mask=True)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


def read(chunks: list[bytes], limit: int = LIMIT) -> tuple[list[Message], Failure | None]:
    one = reader(limit)
    messages = [message for chunk in chunks for message in one.receive_data(chunk)]
    return messages, one.failure


# What is valid. -------------------------------------------------------------------------------------------------

TEXTS = st.text(max_size=300).map(str.encode)
CONTROLS = st.builds(Message, st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125))
DATA = st.one_of(
    st.builds(Message, st.just(Opcode.TEXT), TEXTS),
    st.builds(Message, st.just(Opcode.BINARY), st.binary(max_size=300)),
    st.builds(Message, st.just(Opcode.BINARY), st.sampled_from([125, 126, 127, 65_535, 65_536]).map(bytes)),
)


@st.composite
def conversations(draw) -> tuple[bytes, list[Message]]:
    """Bytes of a client, and the messages they mean in the order they are complete."""
    data, expected = b"", []
    for message in draw(st.lists(st.one_of(DATA, CONTROLS), max_size=6)):
        if message.opcode >= Opcode.CLOSE:
            data += whole(message.opcode, message.payload)
        else:
            pieces = cut(message.payload, draw(st.lists(st.integers(0, 70_000), max_size=4)))
            for index, piece in enumerate(pieces):
                opcode = message.opcode if index == 0 else Opcode.CONTINUATION
                data += whole(opcode, piece, fin=index == len(pieces) - 1)
                # Section 5.4: "Control frames MAY be injected in the middle of a fragmented message."
                for control in draw(st.lists(CONTROLS, max_size=2)) if index < len(pieces) - 1 else ():
                    data += whole(control.opcode, control.payload)
                    expected.append(control)
        expected.append(message)
    return data, expected


@given(conversations(), st.lists(st.integers(0, 200_000), max_size=12))
def test_any_conversation_in_any_chunks(conversation, places):
    """Whatever a client sends comes out the same, however it was fragmented and the network cut it."""
    data, expected = conversation
    assert read(cut(data, places)) == (expected, None)


@given(conversations())
@example((whole(1, b""), [Message(1, b"")]))
def test_byte_by_byte(conversation):
    data, expected = conversation
    # 500: long payloads teach nothing that their headers do not.
    chunks = [data[at : at + 1] for at in range(min(500, len(data)))] + [data[500:]]
    assert read(chunks) == (expected, None)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_every_form_of_length(size):
    assert read([whole(2, bytes(size))]) == ([Message(Opcode.BINARY, bytes(size))], None)


def test_message_is_given_as_soon_as_it_is_complete():
    """Not a byte later, and what follows it waits."""
    one, data = reader(), whole(1, b"hello") + whole(9, b"x")
    assert one.receive_data(data[:10]) == []
    assert one.receive_data(data[10:13]) == [Message(1, b"hello")]
    assert one.receive_data(data[13:]) == [Message(9, b"x")]


def test_idle_reader_holds_no_buffer():
    """Thousands of connections wait for their next message at any time."""
    one = reader()
    one.receive_data(whole(1, b"a" * 1000))
    assert one.unread_bytes == 0
    assert (one._data, one._cut, one._fragments) == (b"", None, None)


def test_large_frame_is_not_parsed_again_with_each_packet():
    """Until it can be complete, bytes are only put together: the cost is not the square of the size."""
    looks = []

    class Watched(FrameReader):
        def _read_header(self, data, at):
            looks.append(len(data))
            return super()._read_header(data, at)

    one, data, messages = Watched(2**20, unmask), whole(2, bytes(2**17)), []
    for at in range(0, len(data), 1024):
        messages += one.receive_data(data[at : at + 1024])
    assert [len(message.payload) for message in messages] == [2**17]
    assert len(looks) <= 4


def test_empty_fragments_cost_no_memory():
    """They never reach the limit of bytes, so they must not be kept."""
    one = reader()
    one.receive_data(whole(1, b"", fin=False) + whole(0, b"", fin=False) * 1000)
    assert one._fragments == bytearray()
    assert one.receive_data(whole(0, b"end")) == [Message(1, b"end")]


@pytest.mark.parametrize("payload", [b"", b"x"])
def test_fragments_of_a_message_are_limited(payload):
    """Empty ones never reach the limit of bytes; what each costs must end somewhere."""
    one = reader()
    most = whole(1, payload, fin=False) + whole(0, payload, fin=False) * (MAX_FRAGMENTS - 2)
    assert one.receive_data(most) == []
    assert one.receive_data(whole(9, b"between")) == [Message(9, b"between")]
    assert one.receive_data(whole(0, payload)) == [Message(1, payload * MAX_FRAGMENTS)]
    assert one.receive_data(most) == []  # counted for each message by itself
    assert one.receive_data(whole(0, payload, fin=False)) == []
    assert one.failure == Failure(1008, "a message has too many fragments")


def test_frames_are_read_one_by_one():
    """What the caller does not take stays as the bytes that came; fragments can be counted, too."""
    one, last = reader(), whole(2, b"e")
    one.feed(whole(1, b"a") + whole(1, b"b", fin=False) + whole(9, b"c"))
    one.feed(whole(0, b"d") + last[:5])
    assert one.unread_bytes == 4 * len(last) + 5
    assert one.next_frame() == Message(1, b"a")
    assert one.next_frame() == Message(Opcode.CONTINUATION, b"b")
    assert not one.is_within_message
    assert one.next_frame() == Message(9, b"c")
    assert one.next_frame() == Message(1, b"bd")
    assert one.messages == 2
    assert one.next_frame() is None
    assert one.is_within_message
    assert one.unread_bytes == 5
    one.feed(last[5:])
    assert one.next_frame() == Message(2, b"e")
    assert one.next_frame() is None
    assert one.unread_bytes == 0
    assert not one.is_within_message
    assert one.messages == 3


@given(st.binary(max_size=400), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 3)), max_size=8))
def test_frames_taken_late_are_the_same(data, steps):
    """Whatever comes while frames wait, the same frames are read in the same order."""
    data += whole(1, b"abc", fin=False) + whole(9, b"") + whole(0, data[:130])
    expected = read([data])
    one, got, at = reader(), [], 0
    for size, number in [*steps, (len(data), 10**6)]:
        one.feed(data[at : at + size])
        at += size
        for _ in range(number):
            if (message := one.next_frame()) is None:
                break
            got += [message] if message.opcode != Opcode.CONTINUATION else []
    assert (got, one.failure) == (expected[0], expected[1])


# What is not. ---------------------------------------------------------------------------------------------------

RESERVED = Failure(1002, "reserved bits or opcode")
UNMASKED = Failure(1002, "a client's frames must be masked")
LONG_CONTROL = Failure(1002, "control frame too long")
LONG_FORM = Failure(1002, "length not in its shortest form")
OUT_OF_PLACE = Failure(1002, "continuation out of place")
NOT_UTF8 = Failure(1007, "text must be UTF-8")
TOO_BIG = Failure(1009, "message too big")

VIOLATIONS = [
    pytest.param(b"\x81\x02hi", UNMASKED, id="unmasked"),
    pytest.param(b"\x89\x00", UNMASKED, id="unmasked ping"),
    pytest.param(raw(0x89, bytes(126), length=b"\xfe\x00\x7e"), LONG_CONTROL, id="ping of 126"),
    pytest.param(raw(0x88, length=b"\xff" + struct.pack(">Q", 2**40)), LONG_CONTROL, id="close of 2^40"),
    pytest.param(raw(0x89, b"hello", length=b"\xfe\x00\x05"), LONG_FORM, id="ping, 16-bit length of 5"),
    pytest.param(raw(0x88, b"", length=b"\xff" + bytes(8)), LONG_FORM, id="close, 64-bit length of 0"),
    pytest.param(raw(0x82, bytes(125), length=b"\xfe\x00\x7d"), LONG_FORM, id="16-bit length of 125"),
    pytest.param(raw(0x82, b"", length=b"\xfe\x00\x00"), LONG_FORM, id="16-bit length of 0"),
    pytest.param(raw(0x82, b"", length=b"\xff" + struct.pack(">Q", 65_535)), LONG_FORM, id="64-bit length of 65535"),
    pytest.param(raw(0x80, b"x"), OUT_OF_PLACE, id="last continuation of nothing"),
    pytest.param(raw(0x00, b"x"), OUT_OF_PLACE, id="continuation of nothing"),
    pytest.param(raw(0x01, b"a") + raw(0x81, b"b"), OUT_OF_PLACE, id="text within fragments"),
    pytest.param(raw(0x02, b"a") + raw(0x02, b"b"), OUT_OF_PLACE, id="fragmented binary within fragments"),
    pytest.param(raw(0x81, b"\xff"), NOT_UTF8, id="not UTF-8"),
    pytest.param(raw(0x81, b"\xed\xa0\x80"), NOT_UTF8, id="surrogate"),
    pytest.param(raw(0x81, b"\xf4\x90\x80\x80"), NOT_UTF8, id="past U+10FFFF"),
    pytest.param(raw(0x81, b"\xc0\xaf"), NOT_UTF8, id="overlong"),
    pytest.param(raw(0x01, b"\xe2\x82") + raw(0x80, b""), NOT_UTF8, id="ends within a character"),
    pytest.param(raw(0x01, b"\xff") + raw(0x80, b"a"), NOT_UTF8, id="first fragment not UTF-8"),
    pytest.param(raw(0x82, length=b"\xff" + struct.pack(">Q", LIMIT + 1)), TOO_BIG, id="too big"),
    pytest.param(raw(0x82, length=b"\xff" + b"\xff" * 8), TOO_BIG, id="2^64 - 1"),
]


@pytest.mark.parametrize("first", sorted(set(range(256)) - {0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A}))
def test_every_other_first_byte_fails(first):
    """Section 5.2: reserved bits and opcodes; section 5.5: control frames must not be fragmented."""
    assert read([raw(first)]) == ([], RESERVED)


@pytest.mark.parametrize(("data", "failure"), VIOLATIONS)
@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_violation_fails_and_nothing_comes_after(data, failure, size):
    """What was complete before is given, nothing that follows is read, whatever the packets."""
    sent = whole(1, b"before") + data + whole(1, b"after") + whole(9, b"")
    one = reader()
    got = [message for at in range(0, len(sent), size) for message in one.receive_data(sent[at : at + size])]
    assert (got, one.failure) == ([Message(1, b"before")], failure)
    assert one.receive_data(whole(1, b"later")) == []
    assert one.failure == failure


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_junk_means_the_same_however_it_is_cut(data, places):
    """No bytes crash the reader, and packets never change what it says."""
    assert read(cut(data, places)) == read([data])


@given(st.binary(min_size=2, max_size=14), st.binary(max_size=130))
def test_what_is_taken_is_what_websockets_takes(header, payload):
    """A frame that both readers see whole: one refuses it exactly if the other does."""
    data = header + payload
    one = reader(2**63)
    got = one.receive_data(data)
    buffer = StreamReader()
    buffer.feed_data(data)
    buffer.feed_eof()
    parsing = Frame.parse(buffer.read_exact, mask=True, max_size=None)
    try:
        next(parsing)
    except StopIteration as done:
        theirs = done.value
    except ProtocolError:
        one.receive_data(bytes(8))  # the rest of a header, which ours wants to see first
        assert one.failure is not None
        assert got == []
        return
    except EOFError:
        assert got == []
        return
    long_form = data[1] & 0x7F >= 126 and len(theirs.data) < {126: 126, 127: 65_536}[data[1] & 0x7F]
    if theirs.opcode is Op.CONT or long_form:  # out of place, or what `websockets` lets pass
        assert one.failure in (OUT_OF_PLACE, LONG_FORM)
    elif theirs.fin and one.failure != NOT_UTF8:
        assert got[0] == Message(theirs.opcode, bytes(theirs.data))


def test_continuation_after_the_last_one():
    got, failure = read([whole(1, b"a", fin=False) + whole(0, b"b") + whole(0, b"c")])
    assert (got, failure) == ([Message(1, b"ab")], OUT_OF_PLACE)


# The client's side. ---------------------------------------------------------------------------------------------


@given(st.sampled_from([1, 2, 8, 9, 10]), st.binary(max_size=125), st.binary(min_size=4, max_size=4))
def test_masked_frames_are_those_of_a_client(opcode, payload, mask):
    """Our own reader takes them, and so does another library's."""
    data = encode_masked(opcode, payload, mask, unmask)
    assert data[2:6] == mask
    buffer = StreamReader()
    buffer.feed_data(data)
    with pytest.raises(StopIteration) as done:
        next(Frame.parse(buffer.read_exact, mask=True, max_size=None))
    assert (done.value.value.opcode, bytes(done.value.value.data)) == (opcode, payload)
    if opcode != Opcode.TEXT:
        assert read([data]) == ([Message(opcode, payload)], None)


@pytest.mark.parametrize("size", [125, 126, 65_535, 65_536])
def test_masked_frames_of_every_form_of_length(size):
    assert read([encode_masked(Opcode.BINARY, bytes(size), MASK, unmask)]) == ([Message(2, bytes(size))], None)


@given(st.lists(DATA | CONTROLS, max_size=5), st.lists(st.integers(0, 200_000), max_size=8))
def test_client_reads_what_a_server_sends(messages, places):
    data = b"".join(Frame(Op(one.opcode), one.payload).serialize(mask=False) for one in messages)
    one = FrameReader(LIMIT, None)
    got = [message for chunk in cut(data, places) for message in one.receive_data(chunk)]
    assert (got, one.failure) == (messages, None)


def test_server_must_not_mask():
    """Section 5.1: "A server MUST NOT mask any frames that it sends to the client." """
    one = FrameReader(LIMIT, None)
    assert one.receive_data(encode_frame(1, b"before") + whole(1, b"masked")) == [Message(1, b"before")]
    assert one.failure == Failure(1002, "a server's frames must not be masked")


# Limits. --------------------------------------------------------------------------------------------------------


@given(st.integers(0, 400), st.integers(0, 400), st.lists(st.integers(0, 400), max_size=4))
def test_limit_is_exact_over_fragments(limit, size, places):
    """A message of just the limit passes, one byte more fails; control frames between do not count."""
    pieces = cut(bytes(size), places)
    frames = [whole(2 if i == 0 else 0, piece, fin=i == len(pieces) - 1) for i, piece in enumerate(pieces)]
    got, failure = read([whole(9, bytes(100)).join(frames)], limit)
    data = [message.payload for message in got if message.opcode == Opcode.BINARY]
    assert (data, failure) == (([bytes(size)], None) if size <= limit else ([], TOO_BIG))


def test_limit_counts_each_message_anew():
    frames = whole(2, bytes(60), fin=False) + whole(0, bytes(40))
    assert [len(message.payload) for message in read([frames * 3], 100)[0]] == [100] * 3


def test_too_big_is_said_by_the_header():
    """Before a byte of the payload has come, so that none is kept."""
    one = reader(100)
    assert one.receive_data(b"\x82\xfe\x00\x7e" + MASK[:0]) == []
    assert one.failure == TOO_BIG


# Writing. -------------------------------------------------------------------------------------------------------


@given(st.sampled_from([1, 2, 8, 9, 10]), st.binary(max_size=125))
def test_encoded_frames_are_those_of_websockets(opcode, payload):
    assert encode_frame(opcode, payload) == Frame(Op(opcode), payload).serialize(mask=False)


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 100_000])
def test_header_of_every_length(size):
    payload = bytes(size)
    assert encode_frame(Opcode.BINARY, payload) == Frame(Op.BINARY, payload).serialize(mask=False)
    assert frame_header(Opcode.BINARY, size) + payload == encode_frame(Opcode.BINARY, payload)


@given(st.sampled_from([1000, 1002, 4000, 4999]), st.text(max_size=200))
def test_close_frame_is_cut_at_a_character(code, reason):
    """123 bytes of reason at most, and always UTF-8: the longest beginning of it that fits."""
    data = encode_close(code, reason)
    assert data[0] == 0x88
    assert data[1] == len(data) - 2 <= 125
    close = Close.parse(data[2:])
    assert close.code == code
    assert reason.startswith(close.reason)
    more = reason[: len(close.reason) + 1].encode()
    assert close.reason == reason or len(more) > 123


def test_close_codes():
    """Sections 7.4.1 and 7.4.2, and IANA's registry (1012 to 1014)."""
    taken = {code for code in range(65_536) if parse_close(struct.pack(">H", code) + b"why") == (code, None)}
    assert taken == {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}
    refused = {parse_close(struct.pack(">H", code)) for code in range(65_536) if code not in taken}
    assert refused == {(1002, Failure(1002, "close code that may not be sent"))}


def test_close_without_code():
    assert parse_close(b"") == (1000, None)
    assert parse_close(b"\x03")[0] == 1002
    assert parse_close(b"\x03\xe8") == (1000, None)


def test_close_reason_must_be_utf8():
    assert parse_close(b"\x03\xe8\xc3\xa4") == (1000, None)
    assert parse_close(b"\x03\xe8\xff") == (1007, Failure(1007, "close reason must be UTF-8"))


@given(st.integers(1000, 4999), st.text(max_size=40))
def test_parse_close_takes_what_websockets_sends(code, reason):
    try:
        payload = Close(code, reason).serialize()
    except ProtocolError:
        return
    assert parse_close(payload) == (code, None)
