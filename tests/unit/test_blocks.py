"""What is blocked, and how it is spelled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import AddressBlocked, InvalidFields, NotFound, RoomsFrozen
from relayd.hub.blocks import MAX_BLOCKS, Closed
from relayd.rooms.addresses import creator_network
from relayd.rooms.blocks import BlockList, parse_target
from relayd.rooms.digests import Digests, handle_of, parse_handle

KEY = b"k" * 16
HANDLE = handle_of(Digests(KEY).networks("203.0.113.7")[0])


def blocked(*targets):
    found = BlockList()
    found.change([parse_target(target) for target in targets], KEY)
    return found


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
        ("64:ff9b::203.0.113.7", "203.0.113.7/32"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:DB8::/48", "2001:db8::/48"),
        ("fe80::1%eth0", "fe80::/64"),
        (HANDLE, HANDLE),
    ],
)
def test_targets(text, target):
    """Each spelling of an address is one target, and a target stays what it is."""
    assert parse_target(text) == target
    assert parse_target(target) == target


@pytest.mark.parametrize(
    "text",
    [
        *["", "x", "203.0.113", "203.0.113.7/24", "1.2.3.4/33", "unix:", "a_12", "A_0123456789AB"],
        *["0.0.0.0/0", "128.0.0.0/1", "::/0", "2000::/3"],
    ],
)
def test_no_targets(text):
    """What is none, or half of the internet, is refused."""
    with pytest.raises(ValueError, match=r"."):
        parse_target(text)


@pytest.mark.parametrize(
    ("targets", "inside", "outside"),
    [
        (
            ["203.0.113.7"],
            ["203.0.113.7", "::ffff:203.0.113.7", "64:ff9b::cb00:7107"],
            ["203.0.113.8", "unix:", ""],
        ),
        (["203.0.113.0/24"], ["203.0.113.0", "203.0.113.255"], ["203.0.112.255", "2001:db8::1"]),
        (["2001:db8::1"], ["2001:db8::", "2001:db8::ffff"], ["2001:db8:0:1::1", "203.0.113.7"]),
        (["2001:db8::/48"], ["2001:db8:0:9::1"], ["2001:db8:1::"]),
        ([HANDLE], ["203.0.113.7", "::ffff:203.0.113.7"], ["203.0.113.8", "unix:"]),
        (["10.0.0.0/8", "192.0.2.1", HANDLE], ["10.9.8.7", "192.0.2.1", "203.0.113.7"], ["192.0.2.2"]),
    ],
)
def test_who_is_blocked(targets, inside, outside):
    """Addresses in any spelling."""
    found = blocked(*targets)
    for address in inside:
        with pytest.raises(AddressBlocked):
            found.check(address)
    for address in outside:
        found.check(address)


def test_nobody_is_blocked_at_first():
    assert not BlockList()
    BlockList().check("203.0.113.7")


@given(st.text(max_size=60))
def test_any_text(text):
    """Whatever an admin or a proxy may send: a target, or a ValueError; an address, blocked or not."""
    blocked("10.0.0.0/8", HANDLE).has(text)
    try:
        target = parse_target(text)
    except ValueError:
        return
    assert parse_target(target) == target


def test_handles():
    """A handle is the beginning of the digest, depends on the key, and is read back."""
    assert parse_handle(HANDLE) == Digests(KEY).networks("203.0.113.7")[0][:6]
    assert handle_of(Digests(b"other").networks("203.0.113.7")[0]) != HANDLE
    assert parse_handle("a_0123456789a") is parse_handle("") is parse_handle("203.0.113.7") is None


def test_creator_networks():
    """Those that rooms know: what an address counts for."""
    assert creator_network("::ffff:203.0.113.7") == "203.0.113.7"
    assert creator_network("2001:db8::1") == creator_network("2001:db8::/64") == "2001:db8::/64"
    assert creator_network("2001:db8::/48") == "2001:db8::/48"
    for text in ("203.0.113.0/24", "2001:db8::/56", "x", "unix:"):
        with pytest.raises(ValueError, match=r"^|."):
            creator_network(text)


class Published(list):
    """Events that gateways would get."""

    def __call__(self, topic, event):
        self.append(event)


@pytest.fixture
def published():
    return Published()


@pytest.fixture
def closed(published):
    return Closed(published, lambda: Digests(KEY))


def test_blocks_end(closed, published):
    """At their time, and the gateways are told; a second block of the same replaces the first."""
    closed.block("203.0.113.7", 60, (), 0.0)
    closed.block("::ffff:203.0.113.7", 10, (), 1.0)
    closed.block("192.0.2.0/24", None, (), 2.0)
    assert [block.target for block in closed.blocks] == ["203.0.113.7/32", "192.0.2.0/24"]
    assert closed.next_due() == 11.0
    closed.advance(10.9)
    assert closed.blocked.has("203.0.113.7")
    closed.advance(11.0)
    assert not closed.blocked.has("203.0.113.7")
    assert published[-1].targets == ["192.0.2.0/24"]
    assert closed.next_due() is None


def test_unblock_names_the_network_around(closed):
    closed.block("192.0.2.0/24", None, (), 0.0)
    with pytest.raises(NotFound, match=r"192\.0\.2\.1/32 is not blocked; it is in 192\.0\.2\.0/24, which is"):
        closed.unblock("192.0.2.1")
    closed.unblock("192.0.2.0/24")
    with pytest.raises(NotFound):
        closed.unblock("192.0.2.0/24")
    assert not closed.blocked


@pytest.mark.parametrize(
    ("target", "proxy"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.0/16", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.0/8"),
        (handle_of(Digests(KEY).networks("10.0.0.1")[0]), "10.0.0.1/32"),
        (handle_of(Digests(KEY).networks("unix:")[0]), "unix:"),
    ],
)
def test_proxies_are_not_blocked(closed, target, proxy):
    """Behind one is everybody of whom it says nothing."""
    with pytest.raises(InvalidFields, match="trusted proxy"):
        closed.block(target, None, ("unix:", proxy), 0.0)


def test_bounded(closed):
    for number in range(MAX_BLOCKS):
        closed._blocks[f"198.18.{number // 256}.{number % 256}/32"] = None
    with pytest.raises(InvalidFields, match="4096"):
        closed.block("203.0.113.7", None, (), 0.0)


def test_state_goes_on(closed, published):
    """In the process that takes over."""
    closed.block(HANDLE, 60, (), 0.0)
    closed.freeze(5.0)
    closed.freeze(6.0)
    later = Closed(published, lambda: Digests(KEY))
    later.restore(closed.state())
    assert later.blocked.has("203.0.113.7")
    assert later.next_due() == 60.0
    with pytest.raises(RoomsFrozen):
        later.check_creation()
    assert later.frozen_since == 5.0
    later.unfreeze()
    later.check_creation()
