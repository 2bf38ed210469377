"""The files that are offered in one room: what may be offered, by whom, and for whom it is."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from relayd.errors import FidTaken, FilesOff, FileTooLarge, NoSuchFile, ProtocolViolation, TooManyFiles
from relayd.rooms.limits import AddressRateLimiter, Pace
from relayd.rooms.member import Connection, Member
from relayd.rooms.transfer import Transfer
from relayd.settings import FileRate, Settings
from relayd.wire.chunks import CHUNK_OVERHEAD_BYTES, MAX_BYTES_IN_FLIGHT, MIN_CHUNK_BYTES, SHORT_CHUNK_BYTES, Shape
from relayd.wire.events import Delivery
from relayd.wire.ids import UserId
from relayd.wire.rest import RoomSettings

MAX_RECEIVED = 4  # files, by one connection at once
MAX_ACCEPTED = 10_000  # users remembered, of one file: as many as a room has at most, unless its server says otherwise


class Terms(NamedTuple):
    """What holds for files in a room at the moment.

    Attributes:
        settings: the room's.
        server: the server's.
    """

    settings: RoomSettings
    server: Settings

    @property
    def bytes_in_flight(self) -> int:
        """What may be under way to one connection: half of what may wait for it before it is cut off."""
        return min(MAX_BYTES_IN_FLIGHT, self.server.limits.max_outbox // 2)

    @property
    def max_chunk(self) -> int:
        """The longest chunk: one of which fits into a frame, and may be under way."""
        return min(self.server.limits.max_message, self.bytes_in_flight) - CHUNK_OVERHEAD_BYTES

    @property
    def min_chunk(self) -> int:
        """The shortest chunk of a file that is longer; less than usual where frames are too short for that."""
        return MIN_CHUNK_BYTES if self.max_chunk >= MIN_CHUNK_BYTES else SHORT_CHUNK_BYTES

    def window(self, shape: Shape) -> int:
        """So many chunks may be under way to one connection."""
        return max(1, min(shape.window, self.bytes_in_flight // (shape.chunk + CHUNK_OVERHEAD_BYTES)))

    def check(self, shape: Shape) -> None:
        """Lets a file pass.

        Raises:
            FilesOff, FileTooLarge, ProtocolViolation: it may not be sent.
        """
        if not self.settings.files:
            raise FilesOff
        if shape.size > self.settings.max_file:
            raise FileTooLarge(f"The file has {shape.size} bytes; this room lets {self.settings.max_file} through")
        if shape.chunk > self.max_chunk:
            raise ProtocolViolation(f"chunk: is more than the {self.max_chunk} bytes that may be in one here")
        if shape.chunk < min(shape.size, self.min_chunk):
            raise ProtocolViolation(f"chunk: is less than {self.min_chunk} bytes, and than the file has")


class Offer:
    """A file that is offered.

    Attributes:
        fid: its name on the wire, as base64url.
        user_id: whose it is.
        to: for whom alone it is, besides the other connections of that user; None: for all.
        serving: the connection that has it; None while that is lost.
        deliveries: users who have accepted it, in that order, and how far it has come with them.
        seq: place of the message to all that offered it last; 0 if none did.
    """

    __slots__ = ("deliveries", "fid", "seq", "serving", "shape", "to", "transfer", "user_id")

    def __init__(self, fid: str, user_id: UserId, to: str | None, shape: Shape, transfer: Transfer) -> None:
        self.fid = fid
        self.user_id = user_id
        self.to = to
        self.shape = shape
        self.transfer = transfer
        self.serving: Connection | None = None
        self.deliveries: dict[UserId, Delivery] = {}
        self.seq = 0

    def is_for(self, user_id: UserId) -> bool:
        """Whether that user may know of it."""
        return self.to is None or user_id in (self.to, self.user_id)

    def has_accepted(self, user_id: UserId) -> bool:
        """Whether that user has, and did not give up since."""
        return self.deliveries.get(user_id, Delivery.CANCELLED) is not Delivery.CANCELLED

    def is_new_to(self, user_id: UserId) -> bool:
        """That user accepts it; whether it is for the first time, as far as that is known."""
        if self.has_accepted(user_id):
            return False
        self.deliveries[user_id] = Delivery.ACCEPTED
        if len(self.deliveries) > MAX_ACCEPTED:
            del self.deliveries[next(iter(self.deliveries))]
        return True


class ConnectionFiles:
    """What one connection has to do with files.

    Attributes:
        served: what it is asked for, by fid.
        streams: what of that it was asked for under which number.
        received: what it receives, by fid.
        finished: fids of what it has received lately: grants for it may be under way yet.
        behind: what it was sent has not left the relay.
    """

    __slots__ = ("_last_stream", "behind", "finished", "received", "served", "streams")

    def __init__(self) -> None:
        self.behind = False
        self.finished: deque[str] = deque(maxlen=2 * MAX_RECEIVED)
        self.served: dict[str, Offer] = {}
        self.streams: dict[int, Offer] = {}
        self.received: dict[str, Offer] = {}
        self._last_stream = 0

    @property
    def is_busy(self) -> bool:
        """Whether it serves or receives a file."""
        return bool(self.served or self.received)

    def new_stream(self) -> int:
        """A number that this connection has not been asked under."""
        self._last_stream += 1
        return self._last_stream


class AddressPace:
    """What is delivered for the senders of one address, as a `Pace`.

    Args:
        limiter: of all addresses.
        sender: a user of that address; if the user comes back from another one, that is charged from then on.
    """

    def __init__(self, limiter: AddressRateLimiter, sender: Member) -> None:
        self._limiter = limiter
        self._sender = sender

    def wait_s(self, now: float) -> float:
        """As `Pace.wait_s`."""
        return self._limiter.wait_s(self._sender.networks, now)

    def book(self, size: int, now: float) -> None:
        """As `Pace.book`."""
        self._limiter.book(self._sender.networks, now, size)

    def refund(self, size: int) -> None:
        """As `Pace.refund`."""
        self._limiter.refund(self._sender.networks, size)


class Offers:
    """The offers of one room.

    Args:
        rate: see `FileRate`.
        addresses: limits what is delivered for each address.
    """

    def __init__(self, rate: FileRate, addresses: AddressRateLimiter) -> None:
        self._rate = rate
        self._addresses = addresses
        self._by_fid: dict[str, Offer] = {}
        self._by_user: dict[UserId, dict[str, Offer]] = {}  # no empty ones
        self._room_pace = Pace(rate.room_bytes, rate.burst_s)
        self._user_paces: dict[UserId, Pace] = {}  # of those who have offered something

    def change(self, rate: FileRate) -> None:
        """Another pace holds from now on."""
        self._rate = rate
        self._room_pace.bytes_per_s, self._room_pace.ahead_s = rate.room_bytes, rate.burst_s
        for pace in self._user_paces.values():
            pace.bytes_per_s = rate.user_bytes

    def all(self) -> list[Offer]:
        """Every one."""
        return list(self._by_fid.values())

    def of(self, user_id: UserId) -> list[Offer]:
        """Those of one user."""
        return list(self._by_user.get(user_id, {}).values())

    def find(self, fid: str, user_id: UserId) -> Offer:
        """The offer, as that user sees it.

        Raises:
            NoSuchFile: there is none, or it is for somebody else: nobody can tell which.
        """
        offer = self._by_fid.get(fid)
        if offer is None or not offer.is_for(user_id):
            raise NoSuchFile
        return offer

    def add(self, fid: str, sender: Member, to: str | None, shape: Shape, terms: Terms) -> Offer:
        """Offers a file; again, if it is the same one.

        Raises:
            FilesOff, FileTooLarge, ProtocolViolation, FidTaken, TooManyFiles: nothing has changed then.
        """
        terms.check(shape)
        user_id = sender.user_id
        before = self._by_fid.get(fid)
        if before is not None:
            if (before.user_id, before.to, before.shape) != (user_id, to, shape):
                raise FidTaken
            return before
        own = self._by_user.get(user_id, {})
        limit = terms.server.limits.max_offers
        if limit and len(own) >= limit:
            raise TooManyFiles(f"You offer {len(own)} files in this room already; withdraw one with cancel")
        pace = self._user_paces.setdefault(user_id, Pace(self._rate.user_bytes))
        window, gather_s = terms.window(shape), terms.server.timing.gather
        delivery_paces = (AddressPace(self._addresses, sender), self._room_pace)
        offer = Offer(fid, user_id, to, shape, Transfer(shape, window, gather_s, (pace,), delivery_paces))
        own[fid] = self._by_fid[fid] = offer
        self._by_user[user_id] = own
        return offer

    def place(self, fid: str, seq: int) -> None:
        """The offer was made by the message to all at that place."""
        self._by_fid[fid].seq = seq

    def remove(self, offer: Offer) -> None:
        """It is not offered any more."""
        del self._by_fid[offer.fid]
        own = self._by_user[offer.user_id]
        del own[offer.fid]
        if not own:
            del self._by_user[offer.user_id]

    def forget(self, user_id: UserId) -> None:
        """That user, who offers nothing any more, has left. Not sooner: a new offer would be a way round the pace."""
        self._user_paces.pop(user_id, None)
