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
