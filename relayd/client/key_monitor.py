"""When a member is warned that keys are not confirmed: rules, without a clock or a timer of their own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

_MOST_CHECKS: Final = 2  # so many intervals between two checks count; what is longer was a sleep of the machine


class KeyTimes(NamedTuple):
    """How often keys are confirmed, and when a confirmation is missed; all in seconds.

    Attributes:
        check_s: between two checks.
        confirm_s: between two confirmations of the owner's client.
        again_s: between two of them if somebody has come or come back, who may have missed the last one.
        owner_s: without a confirmation before a warning: two that did not come, and half a minute for slow machines.
        user_s: after new keys, in which a connected user's client shows its card again, however slow it is.
    """

    check_s: float = 10.0
    confirm_s: float = 180.0
    again_s: float = 30.0
    owner_s: float = 390.0
    user_s: float = 30.0


KEY_TIMES: Final = KeyTimes()


class Findings(NamedTuple):
    """What one check has found, each told once.

    Attributes:
        owner_missing_s: for so long the owner has not confirmed the present keys; None for nothing to be told.
        users: ids of users who have not confirmed the present keys, and are told for the first time.
    """

    owner_missing_s: float | None
    users: list[str]


class KeyMonitor:
    """Counts how long confirmations of the present keys are missing.

    Only time in which this client is connected and the other one is shown as connected counts. Between two checks it is
    twice their interval at most, so a sleep of the machine counts as nothing.

    Args:
        times: what is expected, and when.
        now: seconds on the caller's monotonic clock.
    """

    def __init__(self, times: KeyTimes, now: float) -> None:
        self._times = times
        self._checked_at = now
        self._owner_missing_s = 0.0
        self._users_missing_s: dict[str, float] = {}
        self._least_delay_s: dict[bytes, float] = {}  # sid of an owner's client -> of its confirmations
        self._warned = False

    def on_epoch(self) -> None:
        """The keys are new: nothing is missing yet."""
        self._owner_missing_s = 0.0
        self._users_missing_s.clear()
        self._warned = False

    def on_confirmation(self, sid: bytes, t_ms: int, now: float) -> bool:
        """Takes a confirmation whose signature fits.

        Clocks are compared by their intervals only: a confirmation that was under way for `confirm_s` longer than the
        fastest one of its connection was held back, and counts as missing.

        Args:
            sid: of the connection that sent it.
            t_ms: when it was signed, ms on the signer's clock.
            now: seconds on the caller's monotonic clock.

        Returns:
            Whether it ends a warning.
        """
        delay_s = now - t_ms / 1000
        least_s = self._least_delay_s[sid] = min(delay_s, self._least_delay_s.get(sid, delay_s))
        if delay_s - least_s > self._times.confirm_s:
            return False
        ends_warning, self._warned = self._warned, False
        self._owner_missing_s = 0.0
        return ends_warning

    def check(self, now: float, *, connected: bool, owner_present: bool, unconfirmed: Collection[str]) -> Findings:
        """Counts the time since the last check.

        Args:
            now: seconds on the caller's monotonic clock.
            connected: whether this client is.
            owner_present: whether an owner who can confirm keys is shown as connected.
            unconfirmed: ids of the users shown as connected who have not shown a card of the present epoch.
        """
        elapsed_s = min(now - self._checked_at, _MOST_CHECKS * self._times.check_s) if connected else 0.0
        self._checked_at = now
        if owner_present:
            self._owner_missing_s += elapsed_s
        is_new = not self._warned and self._owner_missing_s >= self._times.owner_s
        self._warned |= is_new
        return Findings(self._owner_missing_s if is_new else None, self._count(unconfirmed, elapsed_s))

    def _count(self, unconfirmed: Collection[str], elapsed_s: float) -> list[str]:
        limit_s, before = self._times.user_s, self._users_missing_s
        # Of users who are not shown as connected the time stays, so that each is told once.
        now = {user: before.get(user, 0.0) + elapsed_s for user in unconfirmed}
        self._users_missing_s = before | now
        return [user for user, missing_s in now.items() if before.get(user, 0.0) < limit_s <= missing_s]
