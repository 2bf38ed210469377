"""A room against a model of it, written from the protocol (sections 3 and 4) and from nothing else.

The model keeps plain numbers and names: who is inside since when, who is away until when, when the room ends. The
machine does what people and owners can do, lets time pass, and compares after each step.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from rules.people import BORN, GRACES, House, make_session

from relayd.errors import InvalidFields, Locked, NoSuchRoom, NoSuchUser, RoomFull
from relayd.rooms import state, view
from relayd.rooms.expiry import lifetime
from relayd.rooms.ledger import Ledger
from relayd.rooms.meta import changed_meta
from relayd.wire.rest import RoomSettings

ADDRESSES = st.sampled_from([b"a", b"b", b"c"])
EXPIRATIONS = st.one_of(st.just("usersLeave"), st.sampled_from([0.01, 0.1, 1, 24]), st.floats(0.001, 24))
MESSAGE_IDS = st.sampled_from([b"x", b"y", b"z"])
MAX_CONNECTIONS = 3
DAY = 86_400.0

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[state.Record]).decode
replace = msgspec.structs.replace


class Person:
    """What the model knows of one user."""

    def __init__(self, user_id: str, session: Any, address: bytes) -> None:
        self.id = user_id
        self.session = session
        self.address = address
        self.inside = True
        self.lost_at: float | None = None  # the last connection
        self.tabs: list[Any] = []
        self.said: dict[bytes, tuple[int, float]] = {}  # digest of a message id -> seq, and when
        self.looks: tuple[bytes, bool, bool] = (b"{}", False, False)  # profile, away, muted
        self.thrown_out = False
        self.gone_at: float | None = None  # when the place of a lost connection ended; None if left by choice
        self.left_looks = b"{}"  # what a muted user comes back with
        self.left_from: set[bytes] = set()  # addresses
        self.active: dict[int, float] = {}


class RoomMachine(RuleBasedStateMachine):
    """Rules are what can happen; `_settle` is what time alone does."""

    @initialize(
        expiration=EXPIRATIONS,
        most=st.integers(1, 4),
        resume=st.sampled_from([0, 10, 30, 60]),
        creator=st.sampled_from([(), (b"network",)]),
    )
    def create(self, expiration, most, resume, creator):
        self.now = BORN
        self.ledger = Ledger(is_kept=True)
        self.house = House(
            expiration,
            most=most,
            connections=MAX_CONNECTIONS,
            ledger=self.ledger,
            settings=RoomSettings(resume=resume),
            creator=creator,
        )
        self.is_strangers = bool(creator)
        self.forget_at: float | None = None
        self.room = self.house.room
        self.written = [encode(state.all_of(self.room))]
        self.most, self.resume, self.locked = most, resume, False
        self.locked_since: float | None = None
        self._set_lifetime(expiration)
        self.empty_since: float | None = None
        self.visited = False
        self.people: list[Person] = []  # all who ever were here, in the order they last came in
        self.banned: set[bytes] = set()
        self.seq = self.messages = self.volume = 0
        self.over = ""
        self.told: list[int] = []  # warnings since the end was last set
        self.observers: list[dict[str, tuple]] = []  # what those who listen from some moment on believe
        self.grace_floor = BORN  # an edit to `usersLeave` gives a grace from that moment

    # The model's own arithmetic. --------------------------------------------------------------------------------

    @property
    def inside(self) -> list[Person]:
        return [person for person in self.people if person.inside]

    def _set_lifetime(self, expiration):
        self.users_leave = expiration == "usersLeave"
        self.ends_at = BORN + (DAY if self.users_leave else expiration * 3600)
        self.warn_at = [self.ends_at - left for left in (300, 60) if self.ends_at - left > self.now]

    def _empty_end(self) -> float | None:
        is_unused = self.is_strangers and not self.visited
        if self.inside or not (self.users_leave or is_unused):
            return None
        end = BORN + GRACES.join_s if not self.visited else self.empty_since + GRACES.leave_s
        return max(end, self.grace_floor)

    def _kept_until(self, person: Person) -> float:
        return person.lost_at + max(10, self.resume)

    def _go(self, person: Person, when: float, *, lost: bool = False) -> None:
        person.gone_at = when if lost else None
        person.left_looks = person.looks[0] if person.looks[2] else b"{}"
        person.left_from = {person.address, *(tab.address for tab in person.tabs)}
        person.inside, person.lost_at, person.tabs = False, None, []
        if not self.inside:
            self.empty_since = when

    def _view(self) -> dict[str, tuple]:
        return {person.id: person.looks for person in self.inside}

    # Time. ------------------------------------------------------------------------------------------------------

    @rule(seconds=st.one_of(st.floats(0, 100), st.sampled_from([0.25, 10, 30, 59, 60, 240, 3600, 40_000])))
    def time_passes(self, seconds):
        """The hub wakes at each moment that is due, and at the end of the time."""
        until = self.now + seconds
        while not self.over and self.room.due_at() <= until:
            self.now = max(self.now, self.room.due_at())
            self._settle()
        self.now = until
        self._settle()

    @rule(seconds=st.floats(0, 1000))
    def hub_oversleeps(self, seconds):
        """Nothing is done in between; all of it happens now."""
        self.now += seconds
        self._settle()

    def _settle(self) -> None:
        if self.over:
            return
        gone = []
        waiting = sorted((p for p in self.inside if p.lost_at is not None), key=self._kept_until)
        for person in waiting:
            if self._kept_until(person) <= self.now:
                self._go(person, self._kept_until(person), lost=True)
                gone.append(person.id)
        empty_end = self._empty_end()
        if self.now >= self.ends_at:
            self.over = "expired"
        elif empty_end is not None and self.now >= empty_end:
            self.over = "empty"
        if self.forget_at is not None and self.now >= self.forget_at:
            self._forget_ids()
        due = self.room.advance(self.now)
        assert sorted(due.gone) == sorted(gone)
        assert due.over == self.over
        passed = [at for at in self.warn_at if at <= self.now]
        if passed and not self.over:
            assert due.warning_s == round(self.ends_at - self.now)
            self.warn_at = [at for at in self.warn_at if at > self.now]
        else:
            assert due.warning_s is None

    def _forget_ids(self) -> None:
        """Those of everyone who has not spoken for two minutes."""
        remembered = [at for person in self.people for _, at in person.said.values() if self.now - at <= 120]
        self.forget_at = self.now + 120 if remembered else None

    # Coming in. -------------------------------------------------------------------------------------------------

    def _admitted(self, person: Person, admission: Any, profile: bytes | None) -> None:
        assert admission.member.user_id == person.id
        if not person.inside:
            self.people.remove(person)
            self.people.append(person)
            person.inside = True
            person.looks = (person.left_looks if person.looks[2] else b"{}", False, person.looks[2])
        if profile is not None and not person.looks[2]:
            person.looks = (profile, *person.looks[1:])
        person.looks = (person.looks[0], False, person.looks[2])
        person.lost_at = None
        if len(person.tabs) == MAX_CONNECTIONS:
            longest = min(person.tabs, key=lambda tab: tab.active_at)
            assert admission.evicted is longest
            person.tabs.remove(longest)
        else:
            assert admission.evicted is None
        person.tabs.append(admission.connection)
        self.visited, self.empty_since = True, None
        self.observers.append(self._view())

    @precondition(lambda self: not self.over)
    @rule(address=ADDRESSES, profile=st.sampled_from([None, b'{"nick":"x"}', b'{"nick":"y"}']))
    def newcomer(self, address, profile):
        """By invite: always somebody new."""
        if address in self.banned:
            expected = NoSuchRoom
        elif self.locked:
            expected = Locked
        else:
            expected = RoomFull if len(self.inside) >= self.most else None
        if expected:
            with pytest.raises(expected):
                self.house.guest(self.now, address=address, profile=profile)
            return
        admission, session = self.house.guest(self.now, address=address, profile=profile)
        assert admission.member.user_id not in {person.id for person in self.people}
        assert not admission.by_session
        person = Person(admission.member.user_id, session, address)
        person.inside = False
        self.people.append(person)
        self._admitted(person, admission, profile)

    @precondition(lambda self: not self.over)
    @rule(address=ADDRESSES)
    def owner_comes(self, address):
        """By owner key: always the same user, whatever is locked or banned; but a full room is full."""
        owner = next((p for p in self.people if p.id == self.room.meta.owner_id), None)
        if (owner is None or not owner.inside) and len(self.inside) >= self.most:
            with pytest.raises(RoomFull):
                self.house.join(self.now, self.house.owner, address=address)
            return
        admission, session = self.house.join(self.now, self.house.owner, address=address)
        assert admission.member.is_owner
        if owner is None:
            owner = Person(admission.member.user_id, session, address)
            owner.inside = False
            self.people.append(owner)
        owner.address, owner.session = address, session  # of many sessions the oldest is forgotten
        self._admitted(owner, admission, None)

    @precondition(lambda self: not self.over and self.people)
    @rule(data=st.data(), address=ADDRESSES, with_key=st.booleans(), profile=st.sampled_from([None, b'{"nick":"w"}']))
    def session_returns(self, data, address, with_key, profile):
        """Another tab, a reconnect, or back after leaving: the same user, also where newcomers are refused.

        But while the room is locked, nobody who left before, or by choice. And the muted come back as they were.
        """
        person = data.draw(st.sampled_from(self.people))
        key = self.house.invite if with_key else None
        if person.thrown_out and not with_key:
            with pytest.raises(NoSuchRoom):
                self.house.join(self.now, None, person.session, address)
            return
        if person.thrown_out:
            return
        has_left = not person.inside and (person.gone_at is None or person.gone_at < (self.locked_since or 0))
        if self.locked and has_left and person.id != self.room.meta.owner_id:
            with pytest.raises(NoSuchRoom if with_key and address in self.banned else Locked):
                self.house.join(self.now, key, person.session, address)
            return
        if not person.inside and len(self.inside) >= self.most:
            with pytest.raises(RoomFull):
                self.house.join(self.now, key, person.session, address)
            return
        admission, _ = self.house.join(self.now, key, person.session, address, profile)
        assert admission.by_session
        person.address = address
        self._admitted(person, admission, profile)

    @precondition(lambda self: not self.over)
    @rule()
    def nobody_comes_without_right(self):
        for key, session in ((None, None), (None, make_session()), (make_session(), None)):
            with pytest.raises(NoSuchRoom):
                self.house.join(self.now, key, session)

    # Going out. -------------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.over and any(person.tabs for person in self.inside))
    @rule(data=st.data())
    def connection_is_lost(self, data):
        person = data.draw(st.sampled_from([person for person in self.inside if person.tabs]))
        tab = data.draw(st.sampled_from(person.tabs))
        self.room.disconnect(tab, self.now)
        person.tabs.remove(tab)
        if not person.tabs:
            person.lost_at = self.now
            person.looks = (person.looks[0], True, person.looks[2])

    @precondition(lambda self: not self.over and self.inside)
    @rule(data=st.data())
    def leaves(self, data):
        person = data.draw(st.sampled_from(self.inside))
        closed = self.room.leave(self.room.member(person.id), self.now)
        assert closed == person.tabs
        self._go(person, self.now)

    @precondition(lambda self: not self.over and self.inside)
    @rule(data=st.data(), ban=st.booleans())
    def kicked(self, data, ban):
        person = data.draw(st.sampled_from(self.inside))
        if person.id == self.room.meta.owner_id:
            with pytest.raises(InvalidFields):
                self.room.kick(self.room.member(person.id), ban=ban, now=self.now)
            return
        closed = self.room.kick(self.room.member(person.id), ban=ban, now=self.now)
        assert closed == person.tabs
        self._go(person, self.now)
        if ban:
            self.banned |= person.left_from
        person.thrown_out, person.looks = True, (*person.looks[:2], False)
        with pytest.raises(NoSuchUser):
            self.room.member(person.id)

    @precondition(lambda self: not self.over and any(not (p.inside or p.thrown_out) for p in self.people))
    @rule(data=st.data(), ban=st.booleans())
    def kicked_after_leaving(self, data, ban):
        """By the session nobody comes back then; with a ban, nobody new from the address either."""
        person = data.draw(st.sampled_from([one for one in self.people if not (one.inside or one.thrown_out)]))
        if person.id == self.room.meta.owner_id:
            with pytest.raises(InvalidFields):
                self.room.kick_departed(person.id, ban=ban)
            return
        self.room.kick_departed(person.id, ban=ban)
        if ban:
            self.banned |= person.left_from
        person.thrown_out, person.looks = True, (*person.looks[:2], False)
        with pytest.raises(NoSuchUser):
            self.room.kick_departed(person.id, ban=ban)

    # Being there. -----------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.over and any(person.tabs for person in self.inside))
    @rule(data=st.data(), message_id=MESSAGE_IDS, size=st.integers(0, 100), direct=st.booleans())
    def says(self, data, message_id, size, direct):
        """Numbers go up by one; what is said again within two minutes is not heard again."""
        person = data.draw(st.sampled_from([person for person in self.inside if person.tabs]))
        data.draw(st.sampled_from(person.tabs)).active_at = self.now
        member = self.room.member(person.id)
        before = member.said(message_id, self.now)
        remembered = person.said.get(message_id)
        if remembered is not None and self.now - remembered[1] <= 120:
            assert (before.seq, before.at) == remembered
            return
        assert before is None
        said = self.room.say(member, message_id, size, direct=direct, now=self.now)
        self.seq += not direct
        self.messages += 1
        self.volume += size
        assert said.seq == self.seq
        person.said[message_id] = (said.seq, self.now)
        if self.forget_at is None:
            self.forget_at = self.now + 120

    @precondition(lambda self: not self.over and self.people)
    @rule(data=st.data(), muted=st.booleans())
    def muted(self, data, muted):
        """Also somebody who has left."""
        person = data.draw(st.sampled_from(self.people))
        if person.thrown_out:
            with pytest.raises(NoSuchUser):
                self.room.set_muted(person.id, muted=muted)
            return
        self.room.set_muted(person.id, muted=muted)
        person.looks = (*person.looks[:2], muted)

    @precondition(lambda self: not self.over and self.inside)
    @rule(data=st.data(), profile=st.sampled_from([b"{}", b'{"nick":"z"}']))
    def looks_new(self, data, profile):
        person = data.draw(st.sampled_from(self.inside))
        self.room.set_profile(self.room.member(person.id), profile)
        person.looks = (profile, *person.looks[1:])

    # The owner's edits. -----------------------------------------------------------------------------------------

    @precondition(lambda self: not self.over)
    @rule(most=st.integers(1, 5), locked=st.booleans(), resume=st.sampled_from([0, 10, 45, 60]))
    def edited(self, most, locked, resume):
        """A smaller `max` throws nobody out; a shorter `resume` holds for those who are away already."""
        if locked != self.locked:
            self.locked_since = self.now if locked else None
        self.most, self.locked, self.resume = most, locked, resume
        meta = changed_meta(self.room.meta, max_users=most, locked=locked, settings=RoomSettings(resume=resume))
        self.room.change(meta, self.now)
        self._settle()

    @precondition(lambda self: not self.over)
    @rule(expiration=EXPIRATIONS)
    def given_another_end(self, expiration):
        try:
            life = lifetime(expiration, BORN, self.now)
        except InvalidFields:
            assert expiration != "usersLeave"
            assert BORN + expiration * 3600 <= self.now
            return
        if expiration == "usersLeave" and not self.users_leave:
            self.grace_floor = self.now + GRACES.leave_s if not self.inside else BORN
        before, told = self.ends_at, self.warn_at
        self._set_lifetime(expiration)
        self.warn_at = told if self.ends_at == before else self.warn_at
        meta = changed_meta(self.room.meta, ends_at=life.ends_at, users_leave=life.users_leave)
        self.room.change(meta, self.now)

    # Another process. -------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.over)
    @rule(anew=st.booleans())
    def goes_on_elsewhere(self, anew):
        """The room made of what was written is the same, but for connections: whoever had one is away from now on."""
        self.room.forget_ids(self.now)
        self._forget_ids()
        before = decode(encode(state.all_of(self.room)))
        if anew:
            self.written = [encode(before)]
        first, *others = (record for records in self.written for record in decode(records))
        draft = state.Draft(first)
        for record in others:
            draft.take(record)
        room = state.room_of(draft, GRACES, MAX_CONNECTIONS, self.ledger, self.now)
        assert decode(encode(state.all_of(room))) == [self._away(record) for record in before]
        self.room = self.house.room = room
        for person in self.inside:
            if person.lost_at is None:
                person.lost_at, person.tabs = self.now, []
                person.looks = (person.looks[0], True, person.looks[2])
        self.observers.clear()

    def _away(self, record):
        if not isinstance(record, state.UserState) or record.place is None or record.place.away_since is not None:
            return record
        return replace(record, place=replace(record.place, away_since=self.now))

    @invariant()
    def what_has_changed_is_written(self):
        """As the hub does with each turn."""
        if hasattr(self, "room"):
            for room, unwritten in self.ledger.take()[0].items():
                self.written.append(encode(state.changes_of(room, unwritten)))

    # What is told to others, and what must always hold. ---------------------------------------------------------

    @precondition(lambda self: not self.over)
    @rule()
    def presence_is_told(self):
        """Everyone who listens, from whatever moment on, believes the truth afterwards."""
        changes, view = self.room.presence.take(), self._view()
        for observer in self.observers:
            for user_id in changes.left:
                observer.pop(user_id, None)
            assert set(changes.changed) <= set(observer)
            for user_id in (*changes.joined, *changes.changed):
                observer[user_id] = view[user_id]
            assert observer == view

    @invariant()
    def counts_are_exact(self):
        if not hasattr(self, "room") or self.over:
            return
        details = view.details(self.room, self.now)
        assert details.users == len(self.inside)
        assert details.connections == sum(len(person.tabs) for person in self.inside)
        assert (details.messages, details.data_volume) == (self.messages, self.volume)
        assert (details.max, details.locked, details.settings.resume) == (self.most, self.locked, self.resume)
        assert self.room.seq == self.seq
        users = view.users(self.room, most=100)
        assert [user.id for user in users] == [person.id for person in self.inside]
        assert [(bytes(user.profile), user.away, user.muted) for user in users] == [p.looks for p in self.inside]
        assert [user.role == "owner" for user in users] == [p.id == details.owner_id for p in self.inside]

    @invariant()
    def next_moment_is_never_too_late(self):
        """The hub sleeps until `due_at`: whatever is to happen must not be earlier."""
        if not hasattr(self, "room") or self.over:
            return
        moments = [self.ends_at, *self.warn_at, *(self._kept_until(p) for p in self.inside if p.lost_at is not None)]
        if (end := self._empty_end()) is not None:
            moments.append(end)
        if self.forget_at is not None:
            moments.append(self.forget_at)
        assert self.room.due_at() == pytest.approx(min(moments), abs=1e-6)

    def teardown(self):
        if hasattr(self, "room") and not self.over:
            self.presence_is_told()


TestRoom = RoomMachine.TestCase
TestRoom.settings = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
