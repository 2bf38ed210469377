"""What counts as one address: every spelling of one, and every IPv6 form that carries an IPv4 address."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.rooms.addresses import canonical, neighbourhood, network, prefixes, trust_forms

V4 = st.ip_addresses(v=4)


@pytest.mark.parametrize(
    ("spelled", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        # IPv4-mapped: what a dual-stack socket shows of IPv4.
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("::FFFF:1.2.3.4", "1.2.3.4"),
        ("::ffff:102:304", "1.2.3.4"),
        ("::ffff:0102:0304", "1.2.3.4"),
        ("0:0:0:0:0:ffff:1.2.3.4", "1.2.3.4"),
        ("0000:0000:0000:0000:0000:ffff:0102:0304", "1.2.3.4"),
        ("::ffff:1.2.3.4%eth0", "1.2.3.4"),
        # Translated: SIIT, NAT64.
        ("::ffff:0:1.2.3.4", "1.2.3.4"),
        ("64:ff9b::102:304", "1.2.3.4"),
        ("64:FF9B::1.2.3.4", "1.2.3.4"),
        ("0064:ff9b:0:0:0:0:102:304", "1.2.3.4"),
        # Tunnelled: 6to4; and Teredo, in which 2.3.4.5 stands inverted.
        ("2002:102:304::1", "1.2.3.4"),
        ("2002:102:304:ffff:1:2:3:4", "1.2.3.4"),
        ("2001:0:102:304:0:efff:fdfc:fbfa", "2.3.4.5"),
        # Everything else is one spelling of itself.
        ("2001:DB8::0005", "2001:db8::5"),
        ("2001:db8:0:0:0:0:0:5", "2001:db8::5"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%25eth0", "fe80::1"),
        ("::1", "::1"),
        ("::", "::"),
        ("::1.2.3.4", "::102:304"),  # IPv4-compatible, deprecated: nothing tells it from ::1
        ("64:ff9b:1::102:304", "64:ff9b:1::102:304"),  # RFC 8215: each network says itself where it puts IPv4
        ("2001:1::5", "2001:1::5"),
        ("unix:", "unix:"),
        ("unknown", "unknown"),
        ("1.2.3", "1.2.3"),
        ("", ""),
    ],
)
def test_one_spelling(spelled, address):
    assert canonical(spelled) == address


@pytest.mark.parametrize(
    ("address", "counts_as"),
    [
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("64:ff9b::102:304", "1.2.3.4"),
        ("2001:db8::5", "2001:db8::/64"),
        ("2001:DB8:0:0:ffff::5", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("1.2.3.4", "1.2.3.4"),
        ("unix:", "unix:"),
        ("odd:text", "odd:text"),
    ],
)
def test_what_counts_as_one(address, counts_as):
    assert neighbourhood(address) == counts_as


@given(V4, st.integers(0, 2**64 - 1))
def test_whatever_carries_an_ipv4_address_counts_as_it(v4, rest):
    """However it has come, it is one address; and two of them stay two."""
    bits = int(v4)
    for carrier in (
        f"::ffff:{v4}",
        f"::ffff:0:{v4}",
        f"64:ff9b::{v4}",
        str(ipaddress.IPv6Address(0x2002 << 112 | bits << 80 | rest)),
        str(ipaddress.IPv6Address(0x20010000 << 96 | rest << 32 | bits ^ 0xFFFFFFFF)),
    ):
        assert canonical(carrier) == neighbourhood(carrier) == str(v4)


@given(st.ip_addresses().map(str) | st.text() | st.from_regex(r"[0-9a-fA-F:.%/]{0,40}"))
def test_anything_has_one_spelling(text):
    """Which is the spelling of itself; nothing raises."""
    assert canonical(canonical(text)) == canonical(text)
    assert neighbourhood(neighbourhood(text)) == neighbourhood(text) == neighbourhood(canonical(text))


@given(st.ip_addresses(v=6), st.ip_addresses(v=6))
def test_ipv6_counts_by_64_bits(one, other):
    """Unless IPv4 is in it, which is one address each."""
    if "." not in canonical(str(one)) + canonical(str(other)):
        same = int(one) >> 64 == int(other) >> 64
        assert (neighbourhood(str(one)) == neighbourhood(str(other))) is same


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("127.0.0.1", "127.0.0.1/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::FFFF:a00:0/104", "10.0.0.0/8"),
        ("::ffff:127.0.0.1", "127.0.0.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::fffe:0:0/95", "::fffe:0:0/95"),
        ("::/0", "::/0"),  # all of IPv6, and nothing of IPv4
        ("64:ff9b::/96", "64:ff9b::/96"),  # not all of IPv4
        ("2001:db8::/32", "2001:db8::/32"),
        ("fe80::1%eth0", "fe80::1/128"),
        ("fe80::%eth0/64", "fe80::/64"),
    ],
)
def test_networks(text, found):
    assert str(network(text)) == found


@given(st.ip_addresses(), st.integers(0, 128))
def test_a_network_of_ipv4_is_that_of_its_mapped_form(address, length):
    if address.version == 4:
        v4 = ipaddress.ip_network((int(address), length % 33), strict=False)
        mapped = f"::ffff:{v4.network_address}/{v4.prefixlen + 96}"
        assert network(mapped) == v4 == network(str(v4))
    else:
        v6 = ipaddress.IPv6Network((int(address), length), strict=False)
        assert str(network(str(v6))) == str(v6) or network(str(v6)).version == 4


@pytest.mark.parametrize("text", ["", "x", "10.0.0.1/8", "10.0.0.0/33", "unix:", "::/129", "::ffff:10.0.0.1/104"])
def test_what_is_no_network(text):
    with pytest.raises(ValueError):
        network(text)


@pytest.mark.parametrize(
    ("address", "forms"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("::ffff:127.0.0.1", ["127.0.0.1"]),
        ("64:ff9b::102:304", ["64:ff9b::102:304", "1.2.3.4"]),
        ("2001:db8::1%eth0", ["2001:db8::1"]),
        # Loopback is this machine by the kernel's word alone: in these anybody on the link may send it.
        ("64:ff9b::127.0.0.1", ["64:ff9b::7f00:1"]),
        ("::ffff:0:127.0.0.1", ["::ffff:0:7f00:1"]),
        ("2002:7f00:1::1", ["2002:7f00:1::1"]),
        ("2001:0:102:304:0:efff:80ff:fffe", ["2001:0:102:304:0:efff:80ff:fffe"]),
        # Others than the proxy may be behind the IPv4 address that these carry.
        ("2002:102:304::1", ["2002:102:304::1"]),
        ("2001:0:102:304:0:efff:fefd:fcfb", ["2001:0:102:304:0:efff:fefd:fcfb"]),
    ],
)
def test_forms_in_which_a_proxy_may_be_named(address, forms):
    assert [str(form) for form in trust_forms(address)] == forms


@pytest.mark.parametrize(
    ("address", "networks"),
    [
        ("1.2.3.4", ("1.2.3.4",)),
        ("::ffff:1.2.3.4", ("1.2.3.4",)),
        ("2002:102:304:ffff::1", ("1.2.3.4",)),
        ("2001:db8:5:7:1:2:3:4%eth0", ("2001:db8:5:7::/64", "2001:db8:5::/48")),
        ("unix:", ("unix:",)),
    ],
)
def test_networks_an_address_counts_for(address, networks):
    assert prefixes(address) == networks
