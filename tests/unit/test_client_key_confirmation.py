"""The owner's confirmation of the present keys, against the vectors and against what must not be believed."""

import json
from pathlib import Path

import msgspec
import pytest

from relayd.client.seal.bodies import BodyType, Slot, open_at
from relayd.client.seal.confirmation import KIND, confirmation_text, read_confirmation
from relayd.client.sealing import Opener, OwnerKey, Sealer, UserKey, new_room
from relayd.client.sealing_errors import NotOpened
from relayd.wire.sealing import EpochKeys
from relayd.wire.sealing_text import decode_base64url, encode_base64url

VECTORS = json.loads(Path(__file__).parents[1].joinpath("vectors", "key-confirmation-vectors.json").read_text("utf-8"))
SALT, SID = decode_base64url(VECTORS["salt"]), decode_base64url(VECTORS["sid"])
OWNER = OwnerKey(bytes.fromhex(VECTORS["owner_private"]))
NOW_MS = 1_795_350_000_000


def keys_of(epoch: int, room_key: str = "") -> EpochKeys:
    keys = EpochKeys(bytes(48), SALT, epoch)
    keys.room_key = bytes.fromhex(room_key)
    return keys


@pytest.mark.parametrize("vector", VECTORS["good"], ids=lambda vector: vector["case"])
def test_good_vectors(vector):
    """What is signed, the signature and the sealed signal, byte for byte."""
    keys, slot = keys_of(vector["epoch"], vector["K"]), Slot(BodyType.SIGNAL, SID, vector["n"])
    assert confirmation_text(keys, slot, vector["t"]).hex() == vector["signed_hex"]
    assert encode_base64url(OWNER.sign(confirmation_text(keys, slot, vector["t"]))) == vector["signature"]
    opened = open_at(keys, slot, decode_base64url(vector["body"]["c"]))
    assert opened.decode() == vector["plaintext_json"]
    data = json.loads(opened)["data"]
    assert read_confirmation(OWNER.public, keys, slot, data) == vector["t"]


@pytest.mark.parametrize("vector", VECTORS["bad"], ids=lambda vector: vector["why"])
def test_bad_vectors(vector):
    """None of them is a confirmation."""
    slot = Slot(BodyType.SIGNAL, decode_base64url(vector["sid"]), vector["n"])
    owner, data = decode_base64url(vector["owner"]), {"t": vector["t"], "sig": vector["sig"]}
    with pytest.raises(NotOpened):
        read_confirmation(owner, keys_of(vector["epoch"]), slot, data)


@pytest.mark.parametrize("data", [None, [], "x", 5, {}, {"t": 0}, {"sig": "A" * 86}, {"t": True, "sig": "A" * 86}])
def test_what_is_no_confirmation(data):
    """Other JSON is refused and breaks nothing."""
    with pytest.raises(NotOpened):
        read_confirmation(OWNER.public, keys_of(0), Slot(BodyType.SIGNAL, SID, 0), data)


def test_a_sealer_makes_a_signal_that_an_opener_can_check():
    """It is an ordinary sealed signal, so a server sees no more of it than its length."""
    made, ann = new_room(), UserKey.generate()
    made.keys.confirm(made.access.public(0, joined=True))
    body = msgspec.to_builtins(Sealer(made.keys, ann).key_confirmation(made.owner, 77))
    assert set(body) == {"e", "s", "n", "c"}
    signal = Opener(made.keys, UserKey.generate(), "u_bob", NOW_MS).signal("u_ann", body, 0)
    assert signal.kind == KIND
    assert read_confirmation(made.owner.public, signal.keys, signal.slot, signal.data) == 77
