"""The hub as it runs: bus, rooms and one timer on the event loop."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import zmq

from relayd.bus.chunks import HubChunks, Payload
from relayd.bus.messages import EVERY_GATEWAY, Answer, Batch, Call, Fault, NewSettings, Phase, Probe, Reached, SendAway
from relayd.bus.sockets import Endpoints, HubBus
from relayd.errors import Draining, Restarting
from relayd.hub.admin import Admin
from relayd.hub.blocks import ClosedState
from relayd.hub.calls import Calls
from relayd.hub.counts import Counts
from relayd.hub.files import Files
from relayd.hub.happenings import Happenings
from relayd.hub.memlog import MemoryLog
from relayd.hub.outgoing import Outgoing
from relayd.hub.service import ConnectionState, RoomService
from relayd.hub.snapshot import Counters, Kept, Snapshot, write_all
from relayd.hub.talk import Talk
from relayd.lag import LoopLag
from relayd.registry.registry import Registry
from relayd.rooms.digests import Digests
from relayd.rooms.ledger import Ledger
from relayd.settings import Settings
from relayd.wire.ids import RandomBytes, digest_of

log = logging.getLogger("relayd.hub")

# How long a server takes to end and start again, as far as those can know who are told to come back then.
RESTART_S = 2.0
_PROBE = "rp_"  # as keys begin with what they are: see wire/ids.py
_DRAIN_LOOK_S = 0.05  # how often a drain looks whether it is done
_LAST_WORDS_S = 1.0  # a drain ends so long after its time, whoever is still there

T = TypeVar("T")


class Hub:
    """Owns the rooms, and everything that happens to them happens in its turns of the loop.

    Args:
        settings: see `Settings`.
        context, endpoints: of the bus.
        clock: seconds since 1970 that never jump, the same for every part of the daemon.
        random_bytes: a cryptographic source of randomness.
        kept: where the rooms are written down, and those that lie there already; None keeps them nowhere.
    """

    def __init__(
        self,
        settings: Settings,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoints: Endpoints,
        clock: Callable[[], float],
        random_bytes: RandomBytes,
        kept: Kept | None = None,
    ) -> None:
        self._clock = clock
        self._random = random_bytes
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._lag = LoopLag()
        self._ends_at: float | None = None  # on the loop's clock, while draining
        self._registry = Registry()
        self._bus = HubBus(context, endpoints, self._on_batch, self._on_call)
        self._chunks = HubChunks(context, endpoints.chunks, self._on_chunk)
        self._outgoing = Outgoing(self._bus.publish, time.monotonic)
        self._ledger = Ledger()
        self.service = RoomService(
            settings, self._registry, self._outgoing, random_bytes, self._check_newcomers, self._ledger
        )
        self._files = Files(self.service, self._outgoing, self._chunks.pass_on)
        self._talk = Talk(self.service, self._outgoing, self._files, random_bytes)
        self._calls = Calls(self.service)
        self.happenings = Happenings(clock)
        self.service.happened = self.happenings.tell
        self.admin = Admin(self.service, self._registry, self._outgoing, random_bytes)
        self._snapshot: Snapshot | None = None
        self._frozen = True  # until `begin`, and while another process takes over
        self._waiting: list[Batch] = []  # said meanwhile
        self._reached: dict[str, dict[bytes, list[int]]] = {}  # phase -> gateway -> numbers; see Reached
        self._stirred = asyncio.Event()
        self.service.on_reached = self._on_reached
        self._bus.on_listener = self.service.closed.tell_newcomer
        if kept is not None:
            self.restore(kept, keep=True)

    @property
    def ends(self) -> tuple[HubBus, HubChunks]:
        """Its ends of the bus, for a gateway in the same process."""
        return self._bus, self._chunks

    def begin(self) -> None:
        """Acts on what comes, from now on."""
        if not self._frozen:
            return
        self._frozen = False
        if self._snapshot is not None:
            self._ledger.is_kept = True
            self._snapshot.start(self.service.rooms, self._counters, self._clock)
        waiting, self._waiting = self._waiting, []
        for batch in waiting:
            self._on_batch(batch)
        self._end_turn()

    def act(self, work: Callable[[float], T]) -> T:
        """Does something to the rooms, given the time, and tells the gateways what came of it.

        Raises:
            Restarting: another process is about to take over.
        """
        if self._frozen:
            raise Restarting(retry_after_s=1)
        try:
            return work(self._clock())
        finally:
            self._end_turn()

    @property
    def counts(self) -> Counts:
        """What clients have tried."""
        return self.service.counts

    @property
    def lag_s(self) -> float:
        """How late the loop is."""
        return self._lag.seconds

    @property
    def kept_back(self) -> int:
        """Events that wait for a gateway to take what came before."""
        return self._bus.kept_back

    @property
    def draining(self) -> bool:
        """Whether the server ends."""
        return self._ends_at is not None

    async def drain(self, over_s: float, *, forget: bool = False) -> None:
        """Lets nobody in any more and has everyone sent away, and is done when they are gone.

        Asked again while it drains, it is done within the new time: whoever waits, waits for that.

        Args:
            over_s: seconds it may take.
            forget: end the rooms, spread over that time; else their users are told to come back.
        """
        self._ends_at = self._loop.time() + over_s
        self.happenings.tell("draining", over=over_s)
        if forget:
            await self._end_rooms()
        else:
            await self._send_away(over_s)

    async def _send_away(self, over_s: float) -> None:
        lasts = over_s > 0 and not self._frozen  # else it is over before any grace period is
        if lasts:
            self.act(self.service.pause_graces)
        self._bus.publish(EVERY_GATEWAY, SendAway(over_s))
        await self._all_gone()
        if lasts:
            self.act(self.service.resume_graces)

    async def _end_rooms(self) -> None:
        while self.service.rooms:
            left_s = max(_DRAIN_LOOK_S, (self._ends_at or 0.0) - self._loop.time())
            count = math.ceil(len(self.service.rooms) * _DRAIN_LOOK_S / left_s)
            for room in list(itertools.islice(self.service.rooms.values(), count)):
                self.act(lambda now, room=room: self.service.terminate(room, "shutdown"))  # type: ignore[misc]
            await asyncio.sleep(_DRAIN_LOOK_S)
        self._bus.publish(EVERY_GATEWAY, SendAway(0.0))  # those who are about to join
        await self._all_gone()

    async def _all_gone(self) -> None:
        # Looked at, not signalled: the way of every message would pay for what happens once.
        while self.service.connections and self._loop.time() < (self._ends_at or 0.0) + _LAST_WORDS_S:  # noqa: ASYNC110
            await asyncio.sleep(_DRAIN_LOOK_S)

    def change(self, settings: Settings) -> None:
        """Other settings hold from now on, here and in every gateway."""
        self.service.change(settings)
        self._talk.change(settings)
        self._files.change(settings)
        self._calls.change(settings)
        self.happenings.tell("reloaded")
        self._bus.publish(EVERY_GATEWAY, NewSettings(settings))

    def probe(self) -> str:
        """A token for a request from outside, which is told how it arrives."""
        token = _PROBE + self._random(16).hex()
        self._bus.publish(EVERY_GATEWAY, Probe(digest_of(token)))
        return token

    def lose_gateway(self, gateway: bytes) -> None:
        """A gateway process is gone."""
        self.service.lose_gateway(gateway, self._clock())
        self._end_turn()

    def restore(self, kept: Kept, *, keep: bool) -> None:
        """Goes on with the rooms that are there, and if they are kept, writes down what happens to them from now on."""
        service = self.service
        if kept.counters is not None:
            counters = kept.counters
            service.rooms_created, service.digests = counters.rooms_created, Digests(counters.digest_key)
            service.past_messages, service.past_bytes = counters.past_messages, counters.past_bytes
        for draft in kept.drafts.values():
            service.restore(draft, self._clock())
        if keep:
            self._snapshot = Snapshot(kept.log, self._ledger, kept.places)

    def restore_closed(self, state: ClosedState) -> None:
        """Go on with the blocks of the process before. Its key is that of its rooms, of which there may be none."""
        self.service.digests = Digests(state.digest_key)
        self.service.closed.restore(state)

    def _counters(self) -> Counters:
        service = self.service
        return Counters(service.rooms_created, service.past_messages, service.past_bytes, service.digests.key)

    def _check_newcomers(self) -> None:
        if self._ends_at is not None:
            raise Draining(retry_after_s=max(0.0, self._ends_at - self._loop.time()) + RESTART_S)
        self._lag.check()

    def close(self) -> None:
        """Ends every room (`shutdown`) as far as gateways still listen, then the bus. What is written down stays."""
        if self._snapshot is not None:
            self._snapshot.close()
        for room in list(self.service.rooms.values()):
            self.service.terminate(room, "shutdown")
        self._outgoing.flush()
        if self._timer is not None:
            self._timer.cancel()
        self._lag.close()
        self._chunks.close()
        self._bus.close()
        self._registry.close()

    # Another process takes over. --------------------------------------------------------------------------------

    def say_phase(self, name: str) -> None:
        """Tells the gateways what comes next."""
        self._reached.clear()
        self._bus.publish(EVERY_GATEWAY, Phase(name))

    async def reached(self, name: str, gateways: Iterable[bytes], timeout_s: float) -> dict[bytes, list[int]]:
        """Waits until all these gateways have reached the phase; what each says of it.

        Raises:
            TimeoutError: not all have.
        """
        async with asyncio.timeout(timeout_s):
            while not self._reached.get(name, {}).keys() >= set(gateways):
                self._stirred.clear()
                await self._stirred.wait()
        return self._reached.pop(name)

    def freeze(self) -> tuple[MemoryLog, list[ConnectionState]]:
        """Says what is to be said, and does nothing more until `begin`.

        Returns:
            Where all rooms are written down (to be closed unless they are kept there anyway), and who is connected.
        """
        now = self._clock()
        for connection in list(self.service.connections.values()):
            # Its client knows how to go on with its files when it comes back.
            if connection.files is not None and connection.files.is_busy:
                connection.room.disconnect(connection, now)
                self.service.drop([connection], Restarting())
                self.service.presence_changed(connection.room, now)
        self.service.attendance.tell_all(now)
        self._end_turn()
        self._frozen = True
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._timer = None
        if self._snapshot is not None:
            self._snapshot.stop()
            return self._snapshot.log, self.service.connection_states()
        log = MemoryLog.new(0.0)
        write_all(log, self.service.rooms.values(), self._counters())
        return log, self.service.connection_states()

    @property
    def log(self) -> MemoryLog | None:
        """Where rooms are written down as they change; None if they are not."""
        return None if self._snapshot is None else self._snapshot.log

    def readmit(self, connections: Iterable[ConnectionState]) -> None:
        """Those who were connected to the process before still are."""
        for state in connections:
            self.service.readmit(state)
        self.service.lobby.start_empty(self.service.rooms.values(), self._clock())

    def disconnect_others(self, taken: dict[bytes, list[int]]) -> None:
        """Those connections that no gateway has taken over are lost."""
        numbers = {gateway: set(of_gateway) for gateway, of_gateway in taken.items()}
        now = self._clock()
        for connection in list(self.service.connections.values()):
            if connection.number not in numbers.get(connection.gateway, ()):
                self.service.forget(connection)
                connection.room.disconnect(connection, now)
                self.service.presence_changed(connection.room, now)
        self._end_turn()

    def _on_reached(self, gateway: bytes, reached: Reached) -> None:
        self._reached.setdefault(reached.name, {})[gateway] = reached.numbers
        self._stirred.set()

    def _on_batch(self, batch: Batch) -> None:
        if self._frozen:
            for item in batch.items:
                if isinstance(item, Reached):
                    self._on_reached(batch.gateway, item)
            self._waiting.append(batch)
            return
        self._talk.hear(batch, self._clock())
        self._end_turn()

    def _on_chunk(self, gateway: bytes, number: int, stream: int, payload: Payload) -> None:
        self._files.take_chunk(gateway, number, stream, payload, self._clock())
        self._end_turn()

    def _on_call(self, call: Call) -> Answer:
        if self._frozen:
            return Answer(call.number, b"", Fault(Restarting.code, Restarting.title, 1.0, []))
        answer = self._calls.answer(call, self._clock())
        self._end_turn()
        return answer

    def _tick(self) -> None:
        self._timer_at = None
        now = self._clock()
        self.service.advance(now)
        self._files.advance(now)
        self._end_turn()

    def _end_turn(self) -> None:
        if self._frozen:
            return
        if self._files.stirred:
            self._files.settle(self._clock())
        if self._snapshot is not None and self._ledger.has_changes:
            self._snapshot.write(self._counters(), self._clock())
        self._outgoing.flush()
        self._chunks.deliver()
        self._bus.deliver()
        due, files_due = self.service.next_due(), self._files.next_due()
        if due is None or (files_due is not None and files_due < due):
            due = files_due
        if due == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at, self._timer = due, None
        if due is not None:
            self._timer = self._loop.call_later(max(0.0, due - self._clock()), self._tick)
