"""Against abuse: limits, blocked addresses, and whether rooms are created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from relayd.cli import ctl_output
from relayd.cli.ctl_base import Session, command, for_completion, option, room_argument
from relayd.cli.ctl_client import path
from relayd.cli.ctl_daemon import Seconds
from relayd.cli.ctl_output import Column, duration, number

_LIMITS = (Column("LIMIT"), Column("VALUE", right=True), Column("USED", right=True), Column("BY"))
_REFUSED = (Column("REFUSED"), Column("REASON"), Column("COUNT", right=True))
_ADDRESSES = (
    Column("ADDRESS", wide=True),
    Column("ROOMS", right=True),
    Column("SEATS", right=True),
    Column("USERS", right=True),
    Column("CONNS", right=True),
    Column("REFUSED", right=True),
)
_BLOCKS = (Column("TARGET"), Column("SINCE"), Column("UNTIL"))
_BANS = (Column("KIND"), Column("WHO"))


@command("relayctl limits")
def limits(session: Session) -> None:
    """Show limits, refusals, and the busiest addresses.

    Of each limit the table says what is used of it, and by whom; "-" is not counted. Refusals are counted since the
    start, those of an address over the last 5 to 10 minutes. An address is shown by its handle, or with log_addresses
    as itself; both can be given to block, and to list rooms -created-by.
    """
    session.show(session.control.get(path("limits")), _show_limits)


def _show_limits(found: Mapping[str, Any]) -> None:
    ctl_output.print_table(_LIMITS, (_limit_cells(one) for one in found["limits"]), "")
    refused = [(one["refused"], one["reason"], number(one["count"])) for one in found["refused"]]
    _show_part(_REFUSED, refused, "Nothing was refused.")
    names = ("rooms", "seats", "users", "connections", "refused")
    addresses = [(one["address"], *(number(one[name]) for name in names)) for one in found["addresses"]]
    _show_part(_ADDRESSES, addresses, "No address has rooms or connections, or was refused anything.")
    if found["blocks"]:
        click.echo(f"\n{number(found['blocks'])} blocked: relayctl list blocks")
    if found["frozen"]:
        click.echo("\nFrozen: only admins create rooms. To end that: relayctl unfreeze")


def _show_part(heads: Sequence[Column], rows: Sequence[Sequence[str]], empty: str) -> None:
    """One more table below another; a sentence in its place if there is nothing in it."""
    click.echo()
    if rows:
        ctl_output.print_table(heads, rows, empty)
    else:
        click.echo(empty)


def _limit_cells(one: Mapping[str, Any]) -> tuple[str, ...]:
    used = "-" if one["used"] is None else number(one["used"])
    value = number(int(one["value"]) if one["value"] == int(one["value"]) else one["value"])
    return one["limit"].removeprefix("limits."), value if one["value"] else "none", used, one["by"]


@command("relayctl block 203.0.113.7 -for 1h")
@click.argument("target", metavar="ADDRESS|NETWORK|HANDLE")
@option("for", "for_s", type=Seconds(), metavar="TIME", help="For so long: 30m, 1h, 7d.  [default: until unblocked]")
def block(session: Session, target: str, for_s: float | None) -> None:
    """Block an address, a network or a handle.

    Its connections are closed, and new ones are refused. An IPv6 address stands for its /64. An upgrade keeps blocks, a
    restart ends them. The control socket is not affected.
    """
    answer = session.control.request("POST", path("blocks"), {"target": target, "for": for_s})
    until = f"for {duration(for_s)}, until {answer['until']}" if for_s else "until you unblock it"
    session.done(answer, f"{answer['target']} is blocked {until}.")


def _complete_blocks(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """What is blocked, for the shell."""
    return [one["target"] for one in for_completion(path("blocks")) if one["target"].startswith(incomplete)]


@command("relayctl unblock 203.0.113.7")
@click.argument("target", metavar="ADDRESS|NETWORK|HANDLE", shell_complete=_complete_blocks)
def unblock(session: Session, target: str) -> None:
    """End a block.

    Give it as `relayctl list blocks` shows it; what lies within a blocked network is not unblocked by itself.
    """
    answer = session.control.request("DELETE", path("blocks", target))
    session.done(answer, f"{answer['target']} is not blocked any more.")


@command("relayctl list blocks", name="blocks")
def list_blocks(session: Session) -> None:
    """List what is blocked on this server."""
    session.show(session.control.get(path("blocks")), _show_blocks)


def _show_blocks(blocks: Sequence[Mapping[str, Any]]) -> None:
    rows = ((one["target"], one["since"], one["until"] or "unblocked") for one in blocks)
    ctl_output.print_table(_BLOCKS, rows, "Nothing is blocked.")


@command("relayctl list bans tea", name="bans")
@room_argument
def list_bans(session: Session, room: str) -> None:
    """List what is banned from a room.

    A ban is of the addresses of a user, each shown by its handle or with log_addresses as itself, and of the sessions.
    """
    session.show(session.control.get(path("rooms", room, "bans")), _show_bans)


def _show_bans(found: Mapping[str, Any]) -> None:
    rows = ((one["kind"], one["who"] or "-") for one in found["bans"])
    ctl_output.print_table(_BANS, rows, "Nobody is banned from the room.")


@command("relayctl freeze")
def freeze(session: Session) -> None:
    """Let only admins create rooms, for now.

    Everyone else is answered 503; rooms that exist work on, and people can join them. An upgrade keeps it, a restart
    ends it.
    """
    answer = session.control.request("POST", path("freeze"))
    session.done(answer, f"Only admins create rooms, since {answer['since']}. To end that: relayctl unfreeze")


@command("relayctl unfreeze")
def unfreeze(session: Session) -> None:
    """Let people create rooms again, as rooms.create says."""
    answer = session.control.request("DELETE", path("freeze"))
    session.done(answer, "Rooms are created again, as rooms.create says.")


COMMANDS: dict[str, click.Command] = {
    "limits": limits,
    "block": block,
    "unblock": unblock,
    "freeze": freeze,
    "unfreeze": unfreeze,
}
