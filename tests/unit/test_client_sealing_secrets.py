"""No secret shows: not in a repr, a format, a pretty print, an error or its cause."""

import base64
import hashlib
import logging
import traceback

import pytest
from rich.pretty import pretty_repr

from relayd.client.seal.files import ChunkSealer
from relayd.client.sealing import (
    Heard,
    Link,
    Opener,
    Sealer,
    UserKey,
    make_rekey,
    new_offer,
    new_room,
    parse_link,
    unlock,
)
from relayd.wire.sealing import derive_password_key
from relayd.wire.sealing_text import SealingError, encode_base64url

KEY = "ri_" + "B" * 21 + "A"
MARK = "hunter2-hunter2-hunter2"
S_BYTES = b"link-secret-here"


def forms(data: bytes) -> list[str]:
    return [data.hex(), encode_base64url(data), base64.b64encode(data).decode(), repr(data)[2:-1]]


@pytest.fixture(scope="module")
def objects():
    """One of everything that holds a secret, and the secrets."""
    made = new_room()
    access = made.access.public(0, joined=True)
    made.keys.confirm(access)
    user = UserKey.generate()
    sealer = Sealer(made.keys, user)
    opener = Opener(made.keys, user, "u_ann", 0)
    opener.add_sealer(sealer)
    body = sealer.message("m1", {"text": MARK}, 0)
    message = opener.message(Heard("u_ann", "m1", body, 1))
    card = opener.card("u_ann", sealer.card(MARK), 0)
    other = Opener(made.keys, UserKey.generate(), "u_bob", 0)
    signal = other.signal("u_ann", sealer.signal(MARK, {"x": MARK}), 0)
    new = make_rekey(made.keys, made.owner, {"u_ann": user.public})
    offer = new_offer(MARK, "a/b", size=0, sha256=hashlib.sha256().digest(), chunk_bytes=1)
    chunks = ChunkSealer(offer, salt=made.keys.salt, epoch=0)
    link = Link(invite_key=KEY, secret=S_BYTES)
    share = parse_link(f"https://h/6f1f9e0c-8a57-4d7b-9f53-0c2d8d1b7a11#{link.fragment}")
    shown = [made, made.access, access, made.keys, made.owner, made.keys.current, user, sealer, opener, body,
             message, card, signal, new, new.part, offer, chunks, link, share, made.link(KEY)]  # fmt: skip
    keys = made.keys.current
    secrets = [made.secret, keys.room_key, keys.proof, keys.check, made.owner.private_bytes(),
               user.private_bytes(),
               new.secret, S_BYTES]  # fmt: skip
    texts = [form for secret in secrets for form in forms(secret)]
    return shown, [*texts, MARK, KEY, offer.key, made.access.verifier, new.part.verifier, body.c]


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        "{}".format,
        "%r".__mod__,
        pretty_repr,
        lambda o: repr([{"k": (o,)}]),
    ],
)
def test_nothing_shows(objects, show):
    """Alone, formatted, pretty-printed and inside containers."""
    shown, secrets = objects
    for thing in shown:
        text = show(thing)
        assert type(thing).__name__ in text
        assert not [secret for secret in secrets if secret in text], type(thing).__name__


@pytest.mark.parametrize("password", [MARK * 100, MARK + "\ud800"])
def test_errors_do_not_hold_a_password(password):
    """Nor does what hangs on them, as a traceback would print it."""
    with pytest.raises(SealingError) as raised:
        derive_password_key(password, bytes(16))
    assert MARK not in "".join(traceback.format_exception(raised.value))
    assert MARK not in repr(raised.value)


@pytest.mark.parametrize(
    "fragment",
    [f"{KEY}.1.{encode_base64url(S_BYTES)}x", f"{KEY}.2.{encode_base64url(S_BYTES)}", f"{KEY}x", f"x{KEY}"],
)
def test_errors_do_not_hold_a_link(fragment):
    """A broken link isn't repeated: it may be one letter off a working one."""
    with pytest.raises(SealingError) as raised:
        parse_link(f"https://h/6f1f9e0c-8a57-4d7b-9f53-0c2d8d1b7a11#{fragment}")
    text = str(raised.value) + repr(raised.value) + repr(raised.value.__cause__)
    assert KEY[3:] not in text
    assert encode_base64url(S_BYTES) not in text


def test_errors_do_not_hold_what_was_said(objects):
    """What can't be sealed or opened isn't in the error."""
    made = new_room()
    made.keys.confirm(made.access.public(0, joined=True))
    with pytest.raises(SealingError) as raised:
        Sealer(made.keys, UserKey.generate()).message("m1", {"text": MARK, "odd": object()}, 0)
    assert MARK not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_logging_an_unlocked_room(caplog):
    """The line a careless debug statement would write."""
    made = new_room()
    keys = unlock(made.link(KEY), made.access.public(0))
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("relay").debug("unlocked %s with %r", keys, made.link(KEY))
    assert caplog.messages == ["unlocked <RoomKeys> with <Link>"]
