"""The manual pages, made from what the programs say of themselves: `python -m relayd.cli.man docs/man`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from relayd.cli.ctl_help import all_commands
from relayd.cli.describe import tables, toml_text
from relayd.cli.relay import cli as relay
from relayd.cli.relayctl import cli
from relayd.cli.relayd import main as relayd

_COMMON = {"socket", "output", "help"}  # options that every command takes

_EXIT_CODES = {
    "relay": (
        ("0", "Done."),
        ("1", "Refused, or failed."),
        ("2", "Wrong usage."),
        ("3", "The server is not reachable."),
        ("4", "There is no such room."),
        ("5", "Keys, link and server do not fit each other."),
    ),
    "relayctl": (
        ("0", "Done."),
        ("1", "Refused, or failed."),
        ("2", "Wrong usage."),
        ("3", "relayd is not reachable."),
        ("4", "There is no such room."),
        ("5", "upgrade: the installed version cannot take over; a restart starts it, and keeps the rooms."),
        ("6", "upgrade: the installed version cannot take over; a restart starts it, and ends the rooms."),
    ),
    "relayd": (
        ("0", "Ended by SIGTERM, SIGINT or relayctl."),
        ("2", "Wrong usage."),
        ("70", "Workers end at once, again and again."),
        ("78", "The settings are wrong, or a place to listen cannot be had."),
    ),
}
_SIGNALS = (
    ("SIGTERM, SIGINT", "Send everyone away over timing.drain seconds, then end. A second one ends at once."),
    ("SIGHUP", "Read the settings anew, like relayctl reload. If any is wrong, the log says so and all old ones stay."),
)
_FILES = (
    ("/run/relayd/control.sock", "The control socket of the service."),
    ("$XDG_RUNTIME_DIR/relayd/control.sock", "The control socket of a user's own relayd."),
)


def pages() -> dict[str, str]:
    """File name and text of each page."""
    return {
        "relay.1": _page("RELAY", 1, _relay()),
        "relayctl.1": _page("RELAYCTL", 1, _relayctl()),
        "relayd.toml.5": _page("RELAYD.TOML", 5, _relayd_toml()),
        "relayd.8": _page("RELAYD", 8, _relayd()),
    }


def _page(title: str, section: int, lines: Iterable[str]) -> str:
    head = ['.\\" Made by: python -m relayd.cli.man docs/man', f'.TH {title} {section} "" "relayd"', ".nh", ".ad l"]
    return "\n".join([*head, *lines]) + "\n"


def _relay() -> Iterator[str]:
    yield from (".SH NAME", "relay \\- throw-away chat rooms at a terminal")
    yield from (".SH SYNOPSIS", ".B relay", _roff("COMMAND [ARGUMENT]..."))
    yield ".SH DESCRIPTION"
    yield from _paragraphs(relay.help or "")
    yield ".SH OPTIONS"
    yield from _options(relay)
    yield ".SH COMMANDS"
    yield from _commands(relay.commands.items(), hidden={"help"})
    yield from _list("EXIT STATUS", _EXIT_CODES["relay"])
    yield from _list(
        "ENVIRONMENT",
        (
            ("RELAY_SERVER", "The server at which relay new makes a room."),
            ("RELAY_NICK", "The name that others see."),
            ("RELAY_PASSWORD", "The room's password."),
        ),
    )
    yield from _list(
        "FILES",
        (("$XDG_STATE_HOME/relay", "Owner keys of rooms made here, until they are over. ~/.local/state/relay."),),
    )
    yield from (".SH SEE ALSO", ".BR relayd (8)")


def _relayctl() -> Iterator[str]:
    yield from (".SH NAME", "relayctl \\- control a running relayd")
    yield from (".SH SYNOPSIS", ".B relayctl", _roff("[--socket PATH] [-o table|json] COMMAND [ARGUMENT]..."))
    yield ".SH DESCRIPTION"
    yield from _paragraphs(cli.help or "")
    yield ".SH OPTIONS"
    yield from _options(cli, shown=_COMMON)
    yield ".SH COMMANDS"
    yield from _commands(all_commands(), hidden=_COMMON)
    yield from _list("EXIT STATUS", _EXIT_CODES["relayctl"])
    yield from _list(
        "ENVIRONMENT",
        (
            ("RELAYD_CONTROL", "Path of the control socket, unless --socket gives it."),
            ("NO_COLOR", "If it is set, nothing is coloured."),
        ),
    )
    yield from _list("FILES", _FILES)
    yield from (".SH SEE ALSO", ".BR relayd (8),", ".BR relayd.toml (5)")


def _relayd() -> Iterator[str]:
    yield from (".SH NAME", "relayd \\- serve throw-away chat rooms")
    yield from (".SH SYNOPSIS", ".B relayd", _roff("[OPTION]..."))
    yield ".SH DESCRIPTION"
    yield from _paragraphs(relayd.help or "")
    yield ".SH OPTIONS"
    yield from _options(relayd)
    yield from _list("SIGNALS", _SIGNALS)
    yield from _list("EXIT STATUS", _EXIT_CODES["relayd"])
    yield from _list("FILES", _FILES)
    yield from (".SH SEE ALSO", ".BR relayctl (1),", ".BR relayd.toml (5)")


def _relayd_toml() -> Iterator[str]:
    yield from (".SH NAME", "relayd.toml \\- settings of relayd")
    yield ".SH DESCRIPTION"
    yield from _paragraphs(
        "A TOML file, given to relayd by --config. Each key can also be set by an environment variable, named behind "
        "it, which goes before the file; lists are written with commas there. relayctl config defaults prints a file "
        "with every key, relayctl config check FILE says what is wrong with one, relayctl reload has a running relayd "
        "read it anew."
    )
    for table in tables():
        yield f".SH {_roff(f'[{table.name}]' if table.name else 'KEYS AT THE TOP')}"
        yield from _paragraphs(table.about)
        for setting in table.settings:
            key = setting.path.rpartition(".")[2]
            yield from (".TP", f'.BR {_roff(key)} " = {_quoted(toml_text(setting.default))}  ({setting.variable})"')
            yield _roff(setting.meaning)
    yield from (".SH SEE ALSO", ".BR relayd (8),", ".BR relayctl (1)")


def _commands(commands: Iterable[tuple[str, click.Command]], hidden: Iterable[str]) -> Iterator[str]:
    for name, command in commands:
        context = click.Context(command, info_name=name, **command.context_settings)
        arguments = " ".join(piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]")
        yield from (".TP", f".B {_roff(name)} {_roff(arguments)}".rstrip())
        yield from _paragraphs(command.help or "", inner=True)
        yield ".RS"
        yield from _options(command, hidden=hidden)
        yield from (*((".PP", _roff(command.epilog)) if command.epilog else ()), ".RE")


def _options(command: click.Command, *, shown: set[str] | None = None, hidden: Iterable[str] = ()) -> Iterator[str]:
    context = click.Context(command, **command.context_settings)
    for option in command.get_params(context):
        record = option.get_help_record(context) if isinstance(option, click.Option) else None
        name = "help" if "--help" in option.opts else option.name
        if record is None or name in hidden or (shown is not None and name not in shown):
            continue
        yield from (".TP", f".B {_roff(record[0])}", _roff(record[1]))


def _list(title: str, entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield f".SH {title}"
    for name, meaning in entries:
        yield from (".TP", f".B {_roff(name)}", _roff(meaning))


def _paragraphs(text: str, *, inner: bool = False) -> Iterator[str]:
    for index, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if index:
            yield ".IP" if inner else ".PP"
        yield _roff(" ".join(paragraph.split()))


def _roff(text: str) -> str:
    """Text as roff takes it: hyphens that are to be typed, no line that begins with a command."""
    escaped = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


def _quoted(text: str) -> str:
    return _roff(text).replace('"', '""')


def main() -> None:
    """Writes the pages into the directory that is given."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text)


if __name__ == "__main__":
    main()
