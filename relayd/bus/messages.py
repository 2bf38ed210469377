"""The language between gateways and hub, as msgpack arrays.

Both ends are the same program in the same version, so there is no versioning; an item that cannot be decoded is a
programming error. Sockets are named by their gateway's topic and a number of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from relayd.histogram import Histogram
from relayd.rooms.seal import OPEN
from relayd.settings import Settings
from relayd.wire import commands, rest


class _Item(msgspec.Struct, array_like=True, gc=False):
    # gc=False: nothing here can be part of a cycle, and the collector need not look at millions of them.
    pass


# Up: what happened on sockets, in the order it happened. --------------------------------------------------------


class Join(_Item, tag=1):
    """A join frame came; the gateway already hears the room's topic."""

    number: int
    room_id: bytes
    address: str
    key: str
    session: str
    proof: str
    profile: bytes | None
    since_epoch: str
    since_seq: int


class Say(_Item, tag=2):
    """A message: `body` is JSON text, `epoch` that of its sealing."""

    number: int
    id: str
    body: bytes
    to: str | None
    epoch: int = OPEN


class Signal(_Item, tag=3):
    """A signal: `data` is JSON text."""

    number: int
    kind: str
    data: bytes
    to: str | None
    epoch: int = OPEN


class SetProfile(_Item, tag=4):
    """A new profile: JSON text."""

    number: int
    id: str | None
    profile: bytes
    epoch: int = OPEN


class Moderation(_Item, tag=5):
    """A command that only the owner, or the owner and moderators, may give."""

    number: int
    command: commands.ModerationCommand


class Leave(_Item, tag=6):
    """The user leaves."""

    number: int


class Gone(_Item, tag=7):
    """The socket is closed or lost."""

    number: int


class Silent(_Item, tag=8):
    """Nothing was said on these sockets for so many seconds each."""

    sockets: list[tuple[int, float]]


class Refused(_Item, tag=50):
    """What was refused on a gateway lately: what, an error's code, the client's address, how often.

    The address is "" for those that did not fit into the gateway's memory.
    """

    entries: list[tuple[str, str, str, int]]


def added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """What both have counted. Unlike Counter's own sum it keeps what stands at 0."""
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}


class Tally(_Item):
    """What a gateway has counted since it started.

    Attributes:
        deliveries: messages written to sockets, each counted once for everyone who hears it.
        delivered_bytes: of those, as frames.
        file_bytes: of files written to those who receive them, without the chunks' heads.
        opened: WebSockets that were opened.
        refused: handshakes that were refused, by error code.
        joins_refused: sockets that were closed before the hub heard of them, by error code.
        slow_closed: clients cut off because they read too slowly.
        unreadable_headers: forwarded headers of trusted proxies that could not be read, by name.
        fanout: from a message's place in its room's order to its last copy handed to the kernel, an event of the
            room's topic (a turn's messages) each.
    """

    deliveries: int = 0
    delivered_bytes: int = 0
    file_bytes: int = 0
    opened: int = 0
    refused: dict[str, int] = msgspec.field(default_factory=dict)
    joins_refused: dict[str, int] = msgspec.field(default_factory=dict)
    slow_closed: int = 0
    unreadable_headers: dict[str, int] = msgspec.field(default_factory=dict)
    fanout: Histogram = msgspec.field(default_factory=Histogram)

    def add(self, other: Tally) -> None:
        """All that another one has counted."""
        self.deliveries += other.deliveries
        self.delivered_bytes += other.delivered_bytes
        self.file_bytes += other.file_bytes
        self.opened += other.opened
        self.refused = added(self.refused, other.refused)
        self.joins_refused = added(self.joins_refused, other.joins_refused)
        self.slow_closed += other.slow_closed
        self.unreadable_headers = added(self.unreadable_headers, other.unreadable_headers)
        self.fanout.add(other.fanout)


class Reached(_Item, tag=40):
    """A gateway has reached a phase of handing its connections over, or of taking them.

    Attributes:
        name: `halted`: all that its clients said has been sent; `prepared`: it hears all rooms of the connections it
            takes; `opened`: it has them.
        numbers: of those that are in rooms.
    """

    name: str
    numbers: list[int]


class Report(_Item, tag=9):
    """How a gateway fares; sent every second, so that silence means that it hangs.

    Attributes:
        connections: sockets it has, joined or not.
        rooms: that it hears.
        slow: clients that are behind.
        waiting_bytes: not yet taken by the kernel, for those.
        lag_s: how late its loop is.
        cpu_s: processor time its process has used.
        memory: bytes its process has in memory.
        sent_at: on the machine's monotonic clock, which is the same for all processes.
        tally: what it has counted.
    """

    connections: int
    rooms: int
    slow: int
    waiting_bytes: int
    lag_s: float
    cpu_s: float
    memory: int
    sent_at: float
    tally: Tally


class OfferFile(_Item, tag=10):
    """A message that offers a file."""

    number: int
    say: Say
    file: commands.FileOffer


class FileWork(_Item, tag=11):
    """A command about a file."""

    number: int
    command: commands.Accept | commands.Grant | commands.Serve | commands.Cancel | commands.Done


class Spoiled(_Item, tag=12):
    """What came in a stream of a file is not what was asked for; nothing of it is passed on any more."""

    number: int
    stream: int


class Behind(_Item, tag=13):
    """A socket that receives a file reads more slowly than it is written to; or it has caught up."""

    number: int
    behind: bool


Item = (
    Join
    | Say
    | Signal
    | SetProfile
    | Moderation
    | Leave
    | Gone
    | Silent
    | Report
    | OfferFile
    | FileWork
    | Spoiled
    | Behind
    | Reached
    | Refused
)


class Batch(_Item):
    """What one gateway has to say in one turn of its loop."""

    gateway: bytes
    items: list[Item]


# Down, on the topic of a room. ----------------------------------------------------------------------------------


class Subscribed(_Item, tag=1):
    """Whoever hears this hears everything that comes after it."""


class Said(_Item, tag=2):
    """Messages to all, numbered from `first_seq` on without a gap: payloads of text frames.

    Attributes:
        at: when the first was given its place, on the machine's monotonic clock.
    """

    first_seq: int
    frames: list[bytes]
    at: float = 0.0


class Turn(_Item, tag=23):
    """Messages of several rooms at once, on the topic of a gateway that has somebody in each.

    Attributes:
        said: with the id of each room.
    """

    said: list[tuple[bytes, Said]]


class Signalled(_Item, tag=3):
    """A frame that may be dropped under pressure, for all but one socket."""

    frame: bytes
    gateway: bytes
    number: int


class Announced(_Item, tag=4):
    """A frame for everyone."""

    frame: bytes


class PresenceTold(_Item, tag=5):
    """Changes of presence. Nobody is told of their own join, so the users are kept apart until the end.

    Attributes:
        joined: user ids, and for each the JSON text of that user.
        left, changed: JSON texts of arrays.
        users: how many are here now.
    """

    joined: list[tuple[str, bytes]]
    left: bytes
    changed: bytes
    users: int


class Ended(_Item, tag=6):
    """The room is over: a last frame for everyone, then the close code."""

    frame: bytes
    code: int
    reason: str


class Rekeyed(_Item, tag=22):
    """A sealed room has a new epoch, at that place of its order. Whoever is left without a box is closed before.

    Attributes:
        boxes: by user id; each hears the own one only.
    """

    seq: int
    epoch: int
    check: str
    boxes: dict[str, str]


# Down, on the topic of a gateway. -------------------------------------------------------------------------------


class Attached(_Item, tag=7):
    """A socket is in its room: its `joined` frame. What the room's topic brings from now on is for it, too.

    Attributes:
        sid: in a sealed room, that of the card it came with, or b""; None in an open one.
        frame_bytes: of the longest rekey it may send; 0 if none.
    """

    number: int
    user_id: str
    seq: int
    frames: list[bytes]
    sid: bytes | None = None
    frame_bytes: int = 0


class Waiting(_Item, tag=13):
    """A socket waits until somebody in its room admits it: its `waiting` frame. Of the topic, nothing is for it.

    Attributes:
        sid: as in `Attached`.
    """

    number: int
    frame: bytes
    sid: bytes | None = None


class FrameLimit(_Item, tag=12):
    """Owner's sockets in a sealed room, which may send longer frames from now on; see `Attached.frame_bytes`."""

    numbers: list[int]
    frame_bytes: int


class Sent(_Item, tag=8):
    """A frame for some sockets."""

    numbers: list[int]
    frame: bytes
    droppable: bool


class Dropped(_Item, tag=9):
    """Sockets that are to be closed, after so many seconds."""

    numbers: list[int]
    code: int
    reason: str
    detail: str
    after_s: float = 0.0


class Asked(_Item, tag=10):
    """A socket is asked for chunks of a file; again, for more of them.

    Attributes:
        fid: 16 bytes.
        first, upto: those from `first`, where the stream begins, to the one before `upto`.
        size, chunk: of the file, see `Shape`.
        tag_bytes: what each chunk is longer for being sealed.
    """

    number: int
    stream: int
    fid: bytes
    first: int
    upto: int
    size: int
    chunk: int
    tag_bytes: int


class Stopped(_Item, tag=11):
    """What a socket was asked for in that stream is not wanted any more."""

    number: int
    stream: int
    fid: bytes


# Down, on the topic that all gateways hear. ---------------------------------------------------------------------

# A UUID v4 is never all zeros, so it is no room's. A client may still ask for such a room: that does no harm, as
# ZeroMQ counts subscriptions (zmq_setsockopt(3), ZMQ_UNSUBSCRIBE) and gateways tell events apart by their type.
EVERY_GATEWAY = bytes(16)


class SendAway(_Item, tag=20):
    """The server ends: newcomers are refused from now on, and everyone is sent away, spread over some seconds."""

    over_s: float


class Phase(_Item, tag=40):
    """What gateways do next with their connections.

    Attributes:
        name: `halt`: read nothing; `give`: everything has been heard, hand them over; `let_go`: they are another's;
            `open`: take over those that were handed in; `go_on`: read.
    """

    name: str


class NewSettings(_Item, tag=21):
    """The settings were reloaded; this is what holds from now on."""

    settings: Settings


class Blocked(_Item, tag=51):
    """All that is blocked from now on; see `BlockList.change`."""

    targets: list[str]
    digest_key: bytes


class Probe(_Item, tag=30):
    """Whoever has the token with that digest may see how its request arrives."""

    digest: bytes


Event = (
    Subscribed
    | Said
    | Turn
    | Signalled
    | Announced
    | PresenceTold
    | Rekeyed
    | Ended
    | Attached
    | Waiting
    | FrameLimit
    | Sent
    | Dropped
    | Asked
    | Stopped
    | SendAway
    | NewSettings
    | Blocked
    | Probe
    | Phase
)


# Calls, and their answers. --------------------------------------------------------------------------------------


class CreateRoom(_Item, tag=1):
    """`POST /room`, from that address."""

    body: rest.CreateRoom
    address: str


class ReadRoom(_Item, tag=2):
    """`GET /<room>`."""

    room: str
    key: str


class EditRoom(_Item, tag=3):
    """`PATCH /<room>`, from that address."""

    room: str
    key: str
    body: rest.EditRoom
    address: str


class EndRoom(_Item, tag=4):
    """`DELETE /<room>`."""

    room: str
    key: str


class ListUsers(_Item, tag=5):
    """`GET /<room>/users`, from that address."""

    room: str
    key: str
    after: str
    address: str


class KickUser(_Item, tag=6):
    """`DELETE /<room>/users/<user_id>`."""

    room: str
    key: str
    user: str
    ban: bool


class RenewInvite(_Item, tag=7):
    """`POST /<room>/invite`."""

    room: str
    key: str


class CreateInvite(_Item, tag=8):
    """`POST /<room>/invites`."""

    room: str
    key: str
    body: rest.CreateInvite


class ListInvites(_Item, tag=9):
    """`GET /<room>/invites`."""

    room: str
    key: str


class RevokeInvite(_Item, tag=10):
    """`DELETE /<room>/invites/<id>`."""

    room: str
    key: str
    invite: str


Request = (
    CreateRoom
    | ReadRoom
    | EditRoom
    | EndRoom
    | ListUsers
    | KickUser
    | RenewInvite
    | CreateInvite
    | ListInvites
    | RevokeInvite
)


class Call(_Item):
    """A request, under a number of its gateway's choosing."""

    number: int
    request: Request


class Fault(_Item):
    """A `RelayError` on its way to another process."""

    code: str
    detail: str
    retry_after_s: float | None
    problems: list[tuple[str, str]]


class Answer(_Item):
    """What became of a call: JSON text, or a fault."""

    number: int
    body: bytes
    fault: Fault | None
