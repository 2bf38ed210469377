"""Keyed digests of what rooms compare and must not store: addresses, and the ids of messages."""

from __future__ import annotations

import hashlib

from relayd.rooms.addresses import prefixes

NETWORK_BYTES = 16
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
        return tuple(
            hashlib.blake2b(network.encode(), key=self.key, digest_size=NETWORK_BYTES).digest()
            for network in prefixes(address)
        )

    def message_id(self, message_id: str) -> bytes:
        """Of the id that its sender gave a message."""
        digest = self._message_id.copy()
        digest.update(message_id.encode())
        return digest.digest()
