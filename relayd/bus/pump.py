"""Receiving from ZeroMQ on the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import zmq

log = logging.getLogger("relayd.bus")

T = TypeVar("T")

# As enums they cost a microsecond with each use.
NOBLOCK, MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
_EVENTS, _POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)


class Pump(Generic[T]):
    """Receives from a socket whenever it has something.

    ZeroMQ's descriptor is edge-triggered and tells of commands, not messages (zmq_getsockopt(3), ZMQ_FD), so the
    socket is emptied each time, and looked at again after a send, which may have taken in what the edge was for.

    Args:
        socket: closed with it.
        recv: of the socket.
        receive: takes what it gives.
        at_once: received in one turn of the loop before others get theirs.
    """

    def __init__(
        self,
        socket: zmq.Socket[Any],
        recv: Callable[[int], T],
        receive: Callable[[T], None],
        at_once: int = 1_000,
    ) -> None:
        self._socket = socket
        self._recv = recv
        self._receive = receive
        self._at_once = at_once
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._draining = False
        self._closed = False
        self._loop.add_reader(socket.fileno(), self.drain)

    def look(self) -> None:
        """Looks again soon, whatever the descriptor says."""
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._scheduled = False
        if self._has_something():
            self.drain()

    def drain(self) -> None:
        """Receives what is there now."""
        if self._draining or self._closed:  # whoever drains already will see that there is more
            return
        self._draining = True
        try:
            self._drain()
        finally:
            self._draining = False

    def _drain(self) -> None:
        for count in range(self._at_once):
            try:
                received = self._recv(NOBLOCK)
            except zmq.Again:
                return
            try:
                self._receive(received)
            except Exception:  # a fault of ours in one message must not leave the others lying
                log.exception("a message of the bus was not handled")
            # An exception costs twice as much as to ask, and nearly always there is one message or there are many.
            if self._closed or (count == 0 and not self._has_something()):
                return
        self.look()

    def _has_something(self) -> bool:
        return not self._closed and bool(cast(int, self._socket.get(_EVENTS)) & _POLLIN)

    def close(self) -> None:
        """Receives nothing any more."""
        self._closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close(linger=0)
