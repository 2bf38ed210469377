"""A room's state as records: what is written down of it, and the room that is made of them again.

A record says what holds from then on, so that later ones replace earlier ones, and one may be written again. What
follows from the time or from the settings is not in them, nor are connections: whoever had one is away when the room
is restored, and the place is kept from then on.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from relayd.rooms.access import Departure
from relayd.rooms.departed import DepartedSessions
from relayd.rooms.invites import Invite, Invites
from relayd.rooms.ledger import Ledger, Unwritten
from relayd.rooms.member import Card, Member, Said
from relayd.rooms.meta import RoomMeta
from relayd.rooms.ring import Author, Kept
from relayd.rooms.room import Graces, Room
from relayd.rooms.seal import Rekeying
from relayd.wire.ids import RoomId, UserId


class _Record(msgspec.Struct, array_like=True, frozen=True, gc=False):
    def __repr__(self) -> str:
        """Nothing of what is in it."""
        return type(self).__name__


class RekeyingState(_Record, frozen=True):
    """How the present epoch began; see `Rekeying`."""

    seq: int
    epoch: int
    check: str
    boxes: dict[UserId, str]


class RoomState(_Record, tag=1, frozen=True):
    """The room as a whole.

    Attributes:
        is_first: nothing that was written of the room before holds any more; all of it follows.
        cleared: up to this mark nothing is in the ring.
    """

    meta: RoomMeta
    is_first: bool
    seq: int
    messages: int
    data_volume: int
    mark: int
    last_seq: int
    cleared: int
    empty_at: float | None
    warning_at: float | None
    bans: list[bytes]
    rekeying: RekeyingState | None
    was_joined: bool
    locked_at: float | None = None


class Place(_Record, frozen=True):
    """That of a user who is inside.

    Attributes:
        away_since: None for one who is connected.
        other_cards: JSON texts of `Member.other_cards`.
    """

    profile: bytes
    joined_seq: int
    joined_mark: int
    address: bytes
    sessions: list[bytes]
    away_since: float | None
    other_cards: list[bytes] = []
    site: bytes = b""


class UserState(_Record, tag=2, frozen=True):
    """A user; without place, sessions to come back by and anything else, one who is forgotten.

    Attributes:
        author: see `Ring.author`.
        departure: see `Sessions.departure_of`.
    """

    room_id: RoomId
    user_id: UserId
    place: Place | None
    departed: list[bytes]
    muted: bool
    known: dict[bytes, Said]
    author: Author | None = None
    departure: Departure | None = None
    is_moderator: bool = False

    @property
    def is_forgotten(self) -> bool:
        """Whether nothing is known of that user."""
        return not (self.place or self.departed or self.muted or self.is_moderator or self.known or self.author)


class Spoken(_Record, tag=3, frozen=True):
    """What was said, by whom, under which ids; and how the room's counters stand after it."""

    room_id: RoomId
    seq: int
    messages: int
    data_volume: int
    mark: int
    last_seq: int
    said: list[tuple[UserId, bytes, Said]]
    kept: list[Kept]


class Replaced(_Record, tag=5, frozen=True):
    """Something else stands in the places of these messages."""

    room_id: RoomId
    kept: list[Kept]


class InvitesState(_Record, tag=6, frozen=True):
    """All invites of the room."""

    room_id: RoomId
    invites: list[Invite]


class RoomClosed(_Record, tag=4, frozen=True):
    """The room is over."""

    room_id: RoomId


Record = RoomState | UserState | Spoken | Replaced | InvitesState | RoomClosed


# Writing. -------------------------------------------------------------------------------------------------------


def all_of(room: Room) -> list[Record]:
    """Everything about the room, whatever was written before."""
    # In the order they left, as far as that is known; members last, as they came.
    outside = dict.fromkeys((*room.sessions.departed_users(), *room.known, *room.muted, *room.moderators))
    for user_id in room.members:
        outside.pop(user_id, None)
    return [
        _head(room, is_first=True),
        *([_invites(room)] if any(room.invites) else []),
        *(_user(room, user_id) for user_id in (*outside, *room.members)),
        _spoken(room, [], room.ring.entries()),
    ]


def changes_of(room: Room, unwritten: Unwritten) -> list[Record]:
    """What has changed."""
    records: list[Record] = []
    if unwritten.head:
        records.append(_head(room, is_first=False))
    if unwritten.invites:
        records.append(_invites(room))
    # What was said comes first: a user's record has it already, and replaces.
    kept = room.ring.unwritten()
    if kept or unwritten.said:
        records.append(_spoken(room, unwritten.said, kept))
    replaced = room.ring.replaced(unwritten.replaced)
    if replaced:
        records.append(Replaced(room.meta.room_id, replaced))
    records += [_user(room, user_id) for user_id in unwritten.users]
    return records


def _head(room: Room, *, is_first: bool) -> RoomState:
    rekeying = room.rekeying
    return RoomState(
        room.meta,
        is_first,
        room.seq,
        room.messages,
        room.data_volume,
        room.ring.mark,
        room.ring.last_seq,
        room.ring.cleared,
        room.empty_at,
        room.warning_at,
        list(room.bans),
        None if rekeying is None else RekeyingState(rekeying.seq, rekeying.epoch, rekeying.check, dict(rekeying.boxes)),
        room.was_joined,
        room.locked_at,
    )


def _invites(room: Room) -> InvitesState:
    return InvitesState(room.meta.room_id, list(room.invites))


def _user(room: Room, user_id: UserId) -> UserState:
    member = room.members.get(user_id)
    place, known = None, room.known.get(user_id)
    if member is not None:
        known = member.known
        place = Place(
            member.profile,
            member.joined_seq,
            member.joined_mark,
            member.address,
            member.sessions,
            room.away_since.get(user_id),
            [card.profile for card in member.other_cards],
            member.site,
        )
    sessions, muted = room.sessions, user_id in room.muted
    return UserState(
        room.meta.room_id,
        user_id,
        place,
        sessions.departed_of(user_id),
        muted,
        known or {},
        room.ring.author(user_id),
        sessions.departure_of(user_id),
        user_id in room.moderators,
    )


def _spoken(room: Room, said: list[tuple[UserId, bytes, Said]], kept: list[Kept]) -> Spoken:
    ring = room.ring
    return Spoken(room.meta.room_id, room.seq, room.messages, room.data_volume, ring.mark, ring.last_seq, said, kept)


# Reading. -------------------------------------------------------------------------------------------------------


class Draft:
    """What the records say of one room so far.

    Args:
        head: the first record of it.
    """

    def __init__(self, head: RoomState) -> None:
        self.head = head
        self.users: dict[UserId, UserState] = {}  # those outside in the order they left, those inside as they came
        self.kept: list[Kept] = []
        self.invites: list[Invite] = []
        self.counters = (head.seq, head.messages, head.data_volume, head.mark, head.last_seq)

    def take(self, record: RoomState | UserState | Spoken | Replaced | InvitesState) -> None:
        """The next record."""
        if isinstance(record, RoomState):
            self.head = record
            self.counters = (record.seq, record.messages, record.data_volume, record.mark, record.last_seq)
            self.kept = [entry for entry in self.kept if entry.mark > record.cleared]
        elif isinstance(record, UserState):
            self._take_user(record)
        elif isinstance(record, Replaced):
            by_mark = {entry.mark: entry for entry in record.kept}
            self.kept = [by_mark.get(entry.mark, entry) for entry in self.kept]
        elif isinstance(record, InvitesState):
            self.invites = record.invites
        else:
            self._take_spoken(record)

    def _take_user(self, record: UserState) -> None:
        before = self.users.get(record.user_id)
        if record.is_forgotten or (before is not None and (before.place is None) != (record.place is None)):
            self.users.pop(record.user_id, None)  # came or left, so is the last one now
        if not record.is_forgotten:
            self.users[record.user_id] = record

    def _take_spoken(self, record: Spoken) -> None:
        self.counters = (record.seq, record.messages, record.data_volume, record.mark, record.last_seq)
        for user_id, message_id, said in record.said:
            user = self.users.get(user_id)
            if user is not None:
                user.known.pop(message_id, None)
                user.known[message_id] = said
        if record.kept and self.kept and record.kept[0].mark != self.kept[-1].mark + 1:
            self.kept.clear()  # what came in between was dropped for its size before it was written
        self.kept += record.kept


def room_of(
    draft: Draft,
    graces: Graces,
    max_connections: int,
    ledger: Ledger,
    now: float,
    departed: DepartedSessions | None = None,
) -> Room:
    """The room that these records tell of; whoever was connected is away from `now` on."""
    head = draft.head
    room = Room(head.meta, graces, max_connections, ledger, departed)
    room.seq, room.messages, room.data_volume, mark, last_seq = draft.counters
    # Without the last ones, which were dropped for their size at once, the others are of no use.
    is_whole = room.ring.kept_s and draft.kept and draft.kept[-1].mark == mark
    room.ring.restore(draft.kept if is_whole else [], mark, last_seq)
    room.empty_at, room.warning_at, room.was_joined = head.empty_at, head.warning_at, head.was_joined
    room.bans.add(head.bans)
    room.invites = Invites(draft.invites)
    room.locked_at = head.locked_at
    if head.rekeying is not None:
        rekeying = head.rekeying
        room.rekeying = Rekeying(rekeying.seq, rekeying.epoch, rekeying.check, rekeying.boxes)
    away: dict[UserId, float] = {}
    for user in draft.users.values():
        _restore_user(room, user)
        if user.place is None:
            continue
        if user.place.away_since is None:
            away[user.user_id] = now
            ledger.user(room, user.user_id)  # else one more restart would have them away from then on only
        else:
            away[user.user_id] = user.place.away_since
    room.away_since = dict(sorted(away.items(), key=lambda item: item[1]))
    room.forget_ids(now)
    return room


def _restore_user(room: Room, user: UserState) -> None:
    user_id, place = user.user_id, user.place
    if user.muted:
        room.muted.add(user_id)
    if user.is_moderator:
        room.moderators.add(user_id)
    if user.author is not None:
        room.ring.keep_author(user_id, user.author)
    for digest in user.departed:
        room.sessions.add(digest, user_id)
    room.keep_sessions(user.departed, user.departure or Departure())
    if place is None:
        if user.known:
            room.known[user_id] = user.known
        return
    member = Member(
        user_id,
        is_owner=user_id == room.meta.owner_id,
        profile=place.profile,
        joined_seq=place.joined_seq,
        joined_mark=place.joined_mark,
    )
    member.address, member.site = place.address, place.site
    member.muted, member.is_moderator = user.muted, user.is_moderator
    _remember(member, user.known.items())
    _restore_cards(room, member, place)
    member.sessions = list(place.sessions)
    for digest in place.sessions:
        room.sessions.add(digest, user_id)
    room.members[user_id] = member


def _restore_cards(room: Room, member: Member, place: Place) -> None:
    """Restore the cards of a user whose messages may be missed. All of them: the last message may be under any."""
    last = member.last_said
    if room.is_sealed and last is not None:
        cards = (*place.other_cards, place.profile)
        room.set_cards(member, (Card(card, announced=True, said_at=last.at) for card in cards))


def _remember(member: Member, known: Iterable[tuple[bytes, Said]]) -> None:
    for message_id, said in known:
        member.remember(message_id, said)
