"""A gateway in a process of its own: `python -m relayd.gateway FD`, started by the supervisor only.

FD is a Unix socket (SOCK_SEQPACKET) to the supervisor. Its first packet holds `Orders`; each further one brings a
descriptor and says in a byte what it is: `c` a connection, which is answered with the same byte; `g` and `t` a
channel, to give all connections to another process, or to take them from there. When it is closed, the supervisor is
gone, and so is the hub.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket as sockets
import sys
from collections.abc import Callable

import msgspec
import uvloop
import zmq

from relayd import collector
from relayd.bus.sockets import Endpoints
from relayd.gateway.app import Gateway
from relayd.logs import set_up_logging
from relayd.machine import descriptors
from relayd.machine.heap import HeapTrimmer
from relayd.settings import Settings

log = logging.getLogger("relayd.gateway")

_MAX_ORDERS_BYTES = 1024 * 1024
_TAKEN_AT_ONCE = 64
_RETRY_S = 0.01
_SCARCE_S = 1.0  # until it is looked again whether there are descriptors


class Orders(msgspec.Struct, frozen=True):
    """What a gateway process must know to start."""

    settings: Settings
    endpoints: Endpoints
    topic: bytes


class Channel:
    """The worker's end of the socket to the supervisor.

    Args:
        socket: brings connections, and hears which were taken.
        take: what to do with the descriptors, by the byte that comes with them.
        on_closed: called when the supervisor is gone.
    """

    def __init__(
        self,
        socket: sockets.socket,
        take: dict[bytes, Callable[[sockets.socket], None]],
        on_closed: Callable[[], None],
    ) -> None:
        self._socket = socket
        self._takers = take
        self._on_closed = on_closed
        self._untold = b"r"  # ready
        self._loop = asyncio.get_running_loop()
        self._resuming: asyncio.TimerHandle | None = None
        self._reserve = descriptors.first_of_reserve()
        self._outage = descriptors.Outage()
        socket.setblocking(False)
        self._resume()
        self._tell()

    def close(self) -> None:
        """Takes nothing more."""
        self._loop.remove_reader(self._socket.fileno())
        if self._resuming is not None:
            self._resuming.cancel()

    def _resume(self) -> None:
        self._loop.add_reader(self._socket.fileno(), self._take)
        if descriptors.are_scarce(self._reserve):
            self._wait()

    def _wait(self) -> None:
        """Leaves connections with the supervisor: received without a descriptor to hold it, one would be lost."""
        if self._outage.is_new():
            log.warning("newcomers wait: %d descriptors, the limit, are in use", descriptors.limit())
        self._loop.remove_reader(self._socket.fileno())
        self._resuming = self._loop.call_later(_SCARCE_S, self._resume)

    def _take(self) -> None:
        scarce = False
        for _ in range(_TAKEN_AT_ONCE):
            try:
                data, fds, _, _ = sockets.recv_fds(self._socket, 1, 1)
            except BlockingIOError:
                break
            except ConnectionError:
                data, fds = b"", []
            if not data:
                self.close()
                self._on_closed()
                return
            for fd in fds:
                scarce = fd >= self._reserve
                self._takers[data](sockets.socket(fileno=fd))
            self._untold += data
            if scarce:
                self._wait()
                break
        self._tell()

    def _tell(self) -> None:
        """Says what was taken, once a turn; what the queue has no room for is said later, as the supervisor keeps
        each connection open until it hears that.
        """
        if not self._untold:
            return
        try:
            self._socket.send(self._untold)
        except BlockingIOError:
            self._loop.call_later(_RETRY_S, self._tell)
        except ConnectionError:
            self._untold = b""
        else:
            self._untold = b""


async def serve(socket: sockets.socket, orders: Orders) -> None:
    """Serves what the socket brings, until it is closed or SIGTERM comes."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    gateway = Gateway(orders.settings, context, orders.endpoints, orders.topic, os.urandom)
    handing = gateway.handing
    heap = HeapTrimmer(loop)
    channel = Channel(socket, {b"c": gateway.adopt, b"g": handing.give_to, b"t": handing.take_from}, stop.set)
    await stop.wait()
    heap.close()
    channel.close()
    await gateway.close()
    context.destroy(linger=0)


def main() -> None:
    """Runs the process."""
    with sockets.socket(fileno=int(sys.argv[1])) as channel:
        orders = msgspec.msgpack.decode(channel.recv(_MAX_ORDERS_BYTES), type=Orders)
        set_up_logging(orders.settings)
        collector.calm()
        uvloop.run(serve(channel, orders))


if __name__ == "__main__":
    main()
