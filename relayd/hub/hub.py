"""The hub as it runs: bus, rooms and one timer on the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import zmq

from relayd.bus.messages import Answer, Batch, Call
from relayd.bus.sockets import Endpoints, HubBus
from relayd.hub.calls import Calls
from relayd.hub.outgoing import Outgoing
from relayd.hub.service import RoomService
from relayd.hub.talk import Talk
from relayd.lag import LoopLag
from relayd.registry.registry import Registry
from relayd.settings import Settings
from relayd.wire.ids import RandomBytes

log = logging.getLogger("relayd.hub")


class Hub:
    """Owns the rooms, and everything that happens to them happens in its turns of the loop.

    Args:
        settings: see `Settings`.
        context, endpoints: of the bus.
        clock: seconds since 1970 that never jump, the same for every part of the daemon.
        random_bytes: a cryptographic source of randomness.
    """

    def __init__(
        self,
        settings: Settings,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoints: Endpoints,
        clock: Callable[[], float],
        random_bytes: RandomBytes,
    ) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._lag = LoopLag()
        self._registry = Registry()
        self._bus = HubBus(context, endpoints, self._on_batch, self._on_call)
        self._outgoing = Outgoing(self._bus.publish)
        self.service = RoomService(settings, self._registry, self._outgoing, random_bytes, self._lag.check)
        self._talk = Talk(self.service, self._outgoing, random_bytes)
        self._calls = Calls(self.service)

    def lose_gateway(self, gateway: bytes) -> None:
        """A gateway process is gone."""
        self.service.lose_gateway(gateway, self._clock())
        self._end_turn()

    def close(self) -> None:
        """Ends every room (`shutdown`) as far as gateways still listen, then the bus."""
        for room in list(self.service.rooms.values()):
            self.service.terminate(room, "shutdown")
        self._outgoing.flush()
        if self._timer is not None:
            self._timer.cancel()
        self._lag.close()
        self._bus.close()
        self._registry.close()

    def _on_batch(self, batch: Batch) -> None:
        self._talk.hear(batch, self._clock())
        self._end_turn()

    def _on_call(self, call: Call) -> Answer:
        answer = self._calls.answer(call, self._clock())
        self._end_turn()
        return answer

    def _tick(self) -> None:
        self._timer_at = None
        self.service.advance(self._clock())
        self._end_turn()

    def _end_turn(self) -> None:
        self._outgoing.flush()
        due = self.service.next_due()
        if due == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at, self._timer = due, None
        if due is not None:
            self._timer = self._loop.call_later(max(0.0, due - self._clock()), self._tick)
