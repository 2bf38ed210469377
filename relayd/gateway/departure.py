"""Sending everyone away: spread over time, so that the server they come back to isn't met by all of them at once."""

from __future__ import annotations

import asyncio
from random import Random

from relayd.errors import Restarting
from relayd.gateway.fanout import Fanout
from relayd.gateway.hearer import Hearer
from relayd.wire import events
from relayd.wire.frames import Opcode, encode_frame

_TURN_S = 0.1
# After the last one was sent away a server takes about a second to end and start again. The spread is for those who
# were sent away together: at 2,000 connections a second, 10,000 of them are back within it.
_RESTART_S, _SPREAD_S = 1.0, 5.0


class Departure:
    """Sends a gateway's clients away.

    Args:
        fanout: has the sockets.
        random: for who goes first, and when each is told to come back.

    Attributes:
        begun: nobody new is welcome.
    """

    def __init__(self, fanout: Fanout, random: Random) -> None:
        self.begun = False
        self._fanout = fanout
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._ends_at = 0.0
        self._owed = 0.0  # farewells that are due
        self._timer: asyncio.TimerHandle | None = None
        self._sent_away: set[int] = set()  # numbers; they stay with the fan-out until their socket is closed

    def begin(self, over_s: float) -> None:
        """Sends them away within so many seconds from now; asked again, within that time from then."""
        self.begun = True
        self._ends_at = self._loop.time() + over_s
        self.close()
        self._turn()

    def close(self) -> None:
        """Sends nobody more."""
        if self._timer is not None:
            self._timer.cancel()

    def _turn(self) -> None:
        """Sends away as many as it takes to be done in time, drawn from all rooms."""
        left_s = self._ends_at - self._loop.time()
        staying = [socket for number, socket in self._fanout.sockets.items() if number not in self._sent_away]
        # What a turn is too short for is carried over: a few people over an hour are one now and then.
        self._owed = len(staying) if left_s <= _TURN_S else self._owed + len(staying) * _TURN_S / left_s
        going = min(len(staying), int(self._owed))
        self._owed -= going
        for socket in self._random.sample(staying, going):
            self._send_away(socket, left_s)
        # It goes on when all are gone: who has just connected does not know yet.
        self._timer = self._loop.call_later(_TURN_S, self._turn)

    def _send_away(self, socket: Hearer, left_s: float) -> None:
        wait_s = max(0.0, left_s) + _RESTART_S + self._random.uniform(0, _SPREAD_S)
        event = events.RoomEvent("restarting", retry_in_ms=int(wait_s * 1000))
        socket.offer(encode_frame(Opcode.TEXT, events.encode(event)))
        socket.close(Restarting.close, Restarting.code)
        self._sent_away.add(socket.number)
