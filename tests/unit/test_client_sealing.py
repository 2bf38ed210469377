"""The client's sealing against the vectors (bodies, direct messages, codes), and what a sealer refuses."""

import base64
import copy
import json
import pickle
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.client.seal.bodies import (
    BodyType,
    Slot,
    additional_data,
    open_at,
    pad,
    seal_at,
    sender_key,
    unpad,
)
from relayd.client.seal.hpke import open_box, seal_box
from relayd.client.seal.sealer import direct_info
from relayd.client.sealing import (
    Heard,
    Opener,
    RoomKeys,
    Sealer,
    UserKey,
    code_words,
    new_room,
    person_code,
    room_code,
)
from relayd.client.sealing_errors import (
    BadKey,
    NotConfirmed,
    NotOpened,
    SealerSpent,
    WrongEpoch,
    WrongSecret,
)
from relayd.client.words import THREE_SYLLABLES, TWO_SYLLABLES, words_of
from relayd.wire.sealed_shapes import read_sealed
from relayd.wire.sealing import PublicAccess, derive_epoch
from relayd.wire.sealing_text import SealingError, encode_base64url

VECTORS = json.loads(Path(__file__).parents[1].joinpath("vectors", "sealing-vectors.json").read_text("utf-8"))
ROOMS = [pytest.param(room, id=room["case"]) for room in VECTORS["rooms"]]
SEALED = [
    pytest.param(room, sealed, id=f"{room['case']}: {sealed['type']}, {sealed['counter']}")
    for room in VECTORS["rooms"]
    for sealed in room["sealed"]
]
DIRECT = VECTORS["direct"]
ANN = UserKey(bytes.fromhex(DIRECT["from_private"]))
BOB = UserKey(bytes.fromhex(DIRECT["to_private"]))
NOW_MS = 1_795_350_000_000  # the vectors' clock


def unb64(text: str) -> bytes:
    return base64.b64decode(text + "==", altchars=b"-_")


def access_of_vector(room: dict) -> PublicAccess:
    owner = VECTORS["rekey"]["owner_public"] if room["salt"] == VECTORS["rekey"]["salt"] else None
    return PublicAccess(
        suite=1, salt=room["salt"], password=bool(room["password"]), epoch=room["epoch"], owner=owner,
        check=room["check"],
    )  # fmt: skip


def room_of_vector(room: dict) -> RoomKeys:
    password_key = bytes.fromhex(room["P"]) if room["password"] else None
    secret = unb64(room["link_secret"]) if room["link_secret"] else None
    keys = RoomKeys(access_of_vector(room), password_key, secret)
    keys.confirm(access_of_vector(room))
    return keys


def slot_of(sealed: dict) -> Slot:
    return Slot(BodyType(sealed["type"]), unb64(sealed["sender_id"]), sealed["counter"])


# Bodies.


@pytest.mark.parametrize(("room", "sealed"), SEALED)
def test_sealed_vectors(room, sealed):
    """Sender key, additional data, padding and ciphertext, byte for byte; and back."""
    keys, slot = room_of_vector(room).current, slot_of(sealed)
    plaintext = sealed["plaintext_json"].encode()
    assert sender_key(keys, slot).hex() == sealed["sender_key"]
    assert additional_data(keys, slot).hex() == sealed["ad"]
    assert pad(plaintext).hex() == sealed["padded_hex"]
    assert encode_base64url(seal_at(keys, slot, plaintext)) == sealed["body"]["c"]
    assert open_at(keys, slot, unb64(sealed["body"]["c"])) == plaintext


@pytest.mark.parametrize("room", ROOMS)
def test_a_sealer_makes_the_vectors(room):
    """From fixed sid and counters a `Sealer` gives exactly the bodies of the vectors."""
    sealer = Sealer(room_of_vector(room), ANN, lambda _: unb64(room["sealed"][0]["sender_id"]))
    bodies = {(sealed["type"], sealed["counter"]): sealed["body"] for sealed in room["sealed"]}
    text = {"kind": "text", "text": "h\u00e9llo \u2615"}
    messages = [sealer.message("m1", text, NOW_MS) for _ in range(8)]
    assert msgspec.to_builtins(messages[0]) == bodies[1, 0]
    assert msgspec.to_builtins(messages[7]) == bodies[1, 7]
    assert msgspec.to_builtins(sealer.card("ann")) == bodies[2, 0]
    assert msgspec.to_builtins(sealer.signal("typing", {"on": True})) == bodies[6, 0]
    sealer._next[BodyType.MESSAGE] = 2**32 - 1
    assert msgspec.to_builtins(sealer.message("m1", text, NOW_MS)) == bodies[1, 2**32 - 1]


@pytest.mark.parametrize("case", VECTORS["must_not_open"]["cases"], ids=lambda case: case["why"])
def test_must_not_open(case):
    """Another counter, sender, type or epoch, or cut short: nothing comes out, through the whole opener."""
    room = next(room for room in VECTORS["rooms"] if room["case"] == "link only")
    keys = room_of_vector(room)
    assert keys.current.room_key.hex() == VECTORS["must_not_open"]["K"]
    opener = Opener(keys, BOB, "u_bob", NOW_MS)
    opener.card("u_ann", room["sealed"][3]["body"], 0)
    attempts = {
        BodyType.MESSAGE: lambda: opener.message(Heard("u_ann", "m1", case["body"], 1)),
        BodyType.CARD: lambda: opener.card("u_ann", case["body"], 0),
    }
    with pytest.raises(NotOpened):
        attempts[case["open_as"]["type"]]()
    slot = Slot(BodyType(case["open_as"]["type"]), unb64(case["body"]["s"]), case["body"]["n"])
    epoch = case["open_as"]["epoch"]
    exact = derive_epoch(keys.salt, epoch, password_key=None, link_secret=unb64(room["link_secret"]))
    with pytest.raises(NotOpened):
        open_at(exact, slot, unb64(case["body"]["c"]))
    assert opener.message(Heard("u_ann", "m1", room["sealed"][1]["body"], 1)).body["text"]


@given(st.binary(max_size=300), st.integers(0, 3))
def test_padding_round_trip(data, more):
    """Whole blocks of 64 bytes; more zeros at the end are fine."""
    padded = pad(data)
    assert len(padded) % 64 == 0
    assert 4 <= len(padded) - len(data) < 68
    assert unpad(padded + bytes(64 * more)) == data


@pytest.mark.parametrize(
    "padded",
    [b"", bytes(3), bytes(63), bytes(65), pad(b"x")[:-1] + b"\1", pad(b"x") + b"\0",
     b"\0\0\0\x3d" + bytes(60), b"\xff" * 64, pad(b"x") + bytes(63) + b"\1"],
    ids=lambda padded: f"{len(padded)} bytes",
)  # fmt: skip
def test_wrong_padding(padded):
    """Cut, not a multiple, longer than it is, something else than zeros: refused."""
    with pytest.raises(NotOpened, match="padding"):
        unpad(padded)


# Direct messages.


def test_direct_vector():
    """Both ends open the vector: the receiver its box, another tab of the sender its own."""
    keys = next(
        room_of_vector(room) for room in VECTORS["rooms"]
        if sender_key(room_of_vector(room).current, slot_of(DIRECT)).hex() == DIRECT["sender_key"]
    )  # fmt: skip
    slot = slot_of(DIRECT)
    assert direct_info(keys.current, slot, ANN.public, BOB.public).hex() == DIRECT["info_box"]
    assert direct_info(keys.current, slot, ANN.public, ANN.public).hex() == DIRECT["info_own"]
    room = next(r for r in VECTORS["rooms"] if r["K"] == keys.current.room_key.hex())
    heard = Heard("u_ann", "d1", DIRECT["body"], 7, to="u_bob")
    for me, user in (("u_bob", BOB), ("u_ann", ANN)):
        opener = Opener(keys, user, me, NOW_MS)
        opener.card("u_ann", room["sealed"][3]["body"], 0)
        opener.card("u_bob", msgspec.to_builtins(Sealer(keys, BOB).card("bob")), 0)
        opened = opener.message(heard)
        assert (opened.body, opened.to, opened.by) == (
            {"kind": "text", "text": "only you"},
            "u_bob",
            ANN.public,
        )


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_box_round_trip(data, info):
    """HPKE opens for the one it was sealed to, with the info it was sealed with, and for nobody else."""
    box = seal_box(data, BOB.public, info)
    assert open_box(box, BOB, info) == data
    for user, other in ((ANN, info), (BOB, info + b"x")):
        with pytest.raises(NotOpened):
            open_box(box, user, other)


@pytest.mark.parametrize("box", [b"", bytes(32), bytes(47), bytes(128), b"\xff" * 128])
def test_boxes_that_are_none(box):
    """Too short, of a key of small order: the same error."""
    with pytest.raises(NotOpened):
        open_box(box, BOB, b"")


def test_nothing_is_sealed_to_a_key_of_small_order():
    """With the all-zero key anyone could open it."""
    with pytest.raises(BadKey):
        seal_box(b"x", bytes(32), b"")


# The sealer.


def room_and_access(**change: object) -> tuple[RoomKeys, PublicAccess]:
    made = new_room()
    return made.keys, msgspec.structs.replace(made.access.public(0, joined=True), **change)


def test_nothing_is_sealed_or_opened_before_the_check():
    """A server that can't answer the check gets nothing out of a client, nor anything into it."""
    keys, access = room_and_access()
    sealer = Sealer(keys, ANN)
    opener = Opener(keys, BOB, "u_bob", NOW_MS)
    other, _ = room_and_access()
    body = VECTORS["rooms"][0]["sealed"][0]["body"]
    attempts = (
        lambda: sealer.message("m", {}, 0),
        lambda: sealer.card("ann"),
        lambda: sealer.signal("typing", {}),
        lambda: sealer.direct(BOB.public, "m", {}, 0),
        lambda: opener.message(Heard("u_ann", "m", body, 1)),
        lambda: opener.card("u_ann", body, 0),
        lambda: opener.signal("u_ann", body, 0),
    )
    for check in ("", None, "A" * 22, "A" * 21 + "B", encode_base64url(other.derive(0, b"s" * 16).check)):
        with pytest.raises(WrongSecret):
            keys.confirm(msgspec.structs.replace(access, check=check))
        for attempt in attempts:
            with pytest.raises(NotConfirmed):
                attempt()
    keys.confirm(access)
    assert sealer.card("ann").n == 0


def test_a_failed_check_after_a_reconnect_stops_everything():
    """A server that knew the check once and doesn't any more isn't trusted on."""
    keys, access = room_and_access()
    keys.confirm(access)
    sealer = Sealer(keys, ANN)
    sealer.card("ann")
    with pytest.raises(WrongSecret):
        keys.confirm(msgspec.structs.replace(access, check="A" * 22))
    with pytest.raises(NotConfirmed):
        sealer.card("ann")


@pytest.mark.parametrize("change", [{"salt": "A" * 22}, {"owner": None}, {"owner": ANN.public_text}])
def test_salt_and_owner_never_change(change):
    """A room's salt and owner are the same at every join."""
    keys, access = room_and_access()
    with pytest.raises(WrongSecret):
        keys.confirm(msgspec.structs.replace(access, **change))


def test_the_server_cannot_choose_the_epoch():
    """Another epoch than one's own isn't confirmed, earlier or later."""
    keys, access = room_and_access()
    with pytest.raises(WrongEpoch, match="ahead"):
        keys.confirm(msgspec.structs.replace(access, epoch=1))


def test_counters_end():
    """At 2^32 a type is used up for this socket; the others go on; nothing is sealed past the end."""
    keys, access = room_and_access()
    keys.confirm(access)
    sealer = Sealer(keys, ANN)
    sealer._next[BodyType.MESSAGE] = 2**32 - 1
    assert sealer.message("m", {}, 0).n == 2**32 - 1
    for _ in range(2):
        with pytest.raises(SealerSpent):
            sealer.message("m", {}, 0)
    assert sealer.card("ann").n == 0


def test_a_failure_costs_its_counter():
    """What fails after a slot was taken doesn't give it back."""
    keys, access = room_and_access()
    keys.confirm(access)
    sealer = Sealer(keys, ANN)
    with pytest.raises(BadKey):
        sealer.direct(bytes(32), "m", {}, 0)
    assert sealer.direct(BOB.public, "m", {}, 0).n == 1


def test_no_nonce_is_used_twice():
    """Many sockets, types and interleavings: every (key, nonce) is used once."""
    keys, access = room_and_access()
    keys.confirm(access)
    sealers = [Sealer(keys, ANN) for _ in range(50)]
    used = [
        (sender_key(keys.current, Slot(kind, unb64(body.s), body.n)), body.n)
        for turn in range(6)
        for sealer in sealers
        for kind, body in (
            (BodyType.MESSAGE, sealer.message(f"m{turn}", {}, 0)),
            (BodyType.SIGNAL, sealer.signal("typing", {})),
            (BodyType.CARD, sealer.card("ann")),
        )
    ]
    assert len(set(used)) == len(used) == 50 * 6 * 3


def test_a_sealer_cannot_be_copied():
    """A copy would count on its own and repeat every nonce."""
    keys, access = room_and_access()
    keys.confirm(access)
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            duplicate(Sealer(keys, ANN))


@pytest.mark.parametrize("body", [object(), "secret \ud800", {1: object()}])
def test_what_json_cannot_say(body):
    """An error that holds nothing of the body."""
    keys, access = room_and_access()
    keys.confirm(access)
    with pytest.raises(SealingError, match="cannot be said in JSON") as raised:
        Sealer(keys, ANN).message("m", body, 0)
    assert raised.value.__suppress_context__


def test_lengths_are_hidden_to_64_bytes():
    """Two texts of about the same length look alike."""
    keys, access = room_and_access()
    keys.confirm(access)
    sealer = Sealer(keys, ANN)
    short, long = (sealer.message("m", {"text": "x" * n}, 0) for n in (1, 30))
    assert len(short.c) == len(long.c)
    assert read_sealed(short) == short


# Safety codes.


@pytest.mark.parametrize("room", ROOMS)
def test_room_code(room):
    """The room's code, and its words as the list gives them."""
    code = room_code(room_of_vector(room).current)
    assert code.hex() == room["safety_code"]
    even, odd = (code_words(code).split(" ")[start::2] for start in (0, 1))
    assert even == [TWO_SYLLABLES[byte] for byte in code[0::2]]
    assert odd == [THREE_SYLLABLES[byte] for byte in code[1::2]]


def test_person_code():
    """The code over a card key."""
    person = VECTORS["person"]
    assert person_code(unb64(person["hpke"]), unb64(person["salt"])).hex() == person["code"]
    with pytest.raises(SealingError):
        person_code(b"short", unb64(person["salt"]))


def test_word_list():
    """512 different words in the published order, and the published example, a PGP fingerprint."""
    assert len(TWO_SYLLABLES) == len(THREE_SYLLABLES) == 256
    assert len({*map(str.lower, TWO_SYLLABLES + THREE_SYLLABLES)}) == 512
    assert list(TWO_SYLLABLES) == sorted(TWO_SYLLABLES, key=str.lower)
    assert sorted({*THREE_SYLLABLES} - {"applicant", "Apollo"}, key=str.lower) == [
        word
        for word in THREE_SYLLABLES
        if word not in {"applicant", "Apollo"}  # so they stand in the source
    ]
    example = bytes.fromhex("e58294f2e9a227486e8b061b31cc528fd7fa3f19")
    assert " ".join(words_of(example)) == (
        "topmost Istanbul Pluto vagabond treadmill Pacific brackish dictator goldfish Medusa "
        "afflict bravado chatter revolver Dupont midsummer stopwatch whimsical cowbell bottomless"
    )
