"""Share links: an address, and behind `#` what opens it, which browsers send to no server."""

from __future__ import annotations

# What a sealed room's link has behind the invite key if only a password is needed: suite 1, password.
PASSWORD_MARK = ".1p"  # noqa: S105 - it says that there is one


def links(base: tuple[str, str], room_id: str, invite_key: str, mark: str = "") -> tuple[str, str]:
    """Where to chat, and what to share.

    Args:
        base: scheme (`http` or `https`) and host of the server.
        room_id: in its text form.
        invite_key: goes behind the `#`.
        mark: goes behind that: `PASSWORD_MARK` for a room made with a plain password.

    Returns:
        The WebSocket's address, and the link.
    """
    scheme, host = base
    return (
        f"{'wss' if scheme == 'https' else 'ws'}://{host}/{room_id}",
        f"{scheme}://{host}/{room_id}#{invite_key}{mark}",
    )
