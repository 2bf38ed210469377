"""What a client inside a room says, as items of the bus: one function for each command, checked as far as it can
be without knowing the room.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from relayd.bus.messages import FileWork, Item, Leave, Moderation, OfferFile, Say, SetProfile, Signal
from relayd.errors import ProtocolViolation
from relayd.gateway.sealed import Seal
from relayd.rooms.seal import OPEN, rekey_bytes
from relayd.wire import commands
from relayd.wire.commands import MAX_PROFILE_BYTES, MAX_SIGNAL_BYTES, check_depth, check_numbers, check_object


class Spoken(msgspec.Struct, gc=False):
    """An item, and what it counts as: so many bytes of a message or a signal, or a grant that a chunk has paid for."""

    item: Item
    message_bytes: int | None = None
    signal_bytes: int | None = None
    is_grant: bool = False


def spoken(number: int, command: commands.Command, seal: Seal | None) -> Spoken:
    """What to tell the hub.

    Args:
        number: of the socket.
        command: anything but a join and a ping, which the socket answers itself.
        seal: of the socket, in a sealed room.

    Raises:
        ProtocolViolation, NotSealed: nothing is to be told.
    """
    return _ITEMS[type(command)](number, command, seal)


def _message(number: int, command: commands.Message, seal: Seal | None) -> Spoken:
    body = bytes(command.body)
    check_depth(body)
    if seal is None:
        check_numbers(body)
    epoch = OPEN if seal is None else seal.epoch_of(body)
    say = Say(number, command.id, body, command.to, epoch)
    return Spoken(say if command.file is None else OfferFile(number, say, command.file), message_bytes=len(body))


def _signal(number: int, command: commands.Signal, seal: Seal | None) -> Spoken:
    data = bytes(command.data) if isinstance(command.data, msgspec.Raw) else b"null"
    if len(data) > MAX_SIGNAL_BYTES:
        raise ProtocolViolation(f"data has more than {MAX_SIGNAL_BYTES} bytes")
    check_depth(data)
    check_numbers(data)
    epoch = OPEN if seal is None else seal.epoch_of_signal(command.kind, data)
    return Spoken(Signal(number, command.kind, data, command.to, epoch), signal_bytes=len(data))


def _profile(number: int, command: commands.Profile, seal: Seal | None) -> Spoken:
    profile = bytes(command.profile)
    check_object(profile, MAX_PROFILE_BYTES, "profile")
    epoch = OPEN if seal is None else seal.epoch_of(profile, "profile")
    return Spoken(SetProfile(number, command.id, profile, epoch), signal_bytes=len(profile))


def _rekey(number: int, command: commands.Rekey, seal: Seal | None) -> Spoken:
    return Spoken(Moderation(number, command), message_bytes=rekey_bytes(len(command.boxes)))


def _moderation(number: int, command: Any, seal: Seal | None) -> Spoken:
    return Spoken(Moderation(number, command), message_bytes=0)


def _file_work(number: int, command: Any, seal: Seal | None) -> Spoken:
    return Spoken(FileWork(number, command), message_bytes=0)


def _grant(number: int, command: commands.Grant, seal: Seal | None) -> Spoken:
    return Spoken(FileWork(number, command), is_grant=True)


def _leave(number: int, command: commands.Leave, seal: Seal | None) -> Spoken:
    return Spoken(Leave(number), message_bytes=0)


def _join(number: int, command: commands.Join, seal: Seal | None) -> Spoken:
    raise ProtocolViolation("this connection has joined already")


_ITEMS: dict[type, Callable[[int, Any, Seal | None], Spoken]] = {
    commands.Join: _join,
    commands.Message: _message,
    commands.Signal: _signal,
    commands.Profile: _profile,
    commands.Kick: _moderation,
    commands.Mute: _moderation,
    commands.Unmute: _moderation,
    commands.Admit: _moderation,
    commands.Deny: _moderation,
    commands.Promote: _moderation,
    commands.Demote: _moderation,
    commands.Remove: _moderation,
    commands.Edit: _moderation,
    commands.Close: _moderation,
    commands.Rekey: _rekey,
    commands.Accept: _file_work,
    commands.Grant: _grant,
    commands.Serve: _file_work,
    commands.Cancel: _file_work,
    commands.Done: _file_work,
    commands.Leave: _leave,
}
