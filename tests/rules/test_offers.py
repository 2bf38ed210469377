"""What may be offered in a room, by whom and for whom."""

from __future__ import annotations

from itertools import count

import pytest

from relayd.errors import FidTaken, FilesOff, FileTooLarge, NoSuchFile, ProtocolViolation, TooManyFiles
from relayd.rooms.limits import AddressRateLimiter, address_file_rate
from relayd.rooms.member import Connection, Member
from relayd.rooms.offers import Offers, Terms
from relayd.settings import FileRate, Limits, Settings, Timing
from relayd.wire.chunks import Shape
from relayd.wire.rest import RoomSettings

SHAPE = Shape(500_000, 5_000)


def user(user_id: str, address: bytes = b"a" * 16) -> Member:
    member = Member(user_id, is_owner=False, profile=b"{}", joined_seq=0, joined_mark=0)
    member.address = address
    return member


ANN, BOB = user("ann"), user("bob")


def terms(files: bool = True, max_file: int = 2**30, **limits: int) -> Terms:
    server = Settings(limits=Limits(**limits), timing=Timing(gather=0.01))
    return Terms(RoomSettings(files=files, max_file=max_file), server)


def with_offers(number: int = 0, rate: FileRate | None = None) -> Offers:
    offers = Offers(rate or FileRate(), AddressRateLimiter(address_file_rate(rate or FileRate())))
    for index in range(number):
        offers.add(f"f{index}", ANN, None, SHAPE, terms())
    return offers


@pytest.mark.parametrize(
    ("shape", "held", "error"),
    [
        (SHAPE, terms(files=False), FilesOff),
        (SHAPE, terms(max_file=499_999), FileTooLarge),
        (Shape(0, 65_409), terms(), ProtocolViolation),
        (Shape(2, 1), terms(), ProtocolViolation),
        (Shape(4_096, 4_095), terms(), ProtocolViolation),
        (Shape(2**30, 4_095), terms(max_message=4_096 + 128), ProtocolViolation),
        (Shape(2**30, 895), terms(max_message=4_096 + 127), ProtocolViolation),
        (Shape(0, 512 * 1024 - 127), terms(max_message=2**20, max_outbox=2**24), ProtocolViolation),
        (Shape(0, 2**17 - 127), terms(max_message=2**20, max_outbox=2**18), ProtocolViolation),
    ],
)
def test_what_may_not_be_offered(shape, held, error):
    offers = with_offers(1)
    with pytest.raises(error):
        offers.add("new", ANN, None, shape, held)
    assert [offer.fid for offer in offers.all()] == ["f0"]


@pytest.mark.parametrize(
    ("shape", "held"),
    [
        (Shape(0, 1), terms()),
        (Shape(1, 1), terms()),
        (Shape(4_095, 4_095), terms()),
        (Shape(2**30, 4_096), terms()),
        (Shape(2**30, 4_096), terms(max_message=4_096 + 128)),
        (Shape(2**30, 896), terms(max_message=4_096 + 127)),
        (Shape(2**30, 896), terms(max_message=1_024)),
    ],
)
def test_how_short_chunks_may_be(shape, held):
    """As short as the file; else what a frame has room for, and not so short that they are mostly work."""
    assert with_offers().add("new", ANN, None, shape, held).shape == shape


@pytest.mark.parametrize(
    ("shape", "held", "window"),
    [
        (Shape(0, 65_408), terms(), 8),
        (Shape(0, 512 * 1024 - 128), terms(max_message=2**20, max_outbox=2**24), 1),
        (Shape(0, 2**17 - 128), terms(max_message=2**20, max_outbox=2**18), 1),
        (Shape(0, 1000), terms(max_outbox=65_536), 8),
        (Shape(0, 8_000), terms(max_outbox=65_536), 4),
        (Shape(0, 1), terms(), 8),
    ],
)
def test_the_window(shape, held, window):
    """What is under way is half of what may wait for a reader at most, and never nothing."""
    held.check(shape)
    assert held.window(shape) == window


def test_so_many_of_one_user():
    """The limit is of the user; others have theirs, and what is removed makes room."""
    offers = with_offers(100)
    with pytest.raises(TooManyFiles):
        offers.add("new", ANN, None, SHAPE, terms())
    offers.add("bobs", BOB, None, SHAPE, terms())
    offers.remove(offers.find("f7", "bob"))
    offers.add("new", ANN, None, SHAPE, terms())
    assert len(offers.of("ann")) == 100
    offers.add("more", ANN, None, SHAPE, terms(max_offers=0))


def test_the_same_again_is_the_same():
    offers = with_offers(100)
    before = offers.find("f1", "ann")
    assert offers.add("f1", ANN, None, SHAPE, terms()) is before
    for user_id, to, shape in (("bob", None, SHAPE), ("ann", "bob", SHAPE), ("ann", None, Shape(500_000, 4_999))):
        with pytest.raises(FidTaken):
            offers.add("f1", user(user_id), to, shape, terms())


def test_who_may_know_of_one_for_one():
    offers = with_offers()
    offers.add("f", ANN, "bob", SHAPE, terms())
    assert offers.find("f", "ann") is offers.find("f", "bob")
    for fid, user_id in (("f", "carol"), ("g", "ann")):
        with pytest.raises(NoSuchFile) as refused:
            offers.find(fid, user_id)
        assert refused.value.detail == NoSuchFile.title  # the same for both


def asked_in(offers: Offers, fid: str, now: float) -> int:
    """Chunks that a fresh receiver who has room for all of it is sent in a second."""
    transfer = offers.find(fid, "ann").transfer
    transfer.serve(count(1).__next__, now)
    person = Connection(b"g", 1, b"", None, None, 0.0)
    transfer.accept(person, 0, 2**53, now)
    got, end = 0, now + 1.0
    while now <= end:
        for order in transfer.advance(now):
            stream = transfer.stream(order.stream)
            while stream is not None and not stream.starved:
                transfer.arrive(stream, [], now)
                got += 1
        now += 0.01
    transfer.drop(person)
    transfer.unserve()
    return got


def test_another_pace_holds_at_once():
    """After a reload, for files that are offered already."""
    offers = with_offers(2)
    assert asked_in(offers, "f0", 0.0) == SHAPE.chunks
    offers.change(FileRate(user_bytes=50_000))
    assert asked_in(offers, "f0", 10.0) < 15
    offers.change(FileRate(room_bytes=100_000, burst_s=0.25))
    assert 10 < asked_in(offers, "f1", 20.0) < 30
    offers.change(FileRate())
    assert asked_in(offers, "f1", 30.0) == SHAPE.chunks


def test_a_new_offer_is_no_way_round_the_pace():
    """What a user owes goes with the user, not with the offer."""
    offers = with_offers(1, FileRate(user_bytes=50_000))
    first = asked_in(offers, "f0", 0.0)
    offers.remove(offers.find("f0", "ann"))
    offers.add("f0", ANN, None, SHAPE, terms())
    again = asked_in(offers, "f0", 1.0)
    assert first < 15
    assert again < first


def delivered(offers: Offers, fid: str, receivers: int, seconds: float) -> int:
    """Chunks that pass to so many receivers in that time, from 0 on."""
    transfer, now = offers.find(fid, "ann").transfer, 0.0
    transfer.serve(count(1).__next__, now)
    people = [Connection(b"g", number, b"", None, None, 0.0) for number in range(receivers)]
    for person in people:
        transfer.accept(person, 0, 2**53, now)
    passed = 0
    while now <= seconds:
        for order in transfer.advance(now):
            stream = transfer.stream(order.stream)
            while stream is not None and not stream.starved:
                transfer.arrive(stream, [], now)
                passed += 1
        now += 0.01
    return passed


@pytest.mark.parametrize("rate", [FileRate(address_bytes=50_000, burst_s=1), FileRate(room_bytes=50_000, burst_s=1)])
def test_what_is_delivered_counts_for_each_receiver(rate):
    """The rates of addresses and rooms: ten receivers get a tenth as much as one."""
    assert 18 <= delivered(with_offers(1, rate), "f0", 1, 1.0) <= 22
    assert delivered(with_offers(1, rate), "f0", 10, 1.0) <= 3


def test_an_address_has_one_rate_for_all_its_users():
    """In all rooms; a user at another address has another."""
    rate = FileRate(address_bytes=50_000, burst_s=1)
    limiter = AddressRateLimiter(address_file_rate(rate))
    passed = []
    for sender in (ANN, user("ann"), user("ann", b"b" * 16)):
        offers = Offers(rate, limiter)
        offers.add("f", sender, None, SHAPE, terms())
        passed.append(delivered(offers, "f", 1, 0.5))
    assert passed[0] > 10
    assert passed[1] < 3
    assert passed[2] > 10


def test_what_was_not_delivered_is_not_charged():
    """The receivers of chunks that were asked for give up: their bytes may be delivered to others."""
    rate = FileRate(address_bytes=100_000, burst_s=1)
    limiter = AddressRateLimiter(address_file_rate(rate))
    offers = Offers(rate, limiter)
    offers.add("f", ANN, None, SHAPE, terms())
    transfer = offers.find("f", "ann").transfer
    transfer.serve(count(1).__next__, 0.0)
    people = [Connection(b"g", number, b"", None, None, 0.0) for number in range(10)]
    for person in people:
        transfer.accept(person, 0, 2**53, 0.0)
    assert transfer.advance(0.02)
    assert limiter.wait_s(ANN.networks, 0.02) > 0
    for person in people:
        transfer.drop(person)
    assert limiter.wait_s(ANN.networks, 0.02) == 0.0
