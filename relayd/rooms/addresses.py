"""What counts as one address, wherever addresses are counted or refused."""

from __future__ import annotations

import ipaddress

_IPV6_PREFIX = 64  # what one subscriber has (RFC 6177); to draw another address in it costs nothing


def neighbourhood(address: str) -> str:
    """What counts as one address: of IPv6, the network of one subscriber."""
    if ":" not in address or address.startswith("unix:"):
        return address
    try:
        return str(ipaddress.IPv6Network((address.partition("%")[0], _IPV6_PREFIX), strict=False))
    except ValueError:
        return address
