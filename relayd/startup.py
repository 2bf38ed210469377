"""Which settings relayd starts with, and what becomes of a start with invalid ones.

| settings | systemd has stored | what happens |
| --- | --- | --- |
| valid | | relayd starts with them |
| invalid | living rooms and the settings of the process before | relayd starts with those, and reports the problems |
| invalid | the same problems, reported by the start before | `Standby`: relayd refuses clients until they are valid |
| invalid | anything else | relayd reports the problems and ends; systemd starts it again, which is the case above |

So a start with invalid settings fails where an administrator sees it, and no room is lost by it. The start after that
holds the sockets: systemd would start relayd for each waiting connection again, and soon give up service and sockets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from relayd.errors import SettingsError
from relayd.keeping import NAME as STORED_ROOMS
from relayd.keeping import Rooms
from relayd.logs import set_up_logging
from relayd.machine.stored_text import StoredText
from relayd.machine.systemd import Systemd
from relayd.settings import Settings
from relayd.standby import SOCKETS, Standby

log = logging.getLogger("relayd")

SETTINGS = StoredText("settings")  # those that hold, as JSON
REPORTED = StoredText("reported-problems")  # a line each


class Start(NamedTuple):
    """What a daemon starts with.

    Attributes:
        settings: that hold.
        problems: of the settings that were read, one line each, if those of the process before hold instead.
        rooms: restored already, to see whether there are any; None if that is still to be done.
    """

    settings: Settings
    problems: tuple[str, ...] = ()
    rooms: Rooms | None = None


def choose(read: Callable[[], Settings], systemd: Systemd) -> Start | None:
    """The settings to start with, by the table above.

    Args:
        read: reads the settings from where they come from.
        systemd: of this process.

    Returns:
        None if relayd was told to end while it waited for valid settings.

    Raises:
        SettingsError: the settings are invalid, and relayd is to end.
    """
    earlier, reported = _settings_from(SETTINGS.take(systemd)), REPORTED.take(systemd)
    try:
        settings = read()
    except SettingsError as invalid:
        set_up_logging(earlier or Settings())
        rooms = Rooms.take(systemd) if STORED_ROOMS in systemd.fds else None
        if earlier is not None and rooms is not None and rooms.kept is not None and rooms.kept.drafts:
            return Start(earlier, tuple(invalid.problems), rooms)
        if not systemd.fds.keys() & SOCKETS:
            raise
        if reported != "\n".join(invalid.problems):
            REPORTED.write(systemd, "\n".join(invalid.problems))
            raise
        return _wait(Standby(invalid, read, systemd), systemd, rooms)
    if reported is not None:
        REPORTED.remove(systemd)
    return Start(settings)


def store(settings: Settings, systemd: Systemd) -> None:
    """Has systemd keep the settings that hold, for a start that finds invalid ones."""
    SETTINGS.write(systemd, msgspec.json.encode(settings).decode())


def _wait(standby: Standby, systemd: Systemd, rooms: Rooms | None) -> Start | None:
    settings = asyncio.run(standby.wait())
    # Whether they were corrected or relayd is stopped: the next problems are to be reported as the first ones were.
    REPORTED.remove(systemd)
    return None if settings is None else Start(settings, (), rooms)


def _settings_from(text: str | None) -> Settings | None:
    """None also for settings that this version does not understand."""
    try:
        return None if text is None else msgspec.json.decode(text, type=Settings)
    except msgspec.DecodeError:
        return None
