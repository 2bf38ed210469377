"""What all of relayctl's commands share: the grammar, the options, and how they end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

import click

from relayd.cli import ctl_output
from relayd.cli.ctl_client import BrokenOff, Control, Denied, Refused, Silent, Unreachable, find_socket, path
from relayd.machine.places import SERVICE_CONTROL

DONE, FAILED, USAGE, UNREACHABLE, NO_ROOM, OTHER_VERSION, OTHER_ROOMS = range(7)  # exit codes
_CODES = {"no_such_room": NO_ROOM, "incompatible_version": OTHER_VERSION, "incompatible_rooms": OTHER_ROOMS}
_NEXT = {
    NO_ROOM: "see: relayctl list rooms",
    OTHER_VERSION: "restart it: systemctl restart relayd",
    OTHER_ROOMS: "restart it when that suits: systemctl restart relayd",
}

F = TypeVar("F", bound=Callable[..., Any])


class Ending(Exception):
    """The command ends here: with that code, and one line for the person, or none."""

    def __init__(self, code: int, line: str = "") -> None:
        super().__init__(line)
        self.code = code
        self.line = line


class Session:
    """One command's options, and the daemon it talks to."""

    def __init__(self) -> None:
        self.socket = ""
        self.output = "table"

    @property
    def wants_json(self) -> bool:
        """Whether a program reads what is printed."""
        return self.output == "json"

    @property
    def socket_path(self) -> str:
        """The control socket."""
        return self.socket or find_socket(os.environ)

    @property
    def control(self) -> Control:
        """The daemon."""
        return Control(self.socket_path)

    def show(self, value: Any, table: Callable[[Any], None]) -> None:
        """Prints an answer: as JSON, or by `table`."""
        if self.wants_json:
            click.echo(ctl_output.json_text(value))
        else:
            table(value)

    def done(self, value: Any, sentence: str) -> None:
        """Prints what was done: as JSON, or in a sentence."""
        click.echo(ctl_output.json_text(value) if self.wants_json else ctl_output.clean(sentence))


def option(name: str, *others: str, **kwargs: Any) -> Callable[[F], F]:
    """An option under both spellings, `-name` and `--name`; `yes/no` is a pair of them."""
    spellings = ["/".join(dashes + word for word in name.split("/")) for dashes in ("--", "-")]
    return click.option(*spellings, *others, **kwargs)


def command(example: str, name: str | None = None) -> Callable[[Callable[..., Any]], click.Command]:
    """A command whose help ends with an example, and which takes the options that all take."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        with_session: Callable[..., Any] = click.make_pass_decorator(Session, ensure=True)(function)
        decorated = with_common_options(with_session)
        return click.command(name, epilog=f"Example: {example}", context_settings=CONTEXT)(decorated)

    return decorate


CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "-help", "--help"], "max_content_width": 100}


def with_common_options(function: F) -> F:
    """`--socket` and `-o`, before the command's name or after it."""
    socket = option(
        "socket",
        metavar="PATH",
        expose_value=False,
        callback=_set("socket"),
        help="Control socket. Default: $RELAYD_CONTROL, else this user's, else /run/relayd/control.sock.",
    )
    output = click.option(
        "-o",
        "--output",
        "-output",
        type=click.Choice(["table", "json"]),
        expose_value=False,
        callback=_set("output"),
        help="For people or for programs.  [default: table]",
    )
    return socket(output(function))


def _set(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value is not None:
            setattr(context.ensure_object(Session), name, value)

    return callback


def room_argument(function: F) -> F:
    """ROOM: an id, the beginning of one, or a name."""
    return click.argument("room", shell_complete=_complete_rooms)(function)


def _complete_rooms(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Names of rooms for the shell."""
    rooms = for_completion(path("rooms", limit=1000, sort="name"))
    return [room["name"] for room in rooms if room["name"].startswith(incomplete)]


def for_completion(target: str) -> list[dict[str, Any]]:
    """A listing for the shell to complete from; empty if the daemon cannot be asked."""
    try:
        found: list[dict[str, Any]] = Control(find_socket(os.environ)).get(target)
    except (Unreachable, Denied, BrokenOff, Refused):
        return []
    return found


@contextlib.contextmanager
def daemon_errors(session: Session) -> Iterator[None]:
    """Says in one line what is wrong with the daemon and what to do next."""
    try:
        yield
    except Silent as error:
        raise Ending(UNREACHABLE, f"{error}; see its log, and: systemctl status relayd") from None
    except Unreachable as error:
        raise Ending(UNREACHABLE, f"{error}; {_how_to_start(session.socket_path)}") from None
    except Denied:
        raise Ending(FAILED, _who_may(session.socket_path)) from None
    except BrokenOff:
        raise Ending(UNREACHABLE, "relayd has gone away; see its log, and: systemctl status relayd") from None
    except Refused as error:
        code = _CODES.get(error.code, FAILED)
        more = f"; {_NEXT[code]}" if code in _NEXT else ""
        raise Ending(code, ctl_output.clean(one_line(error) + more)) from None


def one_line(error: Refused) -> str:
    """What is wrong, with every field that is."""
    return error.detail if not error.errors else "; ".join(f"{one['field']}: {one['detail']}" for one in error.errors)


def _how_to_start(socket_path: str) -> str:
    if socket_path != SERVICE_CONTROL:
        return "start one with: relayd"
    return "systemctl start relayd starts it, or where it runs, systemctl restart relayd.socket opens its sockets again"


def _who_may(socket_path: str) -> str:
    """Which user and group the socket, or what can be seen of the way to it, belongs to."""
    import grp  # noqa: PLC0415 - for this error only
    import pwd  # noqa: PLC0415

    place = socket_path
    while place != "/":
        with contextlib.suppress(PermissionError, FileNotFoundError):
            found = os.stat(place)  # noqa: PTH116 - pathlib costs 8 ms
            break
        place = os.path.dirname(place)  # noqa: PTH120
    user, group = str(found.st_uid), str(found.st_gid)
    with contextlib.suppress(KeyError):
        user, group = pwd.getpwuid(found.st_uid).pw_name, grp.getgrgid(found.st_gid).gr_name
    users = "root" if user == "root" else f"root, {user}"
    return f"permission denied: only {users} and members of the group {group} may connect to {socket_path}"


def usage(line: str) -> NoReturn:
    """The command line is wrong."""
    raise click.UsageError(line)
