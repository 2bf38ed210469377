"""Key derivation and the access part of a room, against the vectors and against bad input."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.wire.sealing import (
    MAX_PASSWORD_BYTES,
    Access,
    EpochKeys,
    PublicAccess,
    access_of,
    derive_access,
    derive_epoch,
    derive_password_key,
    owner_salt,
    password_bytes,
    proof_fits,
    stretch,
)
from relayd.wire.sealing_text import (
    SealingError,
    decode_base64url,
    encode_base64url,
    encode_utf8,
    is_base64url,
    u32,
)

VECTORS = json.loads(Path(__file__).parents[1].joinpath("vectors", "sealing-vectors.json").read_text("utf-8"))
ROOMS = [pytest.param(room, id=room["case"]) for room in VECTORS["rooms"]]
WITH_PASSWORD = [pytest.param(room, id=room["case"]) for room in VECTORS["rooms"] if room["password"]]
SALT = bytes(range(16))


def unb64(text: str) -> bytes:
    """An independent decoder, so that a mistake in the tested one can't hide."""
    return base64.b64decode(text + "==", altchars=b"-_", validate=False)


def keys_of(room: dict) -> EpochKeys:
    secret = unb64(room["link_secret"]) if room["link_secret"] else None
    password_key = bytes.fromhex(room["P"]) if room["password"] else None
    return derive_epoch(unb64(room["salt"]), room["epoch"], password_key=password_key, link_secret=secret)


# Vectors.


@pytest.mark.parametrize("room", WITH_PASSWORD)
def test_password_key(room):
    """P, with composed and decomposed accents, an emoji, and space around it."""
    assert derive_password_key(room["password"], unb64(room["salt"])).hex() == room["P"]


@pytest.mark.parametrize("room", ROOMS)
def test_epoch_keys(room):
    """K, A, C and the verifier of every kind of room, and of a later epoch."""
    keys = keys_of(room)
    assert keys.room_key.hex() == room["K"]
    assert keys.proof_text == room["proof"]
    assert keys.verifier == room["verifier"]
    assert encode_base64url(keys.check) == room["check"]


@pytest.mark.parametrize("room", ROOMS)
def test_proof(room):
    """The proof of a room fits its verifier, and that of no other."""
    access = access_of(keys_of(room), owner=None, password=bool(room["password"]))
    assert [proof_fits(access, other["proof"]) for other in VECTORS["rooms"]] == [
        other is room for other in VECTORS["rooms"]
    ]


def test_owner_salt():
    """The salt is bound to the owner's public key."""
    rekey = VECTORS["rekey"]
    assert encode_base64url(owner_salt(unb64(rekey["owner_public"]))) == rekey["salt"]


# Base64url and UTF-8.


@given(st.binary(max_size=100))
def test_base64url_round_trip(data):
    """Encoding and decoding is the identity, with and without a known length."""
    text = encode_base64url(data)
    assert text.encode() == base64.urlsafe_b64encode(data).rstrip(b"=")
    assert decode_base64url(text) == decode_base64url(text, len(data)) == data


@given(st.text(alphabet="ABgwQxyz019-_+/= \n", max_size=12))
def test_base64url_is_canonical(text):
    """What is accepted is exactly what encoding gives: no second text for the same bytes."""
    try:
        same = encode_base64url(unb64(text)) == text
    except ValueError:
        same = False
    assert is_base64url(text) == same


@pytest.mark.parametrize(
    "text",
    ["", "AAAA", "A" * 21, "A" * 23, "A" * 24, "A" * 21 + "B", "A" * 22 + "==", "A" * 21 + "+",
     "A" * 21 + "\n", "A" * 21 + "\N{FULLWIDTH LATIN CAPITAL LETTER A}"],
)  # fmt: skip
def test_base64url_of_16_bytes(text):
    """Cut, too long, not canonical, padded, of another alphabet: refused, and not repeated."""
    with pytest.raises(SealingError, match=r"^salt: ") as raised:
        decode_base64url(text, 16, "salt")
    assert not text or text not in str(raised.value)


def test_utf8_is_strict():
    """Lone surrogates and byte order marks are refused; the error holds nothing of the text."""
    with pytest.raises(SealingError, match="surrogate") as raised:
        encode_utf8("secret \ud800")
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    with pytest.raises(SealingError, match="byte order mark"):
        encode_utf8("\ufeffsecret")
    assert encode_utf8("h\u00e9llo") == b"h\xc3\xa9llo"


@pytest.mark.parametrize("number", [-1, 2**32])
def test_u32_range(number):
    """Epochs and counters stay below 2^32."""
    with pytest.raises(SealingError, match="range"):
        u32(number)
    assert u32(2**32 - 1) == b"\xff" * 4


# Passwords.


@given(st.text(min_size=1, max_size=60))
def test_password_is_normalised_and_not_trimmed(password):
    """NFC and NFD of a password are the same password; space and case make another."""
    if password.startswith("\ufeff") or unicodedata.normalize("NFC", password).startswith("\ufeff"):
        return
    data = password_bytes(password)
    assert data.decode() == unicodedata.normalize("NFC", password)
    assert password_bytes(unicodedata.normalize("NFD", password)) == data
    assert password_bytes(f" {password} ") == b" " + data + b" "


@pytest.mark.parametrize("password", ["\u2615\ufe0f\U0001f469\u200d\U0001f680", " ", "\0", "x" * 1024])
def test_odd_passwords_are_fine(password):
    """Emoji, a single space, a zero byte, exactly 1,024 bytes."""
    assert password_bytes(password) == password.encode()


@pytest.mark.parametrize(
    ("password", "why"),
    [("", "empty"), ("x" * 1025, "1,024 bytes"), ("\u00e9" * 513, "1,024 bytes"), ("x" * 10_240, "bytes"),
     ("a" + "\u0300" * 16_000 + "\u0316" * 16_000, "bytes"), ("\ud83d", "surrogate"),
     ("\ufeffx", "order mark")],
)  # fmt: skip
def test_bad_passwords(password, why):
    """Empty, too long (counted in bytes), no text: a clear error at once, without the password in it."""
    before = time.thread_time()
    with pytest.raises(SealingError, match=f"^password: .*{why}") as raised:
        derive_password_key(password, SALT)
    assert time.thread_time() - before < 0.1, "refused before the expensive part"
    assert len(password) < 2 or password not in str(raised.value)


def test_decomposed_password_within_the_limit():
    """The limit holds for what is stretched: 341 Hangul syllables in 1,023 letters are 1,023 bytes."""
    assert len(password_bytes("\u1112\u1161\u11ab" * 341)) == 1023 <= MAX_PASSWORD_BYTES


@pytest.mark.parametrize("n_bytes", [0, 15, 17, 10_000])
def test_salt_has_16_bytes(n_bytes):
    """A salt of another length is refused wherever it could come in."""
    salt = bytes(n_bytes)
    with pytest.raises(SealingError, match="salt: expected 16 bytes"):
        derive_password_key("x", salt)
    with pytest.raises(SealingError, match="salt: expected 16 bytes"):
        derive_epoch(salt, 0, password_key=None, link_secret=b"s" * 16)
    with pytest.raises(msgspec.ValidationError, match=r"\$\.salt"):
        msgspec.convert({**ACCESS, "salt": encode_base64url(salt)}, Access)


@pytest.mark.parametrize(
    ("given_", "why"),
    [({}, "needs a link secret or a password"), ({"link_secret": bytes(16)}, "all zero"),
     ({"link_secret": b"s" * 15}, "16 bytes"), ({"password_key": b"p" * 31}, "32 bytes")],
)  # fmt: skip
def test_no_keys_of_nothing(given_, why):
    """Keys that anyone could derive are never made."""
    with pytest.raises(SealingError, match=why):
        derive_epoch(SALT, 0, **{"password_key": None, "link_secret": None} | given_)


@pytest.mark.parametrize("epoch", [-1, 2**32])
def test_epoch_range(epoch):
    """An epoch that u32 cannot say is refused."""
    with pytest.raises(SealingError, match="range"):
        derive_epoch(SALT, epoch, password_key=None, link_secret=b"s" * 16)


def test_every_input_counts():
    """Secret, password key, salt and epoch each change every key; the three keys of an epoch differ."""
    base = {"salt": SALT, "epoch": 0, "password_key": b"p" * 32, "link_secret": b"s" * 16}
    changes = [{}, {"salt": bytes(15) + b"x"}, {"epoch": 1}, {"password_key": None}, {"link_secret": None}]
    made = [derive_epoch(**base | change) for change in changes]
    assert len({key for keys in made for key in (keys.room_key, keys.proof, keys.check)}) == 3 * len(changes)


# The access part.

ACCESS = {
    "suite": 1,
    "salt": VECTORS["rooms"][0]["salt"],
    "owner": VECTORS["rekey"]["owner_public"],
    "verifier": VECTORS["rooms"][0]["verifier"],
    "check": VECTORS["rooms"][0]["check"],
    "password": True,
}


def test_access_round_trip():
    """What a client posts decodes and encodes to the same; without an owner it has no such field."""
    assert msgspec.to_builtins(msgspec.convert(ACCESS, Access)) == ACCESS
    without = {name: value for name, value in ACCESS.items() if name != "owner"}
    assert msgspec.to_builtins(msgspec.convert(without, Access)) == without


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("suite", value) for value in (0, 2, "1", True, 1.5, None)),
        *(("salt", value) for value in ("", "A" * 21, "A" * 21 + "B", "A" * 22 + "==", "A" * 22 + "\n")),
        *(("owner", value) for value in ("", "A" * 42 + "B", "A" * 22, ACCESS["owner"] + "=")),
        *(("verifier", value) for value in ("", "A" * 64, "0" * 63, "0" * 65, "x" * 64, "0" * 64 + "\n")),
        *(("check", value) for value in ("", "A" * 43, "A" * 21 + "/", None)),
        *(("password", value) for value in (1, "true", None)),
        ("secret", "AAAA"),
    ],
)
def test_access_refuses(field, value):
    """Every field has exactly one form; unknown ones are refused; the error names the field."""
    with pytest.raises(msgspec.ValidationError, match=rf"\$\.{field}|`{field}`"):
        msgspec.convert({**ACCESS, field: value}, Access)


@pytest.mark.parametrize("field", ["suite", "salt", "verifier", "check", "password"])
def test_access_needs(field):
    """Only the owner may be left out."""
    with pytest.raises(msgspec.ValidationError, match=f"`{field}`"):
        msgspec.convert({name: value for name, value in ACCESS.items() if name != field}, Access)


def test_what_is_shown_of_it():
    """Details hide verifier and check; those who have joined see the check; nobody sees the verifier."""
    access = msgspec.convert(ACCESS, Access)
    shown = {"suite": 1, "salt": ACCESS["salt"], "password": True, "owner": ACCESS["owner"], "epoch": 3}
    assert msgspec.to_builtins(access.public(3)) == shown
    assert msgspec.to_builtins(access.public(3, joined=True)) == {**shown, "check": ACCESS["check"]}
    assert msgspec.convert({**shown, "later": "field"}, PublicAccess) == access.public(3)


def test_rekeyed_access():
    """A rekey changes verifier and check and nothing else."""
    later = VECTORS["rooms"][3]
    access = msgspec.convert(ACCESS, Access).rekeyed(later["verifier"], later["check"])
    assert proof_fits(access, later["proof"])
    assert not proof_fits(access, VECTORS["rooms"][0]["proof"])
    changed = {"verifier": later["verifier"], "check": later["check"]}
    assert msgspec.to_builtins(access) == {**ACCESS, **changed}


def test_access_of_a_plain_password():
    """A script's password and a drawn link secret give a room of its own salt, without an owner; its proof fits."""
    room = VECTORS["rooms"][0]
    drawn = iter([unb64(room["salt"]), bytes(16), unb64(room["link_secret"])])  # a secret of zeros is drawn again
    access, secret = derive_access(room["password"], lambda n: next(drawn)[:n])
    assert secret == unb64(room["link_secret"])
    assert msgspec.to_builtins(access) == {
        "suite": 1,
        "salt": room["salt"],
        "verifier": room["verifier"],
        "check": room["check"],
        "password": True,
        "secret": True,
    }
    assert proof_fits(access, room["proof"])
    assert derive_access("x")[0].salt != derive_access("x")[0].salt


@pytest.mark.parametrize(
    "proof", [None, "", "x", "A" * 43, "A" * 42 + "B", ROOMS[0].values[0]["proof"] + "=", "\u00e9"]
)
def test_proofs_that_do_not_fit(proof):
    """Missing, misshapen, wrong: False, never an error."""
    assert proof_fits(msgspec.convert(ACCESS, Access), proof) is False


def test_a_proof_is_its_preimage():
    """Sending the verifier itself, which a stolen snapshot holds, proves nothing."""
    access = msgspec.convert(ACCESS, Access)
    assert not proof_fits(access, encode_base64url(bytes.fromhex(access.verifier)))


def test_stretch_is_the_rfc_8018_function():
    """PBKDF2-HMAC-SHA256, 600,000 rounds, over the label and its context."""
    expected = hashlib.pbkdf2_hmac("sha256", b"key", b"relay/1 person\0" + SALT, 600_000, 6)
    assert stretch(b"key", "person", SALT, 6) == expected


def test_importing_it_is_cheap():
    """The rules of the wire drag in no I/O, no clock and no server."""
    code = (
        "import sys, relayd.wire.sealing, relayd.wire.sealed_shapes, relayd.client.sealing;"
        "print(sorted({'tornado', 'zmq', 'sqlite3', 'sqlite_utils', 'click', 'asyncio'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    # Measuring coverage imports sqlite3 by itself.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
    assert done.stdout.strip() == "[]"
