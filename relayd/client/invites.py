"""Invites: links of their own, each with limits."""

from __future__ import annotations

import msgspec

from relayd.wire.sealing_text import Redacted


class Invite(Redacted, msgspec.Struct, frozen=True):
    """An invite that this client has made.

    Attributes:
        id: names it, to be revoked.
        link: lets newcomers in; a secret, and shown here only.
    """

    id: str
    link: str
