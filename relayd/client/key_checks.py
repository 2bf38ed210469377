"""Confirms the present keys of a sealed room where this client is the owner's, and warns where that is missing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from relayd.client.errors import NotConnected
from relayd.client.events import Event, KeysConfirmed, NewKeysMissed, OwnerUnconfirmed, UsersUnconfirmed
from relayd.client.hearing import Hearing
from relayd.client.sealed_voice import SealedVoice
from relayd.client.stream import Stream
from relayd.client.users import User
from relayd.client.voice import Voice
from relayd.wire.sealed_shapes import SIGNAL_KIND


class KeyChecks:
    """What a member does about keys while time passes: confirm them, miss confirmations, drop ended ones.

    Args:
        voice: holds the keys; that of an open room has none, and nothing is done.
        hearing: knows who is here.
        stream: the connection.
        emit: takes the warnings.
    """

    def __init__(self, voice: Voice, hearing: Hearing, stream: Stream, emit: Callable[[Event], None]) -> None:
        self._voice = voice if isinstance(voice, SealedVoice) else None
        self._hearing = hearing
        self._stream = stream
        self._emit = emit
        self._ready = False  # the server has accepted a card of the present epoch on the present connection
        self._confirmed_to: set[str] = set()  # ids of the users connected from the last confirmation on
        self._missed_epoch: int | None = None  # in which it was told that newer keys were missed
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Checks from now on."""
        if self._voice is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._voice.times.check_s, self._check_again, self._voice)

    def close(self) -> None:
        """Checks no more."""
        if self._timer is not None:
            self._timer.cancel()

    def on_ready(self) -> None:
        """The server has accepted this client's card: from the next check on the keys are confirmed."""
        self._ready = True

    def on_unready(self) -> None:
        """The connection is lost, or the keys are new."""
        self._ready = False

    def unconfirmed(self) -> list[User]:
        """Everyone here whose client has not confirmed the present keys."""
        voice, users = self._voice, self._hearing.roster.all()
        return [] if voice is None else [user for user in users if not voice.has_confirmed(user.id)]

    def _check_again(self, voice: SealedVoice) -> None:
        self.start()
        now, others = self._stream.clock(), self._others(voice)
        voice.drop_ended_keys()
        if self._ready and voice.can_confirm and self._is_due(voice, others, now):
            self._confirm(voice, others)
        if voice.warning_ended:
            voice.warning_ended = False
            self._emit(KeysConfirmed())
        if voice.newer_keys_missed and self._missed_epoch != voice.epoch:
            self._missed_epoch = voice.epoch
            self._emit(NewKeysMissed())
        self._tell_missing(voice, others, now)

    def _others(self, voice: SealedVoice) -> list[User]:
        """Everyone else who is shown as connected."""
        return [user for user in self._hearing.roster.all() if user.id != voice.me and not user.away]

    def _is_due(self, voice: SealedVoice, others: list[User], now: float) -> bool:
        if voice.owner_confirmed_at is None:
            return True
        # Signals are not kept for anyone: who was not connected has missed the last one.
        present = {user.id for user in others}
        self._confirmed_to &= present
        came = present > self._confirmed_to
        return now - voice.owner_confirmed_at >= (voice.times.again_s if came else voice.times.confirm_s)

    def _tell_missing(self, voice: SealedVoice, others: list[User], now: float) -> None:
        found = voice.monitor.check(
            now,
            connected=self._stream.connected,
            owner_present=voice.can_be_confirmed and any(user.is_owner for user in others),
            unconfirmed=[user.id for user in others if not voice.has_confirmed(user.id)],
        )
        if found.owner_missing_s is not None:
            self._emit(OwnerUnconfirmed(int(found.owner_missing_s // 60)))
        if found.users:
            self._emit(UsersUnconfirmed([self._hearing.roster.known(user_id) for user_id in found.users]))

    def _confirm(self, voice: SealedVoice, others: list[User]) -> None:
        self._confirmed_to = {user.id for user in others}
        with contextlib.suppress(NotConnected):
            self._stream.send({"type": "signal", "kind": SIGNAL_KIND, "data": voice.confirmation()})
