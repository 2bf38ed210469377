"""A gateway in a process of its own: `python -m relayd.gateway FD`, started by the supervisor only.

FD is a Unix socket (SOCK_SEQPACKET) to the supervisor. Its first packet holds `Orders`; each further one brings a
connection as a descriptor, answered with one byte. When it is closed, the supervisor is gone, and so is the hub.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket as sockets
import sys

import msgspec
import uvloop
import zmq

from relayd import collector
from relayd.bus.sockets import Endpoints
from relayd.gateway.app import Gateway
from relayd.logs import set_up_logging
from relayd.settings import Settings

log = logging.getLogger("relayd.gateway")

_MAX_ORDERS_BYTES = 1024 * 1024
_TAKEN_AT_ONCE = 64


class Orders(msgspec.Struct, frozen=True):
    """What a gateway process must know to start."""

    settings: Settings
    endpoints: Endpoints
    topic: bytes


async def serve(channel: sockets.socket, orders: Orders) -> None:
    """Serves what the channel brings, until it is closed or SIGTERM comes."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    gateway = Gateway(orders.settings, context, orders.endpoints, orders.topic, os.urandom)
    channel.setblocking(False)
    loop.add_reader(channel.fileno(), _take, channel, gateway, stop)
    channel.send(b"r")  # ready
    await stop.wait()
    loop.remove_reader(channel.fileno())
    await gateway.close()
    context.destroy(linger=0)


def _take(channel: sockets.socket, gateway: Gateway, stop: asyncio.Event) -> None:
    for _ in range(_TAKEN_AT_ONCE):
        try:
            data, descriptors, _, _ = sockets.recv_fds(channel, 1, 1)
        except BlockingIOError:
            return
        except ConnectionError:
            data, descriptors = b"", []
        if not data:
            stop.set()
            return
        for descriptor in descriptors:
            gateway.adopt(sockets.socket(fileno=descriptor))
        channel.send(data)


def main() -> None:
    """Runs the process."""
    with sockets.socket(fileno=int(sys.argv[1])) as channel:
        orders = msgspec.msgpack.decode(channel.recv(_MAX_ORDERS_BYTES), type=Orders)
        set_up_logging(orders.settings)
        collector.calm()
        uvloop.run(serve(channel, orders))


if __name__ == "__main__":
    main()
