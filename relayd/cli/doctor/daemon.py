"""The running relayd: how it fares, its settings, and who reaches its sockets."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import socket as sockets
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from relayd import __version__
from relayd.cli import ctl_output, unit
from relayd.cli.ctl_client import Control, Refused, path
from relayd.cli.doctor.finding import OK, PROBLEM, WARNING, Finding, Patient
from relayd.gateway.forwarded import REMEDIES
from relayd.machine.places import SERVICE_CONTROL
from relayd.rooms.addresses import network

TIMEOUT_S = 5.0
LATE_S = 0.25  # as relayd.lag has it: from there on newcomers are turned away
_TIERS = ("observe", "operate", "admin")
SOCKET_UNITS = ("relayd.socket", "relayd-tcp.socket", "relayd-control.socket", "relayd-metrics.socket")


def running(patient: Patient) -> Iterator[Finding]:
    """Whether it runs, and in the version that is installed."""
    if not patient.runs:
        return
    found = patient.status
    if found["state"] != "running":
        yield Finding("relayd", WARNING, "is draining: nobody gets in", "it ends by itself; then start it")
    elif found["version"] != __version__:
        what = f"runs as {found['version']}, and {__version__} is installed"
        yield Finding("relayd", WARNING, what, "restart it when it suits: systemctl restart relayd")
    else:
        yield Finding("relayd", OK, f"{found['version']} runs, for {ctl_output.duration(found['uptime'])}")


def load(patient: Patient) -> Iterator[Finding]:
    """Whether it keeps up."""
    if not patient.runs:
        return
    gateways, wanted = patient.status["gateways"], patient.settings["workers"]
    wanted = max(1, (os.cpu_count() or 1) if wanted == "auto" else wanted)
    late_s = max((one["lag"] for one in gateways), default=0.0)
    if len(gateways) < wanted:
        what = f"{wanted - len(gateways)} of {wanted} workers are missing"
        yield Finding("load", PROBLEM, what, "its log says with which code they end")
    elif late_s > LATE_S:
        do = "relayctl top shows the busy rooms; try more workers"
        yield Finding("load", PROBLEM, f"it is {late_s:.1f} s late: newcomers are turned away", do)
    else:
        yield Finding("load", OK, f"it is {1000 * late_s:.0f} ms late")


def closed(patient: Patient) -> Iterator[Finding]:
    """What an admin has closed for now, and may have forgotten."""
    status = patient.status
    if status.get("frozen"):
        yield Finding("rooms", WARNING, "only admins create rooms: relayctl freeze was used", "relayctl unfreeze")
    if status.get("blocks"):
        what = f"{ctl_output.number(status['blocks'])} addresses or networks are blocked"
        yield Finding("blocks", OK, what, "relayctl list blocks")


def pending(patient: Patient) -> Iterator[Finding]:
    """Whether what holds is what the file says."""
    if not patient.runs:
        return
    try:
        changes = Control(patient.socket).get(path("reload"))["changes"]
    except Refused as refused:
        # The environment of a process is that of its start.
        environment = "environment: " in refused.detail
        apply = "systemctl restart relayd" if environment else "relayctl reload"
        do = f"correct them until relayctl config check FILE finds nothing, then: {apply}"
        yield Finding("settings", PROBLEM, f"are invalid, earlier ones hold: {refused.detail}", do)
        return
    now, later = ([one["setting"] for one in changes if one["applied"] is wanted] for wanted in (True, False))
    if now:
        yield Finding("settings", WARNING, f"the file has another {', '.join(now)}", "relayctl reload")
    if later:
        do = "restart relayd when it suits"
        yield Finding("settings", WARNING, f"{', '.join(later)} changed in the file, and waits for a start", do)
    if patient.status["settings_problems"]:
        what = "were invalid when they were last read, and are corrected by now"
        yield Finding("settings", WARNING, what, "relayctl reload")
    elif not changes:
        yield Finding("settings", OK, "are those of the file")


def stored_rooms(patient: Patient) -> Iterator[Finding]:
    """Whether systemd has the rooms for the next start, as relayd believes."""
    if patient.status.get("keeps_rooms"):
        if risk := unit.risk(patient.status["pid"], unit.RESTART):
            yield Finding("rooms", PROBLEM, f"a restart or a crash would delete them: {risk.what}", risk.do)
        else:
            yield Finding("rooms", OK, "systemd keeps them for the next start")


def careless(patient: Patient) -> Iterator[Finding]:
    """Settings that are allowed, and seldom meant."""
    settings = patient.settings
    for text in settings["trusted_proxies"]:
        if text != "unix:" and not network(text).prefixlen:
            what = f"trusted_proxies has {text}: everybody may say to be somebody else"
            yield Finding("settings", PROBLEM, what, "name your proxy's address alone")
    if "*" in settings["allowed_origins"]:
        what = "allowed_origins has *: any page may chat with who looks at it"
        yield Finding("settings", WARNING, what, "name the origins that are yours")
    if settings["log_addresses"]:
        yield Finding("settings", WARNING, "log_addresses puts people's addresses into the log", "false, if you can")
    if settings["log_level"] == "debug":
        yield Finding("settings", WARNING, "the log is at debug: a line for each request", "relayctl loglevel info")


def forwarded_headers(patient: Patient) -> Iterator[Finding]:
    """Whether proxies send what can be read."""
    counts = patient.status.get("unreadable_headers", {})  # a relayd of an older version does not count them
    for header, count in counts.items():
        if count:
            times, remedy = "once" if count == 1 else f"{ctl_output.number(count)} times", REMEDIES[header]
            what = f"{header} of a trusted proxy could not be read {times} since relayd started: {remedy.effect}"
            yield Finding("forwarded", WARNING, what, remedy.do)


def control_socket(patient: Patient) -> Iterator[Finding]:
    """Who may try to control it."""
    if not patient.runs:
        return
    found = os.stat(patient.socket)  # noqa: PTH116 - pathlib would say no more
    mode, owner = stat.S_IMODE(found.st_mode), f"{_user(found.st_uid)}:{_group(found.st_gid)}"
    if mode & 0o007:
        what = f"is open to everybody (mode {mode:04o}); relayd still asks who comes"
        yield Finding("control socket", WARNING, what, f"chmod 0660 {patient.socket}")
    else:
        yield Finding("control socket", OK, f"{patient.socket} is {owner}'s, mode {mode:04o}")


def admin_groups(patient: Patient) -> Iterator[Finding]:
    """Groups that the settings name: whether they exist, and whether their members can connect."""
    groups = patient.settings["control_groups"]
    named = list(dict.fromkeys(name for tier in _TIERS for name in groups[tier]))
    missing = [name for name in named if not name.isdecimal() and not _exists(name)]
    if missing:
        what = f"there is no group {', '.join(missing)}: only root and relayd's own user can use relayctl"
        yield Finding("groups", WARNING, what, f"groupadd --system {missing[0]}, and restart relayd")
        return
    shut_out = _shut_out(patient.socket, named) if patient.runs else []
    if shut_out:
        group = _group(os.stat(patient.socket).st_gid)  # noqa: PTH116 - pathlib would say no more
        what = f"{', '.join(shut_out)} may use relayctl, and cannot connect: the control socket's group is {group}"
        do = 'make them members of it, or set another: see "Who may run relayctl" in docs/admin.md'
        yield Finding("groups", PROBLEM, what, do)
    elif named:
        yield Finding("groups", OK, f"members of {', '.join(named)} may use relayctl")


def _shut_out(socket: str, named: Iterable[str]) -> list[str]:
    """Members of these groups to whom the socket's mode gives nothing."""
    found = os.stat(socket)  # noqa: PTH116 - pathlib would say no more
    if found.st_mode & stat.S_IWOTH:
        return []
    may = {"root", _user(found.st_uid), *_members(found.st_gid)}
    return sorted({member for name in named for member in _members(_gid(name))} - may)


def _members(gid: int) -> set[str]:
    """Users in that group, be it their first one or another."""
    with contextlib.suppress(KeyError):
        return {*grp.getgrgid(gid).gr_mem, *(user.pw_name for user in pwd.getpwall() if user.pw_gid == gid)}
    return set()


def _gid(name: str) -> int:
    return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid


def socket_units(patient: Patient) -> Iterator[Finding]:
    """Sockets that systemd could not open: relayd runs without them."""
    if patient.socket != SERVICE_CONTROL or not (patient.root / "run/systemd/system").exists():
        return
    for state in unit.show(SOCKET_UNITS, ("Id", "ActiveState")):
        if state.get("ActiveState") == "failed":
            name = state["Id"]
            do = f"journalctl -u {name} says why; when that is resolved: systemctl restart relayd.socket"
            yield Finding("listen", WARNING, f"systemd could not open {name}", do)


def listeners(patient: Patient) -> Iterator[Finding]:
    """Whether a proxy gets to the Unix sockets, and nobody else where it is believed."""
    for address in patient.status.get("addresses", ()):
        if not address.startswith("unix:"):
            continue
        place = Path(address.removeprefix("unix:"))
        if not place.exists():
            yield Finding("listen", PROBLEM, f"{place} is gone", "restart relayd (or its socket unit)")
            continue
        closed = next((one for one in (place, *place.parents) if _is_closed(one, stat.S_IRWXO)), None)
        if closed is not None and _is_closed(closed, stat.S_IRWXG):
            what = f"only {_user(closed.stat().st_uid)} gets to {place}, for {closed} is closed to others"
            yield Finding("listen", WARNING, what, "let the proxy's group in, or choose another directory")
        elif closed is not None:
            yield Finding("listen", OK, f"members of {_group(closed.stat().st_gid)} get to {place}, nobody else")
        elif "unix:" in patient.settings["trusted_proxies"]:
            what = f"everybody on this machine gets to {place}, and may forge addresses as trusted_proxies has unix:"
            do = "SocketMode=0660 and SocketGroup= of the proxy in relayd.socket, or a directory only its group enters"
            yield Finding("listen", WARNING, what, do)
        else:
            yield Finding("listen", OK, f"a proxy gets to {place}")


def metrics(patient: Patient) -> Iterator[Finding]:
    """Whether Prometheus finds them where the settings say."""
    place = patient.settings["metrics"]
    if not patient.runs or not place:
        return
    if _answers(place):
        yield Finding("metrics", OK, f"are at {place}")
    else:
        what = f"nobody answers at {place}: the service has no network of its own"
        yield Finding("metrics", WARNING, what, "systemctl enable relayd-metrics.socket, and restart relayd")


def _answers(place: str) -> bool:
    """Whether somebody takes connections at `HOST:PORT` or `unix:PATH`."""
    host, _, port = place.rpartition(":")
    try:
        if place.startswith("unix:"):
            with sockets.socket(sockets.AF_UNIX) as probe:
                probe.settimeout(TIMEOUT_S)
                probe.connect(place.removeprefix("unix:"))
        else:
            sockets.create_connection((host.strip("[]"), int(port)), TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _is_closed(place: Path, to: int) -> bool:
    """Whether a directory may not be entered, or a socket not be connected to, by those whose rights `to` has."""
    try:
        mode = place.stat().st_mode
    except OSError:
        return False
    needed = 0o111 if stat.S_ISDIR(mode) else 0o222
    return not mode & needed & to


def _exists(group: str) -> bool:
    try:
        grp.getgrnam(group)
    except KeyError:
        return False
    return True


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
