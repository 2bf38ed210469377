"""Settings: those that hold, those in a file, those by default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from relayd.cli import ctl_output
from relayd.cli.ctl_base import CONTEXT, FAILED, Ending, Session, command, with_common_options
from relayd.cli.ctl_client import path


@click.group(context_settings=CONTEXT, epilog="Example: relayctl config check /etc/relayd/relayd.toml")
@with_common_options
def config() -> None:
    """Show settings, check a file of them, print all defaults."""


@command("relayctl config show", name="show")
def show(session: Session) -> None:
    """Show the settings that hold in the running relayd."""
    session.show(session.control.get(path("settings")), _show_settings)


def _show_settings(settings: Mapping[str, Any]) -> None:
    for name, value in _flat(settings, ""):
        click.echo(f"{name} = {ctl_output.clean(ctl_output.json_line(value))}")


def _flat(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


@command("relayctl config check /etc/relayd/relayd.toml", name="check")
@click.argument("file", type=click.Path())
def check(session: Session, file: str) -> None:
    """Check a settings file; it needs no running relayd."""
    # Imported late: what describes the settings costs more than asking a daemon.
    from relayd.errors import SettingsError  # noqa: PLC0415
    from relayd.settings import load  # noqa: PLC0415

    problems: list[str] = []
    try:
        load(file, {}, {})
    except SettingsError as wrong:
        problems = wrong.problems
    if session.wants_json:
        click.echo(ctl_output.json_text({"ok": not problems, "problems": problems}))
    else:
        click.echo("\n".join(map(ctl_output.clean, problems)) or f"{file} is fine.", err=bool(problems))
    if problems:
        raise Ending(FAILED)


@command("relayctl config defaults > relayd.toml", name="defaults")
def defaults(session: Session) -> None:
    """Print a settings file with every key, commented out.

    Each has its meaning and its default; so the file changes nothing until something in it is uncommented.
    """
    from relayd.cli.describe import commented_defaults, tables  # noqa: PLC0415

    if session.wants_json:
        import msgspec  # noqa: PLC0415

        found = {setting.path: setting.default for table in tables() for setting in table.settings}
        click.echo(ctl_output.json_text(msgspec.to_builtins(found)))
    else:
        click.echo(commented_defaults(), nl=False)


for one in (show, check, defaults):
    config.add_command(one)

COMMANDS: dict[str, click.Command] = {"config": config}
