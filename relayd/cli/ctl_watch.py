"""What happens, as it happens."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from relayd.cli import ctl_output
from relayd.cli.ctl_base import DONE, FAILED, Ending, Session, command
from relayd.cli.ctl_client import path


@command("relayctl watch -o json")
@click.argument("room", required=False)
def watch(session: Session, room: str | None) -> None:
    """Print what happens as it happens, until Ctrl-C.

    Rooms, who comes and goes, announcements; never what is said. With ROOM, what happens there, until it ends. With
    -o json, one object a line.
    """
    if not session.wants_json and sys.stderr.isatty():
        click.echo("Watching; Ctrl-C ends it.", err=True)
    try:
        for event in session.control.lines(path("watch", room=room)):
            if event["event"] == "cut_off":
                raise Ending(FAILED, f"cut off: {event['reason']}")
            click.echo(ctl_output.json_line(event) if session.wants_json else _sentence(event))
            sys.stdout.flush()
    except KeyboardInterrupt:
        raise Ending(DONE) from None


def _sentence(event: Mapping[str, Any]) -> str:
    known = {"at", "event", "room", "name"}
    where = f"  {event['name']} ({event['room'][:8]})" if "room" in event else ""
    more = "".join(f"  {name}={_plain(value)}" for name, value in event.items() if name not in known)
    return ctl_output.clean(f"{event['at']}  {event['event']:14}{where}{more}")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else ctl_output.json_line(value)


COMMANDS: dict[str, click.Command] = {"watch": watch}
