"""`relayctl close rooms`: many rooms, after a look at which."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from relayd.cli.ctl_base import FAILED, Ending, Session, command, option, usage
from relayd.cli.ctl_client import Refused, path
from relayd.cli.ctl_output import number

_WILDCARDS = set("*?[]!")


def close_rooms_command(show: Callable[[Sequence[Mapping[str, Any]]], None]) -> click.Command:
    """The command.

    Args:
        show: prints a table of rooms.
    """

    @command("relayctl close rooms -match 'spam*' -dry-run", name="rooms")
    @option("match", metavar="GLOB", help="Rooms with that whole name: * any text, ? a character, [ab] one of these.")
    @option("created-by", metavar="WHO", help="Rooms made by that handle, address, IPv6 /64 or /48.")
    @option("dry-run", is_flag=True, help="Only list them.")
    @option("yes", is_flag=True, help="Do not ask.")
    @option("all", "every", is_flag=True, help="Even if that is every room of the server.")
    def close_rooms(
        session: Session, match: str | None, created_by: str | None, *, dry_run: bool, yes: bool, every: bool
    ) -> None:
        """End all rooms that fit, after asking.

        They are listed first, and only these are ended, however many fit by then.
        """
        if not (match or created_by):
            usage("say which rooms: -match GLOB, -created-by WHO, or both")
        if match and not created_by and not (set(match) - _WILDCARDS):
            usage(f"-match {match} fits every room; to end them all: relayctl stop -forget")
        rooms = session.control.get(path("rooms", pattern=match, created_by=created_by))
        if not session.wants_json:
            show(rooms)
        if rooms and not dry_run:
            _check(session, rooms, yes=yes, every=every)
            rooms = [room for room in rooms if _close(session, room)]
        answer = {"closed": [] if dry_run else rooms, "would_close": rooms if dry_run else []}
        if session.wants_json or rooms:
            session.done(answer, f"{'Would close' if dry_run else 'Closed'} {_count(rooms)}.")

    return close_rooms


def _check(session: Session, rooms: Sequence[Mapping[str, Any]], *, yes: bool, every: bool) -> None:
    """Let an admin pass who is sure.

    Raises:
        Ending: not sure, or nobody can be asked.
    """
    total = session.control.get(path("status"))["rooms"]
    if len(rooms) == total > 1 and not every:
        raise Ending(FAILED, f"that is every room of the server ({number(total)}); if you mean it, add -all")
    if yes:
        return
    if session.wants_json or not sys.stdin.isatty():
        usage(f"that would end {_count(rooms)}; look with -dry-run, then add -yes")
    if not click.confirm(f"End {_count(rooms)}?", err=True):
        raise Ending(FAILED, "nothing is ended")


def _close(session: Session, room: Mapping[str, Any]) -> bool:
    """End it; false if it has ended by itself meanwhile."""
    try:
        session.control.request("DELETE", path("rooms", room["id"]))
    except Refused as error:
        if error.code != "no_such_room":
            raise
        return False
    return True


def _count(rooms: Sequence[Mapping[str, Any]]) -> str:
    users = sum(room["users"] for room in rooms)
    return f"{_number_of(len(rooms), 'room')} with {_number_of(users, 'user')}"


def _number_of(count: int, noun: str) -> str:
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"
