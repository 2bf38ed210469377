"""relayctl: the admin's command line. Each command's module is loaded when it is used."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NoReturn

import click

from relayd.cli import ctl_output
from relayd.cli.ctl_base import CONTEXT, DONE, FAILED, USAGE, Ending, Session, daemon_errors, with_common_options

# Word -> module that has it in its COMMANDS; in the order of `help`.
MODULES = {
    "create": "ctl_rooms",
    "get": "ctl_rooms",
    "list": "ctl_rooms",
    "edit": "ctl_rooms",
    "close": "ctl_rooms",
    "kick": "ctl_people",
    "announce": "ctl_people",
    "send": "ctl_people",
    "limits": "ctl_order",
    "block": "ctl_order",
    "unblock": "ctl_order",
    "freeze": "ctl_order",
    "unfreeze": "ctl_order",
    "status": "ctl_daemon",
    "doctor": "ctl_doctor",
    "report": "ctl_report",
    "top": "ctl_top",
    "watch": "ctl_watch",
    "reload": "ctl_daemon",
    "loglevel": "ctl_daemon",
    "drain": "ctl_daemon",
    "stop": "ctl_daemon",
    "upgrade": "ctl_daemon",
    "config": "ctl_config",
    "completion": "ctl_help",
    "version": "ctl_help",
    "help": "ctl_help",
}


class Commands(click.Group):
    """The commands by their first word."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All, in the order of `help`."""
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command; its module is loaded."""
        if cmd_name not in MODULES:
            return None
        found: click.Command = importlib.import_module(f"relayd.cli.{MODULES[cmd_name]}").COMMANDS[cmd_name]
        return found


@click.group(cls=Commands, context_settings=CONTEXT, epilog="Example: relayctl create room tea -max 8")
@with_common_options
def cli() -> None:
    """Control a running relayd over its control socket.

    ROOM is a room's id, the first digits of one (4 or more), or its name. Options are spelled -name or --name.
    Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 relayd not reachable, 4 no such room; of upgrade also
    5 and 6, see there.
    """


def main() -> NoReturn:
    """Runs relayctl and ends the process."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _end_pipe()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Runs one command; its exit code."""
    session = Session()
    try:
        with daemon_errors(session):
            return _invoke(arguments, session)
    except Ending as ending:
        if ending.line:
            complain(ending.line)
        return ending.code
    except click.UsageError as wrong:
        _explain(wrong)
        return USAGE
    except click.ClickException as wrong:
        complain(wrong.format_message())
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        complain("interrupted")
        return FAILED
    except BrokenPipeError:
        return _end_pipe()


def _invoke(arguments: list[str], session: Session) -> int:
    if "_RELAYCTL_COMPLETE" in os.environ:
        from click.shell_completion import shell_complete  # noqa: PLC0415 - when a shell asks only

        return shell_complete(cli, {}, "relayctl", "_RELAYCTL_COMPLETE", os.environ["_RELAYCTL_COMPLETE"])
    try:
        with cli.make_context("relayctl", arguments, obj=session) as context:
            cli.invoke(context)
            sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    return DONE


def complain(line: str) -> None:
    """One line to the person, made safe."""
    click.echo(f"relayctl: {ctl_output.clean(line)}", err=True)


def _explain(wrong: click.UsageError) -> None:
    if isinstance(wrong, click.exceptions.NoArgsIsHelpError):
        click.echo(wrong.format_message(), err=True)
        return
    what: Any = wrong.ctx.command_path if wrong.ctx else "relayctl"
    complain(f"{wrong.format_message().rstrip('.')}; see: {what} --help")


def _end_pipe() -> int:
    """Whoever read what is printed has seen enough. Python would complain when it closes the pipe at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


if __name__ == "__main__":
    main()
