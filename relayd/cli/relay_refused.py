"""How `relay` fails: one line, and an exit code for scripts."""

from __future__ import annotations

from typing import Final, NoReturn

# As relayctl's, and one more: what is not to be trusted must not be taken for a mishap.
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 3
EXIT_NO_ROOM: Final = 4
EXIT_UNTRUSTED: Final = 5


class Refused(Exception):
    """An error in one line, with its exit code; `relayd.cli.relay.main` shows it."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def fail(text: str, code: int = EXIT_FAILED) -> NoReturn:
    """Ends the program with one line."""
    raise Refused(text, code)
