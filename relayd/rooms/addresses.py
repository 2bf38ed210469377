"""What counts as one address, wherever addresses are counted, refused or trusted.

An IPv4 address has many IPv6 spellings: a dual-stack socket shows it as `::ffff:a.b.c.d`, translators and tunnels put
it into prefixes of their own. All of them are one address here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

UNIX = "unix:"  # the address of a client that comes by a Unix socket, and of a proxy there
_SUBSCRIBER_BITS = 64  # of IPv6: the network of one subscriber; to draw another address in it costs nothing
_SITE_BITS = 48  # of IPv6: the most that one subscriber is given (RFC 6177)
SITE_FACTOR = 16  # a /48 may do so many times what a /64 may: it can be one stranger's, or a whole campus
_V4_BITS = 0xFFFFFFFF
_MAPPED_PREFIX = 96  # bits before the IPv4 address of an IPv4-mapped one
_ZONE = re.compile(r"%[^/]*")  # which of this machine's links: `fe80::1%eth0` (RFC 4007, section 11)


class _Carrier(NamedTuple):
    """IPv6 addresses that carry an IPv4 address.

    Attributes:
        prefix, prefix_bits: what they begin with.
        shift: bits right of the IPv4 address.
        mask: by which its bits are inverted.
    """

    prefix: int
    prefix_bits: int
    shift: int = 0
    mask: int = 0

    def carried_by(self, bits: int) -> IPv4Address | None:
        """The IPv4 address in that IPv6 address; None if it is of another kind."""
        if bits >> (128 - self.prefix_bits) != self.prefix:
            return None
        return IPv4Address((bits >> self.shift & _V4_BITS) ^ self.mask)


_MAPPED = _Carrier(0xFFFF, _MAPPED_PREFIX)  # ::ffff:0:0/96 (RFC 4291, section 2.5.5.2)
_NAT64 = _Carrier(0x64FF9B << 64, 96)  # 64:ff9b::/96 (RFC 6052, section 2.1)
# Not in here: ::a.b.c.d (RFC 4291, section 2.5.5.1), which nothing tells from ::1, and 64:ff9b:1::/48 (RFC 8215), in
# which each network says itself where the IPv4 address stands.
_CARRIERS = (
    _MAPPED,
    _NAT64,
    _Carrier(0xFFFF0000, 96),  # ::ffff:0:0:0/96, of a stateless translator (RFC 2765, section 2.1)
    # 2002::/16, 6to4 (RFC 3056, section 2): one IPv4 address has 65,536 /64s, and what is sent to any goes to it.
    _Carrier(0x2002, 16, shift=80),
    # 2001::/32, Teredo (RFC 4380, section 4): all that use one Teredo server have one /64.
    _Carrier(0x20010000, 32, mask=_V4_BITS),
)


def canonical(address: str) -> str:
    """The one spelling of an address, without a zone; IPv4 for IPv6 that carries it. Other text is left alone."""
    ip = _ipv6(address)
    return address if ip is None else str(_carried(ip) or ip)


def prefixes(address: str) -> tuple[str, ...]:
    """The networks that an address counts for: itself; for IPv6 its /64, and the /48 around that.

    What the first may do, the second may do `SITE_FACTOR` times. Text that is no IPv6 address stands for itself.
    """
    ip = _ipv6(address)
    if ip is None:
        return (address,)
    v4 = _carried(ip)
    if v4 is not None:
        return (str(v4),)
    return _prefix(ip, _SUBSCRIBER_BITS), _prefix(ip, _SITE_BITS)


def prefix_factors(address: str) -> Iterator[tuple[str, int]]:
    """Each of the `prefixes` of an address, and how many times the limit of one address holds for it."""
    return zip(prefixes(address), (1, SITE_FACTOR), strict=False)


def neighbourhood(address: str) -> str:
    """What counts as one address: of IPv6, the network of one subscriber."""
    return prefixes(address)[0]


def _prefix(ip: IPv6Address, bits: int) -> str:
    rest = 128 - bits
    return f"{IPv6Address(int(ip) >> rest << rest)}/{bits}"


def network(text: str) -> IPv4Network | IPv6Network:
    """A network or an address, as settings name them; IPv4 for one of IPv4-mapped addresses.

    Raises:
        ValueError: it is neither.
    """
    found = ip_network(_ZONE.sub("", text))
    v4 = _MAPPED.carried_by(int(found.network_address)) if isinstance(found, IPv6Network) else None
    # A network that begins with all of the prefix is no larger than it: ip_network takes no bits of a host.
    return found if v4 is None else IPv4Network((v4, found.prefixlen - _MAPPED_PREFIX))


def creator_network(text: str) -> str:
    """An address, or an IPv6 /64 or /48, as `prefixes` spells what an address counts for: an address by its smallest.

    Raises:
        ValueError: it is none of those.
    """
    if "/" not in text:
        return prefixes(str(ip_address(canonical(text))))[0]
    found = ip_network(text)
    if found.version == 4 or found.prefixlen not in (_SUBSCRIBER_BITS, _SITE_BITS):
        raise ValueError
    return str(found)


def trust_forms(address: str) -> tuple[IPv4Address | IPv6Address, ...]:
    """The forms in which settings may name an address as one that is trusted.

    Raises:
        ValueError: it is no address.
    """
    ip = ip_address(address.partition("%")[0])
    if not isinstance(ip, IPv6Address):
        return (ip,)
    if (mapped := _MAPPED.carried_by(int(ip))) is not None:
        return (mapped,)
    # Of the others only NAT64: whoever has a 6to4 or Teredo address may be anybody behind that IPv4 address. That
    # 127.0.0.1 is this machine is the kernel's word for IPv4; as 64:ff9b::7f00:1 anybody on the link can send it.
    v4 = _NAT64.carried_by(int(ip))
    return (ip,) if v4 is None or v4.is_loopback else (ip, v4)


def _ipv6(address: str) -> IPv6Address | None:
    if ":" not in address or address.startswith("unix:"):
        return None
    try:
        return IPv6Address(address.partition("%")[0])
    except ValueError:
        return None


def _carried(ip: IPv6Address) -> IPv4Address | None:
    bits = int(ip)
    for carrier in _CARRIERS:
        if (v4 := carrier.carried_by(bits)) is not None:
            return v4
    return None
