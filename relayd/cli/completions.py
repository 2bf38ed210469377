"""Scripts with which shells complete commands: `python -m relayd.cli.completions /usr/share` puts them in place."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class

# Where each shell looks for scripts that come with a program, below /usr/share or /usr/local/share.
PLACES = {
    "bash": "bash-completion/completions/{}",
    "zsh": "zsh/site-functions/_{}",
    "fish": "fish/vendor_completions.d/{}.fish",
}


def script(program: str, command: click.Command, shell: str) -> str:
    """The script of that shell (one of `PLACES`), which asks the program itself at each completion."""
    kind = get_completion_class(shell)
    if kind is None:
        raise LookupError(shell)
    # Not source(), which starts a shell to look at its version: this may run where the script is only installed.
    complete = kind(command, {}, program, f"_{program.upper()}_COMPLETE")
    return complete.source_template % complete.source_vars()


def main() -> None:
    """Writes all scripts of all programs below the directory that is given."""
    from relayd.cli import relay, relayctl, relayd  # noqa: PLC0415 - `relayctl completion` needs only itself

    share = Path(sys.argv[1])
    for program, command in (("relay", relay.cli), ("relayctl", relayctl.cli), ("relayd", relayd.main)):
        for shell, place in PLACES.items():
            path = share / place.format(program)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(script(program, command, shell) + "\n")


if __name__ == "__main__":
    main()
