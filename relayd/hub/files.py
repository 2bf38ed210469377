"""Files in the hub: who offers and receives what, and the way of chunks from one to the other."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable
from itertools import count
from math import inf
from typing import Any

from relayd.bus.chunks import Payload, route_to
from relayd.bus.messages import Asked, Behind, Spoiled, Stopped
from relayd.errors import Muted, NoSuchFile, ProtocolViolation, RelayError, TooManyFiles
from relayd.hub.outgoing import Outgoing, by_gateway
from relayd.hub.service import RoomService
from relayd.rooms.limits import AddressRateLimiter, address_file_rate
from relayd.rooms.member import Connection
from relayd.rooms.offers import MAX_RECEIVED, ConnectionFiles, Offer, Offers, Terms
from relayd.rooms.room import Room
from relayd.rooms.streams import Stream
from relayd.rooms.transfer import Ask, Stop
from relayd.settings import Settings
from relayd.wire import commands, events
from relayd.wire.chunks import FID_BYTES, HEAD_BYTES, TAG_BYTES, Shape
from relayd.wire.events import Delivery
from relayd.wire.ids import RoomId, UserId
from relayd.wire.sealing_text import decode_base64url

# So many chunks may be missing from a room's count after a crash: writing it down costs as much as a few of them.
_ENTERED_CHUNKS = 64

PassOn = Callable[[bytes, bytes, Payload], bool]  # (gateway, route, frame); False if it cannot be done


class Files:
    """What is done about files, whoever asks for it.

    Args:
        service: the rooms.
        outgoing: what gateways are told.
        pass_on: of the bus.
    """

    def __init__(self, service: RoomService, outgoing: Outgoing, pass_on: PassOn) -> None:
        self._service = service
        self._outgoing = outgoing
        self._pass_on = pass_on
        self._addresses = AddressRateLimiter(address_file_rate(service.settings.limits.file_rate))
        self._rooms: dict[RoomId, Offers] = {}  # where something was ever offered
        self._stirred: dict[Offer, Room] = {}  # something has happened to them in this turn
        self._dues: list[tuple[float, int, Offer, Room]] = []  # a heap; int breaks ties
        self._due: dict[Offer, float] = {}  # what of it holds
        self._order = count()
        self._handlers: dict[type, Callable[[Connection, Any, float], None]] = {
            commands.Accept: self._accept,
            commands.Grant: self._grant,
            commands.Serve: self._serve,
            commands.Cancel: self._cancel,
            commands.Done: self._done,
        }
        service.on_forgotten = self._forget
        service.on_silenced = self._silence
        service.on_files_off = self._turn_off
        service.on_removed = self._remove
        service.on_over = self._over

    def change(self, settings: Settings) -> None:
        """Other settings hold from now on."""
        self._addresses.change(address_file_rate(settings.limits.file_rate))
        for offers in self._rooms.values():
            offers.change(settings.limits.file_rate)

    # What clients say. ------------------------------------------------------------------------------------------

    def obey(self, connection: Connection, command: commands.FileCommand, now: float) -> None:
        """Does what a client wants done about a file.

        Raises:
            RelayError: it is not done.
        """
        if not isinstance(command, commands.Grant):
            self._service.check_rate(connection, 0, now, signal=False)
        self._handlers[type(command)](connection, command, now)

    def offer(self, connection: Connection, file: commands.FileOffer, to: str | None, now: float) -> None:
        """A message offers a file, or offers it again, and the connection it came on serves it.

        Raises:
            FilesOff, FileTooLarge, ProtocolViolation, FidTaken, TooManyFiles: the message is not to be said.
        """
        self._register(connection, file.fid, Shape(file.size, file.chunk), to, now)

    def offered(self, room: Room, file: commands.FileOffer, seq: int) -> None:
        """The message to all that offers a file has its place."""
        offers = self._rooms.get(room.meta.room_id)
        if offers is not None:
            offers.place(file.fid, seq)

    def offer_again(self, connection: Connection, file: commands.FileOffer, to: str | None, now: float) -> None:
        """The same in a message that had been said before; what is wrong with it was told then."""
        with contextlib.suppress(RelayError):
            self.offer(connection, file, to, now)

    def _serve(self, connection: Connection, command: commands.Serve, now: float) -> None:
        if connection.member.muted:
            raise Muted
        self._register(connection, command.fid, Shape(command.size, command.chunk), command.to, now)

    def _register(self, connection: Connection, fid: str, shape: Shape, to: str | None, now: float) -> None:
        room = connection.room
        offers = self._rooms.get(room.meta.room_id)
        if offers is None:
            offers = Offers(self._service.settings.limits.file_rate, self._addresses)
        offer = offers.add(fid, connection.member, to, shape, self._terms(room))
        self._rooms[room.meta.room_id] = offers
        if offer.serving is connection:
            return
        self._unserve(offer)
        offer.serving = connection
        files = _files_of(connection)
        files.served[fid] = offer
        offer.transfer.serve(files.new_stream, now)
        self._stirred[offer] = room
        if offer.deliveries:  # what was told to the connection before may not have got there
            self._tell_sender(offer, events.FileEvent("deliveries", fid, deliveries=offer.deliveries))

    def _accept(self, connection: Connection, command: commands.Accept, now: float) -> None:
        room, user_id = connection.room, connection.member.user_id
        offer = self._find(connection, command.fid)
        chunks = offer.shape.chunks
        if command.from_ >= chunks or command.upto < command.from_:
            raise ProtocolViolation(f"from is below {chunks}, the number of chunks, and upto is not below from")
        files = _files_of(connection)
        if command.fid not in files.received and len(files.received) >= MAX_RECEIVED:
            raise TooManyFiles(f"A connection receives {MAX_RECEIVED} files at once; accept it again later")
        files.received[command.fid] = offer
        offer.transfer.accept(connection, command.from_, command.upto, now)
        if files.behind:
            offer.transfer.fall_behind(connection, now, behind=True)
        self._stirred[offer] = room
        if offer.is_new_to(user_id):
            self._tell_sender(offer, events.FileEvent("accepted", offer.fid, user=user_id))
        if not offer.transfer.served:
            self._tell([connection], events.FileEvent("paused", offer.fid))

    def _grant(self, connection: Connection, command: commands.Grant, now: float) -> None:
        files = connection.files
        offer = None if files is None else files.received.get(command.fid)
        if offer is not None:
            offer.transfer.grant(connection, command.upto, now)
            self._stirred[offer] = connection.room
        elif files is None or command.fid not in files.finished:
            raise NoSuchFile("You are not receiving that file")

    def _cancel(self, connection: Connection, command: commands.Cancel, now: float) -> None:
        offer = self._find(connection, command.fid)
        user_id = connection.member.user_id
        if connection.files is not None and command.fid in connection.files.received:
            self._let_go(connection, offer)
        elif user_id == offer.user_id:
            self._end(connection.room, offer, "withdrawn")
            return
        elif not offer.has_accepted(user_id):
            raise NoSuchFile("You are not receiving that file")
        offer.deliveries[user_id] = Delivery.CANCELLED
        self._tell_sender(offer, events.FileEvent("cancelled", offer.fid, user=user_id))

    def _done(self, connection: Connection, command: commands.Done, now: float) -> None:
        offer = self._find(connection, command.fid)
        user_id = connection.member.user_id
        if not offer.has_accepted(user_id):
            raise NoSuchFile("You have not accepted that file")
        offer.deliveries[user_id] = Delivery.RECEIVED if command.ok else Delivery.DAMAGED
        self._let_go(connection, offer)
        self._service.counts.files["received" if command.ok else "failed"] += 1
        self._tell_sender(offer, events.FileEvent("received", offer.fid, user=user_id, ok=command.ok))

    def _find(self, connection: Connection, fid: str) -> Offer:
        offers = self._rooms.get(connection.room.meta.room_id)
        if offers is None:
            raise NoSuchFile
        return offers.find(fid, connection.member.user_id)

    def _terms(self, room: Room) -> Terms:
        return Terms(room.meta.settings, self._service.settings)

    # Chunks. ----------------------------------------------------------------------------------------------------

    def take_chunk(self, gateway: bytes, number: int, stream_number: int, payload: Payload, now: float) -> None:
        """A chunk that was asked for, as its gateway has made sure, goes to those who want it."""
        connection = self._service.connections.get((gateway, number))
        offer = None if connection is None or connection.files is None else connection.files.streams.get(stream_number)
        stream = None if offer is None else offer.transfer.stream(stream_number)
        if connection is None or offer is None or stream is None:
            return  # not wanted any more
        connection.active_at = now
        missed: list[Connection] = []
        for receiving_gateway, route in _routes(stream).items():
            if not self._pass_on(receiving_gateway, route, payload):
                missed += [one for one in _connections(stream) if one.gateway == receiving_gateway]
        for receiver in offer.transfer.arrive(stream, missed, now):
            self._drop_received(receiver.connection, offer)
            _files_of(receiver.connection).finished.append(offer.fid)
        self._service.counts.file_bytes += len(payload) - HEAD_BYTES
        finished = stream.at == offer.shape.chunks
        connection.room.carry(len(payload) - HEAD_BYTES, enter=finished or stream.at % _ENTERED_CHUNKS == 0)
        if finished:
            _files_of(connection).streams.pop(stream_number, None)
        self._stirred[offer] = connection.room

    def spoiled(self, connection: Connection, item: Spoiled, now: float) -> None:
        """What came in a stream was wrong: those who receive it wait for another one."""
        offer = None if connection.files is None else connection.files.streams.get(item.stream)
        if offer is not None:
            offer.transfer.spoil(item.stream, now)
            self._stirred[offer] = connection.room

    def fall_behind(self, connection: Connection, item: Behind, now: float) -> None:
        """A receiver does not take what it was sent, or does so again."""
        if connection.files is not None:
            connection.files.behind = item.behind
            for offer in connection.files.received.values():
                offer.transfer.fall_behind(connection, now, behind=item.behind)
                self._stirred[offer] = connection.room

    # What happens to people and rooms. --------------------------------------------------------------------------

    def _forget(self, connection: Connection) -> None:
        files, connection.files = connection.files, None
        if files is None:
            return
        for offer in files.received.values():
            offer.transfer.drop(connection)
            self._stirred[offer] = connection.room
        for offer in files.served.values():
            offer.transfer.unserve()
            offer.serving = None
            self._tell(list(offer.transfer.receivers), events.FileEvent("paused", offer.fid))

    def _silence(self, room: Room, user_id: UserId, reason: str) -> None:
        offers = self._rooms.get(room.meta.room_id)
        if offers is not None:
            for offer in offers.of(user_id):
                self._end(room, offer, reason)
            if user_id not in room.members:
                offers.forget(user_id)

    def _remove(self, room: Room, seq: int) -> None:
        """The message that offers a file is removed, and the offer with it."""
        offers = self._rooms.get(room.meta.room_id)
        for offer in offers.all() if offers is not None else ():
            if offer.seq == seq:
                self._end(room, offer, "withdrawn")

    def _turn_off(self, room: Room) -> None:
        offers = self._rooms.get(room.meta.room_id)
        for offer in offers.all() if offers is not None else ():
            self._end(room, offer, "off")

    def _over(self, room: Room) -> None:
        offers = self._rooms.pop(room.meta.room_id, None)
        for offer in offers.all() if offers is not None else ():
            self._due.pop(offer, None)
            self._stirred.pop(offer, None)
            for connection in [*offer.transfer.receivers, *([offer.serving] if offer.serving else [])]:
                connection.files = None

    # Time, and telling. -----------------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        """When `advance` has something to do next."""
        while self._dues and self._due.get(self._dues[0][2]) != self._dues[0][0]:
            heapq.heappop(self._dues)
        return self._dues[0][0] if self._dues else None

    def advance(self, now: float) -> None:
        """Lets everything happen that is due."""
        while (due := self.next_due()) is not None and due <= now:
            _, _, offer, room = heapq.heappop(self._dues)
            del self._due[offer]
            self._stirred[offer] = room

    @property
    def stirred(self) -> bool:
        """Whether `settle` has something to do."""
        return bool(self._stirred)

    def settle(self, now: float) -> None:
        """Tells senders what follows from all that has happened in this turn."""
        stirred, self._stirred = self._stirred, {}
        for offer, room in stirred.items():
            orders = offer.transfer.advance(now)
            if offer.serving is not None:
                self._order_of(offer.serving, offer, orders)
            due = offer.transfer.due_at()
            if due == inf:
                self._due.pop(offer, None)
            elif self._due.get(offer) != due:
                self._due[offer] = due
                heapq.heappush(self._dues, (due, next(self._order), offer, room))

    def _order_of(self, connection: Connection, offer: Offer, orders: list[Ask | Stop] | list[Stop]) -> None:
        """Tells a connection what to send, and what not any more."""
        room, files = connection.room, _files_of(connection)
        fid = decode_base64url(offer.fid, FID_BYTES)
        for order in orders:
            event: Asked | Stopped
            if isinstance(order, Ask):
                files.streams[order.stream] = offer
                tag_bytes = 0 if room.meta.seal is None else TAG_BYTES
                event = Asked(connection.number, *order[:1], fid, *order[1:], *offer.shape, tag_bytes)
            else:
                files.streams.pop(order.stream, None)
                event = Stopped(connection.number, order.stream, fid)
            self._outgoing.to_gateway(room.meta.room_id, connection.gateway, event)

    def _end(self, room: Room, offer: Offer, reason: str) -> None:
        """The file is not offered any more."""
        self._rooms[room.meta.room_id].remove(offer)
        self._stirred.pop(offer, None)
        self._due.pop(offer, None)
        ended = events.FileEvent("ended", offer.fid, reason=reason)
        for connection in offer.transfer.receivers:
            self._drop_received(connection, offer)
        told = dict.fromkeys(offer.transfer.receivers)
        if offer.serving is not None:
            told[offer.serving] = None
        self._tell(list(told), ended)
        self._unserve(offer)

    def _unserve(self, offer: Offer) -> None:
        connection, offer.serving = offer.serving, None
        stops = offer.transfer.unserve()
        if connection is not None and connection.files is not None:
            self._order_of(connection, offer, stops)
            del connection.files.served[offer.fid]

    def _let_go(self, connection: Connection, offer: Offer) -> None:
        offer.transfer.drop(connection)
        self._drop_received(connection, offer)
        self._stirred[offer] = connection.room

    def _drop_received(self, connection: Connection, offer: Offer) -> None:
        if connection.files is not None:
            connection.files.received.pop(offer.fid, None)

    def _tell_sender(self, offer: Offer, event: events.FileEvent) -> None:
        if offer.serving is not None:
            self._tell([offer.serving], event)

    def _tell(self, connections: list[Connection], event: events.Event) -> None:
        self._outgoing.to_connections(connections, events.encode(event))


def _files_of(connection: Connection) -> ConnectionFiles:
    if connection.files is None:
        connection.files = ConnectionFiles()
    return connection.files


def _connections(stream: Stream) -> list[Connection]:
    return [receiver.connection for receiver in stream.receivers]


def _routes(stream: Stream) -> dict[bytes, bytes]:
    """For each gateway the sockets that the stream's chunks are for; made anew when they change."""
    if stream.routes is None:
        groups = by_gateway(_connections(stream))
        stream.routes = {gateway: route_to([one.number for one in group]) for gateway, group in groups.items()}
    return stream.routes
