"""Keyed digests of what rooms compare and must not store: addresses, and the ids of messages."""

from __future__ import annotations

import hashlib
import re

from relayd.rooms.addresses import prefixes

NETWORK_BYTES = 16
HANDLE_BYTES = 6  # of a network's digest: of 100,000 addresses two have the same handle once in 50,000 servers
_HANDLE = re.compile(rf"a_([0-9a-f]{{{2 * HANDLE_BYTES}}})")
MESSAGE_ID_BYTES = 8  # of at most 256 ids of one user, of which two agree by chance once in 10**14 users


class Digests:
    """Makes them.

    Args:
        key: random, up to 64 bytes. A process that continues with the rooms needs the same.
    """

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._message_id = hashlib.blake2b(key=key, digest_size=MESSAGE_ID_BYTES, person=b"message id")

    def networks(self, address: str) -> tuple[bytes, ...]:
        """Of each network that an address counts for, the smallest first; see `addresses.prefixes`."""
        return tuple(map(self.network, prefixes(address)))

    def network(self, network: str) -> bytes:
        """Of one such network, spelled as `prefixes` does."""
        return hashlib.blake2b(network.encode(), key=self.key, digest_size=NETWORK_BYTES).digest()

    def message_id(self, message_id: str) -> bytes:
        """Of the id that its sender gave a message."""
        digest = self._message_id.copy()
        digest.update(message_id.encode())
        return digest.digest()


def handle_of(network: bytes) -> str:
    """The handle of an address, given the digest of its smallest network: what admins see in place of the address."""
    return f"a_{network[:HANDLE_BYTES].hex()}"


def parse_handle(text: str) -> bytes | None:
    """The beginning of the digest that a handle stands for; None if it is no handle."""
    found = _HANDLE.fullmatch(text)
    return bytes.fromhex(found[1]) if found else None
