"""relay: chat rooms for people at a terminal, and for their scripts."""

from __future__ import annotations

import sys

import click

from relayd import __version__
from relayd.cli.ctl_output import clean
from relayd.cli.relay_argv import hide_links
from relayd.cli.relay_refused import Refused

_LINK = click.argument("link")
_NICK = click.option("--nick", metavar="NAME", help="The name that others see. Default: RELAY_NICK, or one at random.")
_WAIT = "How long to wait for somebody to accept a file."


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
@click.option(
    "--expires",
    metavar="HOURS|usersLeave",
    default="usersLeave",
    show_default=True,
    help="When the room ends. One that nobody has joined ends sooner, after 10 minutes by default.",
)
@click.option("--password", "with_password", is_flag=True, help="Ask for a password, needed beside the link.")
@click.option("--open", "is_open", is_flag=True, help="Do not seal: the server can read what is said.")
@click.option("--lobby", "has_lobby", is_flag=True, help="Let newcomers wait until you admit them in the chat.")
@click.option(
    "--create-key", "with_create_key", is_flag=True, help="Ask for the key that the server wants for new rooms."
)
def new(
    server: str,
    name: str | None,
    max_users: int | None,
    expires: str,
    *,
    with_password: bool,
    is_open: bool,
    has_lobby: bool,
    with_create_key: bool,
) -> None:
    """Make a room and print its link.

    The key that makes you its owner is kept in $XDG_STATE_HOME/relay until the room is over; `relay join LINK` on
    this machine uses it. The key that some servers want for new rooms may also be in RELAY_CREATE_KEY.
    """
    from relayd.cli.relay_new import NewOptions, make  # noqa: PLC0415

    make(
        NewOptions(
            server,
            name,
            max_users,
            expires,
            with_password=with_password,
            is_open=is_open,
            has_lobby=has_lobby,
            with_create_key=with_create_key,
        )
    )


@cli.command()
@_LINK
@_NICK
@click.option("--files", "directory", metavar="DIR", help="Take every file that is offered, into DIR.")
@click.option("--yes", is_flag=True, help="Take every file that is offered, into the present directory.")
@click.option("--guest", is_flag=True, help="Join as a guest on the machine where the room was made.")
def join(link: str, nick: str | None, directory: str | None, *, yes: bool, guest: bool) -> None:
    """Chat, full screen. /help there lists what can be done.

    On the machine where the room was made you join as its owner, in every terminal: they are one person with one
    name, and leaving in one leaves in all. With --guest you join as another person.
    """
    from relayd.cli.relay_join import chat  # noqa: PLC0415

    chat(link, nick, directory or ".", take_all=yes or directory is not None, as_owner=not guest)


@cli.command()
@_LINK
@click.argument("text", nargs=-1)
@_NICK
@click.option("-f", "--file", "files", metavar="PATH", multiple=True, help="Send this file; may be given again.")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", default=30, show_default=True, help=_WAIT)
def send(link: str, text: tuple[str, ...], nick: str | None, files: tuple[str, ...], wait: float) -> None:
    """Say TEXT; with -, say every line of standard input as it comes. With -f, send files.

    A file is offered to everyone in the room. It ends when all who accept it within 10 seconds have it (exit code 0),
    or when nobody accepts it, or somebody who did has not got it (1).
    """
    from relayd.cli.relay_pipe import send as run  # noqa: PLC0415

    run(link, " ".join(text), nick, files, wait)


@cli.command()
@_LINK
@_NICK
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--files", "directory", metavar="DIR", help="Take every file that is offered, into DIR.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="With --files: end after N files.")
@click.option(
    "--max-bytes", type=click.IntRange(min=0), metavar="BYTES", help="With --files: take no more than that in all."
)
def receive(
    link: str, nick: str | None, output: str, directory: str | None, count: int | None, max_bytes: int | None
) -> None:
    """Print what is said, until stopped or until the room is over.

    No file is written over: one whose name is taken becomes `name (1).ext`. With --count the exit code is 1 if one of
    the files has not come whole. A file is not taken if it would leave less than 5 % of the disk free, or 1 GiB of a
    large one.
    """
    from relayd.cli.relay_receive import Wanted, receive_all  # noqa: PLC0415

    receive_all(link, nick, Wanted(as_json=output == "json", directory=directory, most=count, max_bytes=max_bytes))


def main() -> None:
    """The program."""
    hide_links()
    try:
        cli(prog_name="relay")
    except Refused as refused:
        click.echo(f"relay: {clean(refused)}", err=True)
        sys.exit(refused.exit_code)
