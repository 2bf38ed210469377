"""What the commands of `relay` share: passwords, names, errors in one line, exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

import click

from relayd.cli import relay_keys
from relayd.cli.relay_notices import Notices
from relayd.cli.relay_refused import (
    EXIT_FAILED,
    EXIT_NO_ROOM,
    EXIT_UNREACHABLE,
    EXIT_UNTRUSTED,
    EXIT_USAGE,
    Refused,
    fail,
)
from relayd.cli.relay_text import safe_line
from relayd.client import BadServer, ClientError, FileOffered, Message, Owner, Room, RoomDetails, Unreachable, join
from relayd.client.joining import Joining
from relayd.client.seal.link import parse_link
from relayd.client.sealing_errors import LinkError, PasswordNeeded
from relayd.errors import Denied, Forbidden, Kicked, LobbyFull, Locked, NoSuchRoom, RelayError, RoomClosed, RoomFull
from relayd.wire.names import generated_name
from relayd.wire.sealing_text import SealingError

_CODES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (Unreachable, EXIT_UNREACHABLE),
    (BadServer, EXIT_UNREACHABLE),
    (NoSuchRoom, EXIT_NO_ROOM),
    (RoomClosed, EXIT_NO_ROOM),
    (LinkError, EXIT_USAGE),
    (PasswordNeeded, EXIT_USAGE),
    (SealingError, EXIT_UNTRUSTED),
    (Exception, EXIT_FAILED),
)

_HINTS: Final[dict[type[Exception], str]] = {
    Unreachable: "is it running, and is this its address? See --server and RELAY_SERVER",
    NoSuchRoom: "it may be over: ask for a new link",
    Forbidden: "try the password again; or the link is incomplete, or older than the room's keys: open the whole link, "
    "as it was last shared",
    RoomFull: "try again when somebody has left",
    LobbyFull: "try again when some of them were admitted",
    Locked: "ask the owner to let you in",
    Denied: "ask the owner, then try again",
    Kicked: "what you say is not heard there any more",
}


def refusal(error: Exception) -> Refused:
    """What a person is told of an error, and the exit code for scripts."""
    code = next(code for kind, code in _CODES if isinstance(error, kind))
    text = safe_line(str(error)).rstrip(".")
    hint = _HINTS.get(type(error), "")
    return Refused(f"{text}: {hint}" if hint else text, code)


def run(job: Coroutine[Any, Any, None]) -> None:
    """Runs a command to its end, and turns every error that a person may meet into one line."""
    try:
        asyncio.run(job)
    except (RelayError, ClientError, SealingError) as error:
        raise refusal(error) from None
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Who read the output has gone. Python would try to flush what is left, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)


def make_nick(given: str | None) -> str:
    """The name to be shown: as given, or one drawn at random, since one's login name is nobody's business."""
    return given or os.environ.get("RELAY_NICK") or generated_name(os.urandom)


def ask_password(prompt: str) -> str:
    """Asks for a password; see `ask_secret`."""
    return ask_secret(prompt, "RELAY_PASSWORD")


def ask_secret(prompt: str, variable: str) -> str:
    """Asks at the terminal without echo, even where standard input is a pipe.

    Args:
        prompt: what is asked for, with a colon and a space.
        variable: of the environment, in which it could have been given.

    Raises:
        Refused: there is no terminal.
    """
    what = prompt.partition(":")[0].lower()
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise Refused(f"{what}: there is no terminal to ask for it: set {variable}", EXIT_USAGE) from None
    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise Refused(f"{what}: none was given", EXIT_USAGE) from None


def given_password() -> str | None:
    """What `RELAY_PASSWORD` says; None if it is not set. It is not handed on to what this process may start."""
    return os.environ.pop("RELAY_PASSWORD", None)


def _read_link(given: str) -> str:
    """The link itself, or with `@FILE` what that file holds: arguments can be seen by others, files need not."""
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        fail(f"the link cannot be read from {given[1:]}", EXIT_USAGE)


class Door:
    """Gets into the room of a link: asks for the password where one is needed, and knows whether one is the owner.

    Args:
        link: as the person gave it, or `@FILE`.
        nick: the name to be shown.
        as_owner: whether what `relay new` has kept is used.
    """

    def __init__(self, link: str, nick: str, *, as_owner: bool) -> None:
        link = _read_link(link)
        try:
            self.share = parse_link(link)
        except SealingError as error:
            raise refusal(error) from None
        self._link = link
        self._nick = nick
        self.owner = self._find_owner() if as_owner else None
        self._password = given_password()

    def _find_owner(self) -> Owner | None:
        try:
            return relay_keys.find(self.share.room_id, self.share.server)
        except relay_keys.OtherServer as other:
            made, here = safe_line(other.server), safe_line(self.share.server)
            note(f"you own this room at {made}, and this link leads to {here}: joining as a guest")
            return None

    async def open(self) -> tuple[Joining, Room]:
        """The room, entered; the first of the pair is to be left with `__aexit__`."""
        password = None
        if self.share.link.password:
            password = self._password or ask_password("Password of the room: ")
        try:
            return await self._enter(password)
        except PasswordNeeded:
            # An unmarked link, and yet a room with a password: the server says so only now.
            return await self._enter(self._password or ask_password("Password of the room: "))

    async def _enter(self, password: str | None) -> tuple[Joining, Room]:
        joining = join(self._link, self._nick, password=password, owner=self.owner, on_waiting=_note_waiting)
        return joining, await joining.__aenter__()

    @contextlib.contextmanager
    def forgetting(self) -> Iterator[None]:
        """Drops what was kept of the room once the server says that it is over."""
        try:
            yield
        except (RoomClosed, NoSuchRoom):
            if self.owner is not None:
                relay_keys.drop(self.share.room_id, self.share.server)
            raise


def _note_waiting(room: RoomDetails) -> None:
    note(f"waiting to be admitted to {room.name}: somebody inside has to let you in; Ctrl-C gives up")


def note(text: str) -> None:
    """Something for the person, not for the pipe: one line, made safe."""
    click.echo(f"relay: {safe_line(text)}", err=True)


async def tell(room: Room, take: Callable[[Message | FileOffered], None]) -> None:
    """Hands on what is said and offered, and says what becomes of the connection on standard error."""
    notices = Notices()
    async for event in room:
        if isinstance(event, Message | FileOffered):
            take(event)
        elif (text := notices.of(event)) is not None:
            note(text)
