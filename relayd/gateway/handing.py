"""Clients' connections, handed to the gateway of another process, which goes on with them; nobody notices.

The gateway that has them stops reading, has everything heard that was said, and gives each socket with its state over
a private channel, and HTTP connections on which nothing is asked. The one that takes them hears their rooms' topics
before it reads. `Phase` and `Reached` keep hub and gateways in step, down and up the ways of all else: whatever was
said before has been heard by then.
"""

from __future__ import annotations

import asyncio
import logging
import socket as sockets
from collections.abc import Callable, Coroutine

import msgspec

from relayd.bus.messages import Gone, Phase, Reached
from relayd.gateway.acceptor import SocketAcceptor
from relayd.gateway.calls import HubCalls
from relayd.gateway.hearer import Hearer
from relayd.gateway.lines import Lines
from relayd.gateway.outlet import Station
from relayd.gateway.socket import RelaySocket, SocketState
from relayd.machine import passing
from relayd.machine.passing import PassingFailed
from relayd.wire.ids import RoomId

log = logging.getLogger("relayd.gateway")

_ANSWERS_S = 1.0  # for requests that are under way
_FLUSH_S = 0.3  # for readers to take what was written; who has not is sent away, and may come back
_LOOK_S = 0.005


class Handed(msgspec.Struct, array_like=True, gc=False):
    """What goes with the sockets.

    Attributes:
        opened: connections so far, which is the last one's number.
        rooms: the last seq heard in each.
        sockets: in the order of their descriptors; after those come HTTP connections, which have no state.
    """

    opened: int
    rooms: dict[bytes, int]
    sockets: list[SocketState]


class Handing:
    """One gateway's part in it.

    Args:
        station: what its sockets share.
        acceptor: counts them.
        calls: those that wait for an answer.
        lines: the HTTP connections.
        adopt: serves a connection that has no state.
    """

    def __init__(
        self,
        station: Station,
        acceptor: SocketAcceptor,
        calls: HubCalls,
        lines: Lines,
        adopt: Callable[[sockets.socket], None],
    ) -> None:
        self._station = station
        self._fanout = station.fanout
        self._acceptor = acceptor
        self._calls = calls
        self._lines = lines
        self._adopt = adopt
        self._loop = asyncio.get_running_loop()
        self._channel: sockets.socket | None = None  # to the other gateway
        self._given: list[RelaySocket] = []
        self._taken: list[tuple[RelaySocket, sockets.socket]] = []
        self._plain: list[sockets.socket] = []  # of HTTP, given or taken
        self._unheard: set[RoomId] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._phases: dict[str, Callable[[], None]] = {
            "halt": lambda: self._begin(self._halt()),
            "give": lambda: self._begin(self._give()),
            "let_go": self._let_go,
            "open": lambda: self._begin(self._open()),
            "go_on": self._go_on,
        }

    def on_phase(self, event: Phase) -> None:
        """The hub says what comes next; a phase that is not for this gateway does nothing."""
        self._phases[event.name]()

    def give_to(self, channel: sockets.socket) -> None:
        """There is where to give them when it is time."""
        self._close_channel()
        self._channel = channel

    def take_from(self, channel: sockets.socket) -> None:
        """They come from there."""
        self._channel = channel
        self._loop.add_reader(channel.fileno(), self._take, channel)

    # Giving. ----------------------------------------------------------------------------------------------------

    async def _halt(self) -> None:
        self._station.halted = True
        self._lines.hold()
        for socket in self._sockets():
            socket.halt()
        await self._until(lambda: self._calls.is_idle, _ANSWERS_S)
        await self._until(lambda: self._lines.are_quiet, _FLUSH_S)
        self._reach("halted")

    async def _give(self) -> None:
        channel = self._channel
        if channel is None:
            return
        await self._until(self._has_flushed, _FLUSH_S)
        self._fanout.complete()  # those whom it leaves with something to read are sent away, and resume from that
        states: list[SocketState] = []
        for socket in self._sockets():
            socket.halt()  # one that came meanwhile, too
            state = socket.state()
            if state is None:
                socket.send_away()
            else:
                states.append(state)
                self._given.append(socket)
        rooms = {bytes(room_id): room.last_seq or 0 for room_id, room in self._fanout.channels.items()}
        payload = msgspec.msgpack.encode(Handed(self._acceptor.opened, rooms, states))
        self._plain = self._lines.release()
        try:
            fds = [*(socket.descriptor for socket in self._given), *(socket.fileno() for socket in self._plain)]
            passing.send(channel, payload, fds)
        except PassingFailed as failed:
            log.warning("connections could not be handed over: %s", failed)
        finally:
            channel.close()
            self._channel = None

    def _has_flushed(self) -> bool:
        return self._fanout.is_idle and not any(socket.waiting_bytes for socket in self._sockets())

    def _let_go(self) -> None:
        """They are another's from now on."""
        for socket in self._given:
            socket.let_go()
        self._given.clear()
        self._close_plain()

    # Taking. ----------------------------------------------------------------------------------------------------

    def _take(self, channel: sockets.socket) -> None:
        self._loop.remove_reader(channel.fileno())
        try:
            payload, fds = passing.receive(channel)
        except PassingFailed as failed:
            log.warning("no connections are taken over: %s", failed)
            return
        finally:
            channel.close()
            self._channel = None
        handed = msgspec.msgpack.decode(payload, type=Handed)
        self._acceptor.opened = handed.opened
        self._station.halted = True
        given = [sockets.socket(fileno=fd) for fd in fds]
        count = len(handed.sockets)
        self._plain = given[count:]
        for state, socket in zip(handed.sockets, given[:count], strict=True):
            self._taken.append((RelaySocket.restored(self._station, state), socket))
        joined: dict[RoomId, list[Hearer]] = {}
        for relay_socket, _ in self._taken:
            if relay_socket.user_id:
                joined.setdefault(relay_socket.room_id, []).append(relay_socket)
        self._unheard = set(joined)
        for room_id, inside in joined.items():
            self._fanout.hear(room_id, inside, handed.rooms[room_id], self._on_heard)
        if not joined:
            self._prepared()

    def _on_heard(self, room_id: RoomId) -> None:
        self._unheard.discard(room_id)
        if not self._unheard:
            self._prepared()

    def _prepared(self) -> None:
        self._reach("prepared", [socket.number for socket, _ in self._taken if socket.user_id])

    async def _open(self) -> None:
        for relay_socket, socket in self._taken:
            socket.setblocking(False)
            await self._acceptor.admit(socket, relay_socket)
            if not relay_socket.is_open:  # gone meanwhile
                self._fanout.exit(relay_socket)
                self._station.publisher.add(Gone(relay_socket.number))
        self._taken.clear()
        self._reach("opened")

    # Both. ------------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        self._close_channel()
        self._station.halted = False
        self._given.clear()
        for socket in self._sockets():
            socket.go_on()
        plain, self._plain = [*self._plain, *self._lines.release()], []
        for connection in plain:
            self._adopt(connection)

    def _sockets(self) -> list[RelaySocket]:
        return [socket for socket in self._fanout.sockets.values() if isinstance(socket, RelaySocket)]

    def _reach(self, name: str, numbers: list[int] | None = None) -> None:
        self._station.publisher.add(Reached(name, numbers or []))

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        ends_at = self._loop.time() + seconds
        await asyncio.sleep(0)  # what this turn has written leaves with its end
        while not holds() and self._loop.time() < ends_at:  # noqa: ASYNC110 - looked at, as it happens once
            await asyncio.sleep(_LOOK_S)

    def close(self) -> None:
        """Nothing more of it."""
        for task in self._tasks:
            task.cancel()
        for _, socket in self._taken:
            socket.close()
        self._close_plain()
        self._close_channel()

    def _close_plain(self) -> None:
        for socket in self._plain:
            socket.close()
        self._plain.clear()

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None
