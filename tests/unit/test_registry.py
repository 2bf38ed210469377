"""The registry against a dict: whatever is added, changed and removed, it finds the same."""

from __future__ import annotations

import uuid

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from relayd.errors import NameTaken
from relayd.registry.registry import Registry
from relayd.rooms.meta import RoomMeta
from relayd.wire.names import name_key
from relayd.wire.rest import RoomSettings

NAMES = st.sampled_from(
    ["Ann", "ann", "Straße", "STRASSE", "über", "u\u0308ber", "会議", "x'; DROP TABLE rooms; --", "%"]
)
TIMES = st.integers(0, 5).map(float) | st.floats(0, 2**40)
IDS = st.binary(min_size=1, max_size=1).map(lambda byte: byte * 16)


def meta(**fields) -> RoomMeta:
    values = {
        "room_id": uuid.uuid4().bytes,
        "name": uuid.uuid4().hex,
        "owner_id": "u_1",
        "owner_digest": b"\x00o",
        "invite_digest": b"i\xff",
        "max_users": 50,
        "users_leave": True,
        "created_at": 1.5,
        "ends_at": 2.5,
        "locked": False,
        "settings": RoomSettings(),
        "epoch": "e",
    }
    return RoomMeta(**{**values, **fields})


METAS = st.builds(
    meta,
    room_id=IDS,
    name=NAMES,
    max_users=st.integers(1, 2**31 - 1),
    users_leave=st.booleans(),
    created_at=TIMES,
    ends_at=TIMES,
    locked=st.booleans(),
    creator=st.lists(st.binary(min_size=16, max_size=16), max_size=2).map(tuple),
    settings=st.builds(RoomSettings, files=st.booleans(), resume=st.integers(0, 60)),
)


class RegistryMachine(RuleBasedStateMachine):
    rooms = Bundle("rooms")

    def __init__(self):
        super().__init__()
        self.registry = Registry()
        self.model: dict[bytes, tuple[RoomMeta, float]] = {}

    def _named(self, name: str) -> bytes | None:
        return next((i for i, (one, _) in self.model.items() if name_key(one.name) == name_key(name)), None)

    @rule(target=rooms, new=METAS, due_at=TIMES)
    def add(self, new, due_at):
        if self._named(new.name) is not None or new.room_id in self.model:
            with pytest.raises(NameTaken):
                self.registry.add(new, due_at)
        else:
            self.registry.add(new, due_at)
            self.model[new.room_id] = (new, due_at)
        return new.room_id

    @rule(room_id=rooms, new=METAS, due_at=TIMES)
    def change(self, room_id, new, due_at):
        new = msgspec.structs.replace(new, room_id=room_id)
        other = self._named(new.name)
        if room_id in self.model and other not in (None, room_id):
            with pytest.raises(NameTaken):
                self.registry.change(new, due_at)
            return
        self.registry.change(new, due_at)
        if room_id in self.model:
            self.model[room_id] = (new, due_at)

    @rule(room_id=consumes(rooms))
    def remove(self, room_id):
        self.registry.remove(room_id)
        self.model.pop(room_id, None)

    @rule(room_id=rooms, due_at=TIMES)
    def set_due(self, room_id, due_at):
        self.registry.set_due(room_id, due_at)
        if room_id in self.model:
            self.model[room_id] = (self.model[room_id][0], due_at)

    @rule(now=TIMES)
    def due(self, now):
        due = self.registry.due(now)
        assert set(due) == {room_id for room_id, (_, due_at) in self.model.items() if due_at <= now}
        times = [self.model[room_id][1] for room_id in due]
        assert times == sorted(times)

    @rule(low=IDS, high=IDS, most=st.integers(0, 3))
    def ids_between(self, low, high, most):
        meant = sorted(room_id for room_id in self.model if low <= room_id <= high)
        assert self.registry.ids_between(low, high, most) == meant[:most]

    @rule(room_id=rooms, name=NAMES)
    def find(self, room_id, name):
        assert self.registry.get(room_id) == self.model.get(room_id, (None, 0))[0]
        assert self.registry.id_of(name) == self._named(name)

    @invariant()
    def next_due(self):
        assert self.registry.next_due() == min((due_at for _, due_at in self.model.values()), default=None)

    @invariant()
    def everything(self):
        ordered = sorted((one for one, _ in self.model.values()), key=lambda one: (one.created_at, one.room_id))
        assert list(self.registry.all()) == ordered

    def teardown(self):
        self.registry.close()


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.fixture
def registry():
    one = Registry()
    yield one
    one.close()


def test_refused_name_changes_nothing(registry):
    first, second = meta(name="Ann"), meta(name="Bob")
    registry.add(first, 1.0)
    registry.add(second, 2.0)
    with pytest.raises(NameTaken):
        registry.change(meta(room_id=second.room_id, name="ANN", max_users=9), 7.0)
    assert registry.get(second.room_id) == second
    assert registry.due(2.0) == [first.room_id, second.room_id]


def test_room_may_keep_or_recase_its_own_name(registry):
    one = meta(name="Ann")
    registry.add(one, 1.0)
    registry.change(msgspec.structs.replace(one, name="ANN"), 1.0)
    assert registry.id_of("ann") == one.room_id


def test_name_is_free_again_when_its_room_is_gone(registry):
    one = meta(name="Ann")
    registry.add(one, 1.0)
    registry.remove(one.room_id)
    registry.add(meta(name="ann"), 1.0)


def test_two_registries_share_nothing():
    """In memory, and each its own."""
    first, second = Registry(), Registry()
    first.add(meta(name="Ann"), 1.0)
    assert second.id_of("Ann") is None
    second.add(meta(name="Ann"), 1.0)
    for one in (first, second):
        one.close()


def test_lookups_use_indexes(registry):
    """By id, by name, by due time: none looks at every row."""
    for clause in ("room_id = 1", "name_key = 1", "due_at <= 1 ORDER BY due_at", "room_id BETWEEN 1 AND 2"):
        (row, *_) = registry._execute(f"EXPLAIN QUERY PLAN SELECT room_id FROM rooms WHERE {clause}").fetchall()
        assert row[3].startswith("SEARCH"), (clause, row)
    (row,) = registry._execute("EXPLAIN QUERY PLAN SELECT min(due_at) FROM rooms").fetchall()
    assert "USING COVERING INDEX" in row[3]
