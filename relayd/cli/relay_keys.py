"""What makes one the owner of a room, kept between `relay new` and `relay join`, and no longer than the room lives.

One file a room under `$XDG_STATE_HOME/relay` (`~/.local/state/relay`), readable by its user alone. It holds the
owner key and, for a sealed room, the key that signs new ones. The link is not in it, so the file alone opens
nothing that was said.

A clock may be days off, on this machine or on a server. So the room's server decides that a room is over, not a clock
alone; see `sweep`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from relayd.client import ClientError, Made, Owner, Rest
from relayd.client.seal.keys import OwnerKey
from relayd.client.seal.link import parse_link
from relayd.directories import make_private
from relayd.errors import NoSuchRoom, RelayError
from relayd.wire.sealing import KEY_BYTES
from relayd.wire.sealing_text import Redacted, SealingError, decode_base64url, encode_base64url

_LONGEST_S: Final = 24 * 3600.0  # no room lives longer
_MARGIN_S: Final = 7 * 24 * 3600.0  # by two clocks, the end of a room of another server must be so long ago
_MOST_ASKED: Final = 32  # rooms in one sweep
_SWEEP_TIMEOUT_S: Final = 5.0


class _File(Redacted, msgspec.Struct):
    owner_key: str
    ends: str
    signing: str = ""
    server: str = ""  # as in the link; relay 0.1 did not write it


class _Kept(NamedTuple):
    """A file.

    Attributes:
        made_s: when its room was made at the earliest, by the server's clock, in seconds since 1970; -inf if unknown.
        ends_s: when the room ends at the latest, as far as is known.
        file: None if it cannot be read.
    """

    path: Path
    made_s: float
    ends_s: float
    file: _File | None


def folder() -> Path:
    """Where they are kept."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state") / "relay"  # noqa: PTH117


def keep(made: Made) -> None:
    """Keeps what makes this user the owner.

    Raises:
        OSError: it cannot be written.
    """
    where = folder()
    make_private(where)
    signing = encode_base64url(made.owner.signing.private_bytes()) if made.owner.signing else ""
    text = msgspec.json.encode(_File(made.owner.key, made.expiration_date, signing, parse_link(made.link).server))
    # O_EXCL: a link somebody put there is not followed.
    handle = os.open(where / made.id, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(text)


class OtherServer(Exception):
    """The room was made on another server, which must not get the owner key of this one.

    Attributes:
        server: where it was made, as in its link.
    """

    def __init__(self, server: str) -> None:
        super().__init__(server)
        self.server = server


def find(room_id: str, server: str) -> Owner | None:
    """What was kept of the room; None if nothing was, or it cannot be read.

    Args:
        server: of the link by which the room is to be joined.

    Raises:
        OtherServer: a link may name any server, and the owner key goes to it.
    """
    with contextlib.suppress(OSError, SealingError):
        file = _read(folder() / room_id)
        if file is not None:
            if file.server and _with_port(file.server) != _with_port(server):
                raise OtherServer(file.server)
            signing = OwnerKey(decode_base64url(file.signing, KEY_BYTES, "signing key")) if file.signing else None
            return Owner(file.owner_key, signing)
    return None


def _with_port(server: str) -> tuple[str, str | None, int]:
    parts = urlsplit(server)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}[parts.scheme]


def drop(room_id: str, server: str) -> None:
    """Drops what was kept of a room that is over, if it was made on that server."""
    path = folder() / room_id
    with contextlib.suppress(OSError):
        file = _read(path)
        if file is None or file.server in ("", server):
            path.unlink()


async def sweep(rest: Rest, local_s: float, server_s: float) -> None:
    """Drops what belongs to rooms that are over.

    This asks the server about those of its rooms that are over by one of the two clocks. It does not contact other
    servers; what belongs to their rooms is dropped when both clocks agree, by a week.

    Args:
        rest: of a server that is in use anyway.
        local_s: the time on this machine, in seconds since 1970.
        server_s: the time on that server.
    """
    ending: list[tuple[float, Path, str]] = []
    for kept in _all_kept():
        if kept.file is not None and kept.file.server == rest.place.origin:
            if kept.ends_s < max(local_s, server_s):
                ending.append((kept.ends_s, kept.path, kept.file.owner_key))
        elif _is_long_over(kept, local_s, server_s):
            _unlink(kept.path)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_SWEEP_TIMEOUT_S):
            await asyncio.gather(*(_drop_if_over(rest, path, key) for _, path, key in sorted(ending)[:_MOST_ASKED]))


async def _drop_if_over(rest: Rest, path: Path, owner_key: str) -> None:
    try:
        await rest.details(path.name, owner_key)
    except NoSuchRoom:
        _unlink(path)
    except (RelayError, ClientError):
        return  # that does not mean that the room is over


def _is_long_over(kept: _Kept, local_s: float, server_s: float) -> bool:
    over_s = kept.ends_s + _MARGIN_S
    # A local time before the room was made is wrong for certain (without a battery, 1970), so it is left out.
    return server_s > over_s and (local_s > over_s or local_s < kept.made_s)


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _all_kept() -> Iterator[_Kept]:
    with contextlib.suppress(OSError):
        for path in list(folder().iterdir()):
            with contextlib.suppress(OSError):
                yield _kept(path)


def _kept(path: Path) -> _Kept:
    file = _read(path)
    ends_s = None if file is None else read_time_s(file.ends)
    if ends_s is None:
        return _Kept(path, -math.inf, path.stat().st_mtime + _LONGEST_S, file)
    return _Kept(path, ends_s - _LONGEST_S, ends_s, file)


def read_time_s(text: str) -> float | None:
    """The time that a server writes, in seconds since 1970; None if it is none."""
    with contextlib.suppress(ValueError, OverflowError):
        time = datetime.fromisoformat(text)
        return time.timestamp() if time.tzinfo else None
    return None


def _read(path: Path) -> _File | None:
    """The content of a file; None if it has another form. Raises OSError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File)
    except msgspec.MsgspecError:
        return None
