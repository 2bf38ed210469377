"""Digests: the same under one key, and nothing alike under another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relayd.rooms.digests import MESSAGE_ID_BYTES, NETWORK_BYTES, Digests

ONE, SAME, OTHER = Digests(b"k" * 16), Digests(b"k" * 16), Digests(b"o" * 16)


@given(st.text(max_size=64), st.text(max_size=64))
def test_message_ids(one, other):
    """Of one length, whatever a client takes for an id; another key gives others."""
    digest = ONE.message_id(one)
    assert len(digest) == MESSAGE_ID_BYTES
    assert digest == SAME.message_id(one) != OTHER.message_id(one)
    assert (digest == ONE.message_id(other)) == (one == other)


def test_networks():
    """One for each network that an address counts for; neighbours have theirs in common."""
    (v4,) = ONE.networks("192.0.2.1")
    assert len(v4) == NETWORK_BYTES
    assert ONE.networks("::ffff:192.0.2.1") == SAME.networks("192.0.2.1") == (v4,)
    assert OTHER.networks("192.0.2.1") != (v4,)
    home, site = ONE.networks("2001:db8:1:2::3")
    assert ONE.networks("2001:db8:1:2::4") == (home, site)
    other_home, same_site = ONE.networks("2001:db8:1:3::3")
    assert (other_home != home, same_site == site) == (True, True)


def test_address_and_message_id_are_not_confused():
    assert ONE.networks("x")[0][:MESSAGE_ID_BYTES] != ONE.message_id("x")
