"""One upload for many: everyone gets every chunk once and in order, nobody more than there is room for, and all the
file in the end, whatever happens meanwhile.
"""

from __future__ import annotations

from itertools import count

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relayd.rooms.limits import Pace
from relayd.rooms.member import Connection
from relayd.rooms.transfer import MAX_STREAMS, Ask, Stop, Transfer
from relayd.wire.chunks import Shape

WINDOW = 8
GATHER_S = 0.25


def connection(number: int) -> Connection:
    return Connection(b"g", number, b"", None, None, 0.0)


class Sender:
    """Does what it is told; what is under way from it, by stream."""

    def __init__(self, transfer: Transfer) -> None:
        self.transfer = transfer
        self.numbers = count(1)
        self.under_way: dict[int, list[int]] = {}
        self.upto: dict[int, int] = {}
        self.log: list[Ask | Stop] = []

    def obey(self, now: float) -> list[Ask | Stop]:
        orders = self.transfer.advance(now)
        for order in orders:
            self.log.append(order)
            if isinstance(order, Stop):
                # Of a stream whose final chunk was missed by all, it is the second word.
                self.under_way.pop(order.stream, None)
                self.upto.pop(order.stream, None)
                continue
            begin = self.upto.get(order.stream, order.first)
            assert order.upto > begin
            self.under_way.setdefault(order.stream, []).extend(range(begin, order.upto))
            self.upto[order.stream] = order.upto
        return orders

    def send(self, number: int, now: float, missed: tuple[Connection, ...] = ()) -> dict[Connection, int]:
        """The next chunk of a stream arrives; who gets which."""
        index = self.under_way[number].pop(0)
        stream = self.transfer.stream(number)
        assert stream is not None
        assert stream.at == index
        got = {receiver.connection: index for receiver in stream.receivers if receiver.connection not in missed}
        self.transfer.arrive(stream, [one.connection for one in stream.receivers if one.connection in missed], now)
        if index == self.transfer.shape.chunks - 1:
            self.under_way.pop(number, None)
            self.upto.pop(number, None)
        return got


class World(RuleBasedStateMachine):
    """Any sequence of events, and what each receiver was given."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.chunks = 30
        self.pace = Pace(0)
        self.transfer = Transfer(Shape(self.chunks, 1), WINDOW, GATHER_S, (self.pace,))
        self.sender = Sender(self.transfer)
        self.people = [connection(number) for number in range(12)]
        self.at: dict[Connection, int] = {}  # the chunk each waits for
        self.upto: dict[Connection, int] = {}

    def serve(self) -> None:
        self.sender.under_way.clear()
        self.sender.upto.clear()
        self.transfer.serve(lambda: next(self.sender.numbers), self.now)

    def give(self, got: dict[Connection, int]) -> None:
        for who, index in got.items():
            assert index == self.at[who], "out of order"
            assert index < self.upto[who], "more than there was room for"
            self.at[who] += 1
            if self.at[who] == self.chunks:
                del self.at[who], self.upto[who]

    @rule(who=st.integers(0, 11), first=st.integers(0, 29), room=st.integers(0, 40))
    def accept(self, who: int, first: int, room: int) -> None:
        person = self.people[who]
        self.transfer.accept(person, first, first + room, self.now)
        self.at[person], self.upto[person] = first, min(first + room, self.chunks)

    @rule(who=st.integers(0, 11), more=st.integers(-3, 12))
    def grant(self, who: int, more: int) -> None:
        person = self.people[who]
        if person in self.at:
            upto = self.at[person] + more
            self.transfer.grant(person, upto, self.now)
            self.upto[person] = max(self.upto[person], min(upto, self.chunks))

    @rule(who=st.integers(0, 11))
    def drop(self, who: int) -> None:
        person = self.people[who]
        self.transfer.drop(person)
        self.at.pop(person, None)
        self.upto.pop(person, None)

    @rule(who=st.integers(0, 11), behind=st.booleans())
    def fall_behind(self, who: int, behind: bool) -> None:
        if self.people[who] in self.at:
            self.transfer.fall_behind(self.people[who], self.now, behind=behind)

    @precondition(lambda self: not self.transfer.served)
    @rule()
    def somebody_serves(self) -> None:
        self.serve()

    @precondition(lambda self: self.transfer.served)
    @rule(again=st.booleans())
    def nobody_serves(self, again: bool) -> None:
        self.transfer.unserve()
        if again:
            self.serve()

    @rule(pick=st.integers(0, 7), times=st.integers(1, 12), missed=st.sets(st.integers(0, 11), max_size=2))
    def arrive(self, pick: int, times: int, missed: set[int]) -> None:
        busy = [number for number, chunks in self.sender.under_way.items() if chunks]
        if self.transfer.served and busy:
            number = busy[pick % len(busy)]
            for turn in range(times):
                if not self.sender.under_way.get(number) or self.transfer.stream(number) is None:
                    break
                lost = tuple(self.people[one] for one in missed) if turn == 0 else ()
                self.give(self.sender.send(number, self.now, lost))
                self.sender.obey(self.now)

    @rule(pick=st.integers(0, 7))
    def spoil(self, pick: int) -> None:
        numbers = list(self.sender.under_way)
        if self.transfer.served and numbers:
            self.transfer.spoil(numbers[pick % len(numbers)], self.now)
            self.sender.obey(self.now)

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.25, 1.0, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        if self.transfer.served:
            self.sender.obey(self.now)

    @rule(rate=st.sampled_from([0, 5, 100]))
    def another_pace(self, rate: float) -> None:
        self.pace.bytes_per_s = rate

    @invariant()
    def holds(self) -> None:
        if self.transfer.served:
            self.sender.obey(self.now)
            assert len(self.sender.upto) <= MAX_STREAMS
            assert all(len(chunks) <= WINDOW for chunks in self.sender.under_way.values())
            assert self.transfer.due_at() > self.now
        for stream in self.transfer._streams.values():
            assert stream.receivers
            assert stream.limit == min(receiver.upto for receiver in stream.receivers)
            assert stream.blocked() == len(stream.blockers())
        assert set(self.transfer.receivers) == set(self.at)

    def teardown(self) -> None:
        """Left alone, with room for everything, all get the rest."""
        if not self.transfer.served:
            self.serve()
        self.pace.bytes_per_s = 0
        for person in self.at:
            self.transfer.fall_behind(person, self.now, behind=False)
            self.transfer.grant(person, self.chunks, self.now)
            self.upto[person] = self.chunks
        for _ in range(40 * 12):
            self.sender.obey(self.now)
            busy = [number for number, chunks in self.sender.under_way.items() if chunks]
            if busy:
                self.give(self.sender.send(busy[0], self.now))
            elif self.at:
                assert self.transfer.due_at() < self.now + 10, "it would wait for ever"
                self.now = max(self.now, self.transfer.due_at())
        assert not self.at


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


# What is told apart. --------------------------------------------------------------------------------------------


class Room:
    """A served file and some who receive it."""

    def __init__(self, chunks: int = 100, window: int = WINDOW, *paces: Pace) -> None:
        self.now = 0.0
        self.transfer = Transfer(Shape(chunks, 1), window, GATHER_S, paces)
        self.sender = Sender(self.transfer)
        self.transfer.serve(lambda: next(self.sender.numbers), 0.0)
        self.got: dict[Connection, list[int]] = {}

    def accept(self, number: int, first: int = 0, upto: int = WINDOW) -> Connection:
        person = connection(number)
        self.got[person] = []
        self.transfer.accept(person, first, upto, self.now)
        return person

    def run(self, seconds: float, *fast: Connection) -> None:
        """Time passes; the sender sends at once, and those who are fast grant at once."""
        end = self.now + seconds
        while True:
            self.sender.obey(self.now)
            busy = [number for number, chunks in self.sender.under_way.items() if chunks]
            for number in busy:
                for person, index in self.sender.send(number, self.now).items():
                    self.got[person].append(index)
                    if person in fast and person in self.transfer.receivers:
                        self.transfer.grant(person, index + 1 + WINDOW, self.now)
            if not busy:
                due = self.transfer.due_at()
                if due > end:
                    break
                self.now = max(self.now, due)
        self.now = end

    @property
    def streams(self) -> set[int]:
        return {order.stream for order in self.sender.log if isinstance(order, Ask)}


def test_who_comes_in_time_shares_a_stream():
    room = Room()
    ann = room.accept(1)
    room.run(0.2)
    bob = room.accept(2)
    assert room.streams == set()
    room.run(0.1)
    assert room.streams == {1}
    assert room.got[ann] == room.got[bob] == list(range(WINDOW))


def test_who_comes_later_has_a_stream_of_its_own_until_they_meet():
    """The second upload ends where it reaches the first."""
    room = Room()
    ann = room.accept(1, upto=50)
    room.run(1)
    bob = room.accept(2)
    room.run(1, bob)
    assert room.got[ann] == room.got[bob] == list(range(50))
    room.transfer.grant(ann, 100, room.now)
    room.run(1, ann, bob)
    assert room.got[ann] == room.got[bob] == list(range(100))
    assert room.streams == {1, 2}


def test_streams_that_meet_become_one():
    room = Room(chunks=1000)
    ann, bob = room.accept(1), room.accept(2, first=500, upto=500 + WINDOW)
    room.run(1, ann)
    assert room.got[ann] == list(range(500 + WINDOW))
    assert room.got[bob] == list(range(500, 500 + WINDOW))
    room.sender.log.clear()
    room.transfer.grant(bob, 1000, room.now)
    room.run(1, ann)
    assert room.got[ann] == list(range(1000))
    assert room.got[bob] == list(range(500, 1000))
    assert len(room.streams) <= 2


def test_the_slowest_sets_the_pace_for_a_while():
    """A quarter of the time, and a second beyond: after 1.33 s without room it goes alone, and is served later."""
    room = Room()
    ann, bob = room.accept(1), room.accept(2)
    room.run(1.5, ann)
    assert room.got[ann] == room.got[bob] == list(range(WINDOW))
    room.run(0.2, ann)
    assert room.got[ann] == list(range(100))
    assert room.got[bob] == list(range(WINDOW))
    room.transfer.grant(bob, 100, room.now)
    room.run(1)
    assert room.got[bob] == list(range(100))


@pytest.mark.parametrize(("held_s", "together"), [(0.2, True), (0.4, False)])
def test_a_little_slowness_is_forgiven(held_s, together):
    """Somebody for whom others wait a fifth of the time is never parted from them; two fifths are too much."""
    room = Room(chunks=400)
    ann, bob = room.accept(1), room.accept(2)
    room.run(1)
    for upto in range(2 * WINDOW, 400, WINDOW):
        room.transfer.grant(ann, upto, room.now)
        room.run(held_s)
        room.transfer.grant(bob, upto, room.now)
        room.run(1 - held_s)
        assert room.got[ann] == list(range(upto))
    assert (room.streams == {1}) is together
    assert room.got[bob] == room.got[ann]


def test_at_most_eight_streams():
    """The ninth waits; a stream in which nobody has room gives up its place for it."""
    room = Room(chunks=1000)
    people = [room.accept(number, first=100 * number, upto=100 * number + 1) for number in range(9)]
    room.run(0.3)
    assert len(room.streams) == MAX_STREAMS
    room.run(3)
    assert all(room.got[person] == [100 * number] for number, person in enumerate(people))


def test_a_window_is_shared_by_all_files():
    """Two files to one connection: half a window each."""
    room = Room(chunks=100)
    person = room.accept(1, upto=100)

    class Files:
        received = ("one", "other")

    person.files = Files()
    room.now = 0.3
    assert [order.upto for order in room.sender.obey(room.now)] == [WINDOW // 2]


def test_whoever_is_behind_gets_no_more():
    """However much it granted."""
    room = Room(chunks=100)
    ann = room.accept(1, upto=100)
    room.now = 0.3
    room.sender.obey(room.now)
    room.transfer.fall_behind(ann, room.now, behind=True)
    room.run(10)
    assert room.got[ann] == list(range(WINDOW))
    room.transfer.fall_behind(ann, room.now, behind=False)
    room.run(1)
    assert room.got[ann] == list(range(100))


@pytest.mark.parametrize("rate", [10.0, 50.0])
def test_a_pace_holds_over_time(rate):
    """So many bytes a second, a quarter of one ahead."""
    pace = Pace(rate)
    room = Room(1000, WINDOW, pace)
    ann = room.accept(1, upto=1000)
    room.run(10)
    assert 0.9 * rate * 9.75 <= len(room.got[ann]) <= rate * 10.25 + 1


@pytest.mark.parametrize("rate", [4.0, 40.0])
def test_streams_share_a_pace(rate):
    """Whoever is at another place in the file gets a share, however slow the pace is."""
    room = Room(1000, WINDOW, Pace(rate))
    ann, bob = room.accept(1, upto=1000), room.accept(2, first=500, upto=1000)
    room.run(10)
    assert min(len(room.got[ann]), len(room.got[bob])) >= 0.3 * rate * 10


def test_two_files_share_a_pace():
    pace = Pace(40.0)
    rooms = [Room(1000, WINDOW, pace), Room(1000, WINDOW, pace)]
    people = [room.accept(1, upto=1000) for room in rooms]
    for _ in range(1000):
        for room in rooms:
            room.run(0.01)
    assert sum(len(room.got[person]) for room, person in zip(rooms, people, strict=True)) <= 40 * 10.25 + 2


def test_what_was_not_sent_is_not_paid_for():
    """A stream that nobody wants any more gives back what it was asked for."""
    pace = Pace(1.0)
    room = Room(1000, WINDOW, pace)
    ann = room.accept(1, upto=1000)
    room.now = 0.3
    assert room.sender.obey(room.now)
    room.transfer.drop(ann)
    room.sender.obey(room.now)
    assert pace.wait_s(room.now) == 0.0


def test_whoever_was_waited_for_stays_alone():
    """The one who waited goes in the very moment when patience ends: nothing is left of the stream."""
    room = Room()
    ann, bob = room.accept(1), room.accept(2)
    room.run(0.5, ann)
    room.now = 10.0
    room.transfer.drop(ann)
    room.sender.obey(room.now)
    assert room.sender.upto == {}
    room.transfer.grant(bob, 100, room.now)
    room.run(1)
    assert room.got[bob] == list(range(100))


def test_a_grant_that_shrinks():
    room = Room()
    ann = room.accept(1, upto=20)
    room.transfer.grant(ann, 3, room.now)
    room.run(1)
    assert room.got[ann] == list(range(20))


def test_whoever_has_less_room_does_not_join():
    """A stream that was asked for more than that is for others, though it stands at the same chunk."""
    room = Room(chunks=100)
    ann = room.accept(1, first=10, upto=100)
    room.now = 0.3
    assert [order.upto for order in room.sender.obey(room.now)] == [10 + WINDOW]
    bob = room.accept(2, first=10, upto=12)
    room.now = 0.6
    assert [order.upto for order in room.sender.obey(room.now)] == [12]
    room.run(2)
    assert room.got[bob] == [10, 11]
    assert room.got[ann] == list(range(10, 100))
