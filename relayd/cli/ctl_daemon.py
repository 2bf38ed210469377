"""The daemon as a whole: status, reload, drain, stop."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from relayd.cli import ctl_output
from relayd.cli.ctl_base import FAILED, Ending, Session, command, option
from relayd.cli.ctl_client import BrokenOff, Refused, Unreachable, path
from relayd.cli.ctl_output import duration, number, size

_LOOK_S = 0.2  # how often it is looked whether the daemon has ended
_UPGRADE_S = 120.0  # for the next relayd, and its workers, to start on a busy machine
_SLACK_S = 30.0  # for it to end after the time it was given
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?")


class Seconds(click.ParamType):  # type: ignore[type-arg]  # older clicks' is not generic
    """A time like 90, 90s, 2m or 1h."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """In seconds."""
        if isinstance(value, float):
            return value
        found = _DURATION.fullmatch(value)
        if found is None:
            self.fail(f"{value!r} is no time like 90s, 2m or 1h", param, ctx)
        return float(found[1]) * _UNITS[found[2] or ""]


@command("relayctl status")
def status(session: Session) -> None:
    """Show how relayd fares."""
    session.show(session.control.get(path("status")), _show_status)


def _show_status(found: Mapping[str, Any]) -> None:
    ctl_output.print_record(
        (
            ("Version", found["version"]),
            ("State", f"{found['state']}, pid {found['pid']}"),
            ("Uptime", f"{duration(found['uptime'])}, since {found['started']}"),
            ("Listening", ", ".join(found["addresses"])),
            ("Rooms", f"{number(found['rooms'])} now, {number(found['rooms_created'])} created"),
            ("Users", f"{number(found['users'])} of {number(found['places'])} places"),
            ("Connections", number(found["connections"])),
            ("Messages", f"{number(found['messages'])}, {size(found['bytes'])}"),
            ("Deliveries", number(found["deliveries"])),
            ("Memory", size(found["memory"])),
            ("Workers", number(found["workers"])),
            *((("Frozen", "yes, only admins create rooms: relayctl unfreeze"),) if found.get("frozen") else ()),
            *((("Blocked", f"{number(found['blocks'])}: relayctl list blocks"),) if found.get("blocks") else ()),
            *(("Settings", f"INVALID, earlier ones hold: {problem}") for problem in found["settings_problems"]),
        )
    )


@command("relayctl reload")
def reload(session: Session) -> None:
    """Read the settings anew, and say what has changed.

    If any is wrong, all old ones stay. What needs a restart is named as such.
    """
    session.show(session.control.request("POST", path("reload")), _show_changes)


def _show_changes(answer: Mapping[str, Any]) -> None:
    changes = answer["changes"]
    for change in changes:
        note = "" if change["applied"] else " (needs a restart)"
        click.echo(f"{change['setting']}: {_short(change['before'])} -> {_short(change['after'])}{note}")
    if not changes:
        click.echo("Reloaded; no setting has changed.")


@command("relayctl loglevel debug")
@click.argument("level", type=click.Choice(["debug", "info", "warning", "error"]), required=False)
def loglevel(session: Session, level: str | None) -> None:
    """Show from which level on relayd logs, or set it.

    It holds at once, for all processes, until the settings are read anew or relayd ends.
    """
    if level is None:
        held = session.control.get(path("settings"))["log_level"]
        session.show({"log_level": held}, lambda value: click.echo(value["log_level"]))
        return
    answer = session.control.request("PATCH", path("settings"), {"log_level": level})
    session.show(answer, _show_changes if answer["changes"] else lambda _: click.echo(f"log_level is {level} already."))


def _short(value: Any) -> str:
    return ctl_output.clean(value if isinstance(value, str) else ctl_output.json_line(value))


_wait = option("wait/no-wait", default=True, help="Wait until relayd has ended.  [default: wait]")
_forget = option("forget", is_flag=True, help="End all rooms, also if systemd would restore them.")


@command("relayctl drain -over 2m")
@option("over", type=Seconds(), default=0.0, help="Send people away spread over so long: 90s, 2m, 1h.  [default: 0]")
@_forget
@_wait
def drain(session: Session, over: float, *, forget: bool, wait: bool) -> None:
    """Send everyone away little by little, then end relayd.

    Nobody new gets in meanwhile; those who are sent away are told when to come back. As a service relayd is started
    again by systemd, with all rooms unless --forget is given; to stop the service, use systemctl.
    """
    _end(session, "drain", {"over": over, "forget": forget}, wait=wait)


@command("relayctl stop")
@_forget
@_wait
def stop(session: Session, *, forget: bool, wait: bool) -> None:
    """End relayd now; people are told when to come back.

    As a service relayd is started again by systemd, with all rooms unless --forget is given; to stop the service, use
    systemctl.
    """
    _end(session, "stop", {"forget": forget}, wait=wait)


@command("relayctl upgrade")
def upgrade(session: Session) -> None:
    """Let the installed relayd take over; nobody is disconnected.

    If it cannot, the one that runs goes on, and it is said why. Exit code 5: the two versions cannot hand over
    connections, and a restart keeps the rooms; 6: a restart ends the rooms, as the installed one cannot read them.
    """
    _check_kept("upgrade", session.control.get(path("status")))
    answer = session.control.request("POST", path("upgrade"), timeout_s=_UPGRADE_S)
    session.done(answer, f"relayd {answer['version']} has taken over, pid {answer['pid']}.")


def _end(session: Session, verb: str, body: Any, *, wait: bool) -> None:
    found = session.control.get(path("status"))
    pid = found["pid"]
    if not body["forget"]:
        _check_kept(verb, found)
    answer = session.control.request("POST", path(verb), body)
    if not session.wants_json and (consequence := _consequence(answer)):
        click.echo(ctl_output.clean(consequence))
    if wait:
        _wait_for_end(session, pid, answer["over"])
    done = "relayd has ended." if wait else f"relayd ends within {duration(answer['over'])}."
    session.done({**answer, "ended": wait}, done)


def _check_kept(verb: str, found: Mapping[str, Any]) -> None:
    """Refuses what would end rooms of which relayd believes that systemd keeps them."""
    from relayd.cli import unit  # noqa: PLC0415 - it costs most commands for nothing

    if not found.get("keeps_rooms") or not found["rooms"]:
        return
    if risk := unit.risk(found["pid"], unit.UPGRADE if verb == "upgrade" else unit.END):
        rooms = _count(found["rooms"], "room")
        rest = "" if verb == "upgrade" else f"; to delete them: relayctl {verb} --forget"
        raise Ending(FAILED, f"this would delete {rooms}, as {risk.what}; {risk.do}{rest}")


def _consequence(answer: Mapping[str, Any]) -> str:
    """What becomes of connections and rooms, in a sentence or two."""
    rooms, over = _count(answer["rooms"], "room"), f" over {duration(answer['over'])}" if answer["over"] else ""
    sentences = []
    if answer["connections"]:
        sentences.append(f"Closing {_count(answer['connections'], 'connection')}{over}.")
    if answer["kept"]:
        sentences.append(f"systemd starts relayd again{f' and restores {rooms}' if answer['rooms'] else ''}.")
    elif answer["rooms"]:
        sentences.append(f"{rooms} will be deleted.")
    return " ".join(sentences)


def _count(count: int, of: str) -> str:
    return f"{number(count)} {of}{'' if count == 1 else 's'}"


def _wait_for_end(session: Session, pid: int, over_s: float) -> None:
    tell = _progress()
    deadline = time.monotonic() + over_s + _SLACK_S
    while time.monotonic() < deadline:
        try:
            found = session.control.get(path("status"))
        except (Unreachable, BrokenOff, Refused):
            tell("")
            return
        if found["pid"] != pid:  # a supervisor has started the next one already
            tell("")
            return
        tell(f"{number(found['connections'])} connections left")
        time.sleep(_LOOK_S)
    tell("")
    raise Ending(FAILED, f"relayd has not ended within {duration(over_s + _SLACK_S)}; see its log")


def _progress() -> Callable[[str], None]:
    """Something to look at while it takes long: a line on a terminal that is written over."""
    if not sys.stderr.isatty():
        return lambda line: None
    return lambda line: click.echo(f"\r\033[K{line}", nl=False, err=True)


COMMANDS: dict[str, click.Command] = {
    "status": status,
    "reload": reload,
    "loglevel": loglevel,
    "drain": drain,
    "stop": stop,
    "upgrade": upgrade,
}
