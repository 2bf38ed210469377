"""What one socket was asked for: nothing else passes, and a mistake costs one stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.bus.messages import Asked
from relayd.errors import BadChunk
from relayd.gateway.uploads import Download, Uploads
from relayd.wire.chunks import ChunkHead

FID = b"f" * 16
SIZE, CHUNK, TAG = 95, 10, 16  # ten chunks
LENGTHS = [26] * 9 + [21]


def asked(stream: int, upto: int, first: int = 0) -> Asked:
    return Asked(7, stream, FID, first, upto, SIZE, CHUNK, TAG)


def frame(stream: int, index: int, **other) -> bytes:
    length = other.pop("length", LENGTHS[index] if index < 10 else 26)
    head = {"last": index == 9, "stream": stream, "fid": FID, "pass_id": b"p" * 16, "index": index} | other
    return ChunkHead(**head).encode() + bytes(length)


class Socket:
    """Uploads, and what became of each frame."""

    def __init__(self) -> None:
        self.spoiled: list[int] = []
        self.uploads = Uploads(self.spoiled.append)

    def send(self, *frames: bytes) -> list[str]:
        return [self._send(data) for data in frames]

    def _send(self, data: bytes) -> str:
        try:
            stream, upload = self.uploads.check(data)
        except BadChunk as error:
            return str(error)
        verdict = "dropped" if upload.over else "passed"
        self.uploads.passed(stream, upload)
        return verdict


@pytest.fixture
def socket() -> Socket:
    return Socket()


def test_a_whole_file(socket):
    """As it is asked for, bit by bit; then the stream is forgotten."""
    for upto in range(1, 11):
        socket.uploads.ask(asked(1, upto))
        assert socket.send(frame(1, upto - 1)) == ["passed"]
    assert socket.send(frame(1, 9)) == ["stream 1: nothing was asked for in it, or no more is wanted"]
    assert socket.spoiled == []


def test_streams_do_not_mix(socket):
    socket.uploads.ask(asked(1, 5))
    socket.uploads.ask(asked(2, 8, first=4))
    frames = [frame(1, 0), frame(2, 4, pass_id=b"q" * 16), frame(1, 1), frame(2, 5, pass_id=b"q" * 16)]
    assert socket.send(*frames) == ["passed"] * 4


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (frame(1, 1), "next chunk of this stream is 2"),
        (frame(1, 3), "next chunk of this stream is 2"),
        (frame(1, 2**63), "next chunk of this stream is 2"),
        (frame(1, 2, last=True), "the second byte is 1 on the final chunk"),
        (frame(1, 2, length=25), "this chunk has 26 bytes of data"),
        (frame(1, 2, length=27), "this chunk has 26 bytes of data"),
        (frame(1, 2, length=0), "this chunk has 26 bytes of data"),
        (frame(1, 2, fid=b"g" * 16), "fid: "),
        (frame(1, 2, pass_id=b"q" * 16), "pass: "),
    ],
)
def test_a_mistake_spoils_its_stream(socket, wrong, reason):
    """One error; what is still under way is dropped, and not more than that."""
    socket.uploads.ask(asked(1, 5))
    socket.uploads.ask(asked(2, 5))
    assert socket.send(frame(1, 0), frame(1, 1)) == ["passed"] * 2
    assert reason in socket.send(wrong)[0]
    assert socket.spoiled == [1]
    socket.uploads.ask(asked(1, 8))  # asked before the hub knew
    assert socket.send(*[frame(1, 2)] * 3) == ["dropped"] * 3
    assert "nothing was asked for" in socket.send(frame(1, 2))[0]
    assert socket.send(frame(2, 0)) == ["passed"]
    assert socket.spoiled == [1]


def test_not_asked_for_yet(socket):
    socket.uploads.ask(asked(1, 2))
    assert socket.send(frame(1, 0), frame(1, 1)) == ["passed"] * 2
    assert socket.send(frame(1, 2)) == ["index: so far the chunks below 2 were asked for"]


def test_stopped(socket):
    """What is under way then is dropped without a word."""
    socket.uploads.ask(asked(1, 5))
    assert socket.send(frame(1, 0)) == ["passed"]
    socket.uploads.stop(1)
    assert socket.send(*(frame(1, index) for index in range(1, 5))) == ["dropped"] * 4
    assert "nothing was asked for" in socket.send(frame(1, 5))[0]
    assert socket.spoiled == []


def test_stopped_when_all_has_come(socket):
    socket.uploads.ask(asked(1, 1))
    assert socket.send(frame(1, 0)) == ["passed"]
    socket.uploads.stop(1)
    assert "nothing was asked for" in socket.send(frame(1, 1))[0]


def test_streams_that_are_over_are_forgotten_in_time(socket):
    """However many are stopped, with nothing sent in them."""
    for stream in range(1, 10_001):
        socket.uploads.ask(asked(stream, 5))
        socket.uploads.stop(stream)
    assert len(socket.uploads._over) == 64
    assert "nothing was asked for" in socket.send(frame(1, 0))[0]
    assert socket.send(frame(10_000, 0)) == ["dropped"]


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=80)), max_size=20), st.integers(0, 10))
def test_no_bytes_pass_that_were_not_asked_for(junk, upto):
    """Whatever comes in between."""
    socket = Socket()
    socket.uploads.ask(asked(1, upto) if upto else asked(9, 1))
    at = 0
    for cut, data in junk:
        good = frame(1, min(at, 9))
        verdict = socket.send(good if cut == 0 else good[: cut * 20] + data)[0]
        if verdict == "passed":
            assert at < upto
            at += 1
    assert at <= upto


def test_a_chunk_pays_for_a_grant():
    """And can be saved up, within reason."""
    download = Download()
    assert not download.take_grant()
    for _ in range(1000):
        download.pay_grant()
    assert sum(download.take_grant() for _ in range(1000)) == 64
