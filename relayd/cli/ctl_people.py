"""People: put out, announced to, spoken to."""

from __future__ import annotations

import sys

import click

from relayd.cli.ctl_base import FAILED, Ending, Session, command, option, room_argument, usage
from relayd.cli.ctl_client import path

MAX_TEXT_CHARS = 16_384


@command("relayctl kick tea u_1f2e3d4c5b6a7980 -ban")
@room_argument
@click.argument("user")
@option("ban", is_flag=True, help="Also refuse that session and address until the room ends.")
def kick(session: Session, room: str, user: str, *, ban: bool) -> None:
    """Put a user out of a room.

    It may be one who has left: nobody comes back by that session then. The ids of users are in `relayctl list users`
    and, of those who have left, in `relayctl watch`.
    """
    session.control.request("DELETE", path("rooms", room, "users", user, ban="true" if ban else None))
    session.done({"room": room, "user": user, "ban": ban}, f"{user} is out of {room}{' for good' if ban else ''}.")


@command('relayctl announce tea "The server restarts at noon."')
@click.argument("words", nargs=-1, metavar="[ROOM] TEXT...")
@option("all", "everywhere", is_flag=True, help="To every room.")
def announce(session: Session, words: tuple[str, ...], *, everywhere: bool) -> None:
    """Announce something to a room, or with -all to every room.

    It arrives as a notice from the server, also in sealed rooms, and is not kept for those who are away. `-` as TEXT
    reads it from standard input.
    """
    room = None if everywhere else next(iter(words), None)
    texts = words if everywhere else words[1:]
    if not everywhere and len(words) < 2:
        usage("give a room and a text, or -all and a text")
    body = {"text": _text(texts)} | ({} if room is None else {"room": room})
    told = session.control.request("POST", path("announcements"), body)
    session.done(told, f"Announced in {_count(told['rooms'], 'room')} to {_count(told['users'], 'user')}.")


@command("relayctl send -f minutes.pdf tea")
@room_argument
@click.argument("text", nargs=-1, metavar="[TEXT]...")
@option("file", "-f", "files", multiple=True, metavar="PATH", help="Send this file; may be given again.")
@option(
    "wait",
    type=click.FloatRange(min=0),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for somebody to accept a file.",
)
def send(session: Session, room: str, text: tuple[str, ...], files: tuple[str, ...], wait: float) -> None:
    """Say something in a room as `admin`, or send those in it files.

    What is said has its place in the room's order like what its users say. Nothing can be said in a sealed room from
    outside: use announce there. `-` as TEXT reads it from standard input.

    A file is offered to everyone in the room by a user called `admin`, who comes in for that, even if the room is
    locked. It ends when all who accept it within 10 seconds have it. For a room that is sealed by a password alone that
    is asked for, or taken from RELAY_PASSWORD, and never leaves this program. One that is sealed with a secret of its
    link takes the link: relay send LINK -f PATH.
    """
    if files:
        from relayd.cli.ctl_files import send_files  # noqa: PLC0415 - it takes all that a chat takes

        send_files(session, room, files, _text(text) if text else "", wait)
        return
    if not text:
        usage("give a text, or -f and a file")
    said = session.control.request("POST", path("rooms", room, "messages"), {"text": _text(text)})
    session.done(said, f"Said in {room} as message {said['seq']}, to {_count(said['users'], 'user')}.")


def _text(words: tuple[str, ...]) -> str:
    """The words, or standard input, bounded before it is sent."""
    text = sys.stdin.read(MAX_TEXT_CHARS + 1).rstrip("\n") if words == ("-",) else " ".join(words)
    if not text.strip():
        usage("the text is empty")
    if len(text) > MAX_TEXT_CHARS:
        raise Ending(FAILED, f"the text has more than {MAX_TEXT_CHARS} characters; send it in parts")
    return text


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


COMMANDS: dict[str, click.Command] = {"kick": kick, "announce": announce, "send": send}
