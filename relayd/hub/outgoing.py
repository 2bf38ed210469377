"""What the hub says in one turn, in an order that every gateway can rely on.

Messages of one room are collected and leave together. Anything else that concerns the room makes those collected
so far leave first: a joiner hears exactly what was said after the join, a room's end comes after its last word.
"""

from __future__ import annotations

from collections.abc import Callable

from relayd.bus.messages import Event, Said, Sent
from relayd.rooms.member import Connection
from relayd.wire.ids import RoomId

Publish = Callable[[bytes, Event], None]  # (topic, event)


class Outgoing:
    """Collects messages, passes on everything else at once.

    Args:
        publish: tells the gateways.
        monotonic: the machine's clock, by which gateways see how long a message was under way.
    """

    def __init__(self, publish: Publish, monotonic: Callable[[], float]) -> None:
        self._publish = publish
        self._monotonic = monotonic
        self._said: dict[RoomId, Said] = {}  # what this turn has said so far, by room

    def say(self, room_id: RoomId, seq: int, frame: bytes) -> None:
        """A message to all in the room."""
        said = self._said.get(room_id)
        if said is None:
            self._said[room_id] = Said(seq, [frame], self._monotonic())
        else:
            said.frames.append(frame)

    def to_room(self, room_id: RoomId, event: Event) -> None:
        """Anything else that everyone in the room hears, or that all its gateways must know."""
        self._release(room_id)
        self._publish(room_id, event)

    def to_gateway(self, room_id: RoomId, gateway: bytes, event: Event) -> None:
        """Something for one gateway, about a socket in that room."""
        self._release(room_id)
        self._publish(gateway, event)

    def to_connections(self, connections: list[Connection], frame: bytes, *, droppable: bool = False) -> None:
        """A frame for some sockets of one room."""
        for gateway, group in by_gateway(connections).items():
            numbers = [connection.number for connection in group]
            self.to_gateway(group[0].room.meta.room_id, gateway, Sent(numbers, frame, droppable))

    def flush(self) -> None:
        """Lets the turn's messages go."""
        said, self._said = self._said, {}
        for room_id, event in said.items():
            self._publish(room_id, event)

    def _release(self, room_id: RoomId) -> None:
        said = self._said.pop(room_id, None)
        if said is not None:
            self._publish(room_id, said)


def by_gateway(connections: list[Connection]) -> dict[bytes, list[Connection]]:
    """The connections of each gateway."""
    groups: dict[bytes, list[Connection]] = {}
    for connection in connections:
        groups.setdefault(connection.gateway, []).append(connection)
    return groups
