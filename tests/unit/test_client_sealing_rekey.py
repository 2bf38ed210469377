"""Rekeying: who gets the new secret, who is believed, and what the old epoch still opens."""

import base64
import json
from pathlib import Path

import msgspec
import pytest

from relayd.client.seal.hpke import seal_box
from relayd.client.seal.rekey import rekey_info, signed_part
from relayd.client.sealing import (
    Heard,
    NewRoom,
    Opener,
    OwnerKey,
    Rekeyed,
    RoomKeys,
    Sealer,
    UserKey,
    make_rekey,
    new_room,
    parse_fragment,
    take_rekey,
    unlock,
)
from relayd.client.sealing_errors import NewerEpoch, NotConfirmed, RekeyError, WrongEpoch
from relayd.wire.sealed_shapes import RekeyPart, parse_rekey
from relayd.wire.sealing import PublicAccess, proof_fits
from relayd.wire.sealing_text import encode_base64url

VECTORS = json.loads(Path(__file__).parents[1].joinpath("vectors", "sealing-vectors.json").read_text("utf-8"))
KEY = "ri_" + "A" * 22
NOW_MS = 1_795_350_000_000
NOW_S = 1_000.0
ANN, BOB, MAL = (f"u_{digit * 16}" for digit in "abc")


def unb64(text: str) -> bytes:
    return base64.b64decode(text + "==", altchars=b"-_")


def plain(body: object) -> object:
    return msgspec.json.decode(msgspec.json.encode(body))


def keys_again(made: NewRoom) -> RoomKeys:
    """The room's keys at another client."""
    keys = unlock(made.link(KEY), made.access.public(0))
    keys.confirm(made.access.public(0, joined=True))
    return keys


def heard_by(part: RekeyPart, user_id: str, seq: int = 10) -> Rekeyed:
    """The event, as the server tells it to one user."""
    return Rekeyed(epoch=part.epoch, check=part.check, box=part.boxes[user_id], seq=seq)


@pytest.fixture
def made():
    return new_room()


@pytest.fixture
def users():
    return {ANN: UserKey.generate(), BOB: UserKey.generate(), MAL: UserKey.generate()}


def cards(users: dict) -> dict:
    return {user_id: user.public for user_id, user in users.items()}


def test_vector():
    """Info, signed bytes and signature, byte for byte; the box opens into the keys of epoch 1."""
    rekey = VECTORS["rekey"]
    first, later = VECTORS["rooms"][0], VECTORS["rooms"][3]
    salt, secret, user = (
        unb64(rekey["salt"]),
        unb64(rekey["new_link_secret"]),
        bytes.fromhex(rekey["to_private"]),
    )
    owner = OwnerKey(bytes.fromhex(rekey["owner_private"]))
    assert (encode_base64url(owner.public), encode_base64url(owner.salt)) == (
        rekey["owner_public"],
        rekey["salt"],
    )
    assert signed_part(salt, 1, secret).hex() == rekey["signed_hex"]
    assert encode_base64url(owner.sign(signed_part(salt, 1, secret))) == rekey["signature"]
    assert rekey_info(salt, 1, unb64(rekey["to_public"])).hex() == rekey["info"]
    access = PublicAccess(suite=1, salt=rekey["salt"], password=True, epoch=0, owner=rekey["owner_public"])
    room = RoomKeys(access, bytes.fromhex(first["P"]), unb64(first["link_secret"]))
    event = Rekeyed(epoch=1, check=later["check"], box=rekey["box"], seq=5)
    assert take_rekey(room, UserKey(user), event, now=NOW_S) == secret
    assert (room.epoch, room.proof_text) == (1, later["proof"])


def test_everyone_but_the_one_thrown_out(made, users):
    """Those kept come to the new epoch and the new link opens it; the one thrown out has no box to open."""
    made.keys.confirm(made.access.public(0, joined=True))
    new = make_rekey(made.keys, made.owner, cards(users), kick=(MAL, [users[MAL].public]))
    part = parse_rekey(plain(new.frame("r1")))
    assert (set(part.boxes), part.kick, part.epoch) == ({ANN, BOB}, MAL, 1)
    access = made.access.rekeyed(part.verifier, part.check)
    for user_id in (ANN, BOB):
        room = keys_again(made)
        assert take_rekey(room, users[user_id], heard_by(part, user_id), now=NOW_S) == new.secret
        assert room.current.epoch == 1
        assert proof_fits(access, room.proof_text)
    newcomer = unlock(parse_fragment(new.link(KEY).fragment), access.public(1))
    newcomer.confirm(access.public(1, joined=True))
    assert newcomer.proof_text == room.proof_text
    for user_id in (ANN, BOB):
        with pytest.raises(RekeyError, match="not sealed to this user"):
            take_rekey(keys_again(made), users[MAL], heard_by(part, user_id), now=NOW_S)


def test_the_kicked_ones_keys_under_another_name(made, users):
    """A second user id with a key of the person thrown out gets no box either."""
    made.keys.confirm(made.access.public(0, joined=True))
    old = UserKey.generate().public
    shown = cards(users) | {"u_" + "d" * 16: users[MAL].public, "u_" + "e" * 16: old}
    new = make_rekey(made.keys, made.owner, shown, kick=(MAL, [old, users[MAL].public]))
    assert set(new.part.boxes) == {ANN, BOB}


def test_a_key_that_fails_is_left_out(made, users):
    """A broken card doesn't keep the owner from throwing someone out."""
    made.keys.confirm(made.access.public(0, joined=True))
    new = make_rekey(made.keys, made.owner, {**cards(users), BOB: bytes(32)})
    assert set(new.part.boxes) == {ANN, MAL}
    assert new.part.kick is None
    assert "kick" not in new.frame("r1")


def test_who_can_rekey(made, users):
    """Only the room's owner, only a room that has one, only with confirmed keys."""
    with pytest.raises(NotConfirmed):
        make_rekey(made.keys, made.owner, cards(users))
    made.keys.confirm(made.access.public(0, joined=True))
    with pytest.raises(RekeyError, match="not the key"):
        make_rekey(made.keys, OwnerKey.generate(), cards(users))
    by_password = PublicAccess(suite=1, salt="A" * 22, password=True, epoch=0)
    room = RoomKeys(by_password, b"p" * 32, None)
    event = Rekeyed(epoch=1, check="A" * 22, box=VECTORS["rekey"]["box"], seq=1)
    with pytest.raises(RekeyError, match="password only"):
        make_rekey(room, made.owner, cards(users))
    with pytest.raises(RekeyError, match="password only"):
        take_rekey(room, users[ANN], event, now=NOW_S)


def forged(made: NewRoom, user: UserKey, *, signer: OwnerKey, **change: int | bytes) -> Rekeyed:
    """A rekey that someone made up: sealed rightly, and signed by `signer` for what `change` says."""
    salt, epoch, secret = made.keys.salt, 1, b"n" * 16
    sign = {"salt": salt, "epoch": epoch, "secret": secret} | change
    signature = signer.sign(signed_part(sign["salt"], sign["epoch"], sign["secret"]))
    box = seal_box(secret + signature, user.public, rekey_info(salt, epoch, user.public))
    check = encode_base64url(made.keys.derive(epoch, secret).check)
    return Rekeyed(epoch=epoch, check=check, box=encode_base64url(box), seq=10)


@pytest.mark.parametrize("change", [{"salt": b"o" * 16}, {"epoch": 2}, {"epoch": 0}, {"secret": b"m" * 16}])
def test_a_signature_for_something_else(made, users, change):
    """The owner's signature over another room, epoch or secret isn't one over this."""
    room = keys_again(made)
    with pytest.raises(RekeyError, match="not made by the room's owner"):
        take_rekey(room, users[ANN], forged(made, users[ANN], signer=made.owner, **change), now=NOW_S)
    assert room.current.epoch == 0
    assert take_rekey(room, users[ANN], forged(made, users[ANN], signer=made.owner), now=NOW_S) == b"n" * 16


def test_a_signature_of_someone_else(made, users):
    """A member with the server's help can't rekey: the owner's signature is missing."""
    room = keys_again(made)
    with pytest.raises(RekeyError, match="not made by the room's owner"):
        take_rekey(room, users[ANN], forged(made, users[ANN], signer=OwnerKey.generate()), now=NOW_S)
    assert room.current.epoch == 0


def test_a_wrong_check(made, users):
    """The server must know the new epoch's check too; the room stays where it was."""
    room = keys_again(made)
    event = forged(made, users[ANN], signer=made.owner)
    with pytest.raises(RekeyError, match="check"):
        take_rekey(room, users[ANN], msgspec.structs.replace(event, check="A" * 22), now=NOW_S)
    assert room.current.epoch == 0


def test_an_all_zero_secret(made, users):
    """A rekey to no secret at all isn't taken, not even from the owner."""
    room = keys_again(made)
    signature = made.owner.sign(signed_part(room.salt, 1, bytes(16)))
    user = users[ANN]
    box = seal_box(bytes(16) + signature, user.public, rekey_info(room.salt, 1, user.public))
    with pytest.raises(RekeyError):
        take_rekey(room, user, Rekeyed(epoch=1, check="A" * 22, box=encode_base64url(box), seq=1), now=NOW_S)
    assert room.epoch == 0


def test_epochs_never_go_back(made, users):
    """The same rekey again, and an earlier one after a later, change nothing."""
    room = keys_again(made)
    first = make_rekey(room, made.owner, cards(users)).part
    take_rekey(room, users[ANN], heard_by(first, ANN, 10), now=NOW_S)
    second = make_rekey(room, made.owner, cards(users)).part
    take_rekey(room, users[ANN], heard_by(second, ANN, 20), now=NOW_S)
    proof = room.proof_text
    for old in (first, second):
        with pytest.raises(RekeyError, match="not after the present one"):
            take_rekey(room, users[ANN], heard_by(old, ANN, 30), now=NOW_S)
    access = made.access.rekeyed(first.verifier, first.check)
    with pytest.raises(WrongEpoch, match="behind"):
        room.confirm(access.public(1, joined=True))
    assert (room.epoch, room.proof_text) == (2, proof)


def test_away_for_two_rekeys(made, users):
    """Who was away takes the last one only; it is signed by itself."""
    owner_room, away = keys_again(made), keys_again(made)
    for seq in (10, 20):
        part = make_rekey(owner_room, made.owner, cards(users)).part
        take_rekey(owner_room, users[BOB], heard_by(part, BOB, seq), now=NOW_S)
    take_rekey(away, users[ANN], heard_by(part, ANN, 20), now=NOW_S)
    assert (away.epoch, away.proof_text) == (2, owner_room.proof_text)


def test_what_the_old_epoch_still_opens(made, users):
    """Older bodies open only where they come before the rekey; nothing of the old epoch counts after it."""
    room = keys_again(made)
    sealer, old_sealer = Sealer(room, users[ANN]), Sealer(keys_again(made), users[ANN])
    opener = Opener(room, users[BOB], BOB, NOW_MS)
    opener.card(ANN, plain(sealer.card("ann")), 0)
    late = [plain(old_sealer.message(f"m{n}", {}, NOW_MS)) for n in range(3)]
    told = plain(old_sealer.direct(users[BOB].public, "d1", {}, NOW_MS))
    card = plain(old_sealer.card("anna"))
    take_rekey(room, users[BOB], heard_by(make_rekey(room, made.owner, cards(users)).part, BOB, 10), now=NOW_S)
    assert opener.message(Heard(ANN, "m0", late[0], 9)).epoch == 0
    assert opener.message(Heard(ANN, "d1", told, 9, BOB)).epoch == 0
    for attempt in (
        lambda: opener.message(Heard(ANN, "m1", late[1], 11)),
        lambda: opener.message(Heard(ANN, "m1", late[1], 10)),
        lambda: opener.card(ANN, card, 10),
    ):
        with pytest.raises(WrongEpoch):
            attempt()
    resealed = sealer.card("ann")
    assert (resealed.e, resealed.n) == (1, 1)
    assert opener.card(ANN, plain(resealed), 10).nick == "ann"
    assert opener.message(Heard(ANN, "m1", plain(sealer.message("m1", {}, NOW_MS)), 11)).epoch == 1


def test_another_epochs_key_does_not_open(made, users):
    """Relabelled with the new epoch's number, an old body doesn't open."""
    room = keys_again(made)
    sealer = Sealer(keys_again(made), users[ANN])
    opener = Opener(room, users[BOB], BOB, NOW_MS)
    opener.card(ANN, plain(sealer.card("ann")), 0)
    body = plain(sealer.message("m1", {}, NOW_MS))
    take_rekey(room, users[BOB], heard_by(make_rekey(room, made.owner, cards(users)).part, BOB, 10), now=NOW_S)
    with pytest.raises(ValueError, match="could not be opened"):
        opener.message(Heard(ANN, "m1", {**body, "e": 1}, 11))
    with pytest.raises(WrongEpoch):
        opener.message(Heard(ANN, "m1", {**body, "e": 2}, 11))


def test_the_keys_of_an_ended_epoch_are_dropped_after_two_minutes(made, users):
    """Late frames open until then, whatever their place; afterwards nothing of the old epoch does."""
    room = keys_again(made)
    sealer = Sealer(keys_again(made), users[ANN])
    opener = Opener(room, users[BOB], BOB, NOW_MS)
    opener.card(ANN, plain(sealer.card("ann")), 0)
    late = [plain(sealer.message(f"m{n}", {}, NOW_MS)) for n in range(2)]
    take_rekey(room, users[BOB], heard_by(make_rekey(room, made.owner, cards(users)).part, BOB, 10), now=NOW_S)
    room.drop_ended(NOW_S + 119.9)
    assert opener.message(Heard(ANN, "m0", late[0], 9)).epoch == 0
    room.drop_ended(NOW_S + 120)
    with pytest.raises(WrongEpoch):
        opener.message(Heard(ANN, "m1", late[1], 9))
    assert room.current.epoch == 1


def test_each_ended_epoch_has_its_own_two_minutes(made, users):
    """Of several rekeys in a row the earlier epochs go first."""
    room = keys_again(made)
    for n in range(3):
        part = make_rekey(room, made.owner, cards(users)).part
        take_rekey(room, users[ANN], heard_by(part, ANN, 10 * n + 10), now=NOW_S + 60 * n)
    room.drop_ended(NOW_S + 179)
    with pytest.raises(WrongEpoch):
        room.at(0, 1)
    assert [room.at(epoch, 1).epoch for epoch in (1, 2, 3)] == [1, 2, 3]
    room.drop_ended(NOW_S + 10_000)
    assert room.at(3, 1).epoch == 3


def test_something_of_a_newer_epoch_is_noticed(made, users):
    """It shows that the room has keys that did not reach this client; new keys end that."""
    room = keys_again(made)
    assert not room.newer_came
    with pytest.raises(NewerEpoch):
        room.at(1, 5)
    assert room.newer_came
    take_rekey(room, users[ANN], heard_by(make_rekey(room, made.owner, cards(users)).part, ANN, 10), now=NOW_S)
    assert not room.newer_came
