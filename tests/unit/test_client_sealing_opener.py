"""What an opener doesn't believe: replays, reflections, swaps between senders, rooms, types and epochs."""

import copy

import msgspec
import pytest

from relayd.client.seal.bodies import BodyType, Slot, encode_json
from relayd.client.sealing import Heard, NewRoom, Opener, Sealer, UserKey, new_room
from relayd.client.sealing_errors import (
    Dropped,
    NotOpened,
    Reflected,
    Replayed,
    SaidBefore,
    UnknownSender,
    WrongSender,
)

NOW_MS = 1_795_350_000_000


class Member:
    """One client of a room: a user with one socket, and what it makes of what it hears."""

    def __init__(self, room: NewRoom, user_id: str, user: UserKey | None = None) -> None:
        self.id = user_id
        self.user = user or UserKey.generate()
        self.opener = Opener(room.keys, self.user, user_id, NOW_MS)
        self.room = room
        self.connect()

    def connect(self) -> None:
        """A new socket: a new sealer, and a card sealed with it."""
        self.sealer = Sealer(self.room.keys, self.user)
        self.opener.add_sealer(self.sealer)
        self.profile = plain(self.sealer.card(self.id))

    def says(self, message_id: str = "m1", **change: object) -> Heard:
        """A message as the server would tell it on."""
        body = self.sealer.message(message_id, {"text": message_id}, NOW_MS)
        return Heard(self.id, message_id, plain(body), 1)._replace(**change)

    def tells(self, other: "Member", message_id: str = "d1") -> Heard:
        """A direct message as the server would tell it on."""
        body = self.sealer.direct(other.user.public, message_id, {"text": "psst"}, NOW_MS)
        return Heard(self.id, message_id, plain(body), 1, to=other.id)


def plain(body: object) -> object:
    """As it comes out of a JSON decoder."""
    return msgspec.json.decode(msgspec.json.encode(body))


def opened_room() -> NewRoom:
    room = new_room()
    room.keys.confirm(room.access.public(0, joined=True))
    return room


@pytest.fixture
def room():
    return opened_room()


@pytest.fixture
def trio(room):
    """Ann, Bob and Mallory, each of whom has opened the others' cards."""
    members = [Member(room, user_id) for user_id in ("u_ann", "u_bob", "u_mal")]
    for member in members:
        for other in members:
            if other is not member:
                member.opener.card(other.id, other.profile, 0)
    return members


def test_everything_comes_through(trio):
    """Message, card, signal and direct message: what went in comes out."""
    ann, bob, _ = trio
    message = bob.opener.message(ann.says())
    assert (message.sender, message.by, message.id) == ("u_ann", ann.user.public, "m1")
    assert (message.body, message.t_ms, message.epoch) == ({"text": "m1"}, NOW_MS, 0)
    assert (message.to, message.replayed) == (None, False)
    card = bob.opener.card("u_ann", ann.profile, 1)
    assert (card.nick, card.hpke, card.new_key) == ("u_ann", ann.user.public, False)
    signal = bob.opener.signal("u_ann", plain(ann.sealer.signal("typing", {"on": True})), 1)
    assert (signal.kind, signal.data) == ("typing", {"on": True})
    direct = bob.opener.message(ann.tells(bob))
    assert (direct.body, direct.to, direct.by) == ({"text": "psst"}, "u_bob", ann.user.public)


# Replays.


def test_once_only(trio):
    """The same message, direct message or signal again is dropped."""
    ann, bob, _ = trio
    for heard in (ann.says(), ann.tells(bob)):
        bob.opener.message(heard)
        with pytest.raises(Replayed):
            bob.opener.message(heard)
    signal = plain(ann.sealer.signal("typing", {}))
    bob.opener.signal("u_ann", signal, 1)
    with pytest.raises(Replayed):
        bob.opener.signal("u_ann", signal, 1)


def test_never_backwards(trio):
    """What was held back and comes after something later is dropped, for every type by itself."""
    ann, bob, _ = trio
    first, second = ann.says("m1"), ann.says("m2")
    bob.opener.message(second)
    with pytest.raises(Replayed):
        bob.opener.message(first)
    assert bob.opener.signal("u_ann", plain(ann.sealer.signal("typing", {})), 1)


def test_cards_come_again_but_not_older_ones(trio):
    """The present card is shown again and again; the one before it can't come back."""
    ann, bob, _ = trio
    bob.opener.card("u_ann", ann.profile, 0)
    renamed = plain(ann.sealer.card("anna"))
    for _ in range(2):
        assert bob.opener.card("u_ann", renamed, 0).nick == "anna"
    with pytest.raises(Replayed):
        bob.opener.card("u_ann", ann.profile, 0)


def test_said_again_after_a_reconnect(trio):
    """Sealed anew on a new socket under the same id, a message is heard once."""
    ann, bob, _ = trio
    bob.opener.message(ann.says())
    ann.connect()
    again = ann.says()
    with pytest.raises(SaidBefore):
        bob.opener.message(again)
    with pytest.raises(Replayed):
        bob.opener.message(again)
    assert bob.opener.message(ann.says("m2")).id == "m2"


def test_two_authors_may_use_one_id(trio):
    """An id is an author's own."""
    ann, bob, mal = trio
    assert bob.opener.message(ann.says("m1")).by != bob.opener.message(mal.says("m1")).by


@pytest.mark.parametrize(
    ("age_ms", "replayed"),
    [
        (-5000, False),
        (119_999, False),
        (120_000, True),
        (10**9, True),
    ],
)
def test_what_was_said_long_before_ones_join(trio, age_ms, replayed):
    """From 2 min before one's own join on, a message is marked as a replay."""
    ann, bob, _ = trio
    body = plain(ann.sealer.message("m1", {}, NOW_MS - age_ms))
    assert bob.opener.message(Heard("u_ann", "m1", body, 1)).replayed == replayed


# Reflections.


def test_own_messages_come_back_once(trio):
    """The echo is the acknowledgement; it is accepted once, after a reconnect too."""
    ann, bob, _ = trio
    heard, told = ann.says(), ann.tells(bob)
    ann.connect()
    assert ann.opener.message(heard).by == ann.user.public
    assert ann.opener.message(told).body == {"text": "psst"}
    for again in (heard, told):
        with pytest.raises(Replayed):
            ann.opener.message(again)


def test_another_tab_hears_ones_own(room):
    """Two tabs share the pair: what one says, to all or to one, the other opens."""
    ann, bob = Member(room, "u_ann"), Member(room, "u_bob")
    tab = Member(room, "u_ann", ann.user)
    tab.opener.card("u_bob", bob.profile, 0)
    assert tab.opener.message(ann.says()).body == {"text": "m1"}
    assert tab.opener.message(ann.tells(bob)).to == "u_bob"


def test_what_one_did_not_send_is_not_ones_own(trio):
    """A body under one's own sid that one didn't seal, though the room's key opens it, is dropped."""
    ann, _, mal = trio
    mal.sealer.sid = ann.sealer.sid  # every member has the key to seal so
    mal.sealer._user = ann.user
    ann.says("m0")
    for _ in range(2):  # under a counter that Ann has used, and one that she hasn't
        with pytest.raises(Reflected):
            ann.opener.message(mal.says(sender="u_ann"))
    with pytest.raises(Reflected):
        ann.opener.card("u_ann", plain(mal.sealer.card("fool")), 0)
    with pytest.raises(Reflected):
        ann.opener.signal("u_ann", plain(ann.sealer.signal("typing", {})), 0)


def test_ones_own_words_from_another_mouth(trio):
    """One's own message or card, told as somebody else's, is dropped."""
    ann, _, _ = trio
    with pytest.raises(Reflected):
        ann.opener.message(ann.says(sender="u_mal"))
    with pytest.raises(Reflected):
        ann.opener.card("u_mal", ann.profile, 0)


# Swaps.


def test_a_message_of_someone_else(trio):
    """Ann's message told as Mallory's; and Mallory's own that names Ann as its author."""
    ann, bob, mal = trio
    heard = ann.says()
    with pytest.raises(WrongSender):
        bob.opener.message(heard._replace(sender="u_mal"))
    forged = Sealer(mal.room.keys, ann.user)
    body = plain(forged.message("m9", {}, NOW_MS))
    with pytest.raises(WrongSender):
        bob.opener.message(Heard("u_mal", "m9", body, 1))
    assert bob.opener.message(heard), "nothing was taken note of: the real one still comes through"


def test_a_card_of_someone_else(trio, room):
    """Nobody can show a key that is another's, which would let them edit and delete as that one."""
    ann, bob, mal = trio
    with pytest.raises(WrongSender):
        bob.opener.card("u_mal", ann.profile, 0)
    stolen = plain(Sealer(room.keys, ann.user).card("ann"))
    with pytest.raises(WrongSender):
        bob.opener.card("u_mal", stolen, 0)
    assert bob.opener.keys_of("u_mal") == (mal.user.public,)


def test_a_signal_of_someone_else(trio):
    """A signal names nobody inside, but its sid belongs to whoever used it first."""
    ann, bob, _ = trio
    with pytest.raises(WrongSender):
        bob.opener.signal("u_mal", plain(ann.sealer.signal("typing", {})), 1)


def test_another_id(trio):
    """A message under another id than the frame's isn't believed: replies would name the wrong one."""
    ann, bob, _ = trio
    heard = ann.says()
    with pytest.raises(NotOpened, match="another id"):
        bob.opener.message(heard._replace(id="m2"))
    assert bob.opener.message(heard).id == "m1"


def test_another_type(trio):
    """What was sealed as one thing doesn't open as another."""
    ann, bob, _ = trio
    message, card, signal = ann.says(), plain(ann.sealer.card("a")), plain(ann.sealer.signal("typing", {}))
    attempts = (
        lambda: bob.opener.card("u_ann", message.body, 0),
        lambda: bob.opener.signal("u_ann", message.body, 0),
        lambda: bob.opener.message(message._replace(to="u_bob")),
        lambda: bob.opener.message(message._replace(body=card)),
        lambda: bob.opener.message(message._replace(body=signal)),
        lambda: bob.opener.signal("u_ann", card, 0),
        lambda: bob.opener.message(ann.tells(bob)._replace(to=None)),
    )
    for attempt in attempts:
        with pytest.raises(NotOpened):
            attempt()


def test_another_room(trio):
    """What was said in one room doesn't open in another, nor does a room made with the same secret."""
    ann, bob, _ = trio
    elsewhere = Member(opened_room(), "u_ann", ann.user)
    with pytest.raises(NotOpened):
        bob.opener.message(elsewhere.says())
    with pytest.raises(NotOpened):
        bob.opener.card("u_ann", elsewhere.profile, 0)


def test_a_direct_message_for_another(trio):
    """Told to the wrong user, a direct message shows nothing; nor do its boxes open elsewhere."""
    ann, bob, mal = trio
    told = ann.tells(bob)
    for wrong in (told, told._replace(to="u_mal")):
        with pytest.raises(NotOpened):
            mal.opener.message(wrong)
    assert bob.opener.message(told)


def test_a_direct_message_shown_as_to_another(trio, room):
    """Another tab of the sender isn't shown as sent to Mallory what was sent to Bob."""
    ann, bob, mal = trio
    tab = Member(room, "u_ann", ann.user)
    for other in (bob, mal):
        tab.opener.card(other.id, other.profile, 0)
    with pytest.raises(WrongSender):
        tab.opener.message(ann.tells(bob)._replace(to="u_mal"))


def inside_of(told: Heard, member: Member) -> dict:
    """What any member sees of a direct message: the keys and boxes."""
    return msgspec.json.decode(member.opener._open(told.sender, BodyType.DIRECT, told.body, 1)[2])


@pytest.mark.parametrize(
    "fields",
    [
        {"box": ""},
        {"box": "A" * 107},
        {"box": "!"},
        {"to": "A" * 43},
        {"own": None},
    ],
)
def test_boxes_moved_and_broken(trio, fields):
    """A hostile sender's boxes: broken, missing, or sealed to someone else."""
    ann, bob, _ = trio
    told = ann.tells(bob)
    body = plain(ann.sealer._seal(BodyType.DIRECT, encode_json({**inside_of(told, bob), **fields})))
    with pytest.raises(NotOpened):
        bob.opener.message(told._replace(body=body))


def test_a_box_of_an_earlier_message(trio):
    """A box is bound to the counter of its message: moved into another one it doesn't open."""
    ann, bob, _ = trio
    first, second = ann.tells(bob, "d1"), ann.tells(bob, "d2")
    moved = {**inside_of(second, bob), "box": inside_of(first, bob)["box"]}
    body = plain(ann.sealer._seal(BodyType.DIRECT, encode_json(moved)))
    with pytest.raises(NotOpened, match="not sealed to this user"):
        bob.opener.message(second._replace(body=body))


def test_a_box_that_says_it_is_for_another(trio):
    """A sender can't whisper to Bob what Bob's client would show as told to Mallory."""
    ann, bob, mal = trio
    told = ann.tells(bob)
    inside = {**inside_of(told, bob), "to": mal.user.public_text}
    slot = Slot(BodyType.DIRECT, ann.sealer.sid, told.body["n"])  # the box only opens at its own
    body = plain(ann.sealer._seal_at(ann.room.keys.current, slot, encode_json(inside)))
    with pytest.raises(NotOpened, match="another user"):
        bob.opener.message(told._replace(body=body, to="u_mal"))


# Who is known.


def test_a_message_before_its_senders_card(room):
    """It isn't shown, and can be tried again when the card has come."""
    ann, bob = Member(room, "u_ann"), Member(room, "u_bob")
    heard = ann.says()
    with pytest.raises(UnknownSender):
        bob.opener.message(heard)
    bob.opener.card("u_ann", ann.profile, 0)
    assert bob.opener.message(heard)


def test_an_owner_on_a_second_device(trio, room):
    """The same user may show another key; it is said so, and messages of both devices are believed."""
    ann, bob, _ = trio
    second = Member(room, "u_ann")
    assert bob.opener.card("u_ann", second.profile, 0).new_key
    assert bob.opener.keys_of("u_ann") == (ann.user.public, second.user.public)
    assert bob.opener.card_keys()["u_ann"] == second.user.public
    assert bob.opener.message(second.says("m1"))
    assert bob.opener.message(ann.says("m2"))
    assert bob.opener.message(ann.tells(bob, "d1"))
    assert not bob.opener.card("u_ann", second.profile, 0).new_key


# Errors.


def test_the_two_kinds_of_error_are_apart():
    """What is shown as not opened, and what is dropped, can't be taken for one another."""
    assert not issubclass(Dropped, NotOpened)
    assert not issubclass(NotOpened, Dropped)


def test_a_failure_takes_note_of_nothing(trio):
    """After every kind of refused frame the opener is as it was."""
    ann, bob, _ = trio
    heard = ann.says()
    before = copy.deepcopy((bob.opener._last, bob.opener._said, bob.opener._sid_user, bob.opener._keys))
    for wrong in (heard._replace(id="x"), heard._replace(sender="u_mal"), heard._replace(body=None)):
        with pytest.raises(NotOpened):
            bob.opener.message(wrong)
    assert (bob.opener._last, bob.opener._said, bob.opener._sid_user, bob.opener._keys) == before


def test_the_card_of_a_newcomer_is_noted_nowhere(trio, room):
    """Somebody who waits may come again under another user id with the same key; only a user's card counts."""
    ann, bob, _ = trio
    cem = Member(room, "u_one")
    for user_id in ("u_one", "u_two"):
        card = ann.opener.newcomer_card(user_id, cem.profile, 0)
        assert (card.nick, card.hpke) == ("u_one", cem.user.public)
        assert ann.opener.keys_of(user_id) == ()
    assert ann.opener.card("u_three", cem.profile, 0).hpke == cem.user.public
    with pytest.raises(WrongSender):
        ann.opener.newcomer_card("u_four", cem.profile, 0)
    with pytest.raises(WrongSender):
        ann.opener.newcomer_card("u_five", bob.profile, 0)
