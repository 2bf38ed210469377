"""What can go wrong at a client besides what a server says (`relayd.errors`) and sealing (`sealing_errors`).

No text repeats a key, a link, a password or what was said.
"""

from __future__ import annotations

from pathlib import Path

from relayd.errors import RelayError, by_code


class ClientError(Exception):
    """Something failed on this side, or on the way."""


class Unreachable(ClientError):
    """No connection to the server, or it was lost for good: look at the address and the network."""


class BadServer(ClientError):
    """What answers there does not speak as a relay does: look at the address."""


class Unconfirmed(ClientError):
    """The connection was lost for too long: whether the message was said cannot be known any more."""


class NotConnected(ClientError):
    """There is no connection at the moment, and this is not worth waiting for one."""


class TransferError(ClientError):
    """A file did not arrive.

    Attributes:
        partial: where what came of it is kept; None if nothing is.
    """

    def __init__(self, text: str, partial: Path | None = None) -> None:
        super().__init__(text)
        self.partial = partial


class Withdrawn(TransferError):
    """No more of it will come: its sender has withdrawn it, or has left."""


class NotWhole(TransferError):
    """What came is not what was offered, so it was deleted."""


class DiskError(TransferError):
    """A file cannot be read or written on this machine."""


class FileChanged(DiskError):
    """A file was changed while it was sent, so it is not the one that was offered any more."""


# Where a close frame carries no reason that is known (a proxy may drop it), its code says as much.
_REASONS = {
    4000: "protocol_error",
    4001: "join_timeout",
    4003: "forbidden",
    4004: "no_such_room",
    4009: "room_full",
    4010: "room_closed",
    4011: "kicked",
    4013: "locked",
    4014: "left",
    4015: "idle",
    4016: "too_many_connections",
    4018: "denied",
    4019: "blocked",
}


def final_error(code: int, reason: str) -> RelayError | None:
    """What a close frame means for this client.

    Args:
        code: of the frame; 1006 if there was none.
        reason: as the server says it; only known ones are repeated.

    Returns:
        The error that ends it all; None if the client is to come back. docs/protocol.md: 4000 to 4499 are final.
    """
    if not 4000 <= code < 4500:
        return None
    error = by_code(reason)
    if type(error) is RelayError or error.close != code:
        error = by_code(_REASONS.get(code, ""))
    if type(error) is RelayError:
        error = RelayError(f"The server has ended the connection with code {code}")
    return error
