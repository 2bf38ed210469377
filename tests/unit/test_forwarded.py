"""What proxies say, as text: read from the right, so that nothing a client has sent changes what a proxy has added."""

from __future__ import annotations

import ipaddress
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relayd.gateway.forwarded import MAX_CHARS, MAX_HOPS, claim, elements, node_address, parameters
from relayd.rooms.addresses import canonical, trust_forms

# What a client may have sent before a proxy added its own.
ANYTHING = st.text(st.characters(codec="latin-1")) | st.text('"\\,;= \tfor.:[]123abc', max_size=40)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("a", ["a"]),
        ("a, b,c", ["c", "b", "a"]),
        (" a ,\tb ", ["b", "a"]),
        (",a,, b, ,", ["b", "a"]),  # RFC 9110, section 5.6.1.2: empty elements do not count
        (",", []),
        ("", []),
        ('"a, b", c', ["c", '"a, b"']),
        (r'"a\"b, c", d', ["d", r'"a\"b, c"']),
        ('for="[::1]:80";by=x, for=b', ["for=b", 'for="[::1]:80";by=x']),
        # A quote that is never closed, or never opened: what stands left of it cannot be told apart.
        ('a, "b, c', ["c", ""]),
        ('a, b", c', ["c", ""]),
        ('"', [""]),
    ],
)
def test_elements(header, found):
    assert elements(header) == found


@given(
    ANYTHING, st.lists(st.sampled_from(["a", "for=1.2.3.4", 'for="[::1]:80";host="a, b"', '"x"', r'"\""']), min_size=1)
)
def test_what_a_client_sent_changes_nothing_of_what_was_added(sent, added):
    """However many quotes it has opened."""
    found = elements(", ".join((sent, *added)))
    assert found[: len(added)] == added[::-1][:MAX_HOPS]


def test_bounds():
    """So many hops, and so many characters, are read of a header; an element that does not fit is not read."""
    assert elements(", ".join(map(str, range(100)))) == [str(number) for number in range(99, 99 - MAX_HOPS, -1)]
    assert elements(f"{'x' * MAX_CHARS}, a") == ["a"]
    assert elements("," * 2 * MAX_CHARS + "a") == ["a"]
    assert elements(f"x{' ' * MAX_CHARS}, a") == ["a"]
    assert elements("x" * 2 * MAX_CHARS) == []


@pytest.mark.parametrize(
    "text",
    [
        '"',
        ',"',
        ",",
        ", ",
        'a,"b",',
        "1,",
        ",for=1.",
        '"\\',
        "for=",
        'for="',
        "for=1;",
        "1",
        "1.",
        "[",
        "::",
        "=",
        ";",
        "a=b;",
        " ",
    ],
)
def test_cost_is_bounded(text):
    """Each header costs less than a millisecond, up to 64 KiB, the most that a head may have; here a thousand times
    more is allowed, of this process's own time: what grew with the square of the length would take longer.
    """
    started = time.process_time()
    for header in ("X-Forwarded-For", "Forwarded"):
        for size in (4_000, 65_536):
            headers = {header: text * (size // len(text))}
            for value in claim(headers, "for").values:
                node_address(value)
            claim(headers, "host")
    assert time.process_time() - started < 4


@pytest.mark.parametrize(
    ("node", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:51008", "203.0.113.7"),
        ("203.0.113.7:", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:DB8:0::1]:443", "2001:DB8:0::1"),
        ("[fe80::1%eth0]:443", "fe80::1%eth0"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("::ffff:203.0.113.7", "::ffff:203.0.113.7"),
        ("::ffff:203.0.113.7:51008", "::ffff:203.0.113.7"),
        ("[::ffff:203.0.113.7]:51008", "::ffff:203.0.113.7"),
        (f"203.0.113.7:_{'x' * 100}", None),
        ("203.0.113.7:_gazonk", "203.0.113.7"),  # RFC 7239, section 6: an obfuscated port
        ("[2001:db8::1]:_a.b-c", "2001:db8::1"),
        ("", None),
        ("unknown", None),
        ("_hidden", None),
        ("_1.2.3.4", None),
        ("unix:", None),
        ("localhost", None),
        ("chat.example.org:443", None),
        ("203.0.113", None),
        ("203.0.113.256", None),
        ("203.0.113.007", None),  # octal to some
        ("203.0.113.7:123456", None),
        ("203.0.113.7:x", None),
        ("203.0.113.7 198.51.100.1", None),
        ("203.0.113.7, 198.51.100.1", None),
        ("203.0.113.7/32", None),
        ("203.0.113.7%eth0", None),
        ("2001:db8::1/64", None),
        ("[203.0.113.7", None),
        ("2001:db8::1]", None),
        ("[]", None),
        ("[]:80", None),
        ("[x]:80", None),
        ("1234567:80", None),
        ("0x7f.0.0.1", None),
        ("\u0661.2.3.4", None),
        ("1.2.3.4\0", None),
        ("\0", None),
    ],
)
def test_nodes(node, address):
    assert node_address(node) == address


@given(st.text() | st.text("0123456789.:[]%_abcdef", max_size=30) | st.ip_addresses().map(str))
@example("2001::")
@example("2002:7f00:1::1")
@example("64:ff9b::7f00:1")
def test_no_node_raises(text):
    """Nor what is found in one, wherever addresses are read."""
    address = node_address(text)
    if address is not None:
        assert address in text
        itself = str(ipaddress.ip_address(address.partition("%")[0]))
        assert str(trust_forms(address)[-1]) in {itself, canonical(address)}  # itself: 6to4, Teredo


@given(st.ip_addresses(), st.sampled_from(["{}", "{}:80", "[{}]", "[{}]:80", "[{}]:_p"]))
def test_any_address_in_any_form(address, form):
    if address.version == 4 or form != "{}:80":
        assert node_address(form.format(address)) == str(address)


@pytest.mark.parametrize(
    ("element", "found"),
    [
        ("for=192.0.2.60;proto=http;by=203.0.113.43", {"for": "192.0.2.60", "proto": "http", "by": "203.0.113.43"}),
        ('For="[2001:db8:cafe::17]:4711"', {"for": "[2001:db8:cafe::17]:4711"}),
        ('FOR="_gazonk"', {"for": "_gazonk"}),
        ("for=192.0.2.60 ; Proto=HTTPS; ", {"for": "192.0.2.60", "proto": "HTTPS"}),
        (r'for="192\.0.2.60"', {"for": "192.0.2.60"}),
        (r'for="a\"b\\c"', {"for": r'a"b\c'}),
        ('host="a;b=c";for=x', {"host": "a;b=c", "for": "x"}),
        ("for=[2001:db8::1]:443", {"for": "[2001:db8::1]:443"}),  # without the quotes that it should have
        ("for=2001:db8::1", {"for": "2001:db8::1"}),
        ("for=;host=a", {"for": "", "host": "a"}),
        (";;for=a;;", {"for": "a"}),
        ("", {}),
        ("192.0.2.60", {}),
        ("for", {}),
        ("for =a", {}),
        ("for= a", {}),
        ("for=a b", {}),
        ('for="a"b', {}),
        ('for="a', {}),
        ("for=a;junk", {}),
        ("for=a;for=b", {}),  # RFC 7239, section 4: each parameter once
        ("for=a;FOR=a", {}),
    ],
)
def test_parameters(element, found):
    assert parameters(element) == found


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, {}),
        ({"X-Forwarded-For": ""}, {}),
        ({"X-Forwarded-For": ","}, {"for": ("X-Forwarded-For", [""])}),
        ({"X-Forwarded-For": '"a", b'}, {"for": ("X-Forwarded-For", ["b", "a"])}),
        ({"X-Forwarded-Host": "a, b"}, {"host": ("X-Forwarded-Host", ["b", "a"])}),
        ({"X-Forwarded-Proto": "https"}, {"proto": ("X-Forwarded-Proto", ["https"])}),
        (
            {"Forwarded": "for=a;host=b, proto=c"},
            {"for": ("Forwarded", ["", "a"]), "host": ("Forwarded", ["b"]), "proto": ("Forwarded", ["c"])},
        ),
        ({"Forwarded": "junk"}, {"for": ("Forwarded", [""])}),
        ({"Forwarded": '"'}, {"for": ("Forwarded", [""])}),
        # X-Forwarded-* goes before Forwarded, of which nothing is read where X-Forwarded-For is.
        (
            {"X-Forwarded-For": "a", "Forwarded": "for=b;host=c;proto=d"},
            {"for": ("X-Forwarded-For", ["a"])},
        ),
        (
            {"X-Forwarded-Proto": "https", "Forwarded": "for=b;host=c;proto=d"},
            {"for": ("Forwarded", ["b"]), "host": ("Forwarded", ["c"]), "proto": ("X-Forwarded-Proto", ["https"])},
        ),
    ],
)
def test_what_is_said(headers, said):
    nothing = ("", [])
    assert {name: claim(headers, name) for name in ("for", "host", "proto")} == {
        "for": nothing,
        "host": nothing,
        "proto": nothing,
    } | said


@given(
    st.dictionaries(
        st.sampled_from(["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded"]), ANYTHING
    )
)
def test_nothing_raises(headers):
    for name in ("for", "host", "proto"):
        header, values = claim(headers, name)
        assert bool(header) is bool(values)
        assert len(values) <= MAX_HOPS
