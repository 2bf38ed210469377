"""doctor: what may be wrong with a server, and what to do about it."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from relayd.cli import ctl_output
from relayd.cli.ctl_base import DONE, FAILED, Ending, Session, command, daemon_errors, option
from relayd.cli.ctl_client import path
from relayd.cli.doctor import daemon, machine, outside
from relayd.cli.doctor.finding import OK, PROBLEM, WARNING, Finding, Patient

SERVICE_CONFIG = "/etc/relayd/relayd.toml"
CHECKS: tuple[Callable[[Patient], Iterator[Finding]], ...] = (
    daemon.running,
    daemon.load,
    daemon.closed,
    daemon.pending,
    daemon.stored_rooms,
    daemon.careless,
    daemon.forwarded_headers,
    daemon.control_socket,
    daemon.admin_groups,
    daemon.socket_units,
    daemon.listeners,
    daemon.metrics,
    outside.public_url,
    machine.open_files,
    machine.all_files,
    machine.accept_queue,
    machine.tcp_memory,
    machine.ports,
    machine.conntrack,
    machine.swap,
    machine.core_dumps,
    machine.clock,
)
_COLOURS = {OK: "green", WARNING: "yellow", PROBLEM: "red"}
_STATE, _CHECK = 7, 14  # columns of a line's first words
_LEAST_WIDE = 24  # columns for the rest; on what is narrower, the terminal folds


@command("relayctl doctor")
@option("config", type=click.Path(), help=f"Settings to go by if relayd does not run.  [default: {SERVICE_CONFIG}]")
def doctor(session: Session, config: str | None) -> None:
    """Look for what is or will be wrong, and say what to do.

    It looks at the running relayd and its settings, the kernel's limits, the clock, swap and core dumps, and whether
    public_url leads here and people's addresses with it. What it cannot see is left out: root sees most. If relayd
    does not run, the rest is looked at all the same. Exit code 1 if there is a problem; warnings are none.
    """
    known, patient, code = _meet(session, config)
    findings = [*known, *(finding for check in CHECKS for finding in looked(check, patient))]
    session.show([finding._asdict() for finding in findings], lambda _: _show(findings))
    if code or any(finding.state == PROBLEM for finding in findings):
        raise Ending(code or FAILED)


def _meet(session: Session, config: str | None) -> tuple[list[Finding], Patient, int]:
    """What relayd says of itself; or that it says nothing, what else is known then, and the code to end with."""
    socket = session.socket_path
    try:
        with daemon_errors(session):
            settings, status = session.control.get(path("settings")), session.control.get(path("status"))
    except Ending as ending:
        what, do = ending.line.rsplit("; ", 1) if "; " in ending.line else (ending.line, "")
        silent = Finding("relayd", PROBLEM, f"{what}, so only the machine is looked at", do)
        wrong, settings = _settings(config)
        return [silent, *wrong], Patient(socket, settings, {}), ending.code
    return [], Patient(socket, settings, status), DONE


def _settings(config: str | None) -> tuple[list[Finding], Mapping[str, Any]]:
    """Mistakes in the file, and what it says if there are none."""
    # Imported late: what describes the settings costs more than asking a daemon.
    import msgspec  # noqa: PLC0415

    from relayd.errors import SettingsError  # noqa: PLC0415
    from relayd.settings import Settings, load  # noqa: PLC0415

    file = config or (SERVICE_CONFIG if Path(SERVICE_CONFIG).exists() else None)
    try:
        return [], msgspec.to_builtins(load(file, {}, {}))
    except SettingsError as wrong:
        found = [Finding("settings", PROBLEM, problem, "relayd will not start so") for problem in wrong.problems]
        return found, msgspec.to_builtins(Settings())


def looked(check: Callable[[Patient], Iterator[Finding]], patient: Patient) -> list[Finding]:
    """What a look has found; one that fails itself must not hide the others."""
    try:
        return list(check(patient))
    except (OSError, Ending) as failed:
        return [Finding(check.__name__.replace("_", " "), WARNING, f"could not be looked at: {failed}")]


def _show(findings: Sequence[Finding]) -> None:
    """A line each; on a terminal folded to its width."""
    width = ctl_output.columns() if ctl_output.is_terminal() else 0
    coloured = bool(width) and not os.environ.get("NO_COLOR")
    for finding in findings:
        text = ctl_output.clean(finding.what + (f" -> {finding.do}" if finding.do else ""))
        state = f"{finding.state:{_STATE}}"
        head = f"{click.style(state, _COLOURS[finding.state]) if coloured else state}  {finding.check:{_CHECK}}  "
        room = width - _STATE - _CHECK - 4
        lines = textwrap.wrap(text, room, break_on_hyphens=False) if room >= _LEAST_WIDE else [text]
        click.echo(head + f"\n{' ' * (_STATE + _CHECK + 4)}".join(lines))
    counts = {state: sum(finding.state == state for finding in findings) for state in (PROBLEM, WARNING)}
    click.echo(", ".join(f"{count} {state}{'' if count == 1 else 's'}" for state, count in counts.items()) + ".")


COMMANDS: dict[str, click.Command] = {"doctor": doctor}
