"""Logs: to standard error, one line an event, without contents, keys, nicks or (by default) addresses."""

from __future__ import annotations

import logging
import sys

from relayd.settings import Settings


def set_up_logging(settings: Settings) -> None:
    """Sets the format and the least level of this process's log."""
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    change_level(settings)


def change_level(settings: Settings) -> None:
    """Sets the least level that is logged from now on."""
    logging.getLogger("relayd").setLevel(settings.log_level.upper())
    # Tornado's lines about requests it cannot read name the peer's address, and are of a peer's mistake anyway.
    tornado_level = settings.log_level.upper() if settings.log_addresses else logging.ERROR
    logging.getLogger("tornado").setLevel(tornado_level)
