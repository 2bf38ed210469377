"""A user inside a room, and the connections it is heard through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from relayd.rooms.limits import Allowance
from relayd.wire.ids import UserId
from relayd.wire.rest import Role

if TYPE_CHECKING:
    from relayd.rooms.offers import ConnectionFiles
    from relayd.rooms.room import Room

# A message said again within this time and number is not said twice (protocol, "What is promised").
REMEMBERED_S = 120.0
REMEMBERED_MESSAGES = 256
MAX_SESSIONS = 16  # of one user: the owner gets a fresh one with each join by key
MAX_CARDS = MAX_SESSIONS  # of one user: a pair of keys belongs to a session (docs/security.md)


def networks_of(address: bytes, site: bytes) -> tuple[bytes, ...]:
    """What an address counts for, as digests: itself, and the network around it if it has one."""
    return (address, site) if site else (address,)


class Said(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Where a message stands: its `seq`, or for a direct one the seq it came after."""

    seq: int
    direct: bool
    at: float


class Card:
    """The identity card of one connection in a sealed room. Members open the messages of the connection with its key.

    Args:
        profile: JSON text.
        announced: whether everyone in the room has this card, or an earlier one of the connection with the same key.
        said_at: seconds, when the connection last sent a message; None if it never did.
    """

    __slots__ = ("announced", "profile", "said_at")

    def __init__(self, profile: bytes, *, announced: bool = False, said_at: float | None = None) -> None:
        self.profile = profile
        self.announced = announced
        self.said_at = said_at


class Connection:
    """One socket of a member, seen from the hub: where it is, and when it last said something."""

    __slots__ = ("active_at", "address", "card", "files", "gateway", "member", "number", "room")

    def __init__(self, gateway: bytes, number: int, address: bytes, room: Room, member: Member, now: float) -> None:
        self.gateway = gateway  # topic of the gateway process that has the socket
        self.number = number  # that gateway's own number for it
        self.address = address  # digest of the peer's address
        self.room = room
        self.member = member
        self.active_at = now
        self.files: ConnectionFiles | None = None  # most have nothing to do with any
        self.card: Card | None = None  # in a sealed room, after its first profile

    @property
    def receiving(self) -> int:
        """How many files it receives now."""
        return 0 if self.files is None else len(self.files.received)


class Member:
    """A user who has a place in the room: connected, or away for a moment."""

    __slots__ = (
        "address",
        "allowance",
        "announced_seq",
        "cards",
        "connections",
        "entry",
        "is_moderator",
        "is_newcomer",
        "is_owner",
        "joined_mark",
        "joined_seq",
        "known",
        "muted",
        "profile",
        "sessions",
        "site",
        "user_id",
    )

    def __init__(self, user_id: UserId, *, is_owner: bool, profile: bytes, joined_seq: int, joined_mark: int) -> None:
        self.user_id = user_id
        self.is_owner = is_owner
        self.profile = profile  # JSON text, as the client gave it; in a sealed room the newest card
        self.cards: tuple[Card, ...] = ()  # in a sealed room, the newest last
        self.is_newcomer = False  # nobody has a card of this user, from now or from an earlier stay
        self.is_moderator = False
        self.muted = False
        self.joined_seq = joined_seq  # the last seq given before this user came: nothing up to it is for them
        self.announced_seq = joined_seq  # the room's seq when this user, or the newest card, was announced
        self.joined_mark = joined_mark  # the same in the ring, where direct messages count, too
        self.address = b""  # digest of the address last seen
        self.site = b""  # the same of the network around it, for an IPv6 address; see `networks`
        self.connections: list[Connection] = []
        self.sessions: list[bytes] = []  # digests, oldest first
        self.allowance: Allowance | None = None  # made with the first word: most people in big rooms only listen
        self.entry: bytes | None = None  # JSON text that others see, while it holds
        self.known: dict[bytes, Said] | None = None  # by digest of the id, what it said lately; oldest first

    @property
    def networks(self) -> tuple[bytes, ...]:
        """What the address last seen counts for, as digests; see `addresses.prefixes`."""
        return networks_of(self.address, self.site)

    @property
    def may_moderate(self) -> bool:
        """Whether this user may keep order in the room, and admit newcomers."""
        return self.is_owner or self.is_moderator

    @property
    def role(self) -> Role:
        """What others see."""
        return "owner" if self.is_owner else "moderator" if self.is_moderator else "member"

    @property
    def away(self) -> bool:
        """Without a connection, the place still kept."""
        return not self.connections

    @property
    def other_cards(self) -> list[Card]:
        """All cards but the newest: of other connections, and of lost connections whose messages may be missed."""
        return [card for card in self.cards if card.profile != self.profile]

    def is_shown(self, card: Card) -> bool:
        """Whether the card is that of a connection that still exists."""
        return any(connection.card is card for connection in self.connections)

    def said(self, message_id: bytes, now: float) -> Said | None:
        """Where the message stands whose id has that digest, if it was said before and is still remembered."""
        said = self.known.get(message_id) if self.known else None
        return said if said is not None and now - said.at <= REMEMBERED_S else None

    @property
    def last_said(self) -> Said | None:
        """Where the last message stands that is still remembered."""
        return self.known[next(reversed(self.known))] if self.known else None

    def remember(self, message_id: bytes, said: Said) -> None:
        """Keeps the digest of a message's id, and forgets those past number or age."""
        known = self.known
        if known is None:
            known = self.known = {}
        elif message_id in known:
            del known[message_id]  # so that the new one is the youngest
        known[message_id] = said
        while len(known) > REMEMBERED_MESSAGES or said.at - known[next(iter(known))].at > REMEMBERED_S:
            del known[next(iter(known))]

    def forget_ids(self, now: float) -> None:
        """Drop the ids of messages that are too old."""
        if self.known is not None:
            drop_old_ids(self.known, now)
            self.known = self.known or None

    def longest_idle(self) -> Connection:
        """The connection that has been silent for longest."""
        return min(self.connections, key=lambda connection: connection.active_at)


def drop_old_ids(known: dict[bytes, Said], now: float) -> None:
    """Drop the ids of messages that are too old to come again, from the oldest on."""
    while known and now - known[next(iter(known))].at > REMEMBERED_S:
        del known[next(iter(known))]
