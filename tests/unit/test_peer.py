"""Who is asking, and under which name: no header is believed that a stranger could have sent."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from relayd.errors import WrongHost, WrongOrigin
from relayd.gateway.peer import Peers
from relayd.rooms.addresses import canonical, trust_forms
from relayd.settings import Settings

ADDRESSES = st.ip_addresses().map(str)


class Context:
    def __init__(self, remote_ip: str, protocol: str) -> None:
        self.remote_ip, self.protocol = remote_ip, protocol


class Connection:
    def __init__(self, context: Context) -> None:
        self.context = context


def request(peer: str = "192.0.2.1", *, scheme: str = "http", host: str = "localhost", **headers: str):
    """A request as Tornado makes it; header names with `_` for `-`."""
    made = HTTPHeaders({"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}})
    return HTTPServerRequest(
        headers=made,
        connection=Connection(Context(peer, scheme)),
        start_line=RequestStartLine("GET", "/", "HTTP/1.1"),
    )


def peers(**settings) -> Peers:
    return Peers(Settings(**settings))


BEHIND = {"trusted_proxies": ("10.0.0.0/8", "::1")}


# Addresses. -----------------------------------------------------------------------------------------------------


def test_without_proxy_it_is_the_peer():
    assert peers().address(request("192.0.2.1")) == "192.0.2.1"
    assert peers().address(request("2001:db8::1")) == "2001:db8::1"


@given(st.lists(ADDRESSES | st.just("unix:") | st.text("0123456789.,: x", max_size=20)))
def test_strangers_headers_are_not_believed(hops):
    asked = request("192.0.2.1", X_Forwarded_For=", ".join(hops))
    assert peers().address(asked) == "192.0.2.1"
    assert peers(**BEHIND).address(asked) == "192.0.2.1"


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),  # what the client wrote itself stands to the left
        ("203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("203.0.113.9,10.1.2.3 , ::1", "203.0.113.9"),
        ("2001:db8::7", "2001:db8::7"),
        ("10.1.2.3", "10.0.0.1"),
        ("junk", "10.0.0.1"),
        ("203.0.113.9, junk", "10.0.0.1"),
        ("203.0.113.9, unix:", "10.0.0.1"),
        ("", "10.0.0.1"),
    ],
)
def test_behind_a_proxy(header, address):
    assert peers(**BEHIND).address(request("10.0.0.1", X_Forwarded_For=header)) == address


@pytest.mark.parametrize("peer", ["::ffff:10.0.0.1", "::FFFF:a00:1", "0:0:0:0:0:ffff:10.0.0.1"])
def test_a_dual_stack_socket_shows_ipv4_as_ipv6(peer):
    """An IPv4 peer is one that was named so, and its own address is IPv4."""
    for trusted in ("10.0.0.0/8", "::ffff:10.0.0.0/104", "10.0.0.1", "::ffff:a00:1"):
        one = peers(trusted_proxies=(trusted,))
        assert one.address(request(peer)) == "10.0.0.1"
        assert one.address(request(peer, X_Forwarded_For="::ffff:203.0.113.9")) == "203.0.113.9"
        assert one.address(request("10.0.0.1", X_Forwarded_For=f"203.0.113.9, {peer}")) == "203.0.113.9"
    assert peers().address(request(peer, X_Forwarded_For="203.0.113.9")) == "10.0.0.1"


def test_what_passes_for_loopback():
    """Only the kernel can say that a peer is this machine; an IPv6 prefix with 127.0.0.1 in it cannot."""
    one = peers(trusted_proxies=("127.0.0.0/8",))
    for peer in ("64:ff9b::7f00:1", "2002:7f00:1::1", "::ffff:0:7f00:1"):
        assert one.address(request(peer, X_Forwarded_For="203.0.113.9")) == "127.0.0.1"


@pytest.mark.parametrize("peer", ["2002::1", "64:ff9b::", "::ffff:0:0:0"])
def test_no_ipv6_address_is_a_unix_peer(peer):
    """Though 0.0.0.0 is in it, which is how a peer on a Unix socket is shown."""
    assert peers().address(request(peer, X_Forwarded_For="203.0.113.9")) == "0.0.0.0"


def test_a_zone_makes_no_other_address():
    """fe80::1%eth0 is one address, in settings, headers and of a peer."""
    one = peers(trusted_proxies=("fe80::1%eth0",))
    for peer in ("fe80::1%eth0", "fe80::1", "fe80::1%3"):
        assert one.address(request(peer, X_Forwarded_For="fe80::2%eth1")) == "fe80::2"


def test_proxy_that_says_nothing():
    assert peers(**BEHIND).address(request("10.0.0.1")) == "10.0.0.1"


@pytest.mark.parametrize("peer", ["0.0.0.0", "", None])
def test_unix_peer(peer):
    asked = request(peer, X_Forwarded_For="203.0.113.9")
    assert peers().address(asked) == "203.0.113.9"
    assert peers().address(request(peer)) == "unix:"
    assert peers(trusted_proxies=()).address(asked) == "unix:"
    assert peers(**BEHIND).address(asked) == "unix:"


@given(ADDRESSES, st.lists(ADDRESSES))
def test_address_is_the_last_that_is_no_proxy(peer, hops):
    """Whatever stands left of it."""
    one = peers(**BEHIND)
    trusted = [ipaddress.ip_network(text) for text in BEHIND["trusted_proxies"]]

    def is_trusted(text: str) -> bool:
        return any(form in network for form in trust_forms(text) for network in trusted)

    found = one.address(request(peer, X_Forwarded_For=",".join(hops)))
    if peer == "0.0.0.0":
        assert found == "unix:"
    elif not is_trusted(peer):
        assert found == canonical(peer)
    else:
        assert found == canonical(next((hop for hop in reversed(hops) if not is_trusted(hop)), peer))


# The server's own name. -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost",
            "localhost:8080",
            "LOCALHOST",
            "127.0.0.1:8080",
            "[::1]:8080",
            "192.0.2.1",
            "chat",
            "chat.local:1",
        ),
        *("a.test", "x.home.arpa", "localhost.", "host.internal"),
    ],
)
def test_names_that_cannot_be_rebound(host):
    """Addresses, and names that nobody can register."""
    peers().check_host(host)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example.com",
            "localhost.evil.com",
            "127.0.0.1.nip.io",
            "evil.com:8080",
            "evil.com.",
            "notlocal.xlocal",
        ),
        *(
            "",
            ":80",
            ".",
            "..",
            "[",
            "[::1",
            "a b",
            "user@localhost",
            "localhost/evil.com",
            "localhost#x",
            "localhost\\x",
        ),
        *("localhost:80:80", "localhost:port", "host,evil.com", "\u00e9.local"),
    ],
)
def test_other_names_are_refused(host):
    with pytest.raises(WrongHost, match="public_url or allowed_hosts"):
        peers().check_host(host)


def test_names_that_were_allowed():
    one = peers(public_url="https://chat.example.org:8443/", allowed_hosts=("Chat.Example.net",))
    for host in ("chat.example.org", "CHAT.example.ORG:1", "chat.example.net", "chat.example.net."):
        one.check_host(host)
    with pytest.raises(WrongHost):
        one.check_host("example.org")


def test_base_url_is_that_of_the_request():
    assert peers().base_url(request(host="localhost:8080")) == ("http", "localhost:8080")
    assert peers().base_url(request(host="localhost", scheme="https")) == ("https", "localhost")


def test_base_url_is_the_public_one():
    one = peers(public_url="https://chat.example.org/")
    assert one.base_url(request(host="localhost:8080")) == ("https", "chat.example.org")
    with pytest.raises(WrongHost):
        one.base_url(request(host="evil.com"))


def test_forwarded_names_count_from_proxies_only():
    headers = {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "chat.test"}
    assert peers(**BEHIND).base_url(request("10.0.0.1", **headers)) == ("https", "chat.test")
    assert peers(**BEHIND).base_url(request("192.0.2.1", **headers)) == ("http", "localhost")
    assert peers(**BEHIND).base_url(request("10.0.0.1", X_Forwarded_Proto="gopher")) == ("http", "localhost")
    with pytest.raises(WrongHost):
        peers(**BEHIND).base_url(request("10.0.0.1", X_Forwarded_Host="evil.com"))


# Pages. ---------------------------------------------------------------------------------------------------------


def test_no_origin_is_no_page():
    peers().check_origin(request(), ("http", "localhost"))


@pytest.mark.parametrize("origin", ["http://localhost:8080", "https://localhost:8080", "HTTP://LocalHost:8080"])
def test_own_pages(origin):
    peers().check_origin(request(host="localhost:8080", Origin=origin), ("http", "localhost:8080"))


def test_pages_of_the_name_a_proxy_gave():
    peers().check_origin(request(Origin="https://chat.test"), ("https", "chat.test"))


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.com",
        "http://localhost",
        "http://localhost:8081",
        "null",
        "",
        "http://[",
        "localhost:8080",
        "file://",
        "http://localhost:8080.evil.com",
        "http://evil.com/localhost:8080",
        "http://x@localhost:8080",
    ],
)
def test_other_pages_are_refused(origin):
    with pytest.raises(WrongOrigin, match="allowed_origins"):
        peers().check_origin(request(host="localhost:8080", Origin=origin), ("http", "localhost:8080"))


def test_pages_that_were_allowed():
    one = peers(public_url="https://chat.example.org", allowed_origins=("https://other.example",))
    for origin in ("https://other.example", "https://chat.example.org"):
        one.check_origin(request(Origin=origin), ("https", "chat.example.org"))
    with pytest.raises(WrongOrigin):
        one.check_origin(request(Origin="http://other.example"), ("https", "chat.example.org"))
    peers(allowed_origins=("*",)).check_origin(request(Origin="http://evil.com"), ("http", "localhost"))
