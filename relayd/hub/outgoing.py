"""What the hub says in one turn, in an order that every gateway can rely on; all of it at the end of the turn.

Messages of one room are collected and leave together. Anything else that concerns the room makes those collected
so far leave first: a joiner hears exactly what was said after the join, a room's end comes after its last word.

Messages of several rooms that leave at the end of a turn go to each gateway together: to publish and receive each
room's by itself costs twice what its fan-out costs in a room of five. All topics share one pipe to a gateway, so
their order is the same either way.
"""

from __future__ import annotations

from collections.abc import Callable

from relayd.bus.messages import Event, Said, Sent, Turn
from relayd.rooms.member import Connection
from relayd.rooms.room import Room
from relayd.wire.ids import RoomId

Publish = Callable[[bytes, Event], None]  # (topic, event)


class Outgoing:
    """Collects what is said, until the turn is over: what it has changed is written down before anybody hears of it.

    Args:
        publish: tells the gateways.
        monotonic: the machine's clock, by which gateways see how long a message was under way.
    """

    def __init__(self, publish: Publish, monotonic: Callable[[], float]) -> None:
        self._publish = publish
        self._monotonic = monotonic
        self._events: list[tuple[bytes, Event]] = []  # by topic, in order
        self._said: dict[RoomId, tuple[Room, Said]] = {}  # what this turn has said so far

    def publish(self, topic: bytes, event: Event) -> None:
        """Something about the server, apart from what the turn says in rooms: sent now."""
        self._publish(topic, event)

    def say(self, room: Room, seq: int, frame: bytes) -> None:
        """A message to all in the room."""
        room_id = room.meta.room_id
        said = self._said.get(room_id)
        if said is None:
            self._said[room_id] = (room, Said(seq, [frame], self._monotonic()))
        else:
            said[1].frames.append(frame)

    def to_room(self, room_id: RoomId, event: Event) -> None:
        """Anything else that everyone in the room hears, or that all its gateways must know."""
        self._release(room_id)
        self._events.append((room_id, event))

    def to_gateway(self, room_id: RoomId, gateway: bytes, event: Event) -> None:
        """Something for one gateway, about a socket in that room."""
        self._release(room_id)
        self._events.append((gateway, event))

    def to_connections(self, connections: list[Connection], frame: bytes, *, droppable: bool = False) -> None:
        """A frame for some sockets of one room."""
        for gateway, group in by_gateway(connections).items():
            numbers = [connection.number for connection in group]
            self.to_gateway(group[0].room.meta.room_id, gateway, Sent(numbers, frame, droppable))

    def flush(self) -> None:
        """Lets it all go."""
        if len(self._said) == 1:  # a large room as often as not: encoded once for all gateways
            self._release(next(iter(self._said)))
        events, self._events = self._events, []
        said, self._said = self._said, {}
        for topic, event in events:
            self._publish(topic, event)
        turns: dict[bytes, Turn] = {}
        for room_id, (room, messages) in said.items():
            for gateway in room.gateways:
                turns.setdefault(gateway, Turn([])).said.append((room_id, messages))
        for gateway, turn in turns.items():
            self._publish(gateway, turn)

    def _release(self, room_id: RoomId) -> None:
        said = self._said.pop(room_id, None)
        if said is not None:
            self._events.append((room_id, said[1]))


def by_gateway(connections: list[Connection]) -> dict[bytes, list[Connection]]:
    """The connections of each gateway."""
    groups: dict[bytes, list[Connection]] = {}
    for connection in connections:
        groups.setdefault(connection.gateway, []).append(connection)
    return groups
