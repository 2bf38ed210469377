"""Rate limits: token buckets, and what one speaker or one room may spend of each kind."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from relayd.errors import RateLimited
from relayd.settings import MessageRate

BURST_S = 5.0  # a bucket holds what its rate gives in that time: a pasted paragraph or two is no flood


class TokenBucket:
    """One rate, with a burst on top of it.

    Args:
        rate: tokens a second.
        burst: tokens it holds when full, as it is at first.
        now: seconds on the caller's clock, which never goes back.

    Source: token bucket as in RFC 2697, one rate only.
    """

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = now

    def wait_s(self, cost: float, now: float) -> float:
        """Seconds until `cost` tokens are there; 0.0 if they are. A cost above the burst needs a full bucket."""
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        return max(0.0, (min(cost, self.burst) - self._tokens) / self.rate)

    def take(self, cost: float, now: float) -> bool:
        """Spend `cost` tokens if the bucket holds them.

        Args:
            cost: tokens; 1.0 is one ordinary message.
            now: seconds on the caller's clock; never goes back.

        Returns:
            False if the sender must wait; nothing is spent then.
        """
        if self.wait_s(cost, now) > 0:
            return False
        self._tokens -= cost
        return True


class Allowance:
    """What one speaker (a user, a connection or a room) may say: messages, signals and bytes a second.

    Args:
        messages, signals, payload_bytes: what a second brings of each; 0 means no limit.
    """

    __slots__ = ("_bytes", "_messages", "_signals")

    def __init__(self, messages: float, signals: float, payload_bytes: float, now: float) -> None:
        self._messages = _bucket(messages, now)
        self._signals = _bucket(signals, now)
        self._bytes = _bucket(payload_bytes, now)

    def message_wait_s(self, size: int, now: float) -> float:
        """Seconds until a message of `size` bytes may be said."""
        return max(_wait(self._messages, 1.0, now), _wait(self._bytes, size, now))

    def signal_wait_s(self, size: int, now: float) -> float:
        """Seconds until a signal of `size` bytes may be given."""
        return max(_wait(self._signals, 1.0, now), _wait(self._bytes, size, now))

    def spend_message(self, size: int, now: float) -> None:
        """Books a message for which there was no wait."""
        _spend(self._messages, 1.0, now)
        _spend(self._bytes, size, now)

    def spend_signal(self, size: int, now: float) -> None:
        """Books a signal for which there was no wait."""
        _spend(self._signals, 1.0, now)
        _spend(self._bytes, size, now)


def user_allowance(rate: MessageRate, now: float) -> Allowance:
    """What one user may say."""
    return Allowance(rate.user_messages, rate.user_signals, rate.user_bytes, now)


def room_allowance(rate: MessageRate, now: float) -> Allowance:
    """What one room may hear."""
    return Allowance(rate.room_messages, rate.room_signals, rate.room_bytes, now)


def _bucket(rate: float, now: float) -> TokenBucket | None:
    return TokenBucket(rate, max(1.0, rate * BURST_S), now) if rate else None


def _wait(bucket: TokenBucket | None, cost: float, now: float) -> float:
    return bucket.wait_s(cost, now) if bucket is not None else 0.0


def _spend(bucket: TokenBucket | None, cost: float, now: float) -> None:
    if bucket is not None:
        bucket.take(cost, now)


class PerAddress:
    """A rate for each address, for a bounded number of addresses.

    Args:
        per_minute: how many an address may do in a minute, all at once if it likes; 0 means no limit.
        most: addresses remembered; the one unused for longest is forgotten first.
    """

    def __init__(self, per_minute: float, most: int = 10_000) -> None:
        self.per_minute = per_minute
        self._most = most
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def change(self, per_minute: float) -> None:
        """Another rate holds from now on, and everyone starts with a full minute's worth."""
        if per_minute != self.per_minute:
            self.per_minute = per_minute
            self._buckets.clear()

    def spend(self, address: Hashable, now: float) -> None:
        """Books one.

        Raises:
            RateLimited: with the time after which the next one may come.
        """
        if not self.per_minute:
            return
        bucket = self._buckets.pop(address, None) or TokenBucket(self.per_minute / 60, self.per_minute, now)
        self._buckets[address] = bucket
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        wait_s = bucket.wait_s(1.0, now)
        if wait_s > 0:
            raise RateLimited("Your address does that too often", retry_after_s=wait_s)
        bucket.take(1.0, now)
