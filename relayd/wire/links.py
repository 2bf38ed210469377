"""Share links: an address, and behind `#` what opens it, which browsers send to no server."""

from __future__ import annotations

from relayd.wire.sealing_text import encode_base64url


def password_mark(link_secret: bytes) -> str:
    """What follows the invite key in the link of a room made with a plain password: `.1p.<link secret>`."""
    return f".1p.{encode_base64url(link_secret)}"


def links(base: tuple[str, str], room_id: str, invite_key: str, mark: str = "") -> tuple[str, str]:
    """Where to chat, and what to share.

    Args:
        base: scheme (`http` or `https`) and host of the server.
        room_id: in its text form.
        invite_key: goes behind the `#`.
        mark: goes behind that: `password_mark` for a room made with a plain password.

    Returns:
        The WebSocket's address, and the link.
    """
    scheme, host = base
    return (
        f"{'wss' if scheme == 'https' else 'ws'}://{host}/{room_id}",
        f"{scheme}://{host}/{room_id}#{invite_key}{mark}",
    )
