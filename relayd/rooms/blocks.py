"""Addresses that an admin has blocked: single ones, networks, and handles of addresses that are not known."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from relayd.errors import AddressBlocked
from relayd.rooms.addresses import canonical, network, prefixes
from relayd.rooms.digests import HANDLE_BYTES, Digests, parse_handle

# A wider network is half of the internet or all of it: more likely a typing mistake than an attacker.
_LEAST_BITS = {4: 8, 6: 16}


def parse_target(text: str) -> str:
    """What is to be blocked, in its one spelling: a network, or a handle.

    An IPv6 address stands for its /64, in which one subscriber has all addresses.

    Raises:
        ValueError: it is neither an address, nor a network, nor a handle, or a network that is too wide.
    """
    if parse_handle(text) is not None:
        return text
    try:
        found = network(text if "/" in text else prefixes(canonical(text))[0])
    except ValueError as wrong:
        reason = "has bits set behind the length of its prefix" if "host bits" in str(wrong) else "is none"
        raise ValueError(
            f"{text[:100]!r} {reason}: give an address, a network like 203.0.113.0/24, or a handle like a_0123456789ab"
        ) from None
    if found.prefixlen < _LEAST_BITS[found.version]:
        raise ValueError(f"{found} is wider than /{_LEAST_BITS[found.version]}: that is too much of the internet")
    return str(found)


class BlockList:
    """Tells whether an address is blocked. Empty at first; false while it is empty."""

    def __init__(self) -> None:
        self.change((), b"")

    def change(self, targets: Iterable[str], digest_key: bytes) -> None:
        """Replace all that is blocked.

        Args:
            targets: as `parse_target` gives them.
            digest_key: by which handles are made; see `Digests`.
        """
        self._digests = Digests(digest_key)
        self._handles: set[bytes] = set()
        self._networks: dict[tuple[int, int], set[int]] = {}  # (version, bits right of the prefix) -> prefixes
        for target in targets:
            handle = parse_handle(target)
            if handle is not None:
                self._handles.add(handle)
                continue
            blocked = ip_network(target)
            rest = blocked.max_prefixlen - blocked.prefixlen
            prefix = int(blocked.network_address) >> rest
            self._networks.setdefault((blocked.version, rest), set()).add(prefix)

    def __bool__(self) -> bool:
        """Whether anything is blocked."""
        return bool(self._handles or self._networks)

    def has(self, address: str) -> bool:
        """Whether that address is blocked, in whatever spelling."""
        return self._has_network(address) or (
            bool(self._handles) and self._digests.networks(address)[0][:HANDLE_BYTES] in self._handles
        )

    def check(self, address: str) -> None:
        """Let an address pass that is not blocked.

        Raises:
            AddressBlocked: it is.
        """
        if self and self.has(address):
            raise AddressBlocked

    def _has_network(self, address: str) -> bool:
        if not self._networks:
            return False
        try:
            ip = ip_address(canonical(address))
        except ValueError:  # a client of a Unix socket
            return False
        return any(
            version == ip.version and int(ip) >> rest in prefixes
            for (version, rest), prefixes in self._networks.items()
        )
