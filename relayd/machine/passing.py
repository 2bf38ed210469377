"""Passing descriptors, and what goes with them, to another process over a private Unix socket (SOCK_SEQPACKET).

What goes with them lies in a memfd, so that it may have any size; the descriptors follow in batches, in order. Both
ends wait for each other: this is for moments at which nothing else is to be done.
"""

from __future__ import annotations

import os
import socket as sockets

import msgspec

_AT_ONCE = 250  # SCM_MAX_FD of the kernel is 253
_WAIT_S = 15.0  # for the other end to take or give the next batch
_HEAD_BYTES = 64


class PassingFailed(Exception):
    """The other end has gone, or says nothing."""


def pair() -> tuple[sockets.socket, sockets.socket]:
    """Two ends; neither is inherited."""
    return sockets.socketpair(sockets.AF_UNIX, sockets.SOCK_SEQPACKET)


def send(channel: sockets.socket, payload: bytes, fds: list[int]) -> None:
    """Passes copies of descriptors, which stay the sender's, too.

    Raises:
        PassingFailed: nobody takes them.
    """
    memory = os.memfd_create("relayd-passing")
    try:
        with os.fdopen(memory, "wb", closefd=False) as file:
            file.write(payload)
        channel.settimeout(_WAIT_S)
        sockets.send_fds(channel, [msgspec.msgpack.encode(len(fds))], [memory])
        for start in range(0, len(fds), _AT_ONCE):
            sockets.send_fds(channel, [b"."], fds[start : start + _AT_ONCE])
    except OSError as failed:
        raise PassingFailed(f"it takes nothing more: {failed.strerror or failed}") from failed
    finally:
        os.close(memory)


def receive(channel: sockets.socket) -> tuple[bytes, list[int]]:
    """What `send` has passed; the descriptors are the receiver's from now on, and are closed by exec.

    Raises:
        PassingFailed: it does not come, or not all of it.
    """
    channel.settimeout(_WAIT_S)
    fds: list[int] = []
    try:
        head, memory, _, _ = sockets.recv_fds(channel, _HEAD_BYTES, 1)
        _require(memory)
        with os.fdopen(memory[0], "rb") as file:
            file.seek(0)
            payload = file.read()
        count = msgspec.msgpack.decode(head, type=int)
        while len(fds) < count:
            _, more, _, _ = sockets.recv_fds(channel, 1, _AT_ONCE)
            _require(more)
            for fd in more:
                os.set_inheritable(fd, False)  # recv_fds of Python 3.11 takes flags, and does not use them
            fds += more
    except (OSError, PassingFailed) as failed:
        for fd in fds:
            os.close(fd)
        raise PassingFailed(f"nothing more comes: {failed}") from failed
    return payload, fds


def _require(fds: list[int]) -> None:
    if not fds:
        raise PassingFailed("the other process has ended, or this one may have no more descriptors")
