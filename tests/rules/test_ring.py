"""The ring against a list of all that was said: it gives exactly what is young enough, fits, and concerns the user."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.people import BORN, House

from relayd.rooms import view
from relayd.rooms.member import MAX_SESSIONS
from relayd.rooms.ring import MAX_AUTHORS, MAX_BYTES, MAX_MESSAGES, Author, Ring, Rings
from relayd.rooms.room import Missed
from relayd.wire.ids import UserId

USERS = st.sampled_from(["a", "b", "c"])
SAID = st.tuples(
    st.integers(0, 160).map(lambda quarters: quarters / 4), st.none() | st.tuples(USERS, USERS), st.integers(0, 90_000)
)


@given(st.lists(SAID, max_size=30), st.sampled_from([0, 10, 60]), USERS, st.integers(0, 31), st.integers(0, 31))
def test_since_is_what_was_missed(said, kept_s, user_id, since, joined_mark):
    ring, now, seq, told = Ring(kept_s), 0.0, 0, []
    for mark, (pause, between, size) in enumerate(said, 1):
        now += pause
        seq += between is None
        frame = b"%d " % mark + bytes(size)
        ring.add(seq, frame, now, between or ())
        told.append((mark, seq, now, between or (), frame))
    kept = [one for one in told if kept_s and one[2] + kept_s > now]
    while sum(len(one[4]) for one in kept) > MAX_BYTES:
        kept = kept[1:]
    meant = [
        frame
        for mark, place, _, between, frame in kept
        if mark > joined_mark and (user_id in between and place >= since if between else place > since)
    ]
    assert [entry.frame for entry in ring.since(since, joined_mark, user_id)] == meant
    assert ring.size == sum(len(one[4]) for one in kept)
    assert ring.first_seq() == next((one[1] for one in kept if not one[3]), seq + 1)
    assert (ring.mark, ring.last_seq) == (len(said), seq)


def test_number_of_messages_is_bounded():
    ring = Ring(60)
    for seq in range(1, MAX_MESSAGES + 3):
        ring.add(seq, b"x", 0.0)
    assert ring.first_seq() == 3
    assert ring.size == MAX_MESSAGES


def author(joined_seq, last_seq, at):
    return Author(b"%d" % last_seq, joined_seq, last_seq, at)


def test_authors_are_kept_as_long_as_their_words():
    """Told are those who came after the seq that was heard last; where nothing is kept, nobody is."""
    ring = Ring(10)
    ring.keep_author("nobody", author(0, 0, 0.0))
    assert ring.strangers(0) == {}
    for seq, name in enumerate("abc", 1):
        ring.add(seq, b"x", float(seq))
        ring.keep_author(name, author(seq - 1, seq, float(seq)))
    ring.keep_author("old", author(0, 3, 3.0))
    assert list(ring.strangers(0)) == ["a", "b", "c", "old"]
    assert ring.strangers(1) == {"b": b"2", "c": b"3"}
    assert list(ring.strangers(3)) == []
    assert ring.size == 3 * len(b"x") + 4 * len(b"1")
    ring.expire(11.0)
    assert list(ring.strangers(0)) == ["b", "c", "old"]
    ring.keep_author("b", author(1, 2, 3.0))
    assert list(ring.strangers(1)) == ["c", "b"]
    ring.expire(13.0)
    assert (ring.strangers(0), ring.size) == ({}, 0)
    ring.add(4, b"x", 14.0)
    for name in range(MAX_AUTHORS + 1):
        ring.keep_author(str(name), author(3, 4, 14.0))
    assert list(ring.strangers(3)) == [str(name) for name in range(1, MAX_AUTHORS + 1)]
    assert ring.size == len(b"x") + MAX_AUTHORS * len(b"4")
    ring.clear()
    assert (ring.strangers(3), ring.size) == ({}, 0)
    rings = Rings(0)
    rings.add(ring, 5, b"x", 15.0)
    rings.keep_author(ring, "d", author(4, 5, 15.0))
    assert rings.size == ring.size == 2
    rings.advance(25.0)
    assert rings.size == ring.size == 0


def test_replaced_messages():
    """Something else comes in their place, what is kept is counted right, and nothing else is replaced."""
    ring, rings = Ring(60), Rings(0)
    rings.add(ring, 1, b'{"type":"message","seq":1}', 0.0)
    rings.add(ring, 1, b'{"type":"message","after":1}', 0.0, (UserId("u_1"), UserId("u_2")))
    rings.add(ring, 2, b'{"type":"room","event":"rekeyed"}', 0.0)
    assert rings.replace(ring, 1, b"gone")
    assert not rings.replace(ring, 2, b"gone")
    assert not rings.replace(ring, 3, b"gone")
    assert [(entry.mark, entry.seq, entry.frame) for entry in ring.entries()] == [
        (1, 1, b"gone"),
        (2, 1, b'{"type":"message","after":1}'),
        (3, 2, b'{"type":"room","event":"rekeyed"}'),
    ]
    assert ring.size == rings.size == sum(len(entry.frame) for entry in ring.entries())
    assert not rings.replace(ring, 1, b"again")
    assert [entry.frame for entry in ring.replaced([1, 9])] == [b"gone"]


def test_expiry_is_exact():
    ring = Ring(10)
    ring.add(1, b"x", 5.0)
    ring.add(2, b"x", 6.0)
    assert ring.expire(14.9) == 15.0
    assert ring.expire(15.0) == 16.0
    assert ring.first_seq() == 2
    assert ring.expire(16.0) is None
    assert (ring.size, ring.first_seq()) == (0, 3)


def test_cleared_ring_holds_nothing_and_goes_on():
    ring = Ring(10)
    ring.add(1, b"x", 5.0)
    ring.clear()
    assert (ring.size, ring.since(0, 0, "a"), ring.first_seq()) == (0, [], 2)
    ring.add(2, b"y", 5.0)
    assert [entry.frame for entry in ring.since(0, 0, "a")] == [b"y"]


# All rings together. --------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 30), st.integers(0, 400)), max_size=40))
def test_rings_are_bounded_together_and_emptied_in_time(said):
    """The sum is exact, never past the bound, and a room in which nothing more is said is emptied too."""
    rings, all_of_them, now = Rings(1000), [Ring(10), Ring(30), Ring(0)], 0.0
    for seq, (number, pause, size) in enumerate(said, 1):
        now += pause
        rings.advance(now)
        rings.add(all_of_them[number], seq, bytes(size), now)
        assert rings.size == sum(ring.size for ring in all_of_them) <= 1000
        assert rings.next_due() is not None or rings.size == 0
    while (due := rings.next_due()) is not None:
        assert due <= now + 32
        rings.advance(due)
    assert rings.size == 0
    assert [ring.size for ring in all_of_them] == [0, 0, 0]


def test_largest_ring_goes_first():
    rings, large, small = Rings(100), Ring(60), Ring(60)
    rings.add(large, 1, bytes(60), 0.0)
    rings.add(small, 1, bytes(30), 0.0)
    rings.add(small, 2, bytes(20), 0.0)
    assert (large.size, small.size, rings.size) == (0, 50, 50)


def test_rings_without_bound():
    rings, ring = Rings(0), Ring(60)
    rings.add(ring, 1, bytes(10**5), 0.0)
    assert rings.size == 10**5
    rings.clear(ring)
    assert rings.size == 0


# Who comes back to a room. --------------------------------------------------------------------------------------


def said_in(house: House, count: int, now: float) -> None:
    member = next(iter(house.room.members.values()))
    for number in range(count):
        said = house.room.say(member, f"{now} {number}", 1, direct=False, now=now)
        house.room.ring.add(said.seq, b"%d" % said.seq, now)


def test_who_was_lost_gets_what_was_missed():
    house = House(1)
    member = house.guest(BORN)[0].member
    said_in(house, 3, BORN + 1)
    assert house.room.missed(member, "e", 1) == Missed(True, 0, [b"2", b"3"])
    assert house.room.missed(member, "e", 3) == Missed(True, 0, [])


def test_what_is_lost_for_good_is_counted():
    house = House(1)
    member = house.guest(BORN)[0].member
    said_in(house, 3, BORN + 1)
    said_in(house, 2, BORN + 100)
    assert house.room.missed(member, "e", 1) == Missed(False, 2, [b"4", b"5"])


@pytest.mark.parametrize(("epoch", "seq"), [("another", 1), ("", 0), ("e", 4)])
def test_another_epoch_or_a_number_never_given_recovers_nothing(epoch, seq):
    house = House(1)
    member = house.guest(BORN)[0].member
    said_in(house, 3, BORN + 1)
    assert house.room.missed(member, epoch, seq) == Missed(False, 0, [])


def test_newcomer_gets_nothing_said_before():
    """The ring is no transcript, whatever `since` a newcomer makes up."""
    house = House(1)
    house.guest(BORN)
    said_in(house, 3, BORN + 1)
    late = house.guest(BORN + 2)[0].member
    said_in(house, 1, BORN + 3)
    assert house.room.missed(late, "e", 0).frames == [b"4"]


def test_sessions_of_the_owner_are_bounded():
    """Each join by key makes one; the oldest is forgotten, and no key or digest shows in a repr."""
    house = House(1, connections=0)
    sessions = [house.join(BORN, house.owner)[1] for _ in range(MAX_SESSIONS + 1)]
    assert house.join(BORN, house.invite, sessions[0])[0].by_session is False
    assert house.join(BORN, None, sessions[1])[0].member.is_owner
    assert repr(house.room.meta) == f"RoomMeta({view.details(house.room, BORN).id})"


def test_profile_may_change_with_a_reconnect():
    house = House(1)
    admission, session = house.guest(BORN, profile=b'{"nick":"a"}')
    house.join(BORN, None, session)
    assert admission.member.profile == b'{"nick":"a"}'
    house.join(BORN, None, session, profile=b'{"nick":"b"}')
    assert view.entry(admission.member) == (
        b'{"id":"%b","role":"member","profile":{"nick":"b"},"away":false,"muted":false}'
        % admission.member.user_id.encode()
    )
    assert view.entries(house.room, 1) == [view.entry(admission.member)]


def test_users_come_in_pages():
    house = House(1)
    ids = [house.guest(BORN)[0].member.user_id for _ in range(5)]
    pages = view.users(house.room, most=2), view.users(house.room, ids[1], 2), view.users(house.room, ids[4], 2)
    assert [[user.id for user in page] for page in pages] == [ids[:2], ids[2:4], []]
    assert [user.id for user in view.users(house.room, "u_gone", 2)] == ids[:2]
