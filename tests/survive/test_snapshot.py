"""What is written down of rooms: all that counts, bounded in size and age; and nothing that is not understood."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os

import msgspec
import pytest
from rules.people import BORN, GRACES, House, fixed_bytes

from relayd.hub import memlog, snapshot
from relayd.hub.memlog import MemoryLog, Unreadable
from relayd.hub.snapshot import SLACK_BYTES, TURNOVER_S, Counters, Snapshot
from relayd.rooms import state
from relayd.rooms.ledger import Ledger
from relayd.rooms.ring import Rings

WRITTEN = (2, "d3d2c04808e0362c")  # a version, and the digest of the schema of what it writes
NOTHING = Counters(0, 0, 0, b"salt")


class Hub:
    """The hub's part: a turn is something said, then written."""

    def __init__(self, log: MemoryLog, rooms: int) -> None:
        self.log = log
        self.ledger = Ledger(is_kept=True)
        self.houses = [House(most=5, ledger=self.ledger) for _ in range(rooms)]
        self.rooms = {house.room.meta.room_id: house.room for house in self.houses}
        self.snapshot = Snapshot(log, self.ledger, {})
        self.rings = Rings(0)
        self.members = []
        for house in self.houses:
            self.ledger.head(house.room)
            self.members.append(house.guest(BORN)[0].member)
        self.snapshot.write(NOTHING, BORN)

    def say(self, index: int, size: int, now: float) -> None:
        room, member = self.houses[index].room, self.members[index]
        said = room.say(member, fixed_bytes(8), size, direct=False, now=now)
        self.rings.add(room.ring, said.seq, b"%d" % said.seq * size, now)
        self.snapshot.write(NOTHING, now)

    def check(self, now: float) -> None:
        """What can be read is what is there."""
        with contextlib.closing(MemoryLog.open(os.dup(self.log.fd))) as log:
            kept = snapshot.read(log, now)
        assert set(kept.drafts) == set(self.rooms)
        for room_id, draft in kept.drafts.items():
            room = state.room_of(draft, GRACES, 8, Ledger(), now)
            ours = self.rooms[room_id]
            room.ring.expire(now)
            self.rings.expire(ours.ring, now)
            assert (room.seq, room.messages, room.data_volume) == (ours.seq, ours.messages, ours.data_volume)
            for at in range(max(0, ours.seq - 50), ours.seq + 1):
                member, other = next(iter(ours.members.values())), next(iter(room.members.values()))
                assert room.missed(other, "e", at) == ours.missed(member, "e", at)


def contents(log: MemoryLog) -> bytes:
    """All bytes of its file."""
    return os.pread(log.fd, os.fstat(log.fd).st_size, 0)


@pytest.fixture
def log():
    with contextlib.closing(MemoryLog.new(0.0)) as log:
        yield log


def test_the_log_is_bounded(log):
    """However much is said: twice what lives, and some slack."""
    hub, now = Hub(log, 20), BORN
    for turn in range(600):
        now += 0.01
        hub.say(turn % 7, 20_000, now)
        if turn % 10 == 9:
            hub.snapshot.tidy(hub.rooms, NOTHING, now)
    live = sum(room.ring.size for room in hub.rooms.values())
    assert log.head > 24_000_000
    assert log.head - log.tail < SLACK_BYTES + 3 * live
    assert os.fstat(log.fd).st_blocks * 512 < SLACK_BYTES + 3 * live + 8 * 2**20
    hub.check(now)


def test_nothing_in_the_log_is_old(log):
    """Also where little happens: after two turnovers what was said before them is nowhere."""
    hub = Hub(log, 30)
    hub.say(3, 10, BORN + 1)
    now, before = BORN + 1, log.head
    while now < BORN + 2 * TURNOVER_S + 2:
        now += snapshot.TIDY_S
        hub.rings.advance(now)
        hub.snapshot.tidy(hub.rooms, NOTHING, now)
    assert log.tail >= before
    hub.check(now)


def test_old_messages_are_overwritten_while_their_room_lives(log):
    """An idle server holds no text of what was said two turnovers ago, though nothing else is ever written."""
    hub = Hub(log, 1)
    hub.say(0, 10, BORN + 1)
    now, text = BORN + 1, b"1" * 10
    assert text in contents(log)
    while now < BORN + 2 * TURNOVER_S + 2:
        now += snapshot.TIDY_S
        hub.rings.advance(now)
        hub.snapshot.tidy(hub.rooms, NOTHING, now)
    assert text not in contents(log)
    hub.check(now)


def test_turns_of_many_kinds_can_be_read(log):
    """Rooms that come and go, rings that are emptied, messages too large to be kept with others."""
    hub, now = Hub(log, 5), BORN
    for turn in range(200):
        now += 0.5
        hub.say(turn % 5, 30_000 if turn % 3 else 10, now)
        hub.rings.advance(now)
        if turn % 50 == 20:
            hub.rings.clear(hub.houses[turn % 5].room.ring)
            hub.ledger.head(hub.houses[turn % 5].room)
            hub.snapshot.write(NOTHING, now)
        if turn % 20 == 0:
            hub.snapshot.tidy(hub.rooms, NOTHING, now)
        hub.check(now)
    gone = hub.houses[0].room
    del hub.rooms[gone.meta.room_id]
    hub.ledger.close(gone)
    hub.snapshot.write(NOTHING, now)
    hub.check(now)


def test_whole_frames_that_are_not_understood(log):
    """From a relayd that writes other records under the same version: that is damage, too."""
    for payload in (b"", b"\xc1", msgspec.msgpack.encode([1, 2]), msgspec.msgpack.encode([[0, 0, 0, b""], [[9, b""]]])):
        with contextlib.closing(MemoryLog.new(0.0)) as other:
            other.append(payload)
            other.commit()
            with pytest.raises(Unreadable, match="not understood"):
                snapshot.read(other, BORN)


def test_a_change_of_what_is_written_has_a_version_of_its_own():
    """The next relayd reads what this one has written. If this fails: see memlog.VERSION, and put both here."""
    schema = json.dumps(msgspec.json.schema(snapshot.Turn), sort_keys=True)
    assert (memlog.VERSION, hashlib.sha256(schema.encode()).hexdigest()[:16]) == WRITTEN


def test_fields_that_were_added_are_not_needed():
    """Records of a relayd that did not know them are read; and one that does not know them passes over them."""

    class Place(msgspec.Struct, array_like=True):
        profile: bytes

    place = state.Place(b"{}", 0, 0, b"", [], None, [b"card"])
    user = state.UserState(bytes(16), "u", place, [], False, {})
    fields = msgspec.to_builtins(user, builtin_types=(bytes,))
    written = msgspec.msgpack.encode([*fields[:3], fields[3][:6], *fields[4:7]])
    read = msgspec.msgpack.decode(written, type=state.UserState)
    assert (read.place.other_cards, read.author, read.departure) == ([], None, None)
    head = msgspec.to_builtins(state.all_of(House().room)[0], builtin_types=(bytes,))
    written = msgspec.msgpack.encode(head[:-1])
    assert msgspec.msgpack.decode(written, type=state.RoomState).locked_at is None
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(place), type=Place).profile == b"{}"


def test_records_do_not_show_what_is_in_them():
    house = House()
    admission, _ = house.guest(BORN, profile=b'{"nick":"secret"}')
    house.room.say(admission.member, b"secret", 1, direct=False, now=BORN)
    assert "secret" not in repr(state.all_of(house.room))
