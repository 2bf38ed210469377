"""How one file gets from its sender to those who want it: which chunks the sender is asked for, and who gets them.

One upload serves many. A *stream* is one pass of the sender over the file, from some chunk on; all its receivers
stand at the same chunk. It goes on when the slowest of them has room. A receiver may hold the others up for a quarter
of the time and a second beyond; past that it goes its own way, in a stream that begins where it stands. Streams that
stand at the same chunk become one.

Nothing is kept here: a chunk is asked for when there is room for it, and passed on when it comes. Everything takes
`now` (seconds, one clock for the whole daemon); what the sender is to be told is what `advance` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import NamedTuple, Protocol

from relayd.rooms.member import Connection
from relayd.rooms.streams import Receiver, Stream
from relayd.wire.chunks import Shape

MAX_STREAMS = 8  # of one file: the sender reads as many parts of it at once
STUCK_S = 1.0  # after it, a stream in which nobody has room gives up its place if another one needs it
ASKED_AT_ONCE = 4  # the sender is asked again when a window's fourth part has become free, not for every chunk

_EXACT_S = 1e-9  # closer than that is equal: sums of floats


class Ask(NamedTuple):
    """The sender is to send the chunks below `upto` in a stream that began at `first`."""

    stream: int
    first: int
    upto: int


class Stop(NamedTuple):
    """Nobody wants that stream any more."""

    stream: int


class Bookable(Protocol):
    """A pace, as `Pace` is one."""

    def wait_s(self, now: float) -> float:
        """Seconds after which more may be asked for; 0.0 if it may be now."""

    def book(self, size: int, now: float) -> None:
        """So many bytes were asked for."""

    def refund(self, size: int) -> None:
        """So many bytes, asked for before, are not wanted any more."""


class Transfer:
    """One file that is offered, and those who receive it.

    Args:
        shape: its chunks.
        window: how many of its chunks may be under way to one connection that receives nothing else.
        gather_s: receivers who come within that time begin together.
        paces: how fast the sender may be asked, all of which hold.
        delivery_paces: the same for what is delivered: a chunk counts once for each of its receivers.

    Attributes:
        receivers: those who have accepted it, until they have all of it.
    """

    def __init__(
        self,
        shape: Shape,
        window: int,
        gather_s: float,
        paces: tuple[Bookable, ...] = (),
        delivery_paces: tuple[Bookable, ...] = (),
    ) -> None:
        self.shape = shape
        self.receivers: dict[Connection, Receiver] = {}
        self._chunks = shape.chunks
        self._window = window
        self._gather_s = gather_s
        self._paces = paces
        self._delivery_paces = delivery_paces
        self._new_number: Callable[[], int] | None = None  # None while nobody serves it
        self._streams: dict[int, Stream] = {}
        self._waiting: dict[Receiver, float] = {}  # who has room and no stream, and since when; oldest first
        self._start_at = inf  # when to look at those who wait
        self._paced_at = inf  # when the sender may be asked again
        self._stops: list[Stop] = []

    # The sender. ------------------------------------------------------------------------------------------------

    @property
    def served(self) -> bool:
        """Whether there is somebody to ask."""
        return self._new_number is not None

    def serve(self, new_number: Callable[[], int], now: float) -> None:
        """A connection serves the file from now on; see `unserve` for the one before.

        Args:
            new_number: gives stream numbers that this connection has never heard.
        """
        self._new_number = new_number
        self._waiting = dict.fromkeys(self._waiting, now)
        self._start_at = now + self._gather_s if self._waiting else inf

    def unserve(self) -> list[Stop]:
        """Nobody serves the file any more; receivers keep their places.

        Returns:
            What the one who served it until now is to be told.
        """
        self._new_number = None
        for stream in list(self._streams.values()):
            for receiver in self._end(stream):
                if receiver.has_room:
                    self._waiting[receiver] = inf  # until somebody serves it again
        stops, self._stops = self._stops, []
        return stops

    def stream(self, number: int) -> Stream | None:
        """The stream of that number, if a chunk is under way in it."""
        stream = self._streams.get(number)
        return None if stream is None or stream.starved else stream

    def arrive(self, stream: Stream, missed: Iterable[Connection], now: float) -> list[Receiver]:
        """The next chunk of a stream was passed on to its receivers.

        Args:
            missed: those it could not be passed on to; they wait for it.

        Returns:
            Those who have the whole file now; they are no receivers any more.
        """
        for connection in missed:
            receiver = self.receivers[connection]
            self._detach(receiver)
            self._wait([receiver], now)
        stream.at += 1
        if stream.booked:
            stream.booked.popleft()
        stream.moved_at = now
        if stream.at < self._chunks or not stream.receivers:
            return []
        stream.asked = stream.at
        finished = self._end(stream)
        self._stops.pop()  # the sender knows
        for receiver in finished:
            del self.receivers[receiver.connection]
        return finished

    def spoil(self, number: int, now: float) -> None:
        """What the sender sent in that stream is not what it was asked for: it begins anew."""
        stream = self._streams.get(number)
        if stream is not None:
            self._wait(self._end(stream), now)

    # Receivers. -------------------------------------------------------------------------------------------------

    def accept(self, connection: Connection, first: int, upto: int, now: float) -> None:
        """The connection wants the chunks from `first` on, and has room for those below `upto`."""
        self.drop(connection)
        receiver = self.receivers[connection] = Receiver(connection, first, min(upto, self._chunks))
        self._wait([receiver], now)

    def grant(self, connection: Connection, upto: int, now: float) -> None:
        """It has room for the chunks below `upto`; what it had room for before, it still has."""
        receiver = self.receivers[connection]
        before, upto = receiver.upto, min(upto, self._chunks)
        if upto <= before:
            return
        stream = receiver.stream
        if stream is None:
            receiver.upto = upto
            self._wait([receiver], now)
            return
        if stream.held_at is not None and not receiver.has_room:
            receiver.hold_up(stream.held_at, now)
        receiver.upto = upto
        stream.widen(before, self._window_of)

    def fall_behind(self, connection: Connection, now: float, *, behind: bool) -> None:
        """What it was sent has not left the relay; or it has."""
        receiver = self.receivers[connection]
        if receiver.behind == behind:
            return
        stream = receiver.stream
        if stream is not None:
            if stream.held_at is not None and not receiver.has_room:
                receiver.hold_up(stream.held_at, now)
            stream.behind += 1 if behind else -1
        receiver.behind = behind
        if stream is None:
            self._wait([receiver], now)

    def drop(self, connection: Connection) -> None:
        """It wants no more."""
        receiver = self.receivers.pop(connection, None)
        if receiver is not None:
            self._detach(receiver)
            self._waiting.pop(receiver, None)

    # What follows from it. --------------------------------------------------------------------------------------

    def advance(self, now: float) -> list[Ask | Stop]:
        """Lets everything happen that can; what the sender is to be told, in order."""
        asks: list[Ask] = []
        if self._new_number is not None:
            for stream in list(self._streams.values()):
                self._part(stream, now)
            self._merge()
            self._start(now, self._new_number)
            self._paced_at = inf
            for stream in self._by_turn():
                asks += self._ask(stream, now)
                self._watch(stream, now)
        stops, self._stops = self._stops, []
        return [*stops, *asks]

    def due_at(self) -> float:
        """When `advance` has something to do next, whatever happens until then."""
        if self._new_number is None:
            return inf
        held = (stream.patience_ends for stream in self._streams.values() if stream.held_at is not None)
        return min(self._start_at if self._waiting else inf, self._paced_at, min(held, default=inf))

    def _by_turn(self) -> list[Stream]:
        """The stream that moved longest ago is asked for first: at a slow pace no other takes its share."""
        return sorted(self._streams.values(), key=lambda stream: stream.moved_at)

    def _ask(self, stream: Stream, now: float) -> list[Ask]:
        if stream.behind:
            return []
        upto = min(stream.limit, stream.at + stream.window)
        more = upto - stream.asked
        if more <= 0 or not (stream.starved or more * ASKED_AT_ONCE >= stream.window or upto == self._chunks):
            return []
        upto = self._paced(stream, upto, now) if self._paces or self._delivery_paces else upto
        if upto == stream.asked:
            return []
        stream.asked = upto
        stream.moved_at = now
        return [Ask(stream.number, stream.first, upto)]

    def _paced(self, stream: Stream, upto: int, now: float) -> int:
        for index in range(stream.asked, upto):
            wait_s = max(pace.wait_s(now) for pace in (*self._paces, *self._delivery_paces))
            if wait_s:
                self._paced_at = min(self._paced_at, now + wait_s)
                return index
            size, receivers = self.shape.bytes_of(index), len(stream.receivers)
            for pace in self._paces:
                pace.book(size, now)
            for pace in self._delivery_paces:
                pace.book(size * receivers, now)
            stream.booked.append(receivers)
        return upto

    def _watch(self, stream: Stream, now: float) -> None:
        """Notes when some begin to wait for others, and when they do no more."""
        held = stream.starved and 0 < stream.blocked() < len(stream.receivers)
        if held and stream.held_at is None:
            stream.held_at = now
            stream.patience_ends = min(receiver.patience_ends(now) for receiver in stream.blockers())
        elif not held and stream.held_at is not None:
            for receiver in stream.blockers():
                receiver.hold_up(stream.held_at, now)
            stream.held_at = None

    def _part(self, stream: Stream, now: float) -> None:
        """Whoever has held the others up for too long waits alone."""
        if stream.held_at is None or now < stream.patience_ends - _EXACT_S:
            return
        held_at, stream.held_at = stream.held_at, None
        blockers = stream.blockers()
        slow = [one for one in blockers if one.patience_ends(held_at) <= now + _EXACT_S]
        for receiver in blockers:
            receiver.hold_up(held_at, now)
        for receiver in slow:
            self._detach(receiver)

    def _merge(self) -> None:
        """Streams at the same chunk become the one that was asked for less: all have room for that."""
        if len(self._streams) < 2:
            return
        at: dict[int, Stream] = {}
        for stream in sorted(self._streams.values(), key=lambda one: one.asked):
            kept = at.setdefault(stream.at, stream)
            if kept is not stream:
                kept.add(self._end(stream), self._window_of)

    def _start(self, now: float, new_number: Callable[[], int]) -> None:
        """Gives streams to those who have waited for company for long enough."""
        if not self._waiting or now < self._start_at - _EXACT_S:
            return
        groups: dict[int, list[Receiver]] = {}
        for receiver in self._waiting:
            groups.setdefault(receiver.at, []).append(receiver)
        self._start_at = inf
        for first, group in groups.items():
            ready_at = self._waiting[group[0]] + self._gather_s
            if ready_at > now + _EXACT_S:
                self._start_at = min(self._start_at, ready_at)
                continue
            stream = self._place(first, min(receiver.upto for receiver in group), now, new_number)
            if stream is None:
                self._start_at = min(self._start_at, now + STUCK_S)
                continue
            for receiver in group:
                del self._waiting[receiver]
            stream.add(group, self._window_of)

    def _place(self, first: int, upto: int, now: float, new_number: Callable[[], int]) -> Stream | None:
        """A stream that stands at `first` and was not asked for more than `upto`; None if there are too many."""
        for stream in self._streams.values():
            if stream.at == first and stream.asked <= upto:
                return stream
        if len(self._streams) >= MAX_STREAMS:
            stuck = next((one for one in self._streams.values() if _is_stuck(one, now)), None)
            if stuck is None:
                return None
            self._end(stuck)
        stream = Stream(new_number(), first, now)
        self._streams[stream.number] = stream
        return stream

    def _wait(self, receivers: Iterable[Receiver], now: float) -> None:
        for receiver in receivers:
            if receiver.stream is None and receiver.has_room and receiver not in self._waiting:
                self._waiting[receiver] = now
                self._start_at = min(self._start_at, now + self._gather_s)
            elif not receiver.has_room:
                self._waiting.pop(receiver, None)

    def _detach(self, receiver: Receiver) -> None:
        stream = receiver.stream
        if stream is None:
            return
        stream.remove([receiver], self._window_of)
        if not stream.receivers:
            self._end(stream)

    def _end(self, stream: Stream) -> list[Receiver]:
        """Nothing more comes in it; its receivers, where they stand."""
        receivers = list(stream.receivers)
        del self._streams[stream.number]
        stream.remove(receivers, self._window_of)
        self._stops.append(Stop(stream.number))
        if self._waiting:
            self._start_at = min(self._start_at, 0.0)
        for index, booked in zip(range(stream.at, stream.asked), stream.booked, strict=False):
            for pace in self._paces:
                pace.refund(self.shape.bytes_of(index))
            for pace in self._delivery_paces:
                pace.refund(self.shape.bytes_of(index) * booked)
        stream.booked.clear()
        return receivers

    def _window_of(self, receiver: Receiver) -> int:
        """A connection that receives several files shares its window among them."""
        return max(1, self._window // max(1, receiver.connection.receiving))


def _is_stuck(stream: Stream, now: float) -> bool:
    idle_s = now - stream.moved_at
    return stream.starved and stream.blocked() == len(stream.receivers) and idle_s >= STUCK_S - _EXACT_S
