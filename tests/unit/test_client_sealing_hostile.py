"""Bodies of any content come through an opener, and hostile ones do no harm."""

import base64

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.client.seal.bodies import BodyType
from relayd.client.sealing import Heard, Opener, Sealer, UserKey, new_room
from relayd.client.sealing_errors import NotOpened, NotSealed
from relayd.wire.sealing_text import encode_base64url

NOW_MS = 1_795_350_000_000
MADE = new_room()
MADE.keys.confirm(MADE.access.public(0, joined=True))


def plain(body: object) -> object:
    """As it comes out of a JSON decoder."""
    return msgspec.json.decode(msgspec.json.encode(body))


def pair() -> tuple[Sealer, Opener, UserKey]:
    """Ann's sealer; the opener of Bob, who has her card; and his pair."""
    user = UserKey.generate()
    sealer, opener = Sealer(MADE.keys, UserKey.generate()), Opener(MADE.keys, user, "u_bob", NOW_MS)
    opener.card("u_ann", plain(sealer.card("ann")), 0)
    return sealer, opener, user


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(JSON, st.text(min_size=1, max_size=64), st.integers(0, 2**53 - 1))
def test_round_trip(body, message_id, t_ms):
    """Any JSON, any id, any time, to all and to one."""
    ann, opener, bob = pair()
    said = plain(ann.message(message_id, body, t_ms))
    told = plain(ann.direct(bob.public, message_id + "d", body, t_ms))
    for heard in (Heard("u_ann", message_id, said, 1), Heard("u_ann", message_id + "d", told, 1, "u_bob")):
        opened = opener.message(heard)
        assert (opened.body, opened.id, opened.t_ms) == (body, heard.id, t_ms)


@pytest.mark.parametrize(
    "body", [None, "hello", {"kind": "text", "text": "hello"}, {"e": 0, "s": "A" * 22, "n": 0, "c": "AAAA"}]
)
def test_plaintext_is_never_shown(body):
    """A sealed room shows no plaintext, whatever arrives."""
    _, opener, _ = pair()
    for attempt in (
        lambda: opener.message(Heard("u_ann", "m1", body, 1)),
        lambda: opener.card("u_ann", body, 1),
        lambda: opener.signal("u_ann", body, 1),
    ):
        with pytest.raises(NotSealed):
            attempt()


@given(st.integers(0, 400), st.integers(1, 255))
@settings(max_examples=40)
def test_a_bit_flipped(place, flip):
    """Any change of the ciphertext, and nothing comes out."""
    ann, opener, _ = pair()
    body = ann.message("m1", {"text": "x" * 300}, NOW_MS)
    raw = bytearray(base64.urlsafe_b64decode(body.c + "=="))
    raw[place % len(raw)] ^= flip
    changed = {**plain(body), "c": encode_base64url(bytes(raw))}
    with pytest.raises(NotOpened):
        opener.message(Heard("u_ann", "m1", changed, 1))
    assert opener.message(Heard("u_ann", "m1", plain(body), 1))


@pytest.mark.parametrize(
    "inside",
    [b"", b"null", b"[]", b"{}", b"[" * 50_000, b'"\\ud800"', b"\xff\xfe", b"\xef\xbb\xbf{}",
     b'{"id":"m1"} x',
     b'{"id":"m1","by":"AAAA","t":0,"body":{}}', b'{"id":"m1","by":"' + b"A" * 43 + b'","t":-1,"body":{}}',
     b'{"id":1,"by":"' + b"A" * 43 + b'","t":0,"body":{}}', b'{"id":"m1","by":"' + b"A" * 43 + b'","t":0}',
     b'{"id":"m1","by":"' + b"A" * 43 + b'","t":1e400,"body":{}}',
     b'{"id":"m1","by":"' + b"A" * 43 + b'","t":0,"body":' + b"[" * 50_000,
     b'{"kind":"x","data":' + b"[" * 50_000],
    ids=lambda inside: inside[:30].decode("latin-1"),
)  # fmt: skip
def test_insides_that_are_none(inside):
    """What a hostile member seals: no JSON, other forms, nested without end. One error, nothing else."""
    ann, opener, _ = pair()
    for kind, attempt in (
        (BodyType.MESSAGE, lambda body: opener.message(Heard("u_ann", "m1", body, 1))),
        (BodyType.DIRECT, lambda body: opener.message(Heard("u_ann", "m1", body, 1, "u_bob"))),
        (BodyType.CARD, lambda body: opener.card("u_ann", body, 1)),
        (BodyType.SIGNAL, lambda body: opener.signal("u_ann", body, 1)),
    ):
        body = plain(ann._seal(kind, inside))
        with pytest.raises(NotOpened) as raised:
            attempt(body)
        assert raised.value.__cause__ is None
