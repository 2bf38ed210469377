"""Whether systemd keeps the rooms for the next start, by the properties of the unit that relayd runs in."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "Restart",
    "FileDescriptorStoreMax",
    "NFileDescriptorStore",
    "NotifyAccess",
)
_STORED = 4  # descriptors: settings, their problems, rooms, and those of the next version during an upgrade
_TIMEOUT_S = 5.0

Properties = Mapping[str, str]


class Risk(NamedTuple):
    """Why the next start would not find the rooms.

    Attributes:
        what: is wrong.
        do: what to do about it.
    """

    what: str
    do: str


class _Rule(NamedTuple):
    """Attributes: `applies` to the properties of a unit; texts as of a `Risk`, with properties in braces."""

    applies: Callable[[Properties], bool]
    what: str
    do: str


# Whatever ends relayd: a restart, a crash, relayctl.
_ANY_END = (
    _Rule(
        lambda unit: unit["LoadState"] != "loaded",
        "systemd keeps nothing of {Id}, whose unit is {LoadState}",
        "resolve what systemctl status {Id} says, then: relayctl reload",
    ),
    _Rule(
        lambda unit: int(unit["FileDescriptorStoreMax"]) < _STORED,
        "systemd keeps too little of {Id}: FileDescriptorStoreMax is {FileDescriptorStoreMax}",
        "take that out of the unit, systemctl daemon-reload, and then: relayctl reload",
    ),
    _Rule(
        lambda unit: unit["NFileDescriptorStore"] == "0",
        "systemd has lost what it kept of {Id}",
        "relayctl reload has it kept again",
    ),
)
# A process that takes over must be announced to systemd, which ends the service otherwise.
_HAND_OVER = (
    _Rule(
        lambda unit: unit["NotifyAccess"] == "none",
        "systemd takes no messages from {Id}, whose unit is {LoadState}",
        "resolve what systemctl status {Id} says",
    ),
)
_OWN_END = (
    _Rule(
        lambda unit: unit["Restart"] not in ("always", "on-success"),
        "Restart={Restart} in the unit {Id} does not start relayd again",
        "to keep them: systemctl restart {Id}",
    ),
    _Rule(
        lambda unit: unit["ActiveState"] == "deactivating" and unit["Job"] not in ("restart", "start"),
        "{Id} is being stopped, and nothing starts it again",
        "to keep them: systemctl restart {Id}",
    ),
)


# By what happens to relayd: something from outside (a restart, a crash), its own end, or an upgrade.
RESTART, END, UPGRADE = _ANY_END, (*_ANY_END, *_OWN_END), _HAND_OVER


def risk(pid: int, rules: Sequence[_Rule]) -> Risk | None:
    """Why the rooms of the relayd with that process id would be lost.

    Args:
        pid: of a relayd that has given systemd its rooms to keep.
        rules: RESTART, END or UPGRADE.

    Returns:
        None if nothing speaks against them; also if systemd cannot be asked.
    """
    unit = _properties(pid)
    broken = next((rule for rule in rules if unit and rule.applies(unit)), None)
    return broken and Risk(broken.what.format(**unit), broken.do.format(**unit))


def show(units: Sequence[str], properties: Sequence[str], *options: str) -> list[Properties]:
    """These properties of each of the units, as systemd tells them; without any if it cannot be asked."""
    shown = _systemctl(*options, "show", f"--property={','.join(properties)}", *units)
    return [dict(line.split("=", 1) for line in one.splitlines() if "=" in line) for one in shown.split("\n\n")]


def _systemctl(*arguments: str) -> str:
    """What that command of systemctl prints; nothing if it cannot be run."""
    command = ("systemctl", *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)  # noqa: S603 - no shell
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _properties(pid: int) -> Properties:
    """Of the unit of that process, and `Job`, the kind of what is queued for it; empty if there is no such unit."""
    path = _control_group(pid)
    name = path.rpartition("/")[2]
    if not name.endswith(".service"):
        return {}
    manager = ["--user"] if "/user@" in path else []
    (unit,) = show([name], _PROPERTIES, *manager)
    if not set(_PROPERTIES) <= set(unit):
        return {}
    jobs = [line.split() for line in _systemctl(*manager, "list-jobs", "--plain", "--no-legend").splitlines()]
    return {**unit, "Job": next((job[2] for job in jobs if job[1:2] == [name]), "")}


def _control_group(pid: int) -> str:
    """Its path in the hierarchy that systemd uses (cgroups(7), /proc/PID/cgroup); "" if there is none."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return ""
    groups = (line.split(":", 2) for line in lines)
    return next((path for _, controllers, path in groups if controllers in ("", "name=systemd") and path != "/"), "")
