"""Share links, and getting into a sealed room with one."""

import base64
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.client.sealing import Link, OwnerKey, new_room, parse_fragment, parse_link, room_is_sealed, unlock
from relayd.client.sealing_errors import Downgrade, LinkError, PasswordNeeded, UnknownSuite, WrongSecret
from relayd.wire.sealing import PublicAccess, owner_salt
from relayd.wire.sealing_text import SealingError, encode_base64url

VECTORS = json.loads(Path(__file__).parents[1].joinpath("vectors", "sealing-vectors.json").read_text("utf-8"))


def unb64(text: str) -> bytes:
    return base64.b64decode(text + "==", altchars=b"-_")


def access_of_vector(room: dict) -> PublicAccess:
    owner = VECTORS["rekey"]["owner_public"] if room["salt"] == VECTORS["rekey"]["salt"] else None
    protected = bool(room["password"])
    return PublicAccess(suite=1, salt=room["salt"], password=protected, epoch=room["epoch"], owner=owner)


@pytest.mark.parametrize("vector", VECTORS["links"], ids=lambda vector: vector["fragment"][25:])
def test_link_vectors(vector):
    """Every form of a fragment, read and written."""
    link = parse_fragment(vector["fragment"])
    assert link.sealed == vector["sealed"]
    if link.sealed:
        assert link.password == vector["password"]
        assert link.secret == (unb64(vector["link_secret"]) if vector["link_secret"] else None)
    assert link.fragment == vector["fragment"]


@pytest.mark.parametrize("vector", VECTORS["bad_links"], ids=lambda vector: vector["why"])
def test_bad_link_vectors(vector):
    """Refused, and an unknown suite is told apart."""
    kind = UnknownSuite if vector["why"] == "unknown suite" else LinkError
    with pytest.raises(kind) as raised:
        parse_fragment(vector["fragment"])
    assert type(raised.value) is kind


KEY = "ri_" + "A" * 22
S_TEXT = "ZGVmZ2hpamtsbW5vcHFycw"


@pytest.mark.parametrize("marker", ["2", "2p", "01", "1P", "1pp", "", "p", "10", "\u00b9", "1 "])
def test_other_suites_are_never_taken_for_open(marker):
    """Whatever stands after the dot, the link isn't an open one."""
    for rest in ("", "." + S_TEXT):
        with pytest.raises(UnknownSuite):
            parse_fragment(f"{KEY}.{marker}{rest}")


@pytest.mark.parametrize(
    "fragment",
    [f"{KEY}.1p.{S_TEXT}.x", f"{KEY}.1.", f"{KEY}.1p.", f"{KEY}.1.{S_TEXT}\n",
     f"ro_{'A' * 43}.1.{S_TEXT}", f"{KEY[:-1]}B", f"{KEY}=", f".1.{S_TEXT}", "#" + KEY],
)  # fmt: skip
def test_other_fragments_are_refused(fragment):
    """Nothing is guessed; the error repeats neither key nor secret."""
    with pytest.raises(LinkError) as raised:
        parse_fragment(fragment)
    assert S_TEXT not in str(raised.value)
    assert KEY[3:] not in str(raised.value)


ROOM_ID = "6f1f9e0c-8a57-4d7b-9f53-0c2d8d1b7a11"


@given(st.booleans(), st.none() | st.binary(min_size=16, max_size=16).filter(any))
def test_link_round_trip(password, secret):
    """Formatting and reading a link is the identity."""
    link = Link(invite_key=KEY, password=password, secret=secret)
    url = f"https://chat.example/{ROOM_ID}#{link.fragment}"
    assert parse_link(f"  {url}\n").link == link
    assert parse_link(url).url == url


@pytest.mark.parametrize("server", ["http://127.0.0.1:8080", "https://[::1]:8443", "https://chat.example"])
def test_link_server(server):
    """Scheme, host and port are kept."""
    share = parse_link(f"{server}/{ROOM_ID}#{KEY}.1p")
    assert (share.server, share.room_id, share.link.password) == (server, ROOM_ID, True)


@pytest.mark.parametrize(
    "url",
    ["", "chat.example", f"ftp://h/{ROOM_ID}#{KEY}", f"https:///{ROOM_ID}#{KEY}", f"https://h/x#{KEY}",
     f"https://h/{ROOM_ID}", f"https://h/{ROOM_ID}#", f"https://h/{ROOM_ID.upper()}#{KEY}",
     f"https://me:pw@h/{ROOM_ID}#{KEY}", f"https://h/{ROOM_ID}?k={S_TEXT}#{KEY}",
     f"https://h/a/{ROOM_ID}#{KEY}",
     f"https://[x/{ROOM_ID}#{KEY}", f"https://h:99999/{ROOM_ID}#{KEY}"],
)  # fmt: skip
def test_other_links_are_refused(url):
    """No host, no room, no key, parts that don't belong: an error that repeats no key."""
    with pytest.raises(LinkError) as raised:
        parse_link(url)
    assert KEY not in str(raised.value)
    assert S_TEXT not in str(raised.value)


# Getting in.


def test_unlock_with_a_secret_and_with_a_password():
    """The creator and one who follows the link come to the same keys; another secret doesn't."""
    made = new_room()
    shown = made.access.public(0)
    keys = unlock(parse_fragment(made.link(KEY).fragment), shown)
    assert keys.proof_text == made.keys.proof_text
    keys.confirm(made.access.public(0, joined=True))
    wrong = unlock(Link(invite_key=KEY, secret=b"s" * 16), shown)
    with pytest.raises(WrongSecret):
        wrong.confirm(made.access.public(0, joined=True))


def test_unlock_a_vector_with_its_password():
    """What a person types is normalised: the room of the vectors opens with the composed password."""
    room = VECTORS["rooms"][0]
    link = Link(invite_key=KEY, password=True, secret=unb64(room["link_secret"]))
    keys = unlock(link, access_of_vector(room), "Caf\u00e9 \u2615 corr\u00e9ct horse")
    assert keys.proof_text == room["proof"]
    assert keys.password


def test_a_new_room_with_a_password_has_a_secret_too():
    """The password alone opens nothing: there is a link secret beside it, and an owner."""
    made = new_room("pass word")
    assert made.access.password
    assert made.link(KEY).fragment.startswith(KEY + ".1p.")
    assert owner_salt(unb64(made.access.owner)) == unb64(made.access.salt)
    with pytest.raises(SealingError, match="empty"):
        new_room("")


def test_new_rooms_differ():
    """Owner, salt and secret are drawn anew; an all-zero secret is drawn again."""
    assert new_room().access.salt != new_room().access.salt
    draws = iter([b"o" * 32, bytes(16), b"s" * 16])
    assert new_room(None, lambda _: next(draws)).secret == b"s" * 16


SEALED_LINKS = [Link(invite_key=KEY, secret=b"s" * 16), Link(invite_key=KEY, password=True),
                Link(invite_key=KEY, password=True, secret=b"s" * 16)]  # fmt: skip


@pytest.mark.parametrize("link", SEALED_LINKS, ids=["secret", "password", "both"])
def test_a_marked_link_is_never_taken_down(link):
    """A server that shows an open room, or one with less than the link says, is refused."""
    access = msgspec.structs.replace(new_room().access.public(0), password=not link.password)
    with pytest.raises(Downgrade):
        room_is_sealed(link, None)
    with pytest.raises(Downgrade):
        room_is_sealed(link, access)
    with pytest.raises(Downgrade):
        unlock(link, access, "x")


def test_an_unmarked_link_may_be_taken_up():
    """Without a mark the server decides; a password-only room opens, one with a secret can't."""
    plain = Link(invite_key=KEY)
    room = VECTORS["rooms"][2]
    assert not room_is_sealed(plain, None)
    assert room_is_sealed(plain, access_of_vector(room))
    assert unlock(plain, access_of_vector(room), room["password"]).proof_text == room["proof"]
    with pytest.raises(LinkError, match="lacks the secret"):
        unlock(plain, new_room().access.public(0))


def test_passwords_are_asked_for_and_not_ignored():
    """A missing one is asked for; one that the room doesn't have is an error, not thrown away."""
    link = Link(invite_key=KEY, password=True)
    with pytest.raises(PasswordNeeded):
        unlock(link, access_of_vector(VECTORS["rooms"][2]))
    made = new_room()
    with pytest.raises(SealingError, match="has no password"):
        unlock(made.link(KEY), made.access.public(0), "x")


def test_the_salt_must_be_the_owners():
    """A server can't put another owner, who could rekey, beside the room's salt."""
    made = new_room()
    other = encode_base64url(OwnerKey.generate().public)
    access = msgspec.structs.replace(made.access.public(0), owner=other)
    with pytest.raises(SealingError, match="salt is not that"):
        unlock(made.link(KEY), access)
