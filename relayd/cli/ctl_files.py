"""`relayctl send -f`: the admin goes into a room for as long as it takes to send files there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import click

from relayd.cli import ctl_output
from relayd.cli.ctl_base import FAILED, NO_ROOM, UNREACHABLE, Ending, Session
from relayd.cli.ctl_client import path
from relayd.cli.relay_common import ask_password, given_password
from relayd.cli.relay_files import Sending, check_files
from relayd.cli.relay_refused import Refused
from relayd.client import ClientError, Unreachable, join
from relayd.client.seal.link import Link, ShareLink
from relayd.errors import Forbidden, NoSuchRoom, RelayError
from relayd.wire.sealing_text import SealingError

NICK = "admin"


def send_files(session: Session, room: str, files: Sequence[str], text: str, wait_s: float) -> None:
    """Sends files to the users of a room, and says a text there before."""
    with _errors():
        check_files(files)
        details = session.control.get(path("rooms", room))
        password = _password_of(details)
        server = session.control.get(path("status"))["addresses"][0]
        # Last, since it is good for a moment only, and a person may take longer to type.
        minted = session.control.request("POST", path("rooms", details["id"], "passes"))
        link = ShareLink("http://relayd", details["id"], Link(invite_key=minted["key"], password=password is not None))
        asyncio.run(_send(session, link.url, server, password, files, text, wait_s))


def _password_of(details: dict[str, Any]) -> str | None:
    """The password to seal with; None for an open room."""
    access = details.get("access")
    if access is None:
        return None
    if access.get("owner") or access.get("secret") or not access["password"]:
        name = ctl_output.clean(details["name"])
        raise Ending(
            FAILED,
            f"{name} is sealed with a secret of its link, which relayd does not have; with the link: "
            "relay send LINK -f PATH",
        )
    try:
        return given_password() or ask_password("Password of the room: ")
    except Refused as refused:
        raise Ending(refused.exit_code, str(refused)) from None


async def _send(
    session: Session, link: str, server: str, password: str | None, files: Sequence[str], text: str, wait_s: float
) -> None:
    def note(line: str) -> None:
        if not session.wants_json:
            click.echo(ctl_output.clean(line))

    async with join(link, NICK, password=password, server=server, events=False) as room:
        if text:
            await room.say(text)
        sending = Sending(room, note, lambda line: click.echo(f"relayctl: {ctl_output.clean(line)}", err=True), wait_s)
        try:
            await sending.run(files)
        finally:
            if session.wants_json:
                click.echo(ctl_output.json_text([result._asdict() for result in sending.results]))


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Says in one line what is wrong, with relayctl's exit codes."""
    try:
        yield
    except Forbidden:
        raise Ending(FAILED, "the password is wrong") from None
    except (RelayError, ClientError, SealingError) as wrong:
        code = {NoSuchRoom: NO_ROOM, Unreachable: UNREACHABLE}.get(type(wrong), FAILED)
        raise Ending(code, ctl_output.clean(str(wrong).rstrip("."))) from None
