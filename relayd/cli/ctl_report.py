"""`relayctl report`: what somebody who helps needs to know of this server, without anything of its people."""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import re
import socket as sockets
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from relayd import __version__
from relayd.cli.ctl_base import FAILED, Ending, Session, command, option
from relayd.cli.ctl_client import path

REMOVED = "[removed]"
# Words that settings choose from. Any other text of a setting is shown only where it is the default.
_CHOICES = frozenset("auto debug info warning error text json anyone key nobody".split())
_STATUS = (
    "version state started uptime rooms rooms_created places users connections messages bytes deliveries memory workers"
    " gateways keeps_rooms frozen blocks unreadable_headers"
).split()
# Words that doctor uses anyway, and that identify nobody.
_PLAIN = frozenset(("", "root", "relayd", "localhost"))
_HIDDEN = re.compile(
    r"""https?://\S+|wss?://\S+            # addresses of pages
    |\b\d{1,3}(?:\.\d{1,3}){3}(?:/\d+)?\b  # IPv4
    |(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:/\d+)?(?![\w:])  # IPv6, and what looks like it
    # Host names, but for settings of the kernel's and of relayd's own, and names of files.
    |\b(?!(?:fs|net|kernel|vm|rooms|limits|timing)\.)(?:[a-z0-9-]+\.)+[a-z]{2,}
        (?<!\.toml)(?<!\.conf)(?<!\.service)(?<!\.socket)(?<!\.sock)\b
    """,
    re.VERBOSE,
)


@command("relayctl report")
@option("file", metavar="PATH", help="Where to write it.  [default: relayd-report-DATE.tar.gz]")
def report(session: Session, file: str | None) -> None:
    """Write a file for those who help with a problem.

    It has the version, the settings without names and secrets, the status, the limits, the metrics, and what doctor
    finds: no room names, keys, messages, nicks, host names or addresses. It is text; look at it before you send it.
    """
    name = time.strftime("relayd-report-%Y%m%d-%H%M%S", time.gmtime())
    target = Path(file or f"{name}.tar.gz")
    data = _archive(name, _parts(session))
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as failed:
        raise Ending(FAILED, f"{target} cannot be written: {failed.strerror}") from None
    with os.fdopen(descriptor, "wb") as archive:
        archive.write(data)
    session.done({"file": str(target), "bytes": len(data)}, f"Wrote {target}; look at it before you send it.")


def _parts(session: Session) -> Iterator[tuple[str, str]]:
    """The files of the archive: name and text."""
    control = session.control
    settings, status, limits = (control.get(path(name)) for name in ("settings", "status", "limits"))
    yield "about.json", _json(_about())
    yield "status.json", _json(_status(status))
    yield "settings.json", _json(_settings(settings))
    yield "limits.json", _json(_limits(limits))
    yield "metrics.txt", control.text(path("metrics"))
    yield "doctor.txt", "\n".join(_doctor(session, settings, status)) + "\n"


def _about() -> dict[str, Any]:
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    return {
        "relayctl": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "system": release.get("PRETTY_NAME", ""),
        "processors": os.cpu_count(),
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _status(found: Mapping[str, Any]) -> dict[str, Any]:
    """Counts and times; of addresses and wrong settings, how many there are."""
    counted = {f"{name}_count": len(found[name]) for name in ("addresses", "settings_problems")}
    return {name: found[name] for name in _STATUS if name in found} | counted


def _settings(found: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and choices as they are; other texts only where they are the default."""
    return _without_texts(found, _defaults())


def _defaults() -> dict[str, Any]:
    import msgspec  # noqa: PLC0415 - costs more than asking a daemon

    from relayd.settings import Settings  # noqa: PLC0415

    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(Settings()))
    return found


def _without_texts(found: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, value in found.items():
        default = defaults.get(name)
        if isinstance(value, Mapping):
            shown[name] = _without_texts(value, default if isinstance(default, Mapping) else {})
        elif value == default or isinstance(value, int | float) or (isinstance(value, str) and value in _CHOICES):
            shown[name] = value
        else:
            shown[name] = REMOVED if isinstance(value, str) else [REMOVED] * len(value)
    return shown


def _limits(found: Mapping[str, Any]) -> dict[str, Any]:
    """Without the addresses and handles."""
    known = ("server", "room", "gateway", "")
    limits = [one | {"by": one["by"] if one["by"] in known else "address"} for one in found["limits"]]
    addresses = [{name: count for name, count in one.items() if name != "address"} for one in found["addresses"]]
    return {**found, "limits": limits, "addresses": addresses}


def _doctor(session: Session, settings: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[str]:
    """A line for each finding, without what this server is called and where it is."""
    from relayd.cli.ctl_doctor import CHECKS, looked  # noqa: PLC0415 - as doctor itself
    from relayd.cli.doctor.finding import Patient  # noqa: PLC0415

    patient = Patient(session.socket_path, settings, status)
    known = {*_texts(settings), *status["addresses"], session.socket_path, *_own_names(session.socket_path)}
    names = sorted(known - {*_texts(_defaults()), *_PLAIN}, key=len, reverse=True)
    for check in CHECKS:
        for finding in looked(check, patient):
            text = f"{finding.what} -> {finding.do}" if finding.do else finding.what
            yield f"{finding.state:8} {finding.check:15} {_without(text, names)}"


def _without(text: str, names: Iterable[str]) -> str:
    for name in names:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", REMOVED, text)
    return _HIDDEN.sub(REMOVED, text)


def _own_names(socket_path: str) -> Iterator[str]:
    """Of this machine, and of the user and group that the control socket belongs to."""
    import grp  # noqa: PLC0415
    import pwd  # noqa: PLC0415

    host, found = sockets.gethostname(), os.stat(socket_path)  # noqa: PTH116 - plain
    yield from (host, host.partition(".")[0])
    with contextlib.suppress(KeyError):
        yield pwd.getpwuid(found.st_uid).pw_name
    with contextlib.suppress(KeyError):
        yield grp.getgrgid(found.st_gid).gr_name


def _texts(value: Any) -> Iterator[str]:
    """All texts in the settings but their choices."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str) and value not in _CHOICES:
        yield value


def _archive(name: str, parts: Iterable[tuple[str, str]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for file, text in parts:
            data, entry = text.encode(), tarfile.TarInfo(f"{name}/{file}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


COMMANDS: dict[str, click.Command] = {"report": report}
