"""Who is in a room, as those in it are told: not each coming and going, but every while the sum of them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from itertools import count
from typing import NamedTuple

import msgspec

from relayd.bus.messages import PresenceTold
from relayd.hub.egress import Egress
from relayd.hub.outgoing import Outgoing
from relayd.rooms import view
from relayd.rooms.member import Connection, Member
from relayd.rooms.ring import Author, Rings
from relayd.rooms.room import Room
from relayd.wire import events
from relayd.wire.ids import UserId
from relayd.wire.rest import User

MAX_CARDS_BYTES = 64 * 1024  # of entries for further cards, after `joined`: about the size of its list of 200 users
# A room that was sent too much has its presence collected for longer, but no longer than that: clients hold a message
# of somebody they do not know yet for 1.5 s.
MAX_COLLECTED_S = 1.0
MAX_NEWCOMERS_TOLD = 500  # in one frame: what comes in a quarter of a second at 2,000 joins a second


class _Wait(NamedTuple):
    """Presence that is being collected: when the first of it happened, and when it is to be sent."""

    since: float
    due: float


class Attendance:
    """Tells what the rooms' `PresenceLog` have collected when it is time.

    Args:
        outgoing: takes what is told.
        rings: of all rooms.
        egress: is charged for it.
        happened: is told of everyone who came or went; see `Happenings.tell`.
        interval_s: how long it is collected.

    Attributes:
        interval_s: may be changed.
    """

    def __init__(
        self, outgoing: Outgoing, rings: Rings, egress: Egress, happened: Callable[..., None], interval_s: float
    ) -> None:
        self._outgoing = outgoing
        self._rings = rings
        self._egress = egress
        self._happened = happened
        self.interval_s = interval_s
        self._waits: dict[Room, _Wait] = {}
        self._dues: list[tuple[float, int, Room]] = []  # a heap of those and of some that were told sooner
        self._order = count()  # breaks ties

    def changed(self, room: Room, now: float) -> None:
        """Perhaps there is something to tell."""
        if room.presence and room not in self._waits:
            delay_s = self.delay_s(room, now)
            self._waits[room] = _Wait(now, now + delay_s)
            heapq.heappush(self._dues, (now + delay_s, next(self._order), room))

    def delay_s(self, room: Room, now: float) -> float:
        """How long what happens in the room is collected before it is told."""
        return max(self.interval_s, min(self._egress.wait_s(room, now), MAX_COLLECTED_S))

    def announce_card(self, room: Room, connection: Connection, now: float) -> None:
        """Announce the card of a connection in a sealed room before its next message, unless everyone has it.

        A member who has only another card of the user would take the message for a forgery. Nobody has a card of a
        newcomer, and members hold a newcomer's messages until it comes. So this sends at most one presence frame for a
        connection, before its first message, however often its profile changes.
        """
        card, member = connection.card, connection.member
        if card is None:
            return
        card.said_at = now
        is_awaited = member.is_newcomer and len(member.connections) == 1
        if not card.announced and not is_awaited:
            room.presence.change(member.user_id)
            self._tell(room, now)

    def introduce(self, room: Room, member: Member, now: float) -> None:
        """Before somebody goes whose words were heard, the others are told whose, if that is still to come.

        Else those words would be nobody's, and in a sealed room nobody could open them. It costs everyone a frame more
        than presence does otherwise, and never more of them than there are messages. For those who will hear them
        later only, it is kept as long as the words are.
        """
        said = member.last_said
        if said is None:
            return
        wait = self._waits.get(room)
        if wait is not None and said.at >= wait.since and room.presence.hides(member.user_id):
            self._tell(room, now)
        cards = [card.profile for card in member.other_cards if card.said_at is not None]
        all_cards = (*cards, member.profile) if room.is_sealed else ()
        author = Author(view.entry(member), member.joined_seq, said.seq, said.at, all_cards, member.announced_seq)
        self._rings.keep_author(room.ring, member.user_id, author)

    def after_joined(self, room: Room, since_seq: int | None, missed: list[bytes], now: float) -> list[bytes]:
        """The frames that follow `joined`: the missed ones, between two presence frames where needed.

        1. A presence frame adds what the list of users in `joined` lacks: authors who have left, and further cards.
        2. The missed frames.
        3. A presence frame removes those authors again.

        Args:
            since_seq: the last message received; None for a newcomer, who learns nothing about users who have left.
        """
        strangers = {} if since_seq is None else room.ring.strangers(since_seq)
        strangers = {user: entry for user, entry in strangers.items() if user not in room.members}
        cards = [*_cards_of_strangers(room, strangers), *_other_cards(room, now)]
        if not strangers and not cards:
            return missed
        joined, users = [msgspec.Raw(entry) for entry in strangers.values()], len(room.members)
        before = events.Presence(joined=joined, left=[], changed=[msgspec.Raw(card) for card in cards], users=users)
        after = events.Presence(joined=[], left=[str(user_id) for user_id in strangers], changed=[], users=users)
        return [events.encode(before), *missed, *([events.encode(after)] if strangers else [])]

    def next_due(self) -> float | None:
        """When `advance` has something to do next; None if never."""
        while self._dues:
            due, _, room = self._dues[0]
            wait = self._waits.get(room)
            if wait is not None and wait.due == due:
                return due
            heapq.heappop(self._dues)
        return None

    def advance(self, now: float) -> None:
        """Tells what was collected for long enough."""
        while (due := self.next_due()) is not None and due <= now:
            self._tell(self._dues[0][2], now)

    def tell_all(self, now: float) -> None:
        """Tells everything now."""
        for room in list(self._waits):
            self._tell(room, now)

    def forget(self, room: Room) -> None:
        """It is over, and nobody is there to be told."""
        self._waits.pop(room, None)

    def _tell(self, room: Room, now: float) -> None:
        self._waits.pop(room, None)
        changes = room.presence.take()
        for user_id in changes.joined:
            self._happened("user_joined", room, user=user_id)
        for user_id in changes.left:
            self._happened("user_left", room, user=user_id)
        left = events.encode(changes.left)
        changed = [entry for user_id in changes.changed for entry in _unannounced(room, room.members[user_id])]
        # In pieces: who is behind is looked at between them, and a flood of newcomers fills no queue unseen.
        for start in range(0, max(1, len(changes.joined)), MAX_NEWCOMERS_TOLD):
            newcomers = [room.members[user_id] for user_id in changes.joined[start : start + MAX_NEWCOMERS_TOLD]]
            joined = [(str(member.user_id), view.entry(member)) for member in newcomers]
            for member in newcomers:
                member.announced_seq = room.seq
                entries = _unannounced(room, member)
                # `joined` leaves out a user's own connections, but each of them needs the cards of the others.
                if len(entries) > 1 or (room.is_sealed and len(member.connections) > 1):
                    changed += entries
            event = PresenceTold(joined, left, b"[%b]" % b",".join(changed), len(room.members))
            self._outgoing.to_room(room.meta.room_id, event)
            size = len(event.left) + len(event.changed) + sum(len(entry) for _, entry in joined)
            self._egress.charge_room(room, size * room.connections, now)
            left, changed = b"[]", []


def _unannounced(room: Room, member: Member) -> list[bytes]:
    """Entries of a member with each card that is not announced yet, the newest last; marks these cards announced."""
    if not member.cards:
        return [view.entry(member)]
    member.is_newcomer = False
    unannounced = [card for card in member.cards if not card.announced]
    entries = view.entries_of(member, [card.profile for card in unannounced if card.profile != member.profile])
    for card in unannounced:
        card.announced = True
        member.announced_seq = room.seq
    return entries


def _other_cards(room: Room, now: float) -> list[bytes]:
    """Entries of the members with several cards, one for each; past the bound, `announce_card` announces them."""
    entries: list[bytes] = []
    free_bytes = MAX_CARDS_BYTES
    for member in [room.members[user_id] for user_id in room.with_other_cards]:
        if free_bytes > 0:
            room.drop_cards(member, now)
            others = member.other_cards
            own = view.entries_of(member, [card.profile for card in others]) if others else []
            free_bytes -= sum(map(len, own))
            entries += own
        else:
            for card in member.cards:
                card.announced = False
    return entries


def _cards_of_strangers(room: Room, strangers: Iterable[UserId]) -> list[bytes]:
    """Entries of users who have left, one for each card, if they had several."""
    entries: list[bytes] = []
    for user_id in strangers:
        author = room.ring.author(user_id)
        if author is not None and len(author.cards) > 1:
            last = msgspec.json.decode(author.entry, type=User)
            entries += (view.entry_with(last, card) for card in author.cards)
    return entries
