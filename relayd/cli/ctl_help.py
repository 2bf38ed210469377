"""help, version, completion."""

from __future__ import annotations

from collections.abc import Iterator

import click

from relayd import __version__
from relayd.cli import ctl_output
from relayd.cli.ctl_base import Session, command, usage


def all_commands() -> Iterator[tuple[str, click.Command]]:
    """Every command by its words, groups taken apart."""
    from relayd.cli.relayctl import cli  # noqa: PLC0415 - it imports this module when it is needed

    context = click.Context(cli, info_name="relayctl")
    for word in cli.list_commands(context):
        found = cli.get_command(context, word)
        if isinstance(found, click.Group):
            yield from ((f"{word} {name}", found.commands[name]) for name in found.commands)
        elif found is not None:
            yield word, found


def summary(found: click.Command) -> str:
    """The first sentence of a command's help."""
    return found.get_short_help_str(limit=200).rstrip(".")


@command("relayctl help create room", name="help")
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
def help_(session: Session, words: tuple[str, ...]) -> None:
    """List all commands, or explain one."""
    commands = dict(all_commands())
    if words:
        _explain(" ".join(words), commands)
        return
    if session.wants_json:
        click.echo(ctl_output.json_text([{"command": name, "summary": summary(one)} for name, one in commands.items()]))
        return
    longest = max(map(len, commands))
    click.echo("relayctl [--socket PATH] [-o table|json] COMMAND\n")
    for name, found in commands.items():
        click.echo(f"  {name:{longest}}  {summary(found)}")
    click.echo("\nrelayctl COMMAND --help explains one, with an example.")


def _explain(name: str, commands: dict[str, click.Command]) -> None:
    found = [one for one in commands if one == name or one.startswith(f"{name} ")]
    if not found:
        usage(f"there is no command {name!r}; relayctl help lists them")
    for one in found:
        context = click.Context(commands[one], info_name=f"relayctl {one}", **commands[one].context_settings)
        click.echo(commands[one].get_help(context))


@command("relayctl version")
def version(session: Session) -> None:
    """Print relayctl's own version."""
    session.done({"version": __version__}, f"relayctl {__version__}")


@command("relayctl completion bash > /etc/bash_completion.d/relayctl")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(session: Session, shell: str) -> None:
    """Print a shell's script for completing commands and rooms."""
    from relayd.cli.completions import script  # noqa: PLC0415
    from relayd.cli.relayctl import cli  # noqa: PLC0415

    text = script("relayctl", cli, shell)
    session.show({"shell": shell, "script": text}, lambda value: click.echo(value["script"]))


COMMANDS: dict[str, click.Command] = {"help": help_, "version": version, "completion": completion}
