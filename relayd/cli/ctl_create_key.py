"""`relayctl create key`: a key for people who may create rooms."""

from __future__ import annotations

import os

import click

from relayd.cli.ctl_base import Session, command


@command("relayctl create key", name="key")
def create_key(session: Session) -> None:
    """Make a key for people who may create rooms.

    It needs no running relayd. Add the digest to rooms.create_keys, set rooms.create to "key", and reload. The key
    itself is stored nowhere: give it to those who may create rooms. To take it back, remove its digest.
    """
    from relayd.wire.ids import CREATE, digest_of, new_key  # noqa: PLC0415

    key = new_key(CREATE, os.urandom)
    session.show({"key": key, "digest": digest_of(key).hex()}, _show)


def _show(made: dict[str, str]) -> None:
    click.echo(f"Key     {made['key']}\nDigest  {made['digest']}")
