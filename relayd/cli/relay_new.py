"""`relay new`: makes a room."""

from __future__ import annotations

import os
import sys
import time
from typing import NamedTuple

import click

from relayd.cli import relay_keys
from relayd.cli.relay_common import ask_password, ask_secret, given_password, note, run
from relayd.cli.relay_refused import EXIT_USAGE, fail
from relayd.client import Rest, create
from relayd.client.words import words_of
from relayd.errors import NoKey
from relayd.wire.rest import USERS_LEAVE
from relayd.wire.sealing import password_bytes
from relayd.wire.sealing_text import SealingError

PASSPHRASE_BYTES = 6  # six words, 48 bits, beside the link's secret


class NewOptions(NamedTuple):
    """What the command line says."""

    server: str
    name: str | None
    max_users: int | None
    expires: str
    with_password: bool
    is_open: bool
    has_lobby: bool
    with_create_key: bool


def make(options: NewOptions) -> None:
    """Makes the room, keeps what makes one its owner, prints the link."""
    if options.is_open and options.with_password:
        fail("--open and --password do not go together: a room with a password is sealed", EXIT_USAGE)
    expires = _hours(options.expires)
    password = _choose_password() if options.with_password else None
    create_key = os.environ.pop("RELAY_CREATE_KEY", "")
    if options.with_create_key:
        create_key = ask_secret("Key to create rooms: ", "RELAY_CREATE_KEY")
    run(_make(options, expires, password, create_key.strip()))


def _hours(text: str) -> float | str:
    if text == USERS_LEAVE:
        return text
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours <= 24:
        fail(f"--expires is a number of hours, at most 24, or {USERS_LEAVE}", EXIT_USAGE)
    return hours


def _choose_password() -> str:
    password = given_password()
    if password is None:
        password = ask_password("Password for the room (nothing for a generated one): ")
        if not password:
            password = "-".join(words_of(os.urandom(PASSPHRASE_BYTES)))
            note(f"the password is {password}")
        elif ask_password("Once more: ") != password:
            fail("the two are not the same", EXIT_USAGE)
    try:
        password_bytes(password)
    except SealingError as wrong:
        fail(str(wrong), EXIT_USAGE)
    return password


async def _make(options: NewOptions, expires: float | str, password: str | None, create_key: str) -> None:
    try:
        made = await create(
            options.server,
            name=options.name,
            max_users=options.max_users,
            expires=expires,
            password=password,
            sealed=not options.is_open,
            settings={"lobby": True} if options.has_lobby else None,
            create_key=create_key,
        )
    except NoKey:
        fail("this server wants a key for new rooms: use --create-key, or set RELAY_CREATE_KEY")
    try:
        relay_keys.keep(made)
    except OSError as wrong:
        note(f"the owner's key cannot be kept ({wrong.strerror}): you will be a member like any other")
    if sys.stdout.isatty():
        kind = "open: the server can read along" if options.is_open else "sealed"
        note(f"{made.name} is {kind}; get in with: relay join LINK")
        _show_qr(made.link)
    click.echo(made.link)
    ends_s = relay_keys.read_time_s(made.expiration_date)
    if ends_s is not None:
        hours = 24.0 if isinstance(expires, str) else expires
        await relay_keys.sweep(Rest(options.server), local_s=time.time(), server_s=ends_s - hours * 3600)


def _show_qr(link: str) -> None:
    import segno  # noqa: PLC0415 # 50 ms, for terminals only

    # A margin of 2, where 4 is the rule: so code and link fit on a screen of 24 lines, and telephones read it.
    segno.make(link, error="l", micro=False).terminal(border=2, compact=True)
