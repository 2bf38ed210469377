"""Who is asking, and under which name: no header is believed that a stranger could have sent."""

from __future__ import annotations

import contextlib
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
        # With ports, brackets, quotes and spaces, as one proxy or another writes them.
        ("203.0.113.7:51008", "203.0.113.7"),
        ("[2001:db8:1::1]:443", "2001:db8:1::1"),
        ("[2001:db8:1::1]", "2001:db8:1::1"),
        ("2001:DB8:1:0::1", "2001:db8:1::1"),
        ('"203.0.113.7"', "203.0.113.7"),
        ('"203.0.113.7:51008"', "203.0.113.7"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ("  203.0.113.7\t", "203.0.113.7"),
        ("6.6.6.6:1, 203.0.113.7:2, 10.1.2.3:3", "203.0.113.7"),
        ("203.0.113.7:2,[::1]:3,::ffff:10.1.2.3", "203.0.113.7"),
        (",203.0.113.7, ,10.1.2.3,,", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:cb00:7107]:51008", "203.0.113.7"),
        ("64:ff9b::203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::1"),
        # What cannot be read hides what stands left of it, which a client may have sent.
        ("6.6.6.6, unknown", "10.0.0.1"),
        ("6.6.6.6, _hidden, 10.1.2.3", "10.0.0.1"),
        ('6.6.6.6, "203.0.113.7', "10.0.0.1"),
        ("6.6.6.6, 203.0.113.7 10.1.2.3", "10.0.0.1"),
        # And is not looked at where it stands left.
        ("unknown, 203.0.113.7", "203.0.113.7"),
        ('"6.6.6.6, 203.0.113.7', "203.0.113.7"),
        (f"{'x' * 70_000}, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7" + ", 10.1.2.3" * 31, "203.0.113.7"),
        ("203.0.113.7" + ", 10.1.2.3" * 32, "10.0.0.1"),
        ("203.0.113.7" + ", 10.1.2.3" * 7_000, "10.0.0.1"),
    ],
)
def test_behind_a_proxy(header, address):
    assert peers(**BEHIND).address(request("10.0.0.1", X_Forwarded_For=header)) == address
    assert peers(**BEHIND).address(request("192.0.2.1", X_Forwarded_For=header)) == "192.0.2.1"


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("for=203.0.113.7", "203.0.113.7"),
        ('FOR="203.0.113.7:51008"', "203.0.113.7"),
        ('for="[2001:db8:cafe::17]:4711";proto=https;by=10.0.0.1', "2001:db8:cafe::17"),
        ("for=[2001:db8:cafe::17]", "2001:db8:cafe::17"),
        ('for="_mdn", For="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ("for=6.6.6.6, for=203.0.113.7;proto=https, for=10.1.2.3", "203.0.113.7"),
        ('for=203.0.113.7, host="a, for=6.6.6.6";for="[::1]:80"', "203.0.113.7"),
        ("for=::ffff:203.0.113.7", "203.0.113.7"),
        ("for=10.1.2.3", "10.0.0.1"),
        ("for=unknown", "10.0.0.1"),
        ("for=6.6.6.6, for=unknown", "10.0.0.1"),
        ("for=6.6.6.6, for=_SEVKISEK", "10.0.0.1"),
        ("for=6.6.6.6, for=_SEVKISEK:_port", "10.0.0.1"),
        ("for=6.6.6.6, proto=https", "10.0.0.1"),
        ("for=6.6.6.6, for=203.0.113.7;for=203.0.113.8", "10.0.0.1"),
        ("for=6.6.6.6, for", "10.0.0.1"),
        ("203.0.113.7", "10.0.0.1"),
        ('for="203.0.113.7', "10.0.0.1"),
        # An open quote of the client's hides nothing of what a proxy has added.
        ('for=", for=203.0.113.7', "203.0.113.7"),
        ('for=6.6.6.6;x=", for="[2001:db8::1]"', "2001:db8::1"),
        ('for="6.6.6.6\\", for="203.0.113.7:1"', "203.0.113.7"),
    ],
)
def test_behind_a_proxy_that_speaks_rfc_7239(header, address):
    assert peers(**BEHIND).address(request("10.0.0.1", Forwarded=header)) == address
    assert peers(**BEHIND).address(request("192.0.2.1", Forwarded=header)) == "192.0.2.1"


def test_which_header_counts():
    """X-Forwarded-For, where both are: most proxies set it, and pass on Forwarded as a client has sent it."""
    both = {"X_Forwarded_For": "203.0.113.7", "Forwarded": "for=6.6.6.6;host=other.test;proto=https"}
    one = peers(**BEHIND)
    assert one.address(request("10.0.0.1", **both)) == "203.0.113.7"
    assert one.base_url(request("10.0.0.1", **both)) == ("http", "localhost")
    # Not even if it says nothing that can be read: else whoever can bring that about could choose an address.
    assert one.address(request("10.0.0.1", X_Forwarded_For="unknown", Forwarded="for=6.6.6.6")) == "10.0.0.1"
    assert one.address(request("10.0.0.1", X_Forwarded_For="10.1.2.3", Forwarded="for=6.6.6.6")) == "10.0.0.1"


def test_several_lines_are_one_list():
    """In their order (RFC 9110, section 5.3): HAProxy adds a line of its own to those that a client has sent."""
    for name, lines in (
        ("X-Forwarded-For", ("6.6.6.6", "203.0.113.7:51008", "10.1.2.3")),
        ("Forwarded", ("for=6.6.6.6", 'for="203.0.113.7:51008"', "for=10.1.2.3;by=10.0.0.1")),
    ):
        asked = request("10.0.0.1")
        for line in lines:
            asked.headers.add(name, line)
        assert peers(**BEHIND).address(asked) == "203.0.113.7"


# What can be in a header (RFC 9110, section 5.5).
SENT = (
    st.text(st.characters(codec="latin-1", exclude_categories=["Cc"])) | st.text('",\\;=: .[]for1', max_size=30)
).map(str.strip)


@given(SENT, st.booleans(), st.sampled_from(["", ", 10.1.2.3", ',"[::1]:80", ::ffff:10.0.0.2']))
def test_a_client_cannot_choose_its_address(sent, lines, hops):
    """Through proxies that add to what it has sent, in the same line or in another."""
    for name, added in (
        ("X-Forwarded-For", f"203.0.113.7:1{hops}"),
        ("Forwarded", 'for="203.0.113.7:1";host="a, b"' + ("" if not hops else ', for=10.1.2.3,for="[::1]"')),
    ):
        asked = request("10.0.0.1")
        for line in (sent, added) if lines else (f"{sent}, {added}",):
            asked.headers.add(name, line)
        assert peers(**BEHIND).address(asked) == "203.0.113.7"


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


@pytest.mark.parametrize(
    ("proto", "scheme"),
    [
        ("https", "https"),
        ("HTTPS", "https"),
        ("wss", "https"),
        ("WSS", "https"),
        ("ws", "http"),
        ("http", "http"),
        (" https ", "https"),
        ('"https"', "https"),
        ("https,https", "https"),
        ("https, http", "https"),  # TLS ends at the first proxy
        ("http, https", "http"),
        ("wss,ws", "https"),
        (",https,", "https"),
        ("gopher, https", "https"),
        ("gopher", "http"),
        ("https://evil", "http"),
        ("", "http"),
        (",", "http"),
        ('"https', "http"),
    ],
)
def test_forwarded_schemes(proto, scheme):
    """Each spelling of each that links have, and nothing else."""
    one = peers(**BEHIND)
    assert one.base_url(request("10.0.0.1", X_Forwarded_Proto=proto)) == (scheme, "localhost")
    assert one.base_url(request("192.0.2.1", X_Forwarded_Proto=proto)) == ("http", "localhost")


@pytest.mark.parametrize(
    ("forwarded", "base"),
    [
        ("proto=https;host=chat.test", ("https", "chat.test")),
        ('Proto=WSS;Host="chat.test:8443"', ("https", "chat.test:8443")),
        ("for=1.2.3.4;proto=https;host=chat.test, for=10.1.2.3;proto=http;host=inner.test", ("https", "inner.test")),
        ("for=1.2.3.4", ("http", "localhost")),
        ("proto=gopher", ("http", "localhost")),
        ("junk", ("http", "localhost")),
    ],
)
def test_scheme_and_host_by_rfc_7239(forwarded, base):
    assert peers(**BEHIND).base_url(request("10.0.0.1", Forwarded=forwarded)) == base
    assert peers(**BEHIND).base_url(request("192.0.2.1", Forwarded=forwarded)) == ("http", "localhost")


@pytest.mark.parametrize(
    "hosts",
    [
        "chat.example.org",
        "Chat.Example.Org",
        "chat.example.org.",
        '"chat.example.org"',
        " chat.example.org ",
        "chat.example.org, inner.example",
        "inner.example, chat.example.org",
        "chat.example.org,chat.example.org",
        "chat.example.org, backend.example.com",
        "backend.example.com, chat.example.org, 10.0.0.1:8080, cdn.example.net",
        ",chat.example.org,",
        "evil.com/, chat.example.org",
        '", chat.example.org',
    ],
)
def test_our_name_among_forwarded_hosts(hosts):
    """Each proxy may have been asked for by another name; one of them is ours."""
    public = {"public_url": "https://chat.example.org", **BEHIND}
    assert peers(**public).base_url(request("10.0.0.1", X_Forwarded_Host=hosts)) == ("https", "chat.example.org")
    scheme, host = peers(allowed_hosts=("chat.example.org",), **BEHIND).base_url(
        request("10.0.0.1", X_Forwarded_Host=hosts)
    )
    assert (scheme, host.lower().rstrip(".")) == ("http", "chat.example.org")


@pytest.mark.parametrize(
    ("hosts", "host"),
    [
        ("localhost, chat.test", "chat.test"),
        ("6.6.6.6,chat.test:8443", "chat.test:8443"),
        ("evil.com, chat.test", "chat.test"),
        ("localhost, evil.com", None),
        ("localhost, a@chat.test", None),
        ('localhost, "', None),
        (",", None),
        ("chat.example.org.evil.com", None),
    ],
)
def test_what_a_client_adds_to_forwarded_hosts(hosts, host):
    """It stands left of what the proxy says, and gets into no link; a page of another name is not served by it."""
    one = peers(public_url="", allowed_hosts=("chat.example.org",), **BEHIND)
    asked = request("10.0.0.1", X_Forwarded_Host=hosts)
    if host is None:
        with pytest.raises(WrongHost):
            one.base_url(asked)
    else:
        assert one.base_url(asked) == ("http", host)


@given(SENT)
def test_no_client_gets_a_foreign_host_into_a_link(sent):
    """Only names that this server answers to: by the settings, or because nobody can have them registered."""
    one = peers(allowed_hosts=("chat.example.org",), **BEHIND)
    for name, value in (
        ("X-Forwarded-Host", f"{sent}, chat.test"),
        ("Forwarded", f"{sent}, for=1.2.3.4;host=chat.test"),
    ):
        asked = request("10.0.0.1")
        asked.headers.add(name, value)
        scheme, host = one.base_url(asked)
        assert scheme in ("http", "https")
        assert host == "chat.test" or host.lower().rstrip(".").partition(":")[0] == "chat.example.org"


# What cannot be read. --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Forwarded-For", "203.0.113.7, unknown"),
        ("X-Forwarded-For", '"'),
        ("Forwarded", "for=203.0.113.7, for=_hidden"),
        ("Forwarded", "junk"),
        ("X-Forwarded-Proto", "gopher"),
        ("X-Forwarded-Host", "203.0.113.7, a b"),
    ],
)
def test_it_is_logged_once_and_counted(caplog, header, value):
    """Of trusted proxies only, since anybody can send anything; without what stands there."""
    one = peers(**BEHIND)
    for peer in ("192.0.2.1", "10.0.0.1", "10.0.0.1", "10.0.0.2"):
        asked = request(peer)
        asked.headers.add(header, value)
        one.address(asked)
        with contextlib.suppress(WrongHost):
            one.base_url(asked)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("relayd.http", "WARNING")
    assert header in record.getMessage()
    assert "203.0.113" not in record.getMessage()
    assert one.unreadable[header] == 3
    assert sum(one.unreadable.values()) == 3


def test_each_kind_is_logged(caplog):
    """One does not hide another."""
    one = peers(**BEHIND)
    for _ in range(2):
        for header in ("X_Forwarded_For", "Forwarded"):
            one.address(request("10.0.0.1", **{header: "unknown"}))
    assert [record.args[0] for record in caplog.records] == ["X-Forwarded-For", "Forwarded"]


def test_what_can_be_read_is_not_counted(caplog):
    """Nor is what a client has put left of it."""
    one = peers(**BEHIND)
    for headers in (
        {},
        {
            "X_Forwarded_For": "unknown, 203.0.113.7",
            "X_Forwarded_Proto": "gopher, https",
            "X_Forwarded_Host": "-, a.test",
        },
        {"Forwarded": "unknown, for=203.0.113.7;host=a.test;proto=https"},
        {"Forwarded": "for=203.0.113.7"},
        {"X_Forwarded_For": "10.1.2.3"},
    ):
        one.address(request("10.0.0.1", **headers))
        one.base_url(request("10.0.0.1", **headers))
    assert caplog.records == []
    assert not any(one.unreadable.values())


# Pages. ---------------------------------------------------------------------------------------------------------


def test_no_origin_is_no_page():
    peers().check_origin(request())


@pytest.mark.parametrize("origin", ["http://localhost:8080", "https://localhost:8080", "HTTP://LocalHost:8080"])
def test_own_pages(origin):
    peers().check_origin(request(host="localhost:8080", Origin=origin))


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({"X_Forwarded_Host": "chat.test"}, "https://chat.test"),  # a proxy that ends TLS, and does not say so
        ({"X_Forwarded_Host": "chat.test", "X_Forwarded_Proto": "https"}, "https://chat.test"),
        ({"X_Forwarded_Host": "chat.test", "X_Forwarded_Proto": "wss"}, "https://chat.test:443"),
        ({"X_Forwarded_Host": "chat.test:443", "X_Forwarded_Proto": "https"}, "https://CHAT.test"),
        ({"X_Forwarded_Host": "chat.test:8443", "X_Forwarded_Proto": "https"}, "https://chat.test:8443"),
        ({"X_Forwarded_Proto": "https"}, "https://localhost"),
        ({"Forwarded": 'host="chat.test:8443";proto=https'}, "https://chat.test:8443"),
        ({"X_Forwarded_Host": "chat.test", "X_Forwarded_Proto": "http"}, "http://chat.test:80"),
    ],
)
def test_pages_of_the_name_a_proxy_gave(headers, origin):
    """With its scheme and its port, where the proxy gives them; from a stranger they count for nothing."""
    peers(**BEHIND).check_origin(request("10.0.0.1", Origin=origin, **headers))
    if "localhost" not in origin:
        with pytest.raises(WrongOrigin):
            peers().check_origin(request("192.0.2.1", Origin=origin, **headers))


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({"X_Forwarded_Host": "chat.test", "X_Forwarded_Proto": "https"}, "http://chat.test"),
        ({"X_Forwarded_Proto": "https"}, "http://localhost"),
        ({"X_Forwarded_Host": "chat.test:8443", "X_Forwarded_Proto": "https"}, "https://chat.test"),
        ({"X_Forwarded_Host": "chat.test", "X_Forwarded_Proto": "https"}, "https://chat.test:80"),
        ({}, "https://localhost:80"),
    ],
)
def test_pages_without_tls_at_a_host_with_it(headers, origin):
    """The network writes those: they are not ours."""
    with pytest.raises(WrongOrigin):
        peers(**BEHIND).check_origin(request("10.0.0.1", Origin=origin, **headers))


PUBLIC = "https://chat.example.org"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        (PUBLIC, "https://chat.example.org"),
        (PUBLIC, "HTTPS://Chat.Example.Org:443"),
        (PUBLIC, "https://chat.example.org."),
        ("https://Chat.Example.Org:443/", "https://chat.example.org"),
        ("https://chat.example.org:8443", "https://chat.example.org:8443"),
        ("http://chat.example.org", "http://chat.example.org:80"),
        ("https://b\u00fccher.example", "https://xn--bcher-kva.example"),
        ("https://xn--bcher-kva.example", "https://XN--BCHER-KVA.example"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_the_public_page(url, origin):
    """In whichever form the settings name it; whatever a proxy does not say."""
    one = peers(public_url=url, **BEHIND)
    host = origin.partition("://")[2]
    for asked in (request(host=host, Origin=origin), request("10.0.0.1", host=host, Origin=origin)):
        one.check_host(asked.host)
        one.check_origin(asked)


@pytest.mark.parametrize(
    "origin",
    [
        "http://chat.example.org",
        "https://chat.example.org:8443",
        "https://chat.example.org:80",
        "http://chat.example.org:443",
        "ftp://chat.example.org",
        "file://chat.example.org",
        "file://",
        "null",
        "ws://chat.example.org",
        "https://chat.example.org/",
        "https://chat.example.org, https://chat.example.org",
        "https://chat.example.org@evil.example",
        "https:chat.example.org",
    ],
)
def test_the_public_page_is_one(origin):
    """Not that of another scheme or port, though the host is the same; and what is no origin is none of ours."""
    one = peers(public_url=PUBLIC, **BEHIND)
    for headers in ({}, {"X_Forwarded_Proto": "http"}, {"X_Forwarded_Proto": "https"}):
        for peer in ("10.0.0.1", "192.0.2.1"):
            with pytest.raises(WrongOrigin):
                one.check_origin(request(peer, host="chat.example.org", Origin=origin, **headers))


def test_other_names_of_a_server_with_a_public_url():
    """Its page may be opened by them, too."""
    one = peers(public_url=PUBLIC, allowed_hosts=("chat.example.net",))
    for host in ("chat.example.net", "localhost:8080", "192.0.2.1:8080"):
        one.check_origin(request(host=host, Origin=f"http://{host}"))
        with pytest.raises(WrongOrigin):
            one.check_origin(request(host=host, Origin="http://chat.example.org"))


def test_what_passed_once_is_no_pass_for_others():
    """Though it is remembered."""
    one = peers(**BEHIND)
    https = {"X_Forwarded_Proto": "https"}
    for _ in range(2):
        one.check_origin(request("10.0.0.1", Origin="http://localhost"))
        with pytest.raises(WrongOrigin):
            one.check_origin(request("10.0.0.1", Origin="http://localhost", **https))
        with pytest.raises(WrongOrigin):
            one.check_origin(request("10.0.0.1", host="a.test", Origin="http://localhost"))
    one.change(Settings(public_url="https://localhost"))
    with pytest.raises(WrongOrigin):
        one.check_origin(request("10.0.0.1", Origin="http://localhost"))


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
        "ftp://localhost:8080",
        "file://localhost:8080",
        "ws://localhost:8080",
        "://localhost:8080",
    ],
)
def test_other_pages_are_refused(origin):
    with pytest.raises(WrongOrigin, match="allowed_origins"):
        peers().check_origin(request(host="localhost:8080", Origin=origin))


def test_pages_that_were_allowed():
    allowed = ("https://other.example", "https://B\u00fccher.example:443", "app://localhost", "https://slash.example/")
    one = peers(public_url="https://chat.example.org", allowed_origins=allowed)
    for origin in (
        *("https://other.example", "https://chat.example.org", "HTTPS://OTHER.example:443"),
        *("https://xn--bcher-kva.example", "app://localhost", "https://slash.example"),
    ):
        one.check_origin(request(Origin=origin))
    with pytest.raises(WrongOrigin):
        one.check_origin(request(Origin="http://other.example"))
    peers(allowed_origins=("*",)).check_origin(request(Origin="http://evil.com"))
