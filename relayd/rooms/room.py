"""A room: who is in it, the order of what is said in it, and when it ends.

Everything takes `now` (seconds, one clock for the whole daemon) as an argument and does no I/O; what must happen
outside is in what the methods return. The hub has one `Room` for each living room and is the only one to touch it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from relayd.errors import FieldProblem, InvalidFields, Locked, NoSuchRoom, NoSuchUser, OwnerOnly, RoomFull
from relayd.rooms.access import MAX_DEPARTED, Bans, Departure, Keys, Passes, Sessions
from relayd.rooms.departed import DepartedSessions
from relayd.rooms.expiry import next_warning
from relayd.rooms.invites import Invite, Invites
from relayd.rooms.ledger import Ledger
from relayd.rooms.limits import Allowance, Budgets
from relayd.rooms.member import MAX_CARDS, MAX_SESSIONS, REMEMBERED_S, Card, Connection, Member, Said, drop_old_ids
from relayd.rooms.meta import RoomMeta
from relayd.rooms.presence import PresenceLog
from relayd.rooms.ring import Kept, Ring
from relayd.rooms.seal import OPEN, Rekeying, card_epoch
from relayd.rooms.seats import seats_of
from relayd.rooms.slow_mode import LastMessages
from relayd.wire.ids import DIGEST_BYTES, Credential, RandomBytes, UserId, new_room_id, new_user_id
from relayd.wire.rest import RoomSettings

MIN_PLACE_KEPT_S = 10.0  # so that a reload of the page is no leaving, even where nothing is kept to resume


class Graces(NamedTuple):
    """How long a room without users waits, in seconds: after the last one left, and for the first one."""

    leave_s: float
    join_s: float


class Ticket(NamedTuple):
    """By what right somebody wants in. Digests only.

    Attributes:
        site: of the network around an IPv6 address; b"" for another one.
    """

    key: Credential | None
    session: Credential | None
    address: bytes
    site: bytes = b""


class Admission(NamedTuple):
    """Somebody is in: who, by which of the two roads, and which other connection had to go for it."""

    member: Member
    connection: Connection
    by_session: bool
    evicted: Connection | None


class Due(NamedTuple):
    """What the passing of time has brought.

    Attributes:
        gone: users whose place was not kept any longer.
        warning_s: seconds to the end, if its people are to be told now.
        over: why the room is over (`expired` or `empty`), or "".
    """

    gone: list[UserId]
    warning_s: int | None
    over: str


class Missed(NamedTuple):
    """What somebody who comes back has not heard.

    Attributes:
        recovered: nothing is lost for good.
        lost: how many messages are.
        frames: the others, in order.
    """

    recovered: bool
    lost: int
    frames: list[bytes]


class Room:
    """The rules of one room.

    Args:
        meta: replaced as a whole when the room is edited.
        graces: how long the room waits for people.
        max_connections: of one user; 0 means no limit.
        ledger: where changes are entered.
        departed: the sessions of users who have left, of all rooms.
    """

    def __init__(
        self,
        meta: RoomMeta,
        graces: Graces,
        max_connections: int,
        ledger: Ledger | None = None,
        departed: DepartedSessions | None = None,
    ) -> None:
        self._meta = meta
        self._departed = DepartedSessions() if departed is None else departed
        self._ledger = Ledger() if ledger is None else ledger
        self._graces = graces
        self._max_connections = max_connections
        self.members: dict[UserId, Member] = {}  # in the order they came
        self.with_other_cards: dict[UserId, None] = {}  # members whose `other_cards` are not empty
        self.gateways: dict[bytes, int] = {}  # how many of its connections each has
        self.connections = 0  # sockets in it
        self.seq = 0
        self.messages = 0
        self.data_volume = 0  # bytes of payload accepted
        self.presence = PresenceLog()
        self.allowance: Allowance | None = None
        self.budgets: Budgets | None = None  # with the first need
        self.ring = Ring(meta.settings.resume)
        self.rekeying: Rekeying | None = None  # the last one
        self.sessions = Sessions(self._departed)
        self.bans = Bans()
        self._passes = Passes()
        self.invites = Invites()
        self.muted: set[UserId] = set()  # also departed ones, as long as they can come back
        self.moderators: set[UserId] = set()  # the same
        self.locked_at: float | None = None  # seconds, when it was locked; None while it is not
        # Digests of the ids of what users said who have left since, in the order they left.
        self.known: dict[UserId, dict[bytes, Said]] = {}
        self.forget_ids_at: float | None = None  # when `advance` next drops ids that are too old; None: there are none
        self.away_since: dict[UserId, float] = {}  # in that order, as every place is kept equally long
        self._last_messages = LastMessages()
        self.slow_s = meta.settings.slow  # beside `meta`, as every message asks for it
        self.was_joined = False  # ever, by anyone
        self.empty_at: float | None = meta.created_at + graces.join_s
        self._paused_at: float | None = None  # since then no grace period runs; see `pause_graces`
        self.warning_at = next_warning(meta.lifetime, meta.created_at)

    @property
    def meta(self) -> RoomMeta:
        """What the registry keeps of it."""
        return self._meta

    @property
    def seats(self) -> int:
        """How many it uses of the server's."""
        return seats_of(len(self.members), self._meta.max_users)

    def seats_to_join(self, user_id: UserId) -> int:
        """How many seats more it would use with that user in it."""
        if user_id in self.members or len(self.members) >= self._meta.max_users:
            return 0  # has one, or is refused for another reason
        return seats_of(len(self.members) + 1, self._meta.max_users) - self.seats

    @property
    def keys(self) -> Keys:
        """Its keys' digests, to hold one against."""
        return Keys(self._meta.invite_digest, self._meta.owner_digest)

    def add_pass(self, digest: bytes, now: float) -> None:
        """The key with that digest lets one newcomer in."""
        self._passes.add(digest, now)

    def check_key(self, credential: Credential | None, now: float) -> None:
        """Accept what lets one look at the room: one of its keys, a pass, an invite, or the session of a user inside.

        Raises:
            NoSuchRoom: it is none of them.
        """
        if credential is not None and self.sessions.user_of(credential.digest) in self.members:
            return
        if not self._passes.has(credential, now) and self.invites.find(credential, now) is None:
            self.keys.is_owner(credential)

    def require_owner(self, credential: Credential | None, now: float) -> None:
        """Lets the owner key pass.

        Raises:
            OwnerOnly: it is the invite key, or that of an invite.
            NoSuchRoom: it is none of the room's keys.
        """
        if self.invites.find(credential, now) is not None:
            raise OwnerOnly
        self.keys.require_owner(credential)

    def add_invite(self, invite: Invite, now: float) -> None:
        """The key of that invite lets newcomers in.

        Raises:
            TooManyInvites: the room has as many as it may.
        """
        self.invites.add(invite, now)
        self._ledger.invites(self)

    def revoke_invite(self, invite_id: str, now: float) -> None:
        """That invite lets nobody in any more.

        Raises:
            NoSuchInvite: there is none, or it has ended.
        """
        self.invites.revoke(invite_id, now)
        self._ledger.invites(self)

    @property
    def sealing_epoch(self) -> int:
        """That of the sealing, to which everything said here must belong; `OPEN` if nothing is sealed."""
        seal = self._meta.seal
        return OPEN if seal is None else seal.epoch

    @property
    def is_sealed(self) -> bool:
        """Whether clients encrypt everything, profiles included."""
        return self._meta.seal is not None

    @property
    def place_kept_s(self) -> float:
        """How long a user without connection keeps the place."""
        return max(MIN_PLACE_KEPT_S, float(self._meta.settings.resume))

    def change(self, meta: RoomMeta, now: float) -> None:
        """The room was edited."""
        if meta.ends_at != self._meta.ends_at:
            self.warning_at = next_warning(meta.lifetime, now)
        if meta.users_leave and not self._meta.users_leave and not self.members:
            # Never sooner than it would have been all along: the people invited may still be on their way.
            self.empty_at = max(self.empty_at or 0.0, now + self._graces.leave_s)
        if meta.locked != self._meta.locked:
            self.locked_at = now if meta.locked else None
        self._meta = meta
        self.slow_s = meta.settings.slow
        self.ring.kept_s = meta.settings.resume
        self._ledger.head(self)

    # Coming in. -------------------------------------------------------------------------------------------------

    def identify(self, ticket: Ticket, new_user_id: Callable[[], UserId], now: float) -> tuple[UserId, bool]:
        """Who that is.

        Returns:
            The user id, and whether the session said so.

        Raises:
            NoSuchRoom: no session or key that fits, or a ban.
            Locked: the room is locked, and it is a newcomer without a pass, or one who was not in it at that time.
        """
        if ticket.session is not None:
            if ticket.session.digest in self.bans:
                raise NoSuchRoom
            known = self.sessions.user_of(ticket.session.digest)
            if known is not None and self._may_return(known):
                return known, True
            if known is not None and ticket.key is None:
                raise Locked
        if self._passes.has(ticket.key, now):
            return new_user_id(), False
        if self.invites.find(ticket.key, now) is None and self.keys.is_owner(ticket.key):
            return self._meta.owner_id, False
        if ticket.address in self.bans:
            raise NoSuchRoom
        if self._meta.locked:
            raise Locked
        return new_user_id(), False

    def must_wait(self, user_id: UserId, ticket: Ticket, now: float, *, by_session: bool) -> bool:
        """Whether somebody inside has to admit that user first: a newcomer without a pass, if the room has a lobby."""
        is_newcomer = not by_session and user_id != self._meta.owner_id
        return self._meta.settings.lobby and is_newcomer and not self._passes.has(ticket.key, now)

    def _may_return(self, user_id: UserId) -> bool:
        """Whether the user's session is good just now.

        A lock keeps out those who left before, or by their own choice. It does not keep out those who were in the room
        when it was locked and have lost the connection since, for however long: telephones sleep.
        """
        departure = self.sessions.departure_of(user_id)
        if not self._meta.locked or departure is None or user_id == self._meta.owner_id:
            return True
        # None: restored from a process that did not write it down.
        return departure.lost_at is not None and (self.locked_at is None or self.locked_at <= departure.lost_at)

    def admit(
        self, user_id: UserId, ticket: Ticket, profile: bytes | None, gateway: bytes, number: int, now: float
    ) -> Admission:
        """Gives the user a place, or one more connection.

        Args:
            user_id: from `identify`.
            profile: JSON text; None leaves the present one, or makes it empty. So does a muted user's: `may_show`.
            gateway, number: where the socket is.

        Raises:
            RoomFull: the user has no place, and none is free.
        """
        member = self.members.get(user_id)
        present = self._kept_profile(user_id) if member is None else member.profile
        if not self.may_show(user_id, present):
            profile = None
        if member is None:
            if len(self.members) >= self._meta.max_users:
                raise RoomFull
            self._spend(ticket, user_id)
            member = Member(
                user_id,
                is_owner=user_id == self._meta.owner_id,
                profile=profile or present,
                joined_seq=self.seq,
                joined_mark=self.ring.mark,
            )
            member.muted = user_id in self.muted
            member.is_moderator = user_id in self.moderators
            member.known = self.known.pop(user_id, None)
            member.is_newcomer = not member.is_owner and ticket.session is None
            self._restore_cards(member)
            self.members[user_id] = member
            self.was_joined = True
            if self.empty_at is not None:
                self.empty_at = None
                self._ledger.head(self)
            self.presence.join(user_id)
        else:
            if member.away:
                del self.away_since[user_id]
                self._looks_different(member)
            if profile is not None:
                self.set_profile(member, profile)
        evicted = None
        if self._max_connections and len(member.connections) >= self._max_connections:
            evicted = member.longest_idle()
            self._drop(evicted)
        connection = Connection(gateway, number, ticket.address, self, member, now)
        member.connections.append(connection)
        if profile is not None and self.is_sealed:
            self.show(connection, profile)
        member.address, member.site = ticket.address, ticket.site
        self.gateways[gateway] = self.gateways.get(gateway, 0) + 1
        self.connections += 1
        by_session = self._is_session_of(ticket, user_id)
        if by_session and ticket.session is not None:
            self.add_session(member, ticket.session.digest)
        self.presence.list_given()
        self._ledger.user(self, user_id)
        return Admission(member, connection, by_session, evicted)

    def _spend(self, ticket: Ticket, user_id: UserId) -> None:
        """A key has let a user in; of an invite, a newcomer only."""
        self._passes.spend(ticket.key)
        if not self._is_session_of(ticket, user_id) and self.invites.use(ticket.key):
            self._ledger.invites(self)

    def _is_session_of(self, ticket: Ticket, user_id: UserId) -> bool:
        return ticket.session is not None and self.sessions.user_of(ticket.session.digest) == user_id

    def readmit(
        self, user_id: UserId, gateway: bytes, number: int, address: bytes, active_at: float, card: bytes | None = None
    ) -> Connection:
        """A connection that a user of this room had all along, while the room itself was restored.

        Args:
            card: JSON text of its card, which is announced already; None if it has none.
        """
        member = self.members[user_id]
        self.away_since.pop(user_id, None)
        connection = Connection(gateway, number, address, self, member, active_at)
        if card is not None:
            connection.card = next((known for known in member.cards if known.profile == card), None)
            if connection.card is None:
                connection.card = Card(card, announced=True)
                self.set_cards(member, (*member.cards, connection.card))
        member.connections.append(connection)
        self.gateways[gateway] = self.gateways.get(gateway, 0) + 1
        self.connections += 1
        return connection

    def add_session(self, member: Member, digest: bytes) -> None:
        """From now on the session with that digest is this user; the oldest of too many is forgotten."""
        if digest not in member.sessions:
            member.sessions.append(digest)
        self.sessions.add(digest, member.user_id)
        if len(member.sessions) > MAX_SESSIONS:
            self.sessions.drop([member.sessions.pop(0)])
        self._ledger.user(self, member.user_id)

    # Going out. -------------------------------------------------------------------------------------------------

    def disconnect(self, connection: Connection, now: float) -> None:
        """A connection is lost. With the last one its user is away, the place kept for a while."""
        self._drop(connection)
        member = connection.member
        if member.away:
            self.away_since[member.user_id] = now
            self._looks_different(member)
            self._ledger.user(self, member.user_id)

    def leave(self, member: Member, now: float, *, lost: bool = False) -> list[Connection]:
        """The user gives up the place, and may come back by session.

        Args:
            lost: not by choice: the connection was lost for too long.

        Returns:
            The connections that are to be closed.
        """
        departure = Departure(_addresses_of(member), now if lost else None, member.profile if member.muted else b"")
        connections = list(member.connections)
        for connection in connections:
            self._drop(connection)
        self.away_since.pop(member.user_id, None)
        del self.members[member.user_id]
        self.with_other_cards.pop(member.user_id, None)
        self._ledger.user(self, member.user_id)
        self.keep_sessions(member.sessions, departure)
        self._keep_known(member, now)
        self.presence.leave(member.user_id)
        if not self.members:
            self.empty_at = now + self._graces.leave_s
            self._ledger.head(self)
        return connections

    def _forget_standing(self, user_id: UserId) -> None:
        """Drop mute and role of a user who cannot come back: by no session, and not by the owner key."""
        is_known = user_id in self.members or self.sessions.departure_of(user_id) is not None
        if not is_known and user_id != self._meta.owner_id:
            self.muted.discard(user_id)
            self.moderators.discard(user_id)

    def keep_sessions(self, digests: list[bytes], departure: Departure) -> None:
        """The user of these sessions has left, and can come back by them as long as they are remembered."""
        for forgotten in self.sessions.depart(digests, departure):
            self._forget_standing(forgotten)
            self._ledger.user(self, forgotten)
        self._departed.add(self, self.sessions.among_departed(digests))

    def forget_sessions(self) -> None:
        """Nobody who has left can come back."""
        for digest in list(self.sessions.departed()):
            self.sessions.forget_departed(digest)

    def forget_session(self, digest: bytes) -> None:
        """The user of that session, who has left, cannot come back by it."""
        user_id = self.sessions.forget_departed(digest)
        if user_id is not None:
            self._forget_standing(user_id)
            self._ledger.user(self, user_id)

    def _keep_known(self, member: Member, now: float) -> None:
        """What somebody said who lost the place, or left, is not said twice either if it comes again in time."""
        if member.known:
            self.known[member.user_id] = member.known
        for user_id, known in list(self.known.items()):
            latest = known[next(reversed(known))].at
            if len(self.known) <= MAX_DEPARTED and now - latest <= REMEMBERED_S:
                return
            del self.known[user_id]
            self._ledger.user(self, user_id)

    def forget_ids(self, now: float) -> None:
        """Drop the ids of messages that are too old, of everyone: those who are silent would keep them."""
        for member in self.members.values():
            if member.known:
                member.forget_ids(now)
        for user_id, known in list(self.known.items()):
            drop_old_ids(known, now)
            if not known:
                del self.known[user_id]
                self._ledger.user(self, user_id)
        has_ids = bool(self.known) or any(member.known for member in self.members.values())
        self.forget_ids_at = now + REMEMBERED_S if has_ids else None

    def kick(self, member: Member, *, ban: bool, now: float) -> list[Connection]:
        """The user is put out, and the session is worth nothing any more.

        Args:
            ban: also refuse those sessions and the addresses until the room ends.

        Returns:
            The connections that are to be closed.

        Raises:
            InvalidFields: that is the owner.
        """
        self._check_not_owner(member.user_id)
        addresses = _addresses_of(member)
        connections = self.leave(member, now)
        self._shut_out(member.user_id, member.sessions, addresses, ban=ban)
        return connections

    def ban_address(self, address: bytes) -> None:
        """Refuse newcomers from the address with that digest until the room ends."""
        self.bans.add([address])
        self._ledger.head(self)

    def kick_departed(self, user_id: UserId, *, ban: bool) -> None:
        """The same for a user who has left and could come back by session. What the user said stays the user's.

        Raises:
            NoSuchUser: nobody of that id has left, as far as that is remembered.
            InvalidFields: that is the owner.
        """
        self._check_not_owner(user_id)
        departure = self.sessions.departure_of(user_id)
        if departure is None:
            raise NoSuchUser
        self._shut_out(user_id, [*self.sessions.departed_of(user_id)], departure.addresses, ban=ban)

    def _shut_out(self, user_id: UserId, sessions: list[bytes], addresses: Iterable[bytes], *, ban: bool) -> None:
        if ban:
            self.bans.add([*sessions, *addresses])
            self._ledger.head(self)
        self.sessions.drop(sessions)
        self.muted.discard(user_id)
        self.moderators.discard(user_id)
        self._ledger.user(self, user_id)

    def _check_not_owner(self, user_id: UserId) -> None:
        if user_id == self._meta.owner_id:
            raise _wrong_user("is the owner, who cannot be put out; end the room instead")

    def _drop(self, connection: Connection) -> None:
        member, card = connection.member, connection.card
        member.connections.remove(connection)
        if card is not None and card.said_at is None:  # no message needs it
            self.set_cards(member, (one for one in member.cards if one is not card))
        self.connections -= 1
        self.gateways[connection.gateway] -= 1
        if not self.gateways[connection.gateway]:
            del self.gateways[connection.gateway]

    # Being there. -----------------------------------------------------------------------------------------------

    def member(self, user_id: str) -> Member:
        """The user with that id.

        Raises:
            NoSuchUser: nobody here has it.
        """
        member = self.members.get(UserId(user_id))
        if member is None:
            raise NoSuchUser
        return member

    def has_box(self, user_id: UserId) -> bool:
        """Whether the owner gave that user the keys of the present epoch."""
        return self.rekeying is not None and user_id in self.rekeying.boxes

    def known_users(self) -> set[UserId]:
        """Those who are here, and those who can come back as who they were."""
        return {*self.members, *self.sessions.departed_users()}

    @property
    def known_number(self) -> int:
        """How many `known_users` there are, at most: who came back by one of several sessions counts twice."""
        return len(self.members) + self.sessions.departed_number

    def show(self, connection: Connection, profile: bytes) -> None:
        """A connection sends a profile; in a sealed room it is the card of that connection."""
        member, before = connection.member, connection.card
        self.set_profile(member, profile)
        if not self.is_sealed:
            return
        card = Card(profile) if before is None else Card(profile, announced=before.announced, said_at=before.said_at)
        connection.card = card
        cards = [one for one in member.cards if one is not before]
        if len(cards) == MAX_CARDS:
            cards.remove(next((one for one in cards if not member.is_shown(one)), cards[0]))
        self.set_cards(member, (*cards, card))

    def set_cards(self, member: Member, cards: Iterable[Card]) -> None:
        """Replace the cards of a user; the newest is last."""
        member.cards = tuple(cards)
        if member.other_cards:
            self.with_other_cards[member.user_id] = None
        else:
            self.with_other_cards.pop(member.user_id, None)

    def _restore_cards(self, member: Member) -> None:
        """A user who has left comes again: members may still need the old cards."""
        author = self.ring.author(member.user_id)
        if author is not None:
            self.set_cards(member, (Card(card, announced=True, said_at=author.at) for card in author.cards))

    def drop_cards(self, member: Member, now: float) -> None:
        """Drop the cards of lost connections, except where a message of theirs may be missed, or waits for the card."""
        too_old = now - self.ring.kept_s

        def is_needed(card: Card) -> bool:
            may_be_missed = card.said_at is not None and (card.said_at > too_old or not card.announced)
            return may_be_missed or member.is_shown(card)

        self.set_cards(member, filter(is_needed, member.cards))

    def set_profile(self, member: Member, profile: bytes) -> None:
        """The user looks different from now on."""
        if member.profile != profile:
            member.profile = profile
            self._looks_different(member)
            self._ledger.user(self, member.user_id)

    def may_show(self, user_id: UserId, present: bytes) -> bool:
        """Whether the user may show a profile other than `present`: not while muted, as a nick says something, too.

        In a sealed room a muted user may show one card in each epoch: others need its key for direct messages and for
        the boxes of the next rekey.
        """
        return user_id not in self.muted or (self.is_sealed and card_epoch(present) != self.sealing_epoch)

    def _kept_profile(self, user_id: UserId) -> bytes:
        """JSON text: what a muted user comes back with; `{}` for everyone else."""
        departure = self.sessions.departure_of(user_id) if user_id in self.muted else None
        return (departure.profile if departure is not None else b"") or b"{}"

    def check_authority(self, member: Member, user_id: str) -> None:
        """Let pass what a member does to that user: the owner to everybody, a moderator to plain members.

        Raises:
            OwnerOnly: the member may not.
        """
        if not member.is_owner and (user_id == self._meta.owner_id or user_id in self.moderators):
            raise OwnerOnly("Only the owner may do that to a moderator, and nobody to the owner")

    def set_moderator(self, user_id: UserId, *, is_moderator: bool) -> None:
        """The user may keep order, or no more; coming back by session does not change that.

        Raises:
            NoSuchUser: nobody of that id is here, or has left and is remembered.
            InvalidFields: that is the owner.
        """
        if user_id == self._meta.owner_id:
            raise _wrong_user("is the owner, who may do all that and more")
        self._require_known(user_id)
        if (user_id in self.moderators) == is_moderator:
            return
        (self.moderators.add if is_moderator else self.moderators.discard)(user_id)
        member = self.members.get(user_id)
        if member is not None:
            member.is_moderator = is_moderator
            self._looks_different(member)
        self._ledger.user(self, user_id)

    def _require_known(self, user_id: UserId) -> None:
        if user_id not in self.members and self.sessions.departure_of(user_id) is None:
            raise NoSuchUser

    def set_muted(self, user_id: UserId, *, muted: bool) -> None:
        """The user may only listen; coming back by session does not change that, and it may be done meanwhile.

        Raises:
            NoSuchUser: nobody of that id is here, or has left and is remembered.
        """
        self._require_known(user_id)
        if (user_id in self.muted) == muted:
            return
        (self.muted.add if muted else self.muted.discard)(user_id)
        member = self.members.get(user_id)
        if member is not None:
            member.muted = muted
            self._looks_different(member)
        self._ledger.user(self, user_id)

    def _looks_different(self, member: Member) -> None:
        member.entry = None
        self.presence.change(member.user_id)

    def check_slow_mode(self, member: Member, now: float) -> None:
        """Let a message pass that does not come too soon after the last one of its user; for rooms with `slow_s`.

        Raises:
            SlowMode: with the time to wait. The owner and moderators need not.
        """
        if not member.may_moderate:
            self._last_messages.check(member.user_id, self.slow_s, now)

    def say(self, member: Member, message_id: bytes, size: int, *, direct: bool, now: float) -> Said:
        """Books a message that is not a repetition, and gives it its place in the order.

        If it changes `forget_ids_at`, `due_at` may be earlier than before.
        """
        if self.forget_ids_at is None:
            self.forget_ids_at = now + REMEMBERED_S
        said = self._count(size, direct=direct, now=now)
        member.remember(message_id, said)
        if self.slow_s:
            self._last_messages.note(member.user_id, self.slow_s, now, len(self.members))
        self._ledger.said(self, member.user_id, message_id, said)
        return said

    def say_from_outside(self, size: int, now: float) -> Said:
        """The same for what nobody in the room says."""
        self._ledger.head(self)
        return self._count(size, direct=False, now=now)

    def carry(self, size: int, *, enter: bool) -> None:
        """Books a chunk of a file; `enter` if the count is to be written down with it."""
        self.data_volume += size
        if enter:
            self._ledger.head(self)

    def _count(self, size: int, *, direct: bool, now: float) -> Said:
        if not direct:
            self.seq += 1
        self.messages += 1
        self.data_volume += size
        return Said(self.seq, direct, now)

    def take_place(self) -> int:
        """The next place in the order, for something about the room that has one, as messages have."""
        self.seq += 1
        self._ledger.head(self)
        return self.seq

    def rekey(self, epoch: int, check: str, boxes: Mapping[UserId, str]) -> Rekeying:
        """Begins an epoch of the sealing, which has its place in the order."""
        self.rekeying = Rekeying(self.take_place(), epoch, check, boxes)
        if self.invites.clear():  # their links have the secret of before
            self._ledger.invites(self)
        return self.rekeying

    def missed(self, member: Member, epoch: str, seq: int) -> Missed:
        """What the member has not heard since the message `seq` of `epoch`, as far as it is still kept.

        Nothing said before the member came, whoever asks: the ring is no transcript.
        """
        if epoch != self._meta.epoch or seq > self.seq:
            return Missed(recovered=False, lost=0, frames=[])
        first = max(self.ring.first_seq(), member.joined_seq + 1)
        lost = max(0, first - 1 - seq)
        kept = self.ring.since(seq, member.joined_mark, member.user_id)
        return Missed(lost == 0, lost, [self._frame(entry, member) for entry in kept])

    def _frame(self, entry: Kept, member: Member) -> bytes:
        if self.rekeying is not None and entry.seq == self.rekeying.seq and not entry.between:
            return self.rekeying.frame(member.user_id)
        return entry.frame

    # Time. ------------------------------------------------------------------------------------------------------

    def pause_graces(self, now: float) -> None:
        """Until `resume_graces` nobody loses a place for being away, and the room does not end for being empty.

        For a server that turns everybody away for a while: those who want to come back cannot.
        """
        if self._paused_at is None:
            self._paused_at = now

    def resume_graces(self, now: float) -> None:
        """The grace periods continue; the time since `pause_graces` does not count."""
        if self._paused_at is None:
            return
        paused_at, self._paused_at = self._paused_at, None
        for user_id, since in self.away_since.items():
            self.away_since[user_id] = since + now - max(since, paused_at)
            self._ledger.user(self, user_id)
        if self.empty_at is not None:
            self.empty_at += now - paused_at
        self._ledger.head(self)

    def due_at(self) -> float:
        """When `advance` has something to do next."""
        due = self._meta.ends_at
        if self.warning_at is not None:
            due = min(due, self.warning_at)
        if self.forget_ids_at is not None:
            due = min(due, self.forget_ids_at)
        if self._paused_at is not None:
            return due
        if self.away_since:
            due = min(due, next(iter(self.away_since.values())) + self.place_kept_s)
        if self.empty_at is not None and self._ends_when_empty:
            due = min(due, self.empty_at)
        return due

    def advance(self, now: float) -> Due:
        """Lets everything happen that is due."""
        gone: list[UserId] = []
        if self.forget_ids_at is not None and now >= self.forget_ids_at:
            self.forget_ids(now)
        while self.away_since and self._paused_at is None:
            user_id, since = next(iter(self.away_since.items()))
            if since + self.place_kept_s > now:
                break
            self.leave(self.members[user_id], since + self.place_kept_s, lost=True)
            gone.append(user_id)
        if now >= self._meta.ends_at:
            return Due(gone, None, "expired")
        if self._ends_when_empty and self.empty_at is not None and now >= self.empty_at:
            return Due(gone, None, "empty")
        warning_s = None
        if self.warning_at is not None and now >= self.warning_at:
            warning_s = round(self._meta.ends_at - now)
            self.warning_at = next_warning(self._meta.lifetime, now)
            self._ledger.head(self)
        return Due(gone, warning_s, "")

    @property
    def _ends_when_empty(self) -> bool:
        # A stranger's room that nobody joins is no meeting that is still to come, but takes seats and a name. Admins
        # may prepare a room hours before its meeting.
        is_unused = not self.was_joined and bool(self._meta.creator)
        return (self._meta.users_leave or is_unused) and not self.members and self._paused_at is None


def _wrong_user(reason: str) -> InvalidFields:
    return InvalidFields(f"user: {reason}", problems=(FieldProblem("user", reason),))


def _addresses_of(member: Member) -> tuple[bytes, ...]:
    """Digests of the addresses that the user was last seen at."""
    return tuple(dict.fromkeys((member.address, *(connection.address for connection in member.connections))))


def absent_room(random_bytes: RandomBytes) -> Room:
    """A room that no key fits. It stands for those that do not exist, so that their refusal takes equally long."""
    return Room(
        RoomMeta(
            room_id=new_room_id(random_bytes),
            name="",
            owner_id=new_user_id(random_bytes),
            owner_digest=random_bytes(DIGEST_BYTES),
            invite_digest=random_bytes(DIGEST_BYTES),
            max_users=0,
            users_leave=False,
            created_at=0,
            ends_at=0,
            locked=True,
            settings=RoomSettings(),
            epoch="",
        ),
        Graces(0, 0),
        max_connections=0,
    )
