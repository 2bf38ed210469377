"""What makes one the owner of a room, kept between `relay new` and `relay join`, and no longer than the room lives.

One file a room under `$XDG_STATE_HOME/relay` (`~/.local/state/relay`), readable by its user alone. It holds the
owner key and, for a sealed room, the key that signs new ones. The link is not in it, so the file alone opens
nothing that was said.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from relayd.client import Made, Owner
from relayd.client.seal.keys import OwnerKey
from relayd.wire.sealing import KEY_BYTES
from relayd.wire.sealing_text import Redacted, SealingError, decode_base64url, encode_base64url

_LONGEST: Final = timedelta(hours=24)  # no room lives longer


class _File(Redacted, msgspec.Struct):
    owner_key: str
    ends: str
    signing: str = ""


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
    where.mkdir(mode=0o700, parents=True, exist_ok=True)
    signing = encode_base64url(made.owner.signing.private_bytes()) if made.owner.signing else ""
    text = msgspec.json.encode(_File(made.owner.key, made.expiration_date, signing))
    # O_EXCL: a link somebody put there is not followed.
    handle = os.open(where / made.id, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(text)


def find(room_id: str) -> Owner | None:
    """What was kept of the room; None if nothing was, or it cannot be read."""
    with contextlib.suppress(OSError, msgspec.MsgspecError, SealingError):
        file = msgspec.json.decode((folder() / room_id).read_bytes(), type=_File)
        signing = OwnerKey(decode_base64url(file.signing, KEY_BYTES, "signing key")) if file.signing else None
        return Owner(file.owner_key, signing)
    return None


def drop(room_id: str) -> None:
    """The room is over."""
    with contextlib.suppress(OSError):
        (folder() / room_id).unlink()


def sweep(now: datetime | None = None) -> None:
    """Drops what belongs to rooms that are over by now."""
    with contextlib.suppress(OSError):
        for path in folder().iterdir():
            if _is_over(path, now or datetime.now(UTC)):
                drop(path.name)


def _is_over(path: Path, now: datetime) -> bool:
    try:
        return datetime.fromisoformat(msgspec.json.decode(path.read_bytes(), type=_File).ends) < now
    except (msgspec.MsgspecError, ValueError, TypeError):
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) + _LONGEST < now
