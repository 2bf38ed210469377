"""Sealed rooms, suite 1, from the client's side: all that a client does with keys, in one place.

The way of a client: `parse_link`, ask the server for the room's details, `unlock`, join with
`RoomKeys.proof_text`, `RoomKeys.confirm` what was answered; then a `Sealer` for the socket, and one `Opener`
for the process. A creator begins with `new_room`. docs/security.md is the construction.
"""

from __future__ import annotations

from relayd.client.seal.bodies import BodyType
from relayd.client.seal.codes import code_words, person_code, room_code
from relayd.client.seal.files import (
    MAX_CHUNK_BYTES,
    ChunkOpener,
    ChunkSealer,
    FileOffer,
    new_offer,
    read_offer,
)
from relayd.client.seal.keys import OwnerKey, RoomKeys, UserKey
from relayd.client.seal.link import Link, ShareLink, parse_fragment, parse_link
from relayd.client.seal.opener import Card, Heard, Message, Opener, Signal
from relayd.client.seal.rekey import NewEpoch, Rekeyed, make_rekey, take_rekey
from relayd.client.seal.room import NewRoom, new_room, room_is_sealed, unlock
from relayd.client.seal.sealer import Sealer

__all__ = [
    "MAX_CHUNK_BYTES",
    "BodyType",
    "Card",
    "ChunkOpener",
    "ChunkSealer",
    "FileOffer",
    "Heard",
    "Link",
    "Message",
    "NewEpoch",
    "NewRoom",
    "Opener",
    "OwnerKey",
    "Rekeyed",
    "RoomKeys",
    "Sealer",
    "ShareLink",
    "Signal",
    "UserKey",
    "code_words",
    "make_rekey",
    "new_offer",
    "new_room",
    "parse_fragment",
    "parse_link",
    "person_code",
    "read_offer",
    "room_code",
    "room_is_sealed",
    "take_rekey",
    "unlock",
]
