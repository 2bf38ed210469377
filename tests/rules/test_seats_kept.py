"""The hub's count of rooms and seats, against counting them: through whatever people, owners, admins and time do."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from rules.people import BORN, fixed_bytes

from relayd.bus.messages import Batch, Gone, Join, Leave
from relayd.errors import RelayError
from relayd.hub.files import Files
from relayd.hub.outgoing import Outgoing
from relayd.hub.service import RoomService
from relayd.hub.talk import Talk
from relayd.registry.registry import Registry
from relayd.rooms import seats, state
from relayd.rooms.digests import Digests
from relayd.rooms.ledger import Ledger
from relayd.settings import Limits, Rooms, Settings
from relayd.wire import ids
from relayd.wire.rest import CreateRoom, EditRoom

ADDRESSES = ["192.0.2.1", "2001:db8::1", "2001:db8:0:1::1", None]
GATEWAYS = [b"one", b"two"]
EXPIRATIONS = st.sampled_from(["usersLeave", 0.05])
FLOOR = 2  # so that a few people pass it
SETTINGS = Settings(
    limits=Limits(max_rooms=12, max_places=20, address_share=0.25, max_departed_sessions=5, join_rate=0),
    rooms=Rooms(resume=10, leave_grace=20, join_grace=30, max=3),
)


class Hub:
    """What of the hub has to do with rooms and people."""

    def __init__(self) -> None:
        self.registry = Registry()
        outgoing = Outgoing(lambda topic, event: None, lambda: 0.0)
        self.service = RoomService(SETTINGS, self.registry, outgoing, fixed_bytes, lambda: None, Ledger(is_kept=True))
        self.talk = Talk(self.service, outgoing, Files(self.service, outgoing, lambda *chunk: True), fixed_bytes)


class SeatMachine(RuleBasedStateMachine):
    @initialize()
    def start(self):
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(seats, "GUARANTEED_SEATS", FLOOR)
        self.now = BORN
        self.hub = Hub()
        self.numbers = itertools.count(1)
        self.keys: dict[bytes, str] = {}

    @property
    def service(self) -> RoomService:
        return self.hub.service

    def _room(self, data):
        return data.draw(st.sampled_from(list(self.service.rooms.values())))

    @rule(
        address=st.sampled_from(ADDRESSES),
        most=st.sampled_from([1, 3, 8]),
        expiration=EXPIRATIONS,
    )
    def create(self, address, most, expiration):
        try:
            made = self.service.create(
                CreateRoom(max=most, expiration_date=expiration), self.now, address=address, take_name=False
            )
        except RelayError:
            return
        self.keys[ids.parse_room_id(made.id)] = made.invite_key

    @precondition(lambda self: self.service.rooms)
    @rule(data=st.data(), gateway=st.sampled_from(GATEWAYS), count=st.integers(1, 6))
    def join(self, data, gateway, count):
        room = self._room(data)
        key, users_before = self.keys[room.meta.room_id], len(room.members)
        seats_before = self.service.occupancy.seats
        held_before = [self.service.occupancy.seats_held(network) for network in room.meta.creator]
        items = [
            Join(next(self.numbers), room.meta.room_id, "192.0.2.9", key, "", "", None, "", 0) for _ in range(count)
        ]
        self.hub.talk.hear(Batch(gateway, items), self.now)
        guaranteed = min(room.meta.max_users, FLOOR)
        assert len(room.members) >= min(users_before + count, guaranteed)
        if room.meta.creator:
            assert self.service.occupancy.seats <= max(20, seats_before)
            for network, most, before in zip(room.meta.creator, (5, 20), held_before, strict=False):
                assert self.service.occupancy.seats_held(network) <= max(most, before)

    @precondition(lambda self: self.service.connections)
    @rule(data=st.data(), what=st.sampled_from([Leave, Gone]))
    def goes(self, data, what):
        gateway, number = data.draw(st.sampled_from(list(self.service.connections)))
        self.hub.talk.hear(Batch(gateway, [what(number)]), self.now)

    @precondition(lambda self: self.service.connections)
    @rule(data=st.data())
    def kick(self, data):
        connection = data.draw(st.sampled_from(list(self.service.connections.values())))
        self.service.kick(connection.room, connection.member.user_id, ban=False, now=self.now)

    @precondition(lambda self: self.service.rooms)
    @rule(data=st.data(), most=st.integers(1, 8), is_admin=st.booleans())
    def edit(self, data, most, is_admin):
        room, before = self._room(data), None
        try:
            before = self.service.occupancy.seats
            self.service.edit(room, EditRoom(max=most), self.now, is_admin=is_admin)
        except RelayError:
            assert self.service.occupancy.seats == before

    @precondition(lambda self: self.service.rooms)
    @rule(data=st.data())
    def terminate(self, data):
        self.service.terminate(self._room(data), "terminated")

    @rule(gateway=st.sampled_from(GATEWAYS))
    def lose_gateway(self, gateway):
        self.service.lose_gateway(gateway, self.now)
        self.service.lost_gateways.clear()

    @rule(seconds=st.sampled_from([1, 11, 31, 61]))
    def time_passes(self, seconds):
        self.now += seconds
        self.service.advance(self.now)

    @rule()
    def restart(self):
        """Another process has the rooms: by what was written down, people are away."""
        before, self.hub = self.hub.service, Hub()
        self.service.digests = Digests(before.digests.key)
        for room in before.rooms.values():
            first, *others = state.all_of(room)
            draft = state.Draft(first)
            for record in others:
                draft.take(record)
            self.service.restore(draft, self.now)
        assert self.service.occupancy.seats == before.occupancy.seats

    @invariant()
    def sums_are_exact(self):
        if not hasattr(self, "hub"):
            return
        rooms, occupancy = self.service.rooms.values(), self.service.occupancy
        assert occupancy.rooms == len(rooms)
        assert occupancy.seats == sum(max(len(room.members), min(room.meta.max_users, FLOOR)) for room in rooms)
        held: Counter[bytes] = Counter()
        for room in rooms:
            held.update(dict.fromkeys(room.meta.creator, room.seats))
        assert {network: occupancy.seats_held(network) for network in occupancy._by_network} == held

    @invariant()
    def departed_sessions_are_exact(self):
        if not hasattr(self, "hub"):
            return
        departed = self.service._departed
        meant = {digest: room for room in self.service.rooms.values() for digest in room.sessions.departed()}
        assert departed._rooms == meant
        assert len(departed) <= 5
        assert departed._held == Counter(room.meta.creator[-1:] for room in meant.values())

    def teardown(self):
        if hasattr(self, "patch"):
            self.patch.undo()


TestSeats = SeatMachine.TestCase
TestSeats.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
