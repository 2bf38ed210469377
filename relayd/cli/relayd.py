"""relayd: the daemon's command line."""

from __future__ import annotations

import logging
import os
import socket as sockets
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import click

from relayd import __version__
from relayd.cli.ctl_output import clean
from relayd.errors import CannotListen, SettingsError
from relayd.machine.systemd import Systemd
from relayd.settings import Settings, load

if TYPE_CHECKING:
    from relayd.startup import Start

log = logging.getLogger("relayd")

EXIT_CANNOT_LISTEN = 1  # not now: a supervisor may try again
TAKE_OVER = "--take-over"  # given last, by a relayd from which this one takes over
EXIT_CONFIG = 78  # EX_CONFIG of sysexits(3): a supervisor need not try again


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--listen",
    "listen",
    multiple=True,
    metavar="PLACE",
    help="HOST:PORT or unix:PATH; may be repeated. Default: 127.0.0.1:8080.",
)
@click.option("--control", metavar="PATH", help="Path of the control socket.")
@click.option(
    "--workers", metavar="N|auto", help="Gateway processes besides the one with the rooms. Default: 0, all in one."
)
@click.option("--config", "file", metavar="FILE", help="TOML file with settings.")
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), help="How each line of the log is written. Default: text."
)
@click.option("--check-config", is_flag=True, help="Check the settings, say what is wrong, and end.")
@click.option("--hello", is_flag=True, help="Once it listens, say what to do next.")
@click.option(TAKE_OVER, type=int, metavar="FD", hidden=True)
@click.version_option(__version__, message="relayd %(version)s")
def main(
    listen: tuple[str, ...],
    control: str | None,
    workers: str | None,
    file: str | None,
    log_format: str | None,
    *,
    check_config: bool,
    hello: bool,
    take_over: int | None,
) -> None:
    """Serve throw-away chat rooms, in the foreground.

    Settings come from built-in defaults, the TOML file, RELAYD_* environment variables and these options; the
    last one wins. SIGTERM sends everyone away and ends, SIGHUP reloads the settings; see also relayctl.
    """
    given = {"listen": list(listen) or None, "control": control, "workers": workers, "log_format": log_format}
    flags = {name: value for name, value in given.items() if value is not None}

    def read() -> Settings:
        return load(file, os.environ, flags)

    if check_config:
        _check(read)
    elif take_over is not None:
        _take_over(read, sockets.socket(fileno=take_over))
    else:
        _start(read, _say_hello if hello else None)


def _check(read: Callable[[], Settings]) -> None:
    try:
        read()
    except SettingsError as wrong:
        _fail(wrong)
    click.echo("The settings are fine.", err=True)


def _take_over(read: Callable[[], Settings], channel: sockets.socket) -> None:
    from relayd.startup import Start  # noqa: PLC0415 - see _run

    try:
        settings = read()
    except SettingsError as wrong:
        channel.send(b"failed: " + "; ".join(wrong.problems).encode())  # it is for whoever wanted the upgrade to know
        _fail(wrong)
    _run(Start(settings), read, Systemd.take(os.environ, os.getpid()), None, channel)


def _start(read: Callable[[], Settings], on_listening: Callable[[list[str]], None] | None) -> None:
    from relayd.startup import choose  # noqa: PLC0415 - see _run

    systemd = Systemd.take(os.environ, os.getpid())
    try:
        start = choose(read, systemd)
    except SettingsError as wrong:
        _fail(wrong)
    if start is not None:
        _run(start, read, systemd, on_listening, None)


def _run(
    start: Start,
    read: Callable[[], Settings],
    systemd: Systemd,
    on_listening: Callable[[list[str]], None] | None,
    channel: sockets.socket | None,
) -> None:
    # Imported late: --help and --check-config need none of it.
    from relayd.daemon import run  # noqa: PLC0415
    from relayd.logs import set_up_logging  # noqa: PLC0415
    from relayd.machine.passing import PassingFailed  # noqa: PLC0415

    set_up_logging(start.settings)
    for problem in start.problems:
        log.error("invalid settings, those of the process before hold: %s", problem)
    try:
        sys.exit(run(start, read, systemd, on_listening, _own_arguments(), channel))
    except SettingsError as wrong:
        _fail(wrong)
    except PassingFailed as failed:
        click.echo(f"relayd: it does not take over: {failed}", err=True)
        sys.exit(EXIT_CANNOT_LISTEN)


def _own_arguments() -> list[str]:
    """Those of the command line that are to be the next process', too."""
    arguments = sys.argv[1:]
    return arguments[: arguments.index(TAKE_OVER)] if TAKE_OVER in arguments else arguments


def _say_hello(addresses: list[str]) -> None:
    address = next((one for one in addresses if one.startswith("http")), "")
    if not address:
        return
    click.echo(
        f"""
relayd is running. Open a room, in another terminal:

    curl -X POST {address}/api/v1/room

The answer's "link" is what you share; whoever has it can join. See docs/protocol.md for the chat itself.
Ctrl-C ends relayd, and every room with it.
""",
        err=True,
    )


def _fail(wrong: SettingsError) -> NoReturn:
    for problem in wrong.problems:
        click.echo(f"relayd: {clean(problem)}", err=True)
    sys.exit(EXIT_CANNOT_LISTEN if isinstance(wrong, CannotListen) else EXIT_CONFIG)


if __name__ == "__main__":
    main()
