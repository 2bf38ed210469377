"""Rate limits: what one speaker, one room or one address may do, as a pace that a burst may run ahead of.

Source: the generic cell rate algorithm in its virtual scheduling form (ITU-T I.371, annex A). It is the token
bucket of RFC 2697 turned round: instead of tokens it keeps the time at which the bucket would be full again, so
that one number says everything and a limit that is never near costs a comparison.
"""

from __future__ import annotations

from collections import OrderedDict

from relayd.errors import RateLimited
from relayd.rooms.addresses import neighbourhood
from relayd.settings import MessageRate

BURST_S = 5.0  # what that time brings may come at once: a pasted paragraph or two is no flood
AHEAD_S = 0.25  # what files may run ahead of their pace: a few chunks, so that no timer decides how fast they go
_EXACT_S = 1e-9  # closer than that is equal: sums of floats


class Allowance:
    """What one speaker (a user, a connection or a room) may say: messages, signals and bytes a second.

    What is larger than a whole burst may pass when nothing else is owed, else it never could; it is owed then.

    Args:
        messages, signals, payload_bytes: what a second brings of each; 0 means no limit.
        now: seconds on the caller's clock, which never goes back.
    """

    __slots__ = ("_byte_s", "_bytes_at", "_message_s", "_messages_at", "_signal_s", "_signals_at")

    def __init__(self, messages: float, signals: float, payload_bytes: float, now: float) -> None:
        self._message_s, self._signal_s, self._byte_s = (
            1 / rate if rate else 0.0 for rate in (messages, signals, payload_bytes)
        )
        # When all that was said of each kind will have been paid for.
        self._messages_at = self._signals_at = self._bytes_at = now

    @property
    def debts(self) -> tuple[float, float, float]:
        """When all messages, signals and bytes so far will have been paid for."""
        return self._messages_at, self._signals_at, self._bytes_at

    @debts.setter
    def debts(self, debts: tuple[float, float, float]) -> None:
        self._messages_at, self._signals_at, self._bytes_at = debts

    def take_message(self, size: int, now: float) -> float:
        """Books a message of `size` bytes, unless it must wait.

        Returns:
            0.0, or the seconds to wait; nothing is booked then.
        """
        bytes_s = size * self._byte_s
        if self._messages_at <= now >= self._bytes_at:  # nothing is owed, as nearly always
            self._messages_at, self._bytes_at = now + self._message_s, now + bytes_s
            return 0.0
        wait_s = max(_wait_s(self._messages_at, self._message_s, now), _wait_s(self._bytes_at, bytes_s, now))
        if wait_s > _EXACT_S:
            return wait_s
        self._messages_at = max(self._messages_at, now) + self._message_s
        self._bytes_at = max(self._bytes_at, now) + bytes_s
        return 0.0

    def take_signal(self, size: int, now: float) -> float:
        """Books a signal of `size` bytes, unless it must wait; as `take_message`."""
        bytes_s = size * self._byte_s
        wait_s = max(_wait_s(self._signals_at, self._signal_s, now), _wait_s(self._bytes_at, bytes_s, now))
        if wait_s > _EXACT_S:
            return wait_s
        self._signals_at = max(self._signals_at, now) + self._signal_s
        self._bytes_at = max(self._bytes_at, now) + bytes_s
        return 0.0


def user_allowance(rate: MessageRate, now: float) -> Allowance:
    """What one user may say."""
    return Allowance(rate.user_messages, rate.user_signals, rate.user_bytes, now)


def room_allowance(rate: MessageRate, now: float) -> Allowance:
    """What one room may hear."""
    return Allowance(rate.room_messages, rate.room_signals, rate.room_bytes, now)


def _wait_s(paid_at: float, cost_s: float, now: float, burst_s: float = BURST_S) -> float:
    return paid_at - now - (burst_s - cost_s if cost_s < burst_s else 0.0)


class Pace:
    """How fast something may go that is asked for, not offered: nothing is refused, it is asked for later.

    Args:
        bytes_per_s: 0 means no limit. May be replaced by assignment.
    """

    __slots__ = ("_paid_at", "bytes_per_s")

    def __init__(self, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s
        self._paid_at = 0.0

    def wait_s(self, now: float) -> float:
        """Seconds after which more may be asked for; 0.0 if it may be now."""
        wait_s = self._paid_at - now - AHEAD_S if self.bytes_per_s else 0.0
        return wait_s if wait_s > _EXACT_S else 0.0

    def book(self, size: int, now: float) -> None:
        """So many bytes were asked for."""
        if self.bytes_per_s:
            self._paid_at = max(self._paid_at, now) + size / self.bytes_per_s

    def refund(self, size: int) -> None:
        """So many bytes, asked for before, are not wanted any more."""
        if self.bytes_per_s:
            self._paid_at -= size / self.bytes_per_s


class PerAddress:
    """A rate for each address, for a bounded number of addresses.

    Args:
        per_minute: how many an address may do in a minute, all at once if it likes; 0 means no limit.
        most: addresses remembered; the one unused for longest is forgotten first.
    """

    def __init__(self, per_minute: float, most: int = 10_000) -> None:
        self.per_minute = per_minute
        self._most = most
        self._paid_at: OrderedDict[str, float] = OrderedDict()

    def change(self, per_minute: float) -> None:
        """Another rate holds from now on, and everyone starts with a full minute's worth."""
        if per_minute != self.per_minute:
            self.per_minute = per_minute
            self._paid_at.clear()

    def spend(self, address: str, now: float) -> None:
        """Books one.

        Raises:
            RateLimited: with the time after which the next one may come.
        """
        if not self.per_minute:
            return
        address = neighbourhood(address)
        cost_s = 60 / self.per_minute
        paid_at = self._paid_at.pop(address, now)
        wait_s = _wait_s(paid_at, cost_s, now, burst_s=60)
        spent = wait_s <= _EXACT_S
        self._paid_at[address] = max(paid_at, now) + cost_s if spent else paid_at
        if len(self._paid_at) > self._most:
            self._paid_at.popitem(last=False)
        if not spent:
            raise RateLimited("Your address does that too often", retry_after_s=wait_s)
