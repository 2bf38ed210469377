"""The cards of a user in a sealed room: which are kept, for how long, and that another process has them, too."""

from __future__ import annotations

import msgspec
import pytest
from rules.people import BORN, GRACES, House

from relayd.client.sealing import new_room
from relayd.rooms import state
from relayd.rooms.ledger import Ledger
from relayd.rooms.member import MAX_CARDS
from relayd.rooms.ring import MAX_AUTHORS_BYTES, Author, Ring
from relayd.rooms.seal import Seal
from relayd.wire.rest import RoomSettings

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[state.Record]).decode


@pytest.fixture
def house() -> House:
    """A sealed room in which messages are kept for 10 s, and any number of connections."""
    seal = Seal(new_room().access)
    return House(connections=0, seal=seal, settings=RoomSettings(resume=10), ledger=Ledger(is_kept=True))


def profiles(member) -> list[bytes]:
    return [card.profile for card in member.cards]


def say(house: House, connection, now: float) -> None:
    """What the hub does about a message."""
    connection.card.said_at = now
    said = house.room.say(connection.member, b"m%a" % now, 1, direct=False, now=now)
    house.room.ring.add(said.seq, b"x", now)


def goes_on_elsewhere(house: House, now: float):
    """The room that another process makes of what was written."""
    first, *others = decode(encode(state.all_of(house.room)))
    draft = state.Draft(first)
    for record in others:
        draft.take(record)
    return state.room_of(draft, GRACES, 0, Ledger(), now)


def test_each_connection_has_the_card_that_it_showed_last(house):
    (one, _), (two, _) = [house.join(BORN, house.owner, profile=profile) for profile in (b"1", b"2")]
    member, room = one.member, house.room
    assert (profiles(member), member.profile, set(room.with_other_cards)) == ([b"1", b"2"], b"2", {member.user_id})
    room.show(one.connection, b"1, renamed")
    assert (profiles(member), member.profile) == ([b"2", b"1, renamed"], b"1, renamed")
    room.disconnect(two.connection, BORN)
    assert (profiles(member), dict(room.with_other_cards)) == ([b"1, renamed"], {})


def test_an_open_room_has_none(house):
    house = House()
    one, _ = house.join(BORN, house.owner, profile=b"1")
    house.room.show(one.connection, b"2")
    assert (one.member.profile, one.member.cards, one.connection.card) == (b"2", (), None)


def test_the_card_of_a_lost_connection_is_kept_as_long_as_its_messages(house):
    (one, _), (two, _) = [house.join(BORN, house.owner, profile=profile) for profile in (b"1", b"2")]
    member, room = one.member, house.room
    say(house, two.connection, BORN + 1)
    two.connection.card.announced = True
    room.disconnect(two.connection, BORN + 2)
    room.show(one.connection, b"1")
    room.drop_cards(member, BORN + 10.9)
    assert profiles(member) == [b"2", b"1"]
    room.drop_cards(member, BORN + 11)
    assert (profiles(member), dict(room.with_other_cards)) == ([b"1"], {})


def test_a_card_that_others_still_have_to_be_told_is_kept(house):
    """Also where no message is kept at all: those who heard one wait for the card."""
    house.room.ring.kept_s = 0
    one, _ = house.join(BORN, house.owner, profile=b"1")
    two, _ = house.join(BORN, house.owner, profile=b"2")
    say(house, one.connection, BORN)
    house.room.disconnect(one.connection, BORN)
    house.room.drop_cards(two.member, BORN + 1)
    assert profiles(two.member) == [b"1", b"2"]


def test_cards_are_bounded(house):
    """Past the bound those of lost connections go first, the oldest first."""
    joined = [house.join(BORN, house.owner, profile=b"%d" % number)[0] for number in range(MAX_CARDS)]
    say(house, joined[3].connection, BORN)
    house.room.disconnect(joined[3].connection, BORN)
    member = joined[0].member
    house.join(BORN, house.owner, profile=b"next")
    assert profiles(member) == [*(b"%d" % number for number in range(MAX_CARDS) if number != 3), b"next"]
    house.join(BORN, house.owner, profile=b"last")
    assert len(member.cards) == MAX_CARDS
    assert member.cards[0].profile == b"1"
    house.room.disconnect(joined[0].connection, BORN)


def test_another_process_has_the_cards_of_those_who_spoke(house):
    """All of a user's, as it is not known which of them was behind the last message."""
    for profile in (b"1", b"2"):
        one, _ = house.join(BORN, house.owner, profile=profile)
    silent, _ = house.guest(BORN, profile=b"silent")
    say(house, one.connection, BORN + 1)
    room = goes_on_elsewhere(house, BORN + 5)
    member = room.members[one.member.user_id]
    assert (profiles(member), member.profile) == ([b"1", b"2"], b"2")
    assert profiles(room.members[silent.member.user_id]) == []
    connection = room.readmit(member.user_id, b"gateway", 1, b"", BORN, b"1")
    assert connection.card is member.cards[0]
    assert connection.card.announced
    quiet = room.readmit(silent.member.user_id, b"gateway", 2, b"", BORN, b"silent")
    assert quiet.card.announced
    room.drop_cards(member, BORN + 11)
    assert profiles(member) == [b"1"]


def test_another_process_knows_who_has_left(house):
    """And who comes again has the cards that they had."""
    one, session = house.guest(BORN, profile=b"1")
    say(house, one.connection, BORN + 1)
    author = Author(b"{}", 0, 1, BORN + 1, (b"0", b"1"), 1)
    house.room.ring.keep_author(one.member.user_id, author)
    house.room.leave(one.member, BORN + 2)
    room = house.room = goes_on_elsewhere(house, BORN + 3)
    assert room.ring.author(one.member.user_id) == author
    again, _ = house.join(BORN + 4, None, session, profile=b"2")
    assert (profiles(again.member), again.member.profile) == ([b"0", b"1", b"2"], b"2")
    assert set(room.with_other_cards) == {again.member.user_id}
    room.drop_cards(again.member, BORN + 11)
    assert profiles(again.member) == [b"2"]


def test_authors_are_bounded_in_bytes():
    """Those who left first are forgotten first."""
    ring = Ring(60)
    ring.add(1, b"x", 0.0)
    for number in range(20):
        ring.keep_author(str(number), Author(bytes(1000), 0, 1, 0.0, (bytes(1000),) * 9))
    assert [number for number in range(20) if ring.author(str(number))] == list(range(14, 20))
    assert ring.size == 1 + 6 * 10_000 <= MAX_AUTHORS_BYTES
    ring.clear()
    ring.add(2, b"x", 0.0)
    ring.keep_author("a", Author(b"a", 0, 1, 0.0))
    assert ring.author("a") is not None


@pytest.mark.parametrize(
    ("joined_seq", "last_seq", "announced_seq", "sealed", "unknown"),
    [
        (5, 6, 5, False, True),  # came later
        (4, 6, 4, False, False),  # told of before
        (4, 4, 6, False, True),  # told of later: of another card, or for the first time
        (4, 5, 5, False, False),  # told of just then, and known by name at worst
        (4, 5, 5, True, True),  # the same, and what they said may wait for the card
    ],
)
def test_who_may_be_unknown_to_one_who_comes_back(joined_seq, last_seq, announced_seq, sealed, unknown):
    """To one who heard the message 5, and nothing after it."""
    cards = (b"card",) if sealed else ()
    assert Author(b"{}", joined_seq, last_seq, 0.0, cards, announced_seq).is_unknown(5) is unknown
