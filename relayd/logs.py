"""Logs: to standard error, one line an event, without contents, keys, nicks or (by default) addresses."""

from __future__ import annotations

import logging
import os
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


_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class JournalLines(logging.Formatter):
    """Lines for systemd's journal, which takes their priority from a number before them: sd-daemon(3)."""

    def __init__(self, lines: logging.Formatter) -> None:
        super().__init__()
        self._lines = lines

    def format(self, record: logging.LogRecord) -> str:
        """The line, or lines of a traceback, each with its number."""
        number = f"<{_PRIORITIES[record.levelno]}>"
        return number + self._lines.format(record).replace("\n", f"\n{number}")


_FORMATS: dict[str, logging.Formatter] = {
    "text": logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"),
    "json": JsonLines(),
}
_JOURNAL_FORMATS: dict[str, logging.Formatter] = {
    "text": JournalLines(logging.Formatter("%(name)s %(message)s")),  # it has time and level itself
    "json": JournalLines(JsonLines()),
}


class Lines(logging.StreamHandler[TextIO]):
    """Ours, among whatever handlers there are."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.formats = _JOURNAL_FORMATS if _is_journal(stream) else _FORMATS


def _is_journal(stream: TextIO) -> bool:
    """Whether it goes there: by JOURNAL_STREAM, whose place may be taken by another file since (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def set_up_logging(settings: Settings) -> None:
    """Sends this process's log to standard error, as the settings want it."""
    root = logging.getLogger()
    if not any(isinstance(handler, Lines) for handler in root.handlers):
        root.addHandler(Lines(sys.stderr))
    change_logging(settings)


def change_logging(settings: Settings) -> None:
    """Sets the form of the log, and the least level that is in it, from now on."""
    level = settings.log_level.upper()
    logging.getLogger("relayd").setLevel(level)
    # Tornado's lines about requests it cannot read name the peer's address, and are of a peer's mistake anyway.
    logging.getLogger("tornado").setLevel(level if settings.log_addresses else logging.ERROR)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Lines):
            handler.setFormatter(handler.formats[settings.log_format])
