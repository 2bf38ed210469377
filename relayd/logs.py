"""Logs: to standard error, one line an event, without contents, keys, nicks or (by default) addresses."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import msgspec

from relayd.settings import Settings
from relayd.wire.rest import rfc3339


class JsonLines(logging.Formatter):
    """One JSON object an event, on one line whatever is in it.

    A message that is given its values by name (`log.info("uid=%(uid)d", {"uid": 0})`) has them as `fields`, too.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "at": rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if isinstance(record.args, Mapping):
            line["fields"] = dict(record.args)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


_FORMATS: dict[str, logging.Formatter] = {
    "text": logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"),
    "json": JsonLines(),
}


class Lines(logging.StreamHandler[TextIO]):
    """Ours, among whatever handlers there are."""


def set_up_logging(settings: Settings) -> None:
    """Sends this process's log to standard error, as the settings want it."""
    logging.getLogger().addHandler(Lines(sys.stderr))
    change_logging(settings)


def change_logging(settings: Settings) -> None:
    """Sets the form of the log, and the least level that is in it, from now on."""
    level = settings.log_level.upper()
    logging.getLogger("relayd").setLevel(level)
    # Tornado's lines about requests it cannot read name the peer's address, and are of a peer's mistake anyway.
    logging.getLogger("tornado").setLevel(level if settings.log_addresses else logging.ERROR)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Lines):
            handler.setFormatter(_FORMATS[settings.log_format])
