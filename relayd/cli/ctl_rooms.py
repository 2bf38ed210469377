"""Rooms: create, get, list, edit, close."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from relayd.cli import ctl_output
from relayd.cli.ctl_base import CONTEXT, Session, command, option, room_argument, usage, with_common_options
from relayd.cli.ctl_client import path
from relayd.cli.ctl_close_rooms import close_rooms_command
from relayd.cli.ctl_create_key import create_key
from relayd.cli.ctl_order import list_bans, list_blocks
from relayd.cli.ctl_output import Column, duration, number, size

SORT_FIELDS = "name id users max connections messages message_rate data_volume date time_alive expiration_date".split()
SHORT_ID = 8  # digits shown where a person looks: enough to be given back, of 50,000 rooms as well
_DESCENDING = {"users", "max", "connections", "messages", "message_rate", "data_volume", "time_alive"}


class Expiration(click.ParamType):  # type: ignore[type-arg]  # older clicks' is not generic
    """HOURS, or usersLeave."""

    name = "HOURS|usersLeave"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        """A number, or the word; the daemon knows the bounds."""
        if value == "usersLeave":
            return "usersLeave"
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number of hours nor usersLeave", param, ctx)


name_option = option("name", help="Name: letters, digits, space and -_. ; unique.")
max_option = option("max", type=int, metavar="N", help="Most users at once.")
expiration_option = option(
    "expiration",
    type=Expiration(),
    metavar="HOURS|usersLeave",
    help="Hours the room lives from its creation, at most 24.",
)
set_option = option(
    "set", "settings", multiple=True, metavar="KEY=VALUE", help="Desired behaviour: files, max_file, resume, ..."
)

take_option = option("take", is_flag=True, help="Take the name from the room that has it, which gets another.")


@click.group(context_settings=CONTEXT, epilog="Example: relayctl create room tea -max 8 -expiration 2")
@with_common_options
def create() -> None:
    """Create a room, or a key with which people may create rooms."""


@click.group(context_settings=CONTEXT, epilog="Example: relayctl get room tea")
@with_common_options
def get() -> None:
    """Show one room."""


@click.group("list", context_settings=CONTEXT, epilog="Example: relayctl list rooms -sort users")
@with_common_options
def list_() -> None:
    """List rooms, blocks, or users or bans of a room."""


@click.group(context_settings=CONTEXT, epilog="Example: relayctl edit room tea -max 20")
@with_common_options
def edit() -> None:
    """Change a room."""


@click.group(context_settings=CONTEXT, epilog="Example: relayctl close room tea")
@with_common_options
def close() -> None:
    """End a room, or all rooms that fit."""


@command("relayctl create room tea -max 8 -expiration 2", name="room")
@click.argument("name", required=False)
@option("name", "named", help="Name, like the argument; without either, one is made up.")
@max_option
@expiration_option
@option(
    "password", is_flag=True, help="Ask for a password, needed beside the link; read from standard input in a pipe."
)
@set_option
@take_option
def create_room(
    session: Session,
    name: str | None,
    named: str | None,
    max: int | None,  # noqa: A002 - the option's name
    expiration: float | str | None,
    settings: Sequence[str],
    *,
    password: bool,
    take: bool,
) -> None:
    """Create a room.

    Prints its link, to be shared with those who are to join, and its owner's key, to be kept.
    """
    if name and named:
        usage("the name is given twice")
    if take and not (name or named):
        usage("-take takes a name from a room: say which name")
    body = _fields(name or named, max, expiration, settings)
    if password:
        body["password"] = _ask_password()
    session.show(session.control.request("POST", path("rooms", take=take or None), body), _show_created)


def _fields(
    name: str | None,
    most: int | None,
    expiration: float | str | None,
    settings: Sequence[str],
) -> dict[str, Any]:
    given = {"name": name, "max": most, "expiration_date": expiration, "settings": _settings(settings) or None}
    return {field: value for field, value in given.items() if value is not None}


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    import json  # noqa: PLC0415

    found: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            usage(f"-set takes KEY=VALUE, not {pair!r}")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


def _ask_password() -> str:
    """From the terminal, unseen and twice, or the first line of standard input; never from argv, which others see."""
    if sys.stdin.isatty():
        password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return password
    return sys.stdin.readline().rstrip("\n") or usage("-password reads the password from standard input: it is empty")


def _show_created(created: Mapping[str, Any]) -> None:
    ctl_output.print_record(
        (
            ("Room", created["name"]),
            ("Id", created["id"]),
            ("Ends", _ends(created["expiration"], created["expiration_date"])),
            ("Owner key", created["owner_key"]),
            ("Chat", created["chat"]),
            ("Link", created["link"]),
        )
    )


@command("relayctl get room 5f3a", name="room")
@room_argument
def get_room(session: Session, room: str) -> None:
    """Show a room's details.

    ROOM is an id, the first digits of one (4 or more), or a name.
    """
    session.show(session.control.get(path("rooms", room)), _show_room)


def _show_room(room: Mapping[str, Any]) -> None:
    kind = "sealed" if room["sealed"] else "open"
    settings = ", ".join(f"{name}={_plain(value)}" for name, value in room["settings"].items())
    ctl_output.print_record(
        (
            ("Room", room["name"]),
            ("Id", room["id"]),
            ("Owner", room["owner_id"]),
            ("Users", f"{number(room['users'])} of {number(room['max'])}"),
            ("Connections", number(room["connections"])),
            ("Messages", f"{number(room['messages'])}, {size(room['data_volume'])}"),
            ("Created", f"{room['date']}, {duration(room['time_alive'])} ago, by {room['created_by']}"),
            ("Ends", _ends(room["expiration"], room["expiration_date"])),
            ("Access", kind + (", password" if room["protected"] else "") + (", locked" if room["locked"] else "")),
            ("Settings", settings),
        )
    )


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@command("relayctl list rooms -sort users -match tea", name="rooms")
@option(
    "sort",
    type=click.Choice(SORT_FIELDS),
    metavar="FIELD",
    help=f"Sort by a field, counts from high to low: {', '.join(SORT_FIELDS)}.",
)
@option("reverse", is_flag=True, help="The other way round.")
@option("match", metavar="TEXT", help="Only rooms with that in their name.")
@option("created-by", metavar="WHO", help="Only rooms made by that handle, address, IPv6 /64 or /48.")
@option("min-users", type=click.IntRange(0), metavar="N", help="Only rooms with at least so many users.")
@option("limit", type=click.IntRange(1), metavar="N", help="At most so many.")
@option("locked/open", "locked", default=None, help="Only locked rooms, or only those that are not.")
@option("sealed/unsealed", "sealed", default=None, help="Only sealed rooms, or only those that are not.")
def list_rooms(
    session: Session,
    sort: str | None,
    match: str | None,
    created_by: str | None,
    min_users: int | None,
    limit: int | None,
    *,
    reverse: bool,
    locked: bool | None,
    sealed: bool | None,
) -> None:
    """List rooms; the oldest first unless sorted."""
    downwards = (sort in _DESCENDING) != reverse
    query = {"sort": sort, "match": match, "min_users": min_users, "limit": limit, "locked": locked, "sealed": sealed}
    rooms = session.control.get(path("rooms", **query, created_by=created_by, reverse=downwards or None))
    session.show(rooms, _show_rooms)


ROOM_COLUMNS = (
    Column("NAME", wide=True),
    Column("ID"),
    Column("USERS", right=True),
    Column("CONNS", right=True),
    Column("MESSAGES", right=True),
    Column("VOLUME", right=True),
    Column("ENDS"),
)


def _show_rooms(rooms: Sequence[Mapping[str, Any]]) -> None:
    digits = SHORT_ID if ctl_output.is_terminal() else None
    ctl_output.print_table(ROOM_COLUMNS, (room_cells(room, digits) for room in rooms), "There are no such rooms.")


def room_cells(room: Mapping[str, Any], digits: int | None) -> tuple[str, ...]:
    """A room's row in a table, with so many digits of its id."""
    return (
        room["name"] + (" (locked)" if room["locked"] else ""),
        room["id"][:digits],
        f"{room['users']}/{room['max']}",
        number(room["connections"]),
        number(room["messages"]),
        size(room["data_volume"]),
        _ends(room["expiration"], room["expiration_date"], short=True),
    )


def _ends(expiration: str, date: str, *, short: bool = False) -> str:
    import time  # noqa: PLC0415

    left_s = max(0.0, _seconds_of(date) - time.time())
    if expiration == "usersLeave":
        return "when empty" if short else f"when its users have left, in {duration(left_s)} at the latest"
    return f"{duration(left_s)} left" if short else f"{date}, {duration(left_s)} left"


def _seconds_of(date: str) -> float:
    from datetime import datetime  # noqa: PLC0415

    return datetime.fromisoformat(date).timestamp()


@command("relayctl edit room tea -max 20 -lock", name="room")
@room_argument
@name_option
@max_option
@expiration_option
@option("lock/unlock", "locked", default=None, help="Refuse newcomers, or let them in again.")
@set_option
@take_option
def edit_room(
    session: Session,
    room: str,
    name: str | None,
    max: int | None,  # noqa: A002 - the option's name
    expiration: float | str | None,
    settings: Sequence[str],
    *,
    locked: bool | None,
    take: bool,
) -> None:
    """Change a room; everyone inside is told."""
    body = _fields(name, max, expiration, settings)
    if locked is not None:
        body["locked"] = locked
    if not body:
        usage("say what to change")
    if take and name is None:
        usage("-take takes a name from a room: say -name, too")
    session.show(session.control.request("PATCH", path("rooms", room, take=take or None), body), _show_room)


@command("relayctl close room tea", name="room")
@room_argument
def close_room(session: Session, room: str) -> None:
    """End a room; everyone inside is told and disconnected."""
    found = session.control.get(path("rooms", room))
    session.control.request("DELETE", path("rooms", found["id"]))
    answer = {"id": found["id"], "name": found["name"], "users": found["users"]}
    session.done(answer, f"Closed {found['name']} ({found['id']}); {found['users']} users were inside.")


@command("relayctl list users tea", name="users")
@room_argument
def list_users(session: Session, room: str) -> None:
    """List a room's users, in the order they came."""
    users: list[dict[str, Any]] = []
    while True:
        page = session.control.get(path("rooms", room, "users", after=users[-1]["id"] if users else None))["users"]
        known = {user["id"] for user in users}
        fresh = [user for user in page if user["id"] not in known]
        users += fresh
        if not fresh:
            break
    session.show(users, _show_users)


USER_COLUMNS = (Column("ID"), Column("NICK", wide=True), Column("ROLE"), Column("STATE"), Column("ADDRESS"))


def _show_users(users: Sequence[Mapping[str, Any]]) -> None:
    ctl_output.print_table(USER_COLUMNS, (_user_cells(user) for user in users), "Nobody is in the room.")


def _user_cells(user: Mapping[str, Any]) -> tuple[str, ...]:
    profile = user["profile"]
    nick = profile.get("nick", "") if isinstance(profile, dict) else ""
    states = [name for name in ("away", "muted") if user[name]]
    return user["id"], str(nick), user["role"], ", ".join(states) or "here", user["address"]


create.add_command(create_room)
create.add_command(create_key)
get.add_command(get_room)
list_.add_command(list_rooms)
list_.add_command(list_users)
list_.add_command(list_bans)
list_.add_command(list_blocks)
edit.add_command(edit_room)
close.add_command(close_room)
close.add_command(close_rooms_command(_show_rooms))

COMMANDS: dict[str, click.Command] = {"create": create, "get": get, "list": list_, "edit": edit, "close": close}
