"""relay: chat rooms for people at a terminal, and for their scripts."""

from __future__ import annotations

import sys

import click

from relayd import __version__
from relayd.cli.relay_argv import hide_links
from relayd.cli.relay_refused import Refused

_LINK = click.argument("link")
_NICK = click.option("--nick", metavar="NAME", help="The name that others see. Default: RELAY_NICK, or one at random.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="relay %(version)s")
def cli() -> None:
    """Make a throw-away chat room, share its link, and talk.

    Rooms are sealed: the server carries what is said and cannot read it. A link is all that is needed to get in, so
    treat it as a secret. Arguments can be seen for a moment by others on the same machine: LINK may be @FILE, to be
    read from a file. A password is asked for, or taken from RELAY_PASSWORD.

    Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 server not reachable, 4 no such room, 5 keys, link and
    server do not fit each other.
    """


@cli.command()
@click.option("--server", metavar="URL", envvar="RELAY_SERVER", default="http://127.0.0.1:8080", show_default=True)
@click.option("--name", help="The room's name, which the server knows. Default: one at random.")
@click.option("--max", "max_users", type=int, metavar="N", help="Most people at once.")
@click.option("--expires", metavar="HOURS|usersLeave", default="usersLeave", show_default=True)
@click.option("--password", "with_password", is_flag=True, help="Ask for a password, needed beside the link.")
@click.option("--open", "is_open", is_flag=True, help="Do not seal: the server can read what is said.")
def new(
    server: str, name: str | None, max_users: int | None, expires: str, *, with_password: bool, is_open: bool
) -> None:
    """Make a room and print its link.

    The key that makes you its owner is kept in $XDG_STATE_HOME/relay until the room is over; `relay join LINK` on
    this machine uses it.
    """
    from relayd.cli.relay_new import NewOptions, make  # noqa: PLC0415

    make(NewOptions(server, name, max_users, expires, with_password=with_password, is_open=is_open))


@cli.command()
@_LINK
@_NICK
def join(link: str, nick: str | None) -> None:
    """Chat, full screen. /help there lists what can be done."""
    from relayd.cli.relay_join import chat  # noqa: PLC0415

    chat(link, nick)


@cli.command()
@_LINK
@click.argument("text", nargs=-1, required=True)
@_NICK
def send(link: str, text: tuple[str, ...], nick: str | None) -> None:
    """Say TEXT; with -, say every line of standard input as it comes."""
    from relayd.cli.relay_pipe import send as run  # noqa: PLC0415

    run(link, " ".join(text), nick)


@cli.command()
@_LINK
@_NICK
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def receive(link: str, nick: str | None, output: str) -> None:
    """Print what is said, until stopped or until the room is over."""
    from relayd.cli.relay_pipe import receive as run  # noqa: PLC0415

    run(link, nick, as_json=output == "json")


def main() -> None:
    """The program."""
    hide_links()
    try:
        cli(prog_name="relay")
    except Refused as refused:
        click.echo(f"relay: {refused}", err=True)
        sys.exit(refused.exit_code)
