"""Rate limits: what one speaker, one room or one address may do, as a pace that a burst may run ahead of.

Source: the generic cell rate algorithm in its virtual scheduling form (ITU-T I.371, annex A). It is the token
bucket of RFC 2697 turned round: instead of tokens it keeps the time at which the bucket would be full again, so
that one number says everything and a limit that is never near costs a comparison.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from typing import NamedTuple

from relayd.errors import RateLimited
from relayd.rooms.addresses import SITE_FACTOR, prefix_factors, prefixes
from relayd.settings import EgressRate, FileRate, Limits, MessageRate

BURST_S = 5.0  # what that time brings may come at once: a pasted paragraph or two is no flood
OWNER_BURST_S = 4.0  # 20 commands: an owner who kicks a group of spammers, one click each
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
        ahead_s: so many seconds' worth may pass at full speed. May be replaced by assignment.
    """

    __slots__ = ("_paid_at", "ahead_s", "bytes_per_s")

    def __init__(self, bytes_per_s: float, ahead_s: float = AHEAD_S) -> None:
        self.bytes_per_s = bytes_per_s
        self.ahead_s = ahead_s
        self._paid_at = 0.0

    def wait_s(self, now: float) -> float:
        """Seconds after which more may be asked for; 0.0 if it may be now."""
        wait_s = self._paid_at - now - self.ahead_s if self.bytes_per_s else 0.0
        return wait_s if wait_s > _EXACT_S else 0.0

    def book(self, size: int, now: float) -> None:
        """So many bytes were asked for."""
        if self.bytes_per_s:
            self._paid_at = max(self._paid_at, now) + size / self.bytes_per_s

    def refund(self, size: int) -> None:
        """So many bytes, asked for before, are not wanted any more."""
        if self.bytes_per_s:
            self._paid_at -= size / self.bytes_per_s


class Window(NamedTuple):
    """A rate limit: so much may happen at once, and comes back evenly over so many seconds. An amount of 0 is none."""

    amount: float
    seconds: float


class TokenBucket:
    """One rate limit of one room.

    Args:
        window: the limit; an amount of 0 is none.
    """

    __slots__ = ("_paid_at", "_window")

    def __init__(self, window: Window) -> None:
        self._window = window
        self._paid_at = 0.0

    def wait_s(self, now: float, cost: float = 0.0) -> float:
        """Seconds after which `cost` may be spent; 0.0 if it may be now. Without a cost: until no more is owed."""
        amount, seconds = self._window
        if not amount:
            return 0.0
        wait_s = _wait_s(self._paid_at, cost * seconds / amount, now, burst_s=seconds)
        return wait_s if wait_s > _EXACT_S else 0.0

    def book(self, now: float, cost: float) -> None:
        """Book `cost`, even if less than that is left."""
        amount, seconds = self._window
        if amount:
            self._paid_at = max(self._paid_at, now) + cost * seconds / amount

    def spend(self, now: float, cost: float) -> None:
        """Book `cost`, if as much is left; else book nothing.

        Raises:
            RateLimited: with the time after which it would be booked.
        """
        amount, seconds = self._window
        if not amount:
            return
        cost_s, paid_at = cost * seconds / amount, self._paid_at
        paid_at = max(paid_at, now)
        # Without further calls, as every message passes here.
        if paid_at - now + cost_s > seconds and (wait_s := self.wait_s(now, cost)):
            raise RateLimited(retry_after_s=wait_s)
        self._paid_at = paid_at + cost_s


# One address, or the networks that it counts for, as `prefixes` gives them, in any form that tells them apart.
Address = str | tuple[bytes, ...]


class AddressRateLimiter:
    """Rate limits of each address, for a bounded number of addresses; all windows hold at the same time.

    An IPv6 address counts for its /64 and for its /48, which may do `SITE_FACTOR` times as much.

    Args:
        windows: the limits; none of them limits nothing.
        most: networks remembered; the one unused for longest is forgotten first.
    """

    def __init__(self, *windows: Window, most: int = 20_000) -> None:
        self._windows = _limiting(windows)
        self._most = most
        self._paid_at: OrderedDict[str | bytes, tuple[float, ...]] = OrderedDict()  # by network: a time for each window

    def change(self, *windows: Window) -> None:
        """Replace the limits. If they differ, every address starts with all that the new ones allow at once."""
        if _limiting(windows) != self._windows:
            self._windows = _limiting(windows)
            self._paid_at.clear()

    def spend(self, address: Address, now: float, cost: float = 1.0) -> None:
        """Book `cost`, if the address has that much left; else book nothing.

        Raises:
            RateLimited: with the time after which it would be booked.
        """
        wait_s = max(
            (
                _wait_s(paid_at, cost * window.seconds / amount, now, burst_s=window.seconds)
                for _, window, amount, paid_at in self._states(address, now)
            ),
            default=0.0,
        )
        if wait_s > _EXACT_S:
            raise RateLimited("Your address does that too often", retry_after_s=wait_s)
        self.book(address, now, cost)

    def wait_s(self, address: Address, now: float) -> float:
        """Seconds until an address owes no more than it may; 0.0 if it does not now. See `book`."""
        states = self._states(address, now)
        wait_s = max((paid_at - now - window.seconds for _, window, _, paid_at in states), default=0.0)
        return wait_s if wait_s > _EXACT_S else 0.0

    def check(self, address: Address, now: float) -> None:
        """Refuse an address that has spent more than it may, for costs that are known only afterwards; see `book`.

        Raises:
            RateLimited: with the time after which it has something left again.
        """
        wait_s = self.wait_s(address, now)
        if wait_s:
            raise RateLimited("Your address has used up what it may for now", retry_after_s=wait_s)

    def book(self, address: Address, now: float, cost: float = 1.0) -> None:
        """Book `cost`, even if the address has less than that left; it is then refused until that is paid for."""
        paid: dict[str | bytes, list[float]] = {}
        for network, window, amount, paid_at in self._states(address, now):
            paid.setdefault(network, []).append(max(paid_at, now) + cost * window.seconds / amount)
        for network, times in paid.items():
            self._paid_at[network] = tuple(times)
            self._paid_at.move_to_end(network)
        while len(self._paid_at) > self._most:
            self._paid_at.popitem(last=False)

    def refund(self, address: Address, cost: float) -> None:
        """What was booked before is not due after all."""
        self.book(address, 0.0, -cost)  # whatever the time is: what is owed gets less by that much

    def _states(self, address: Address, now: float) -> Iterator[tuple[str | bytes, Window, float, float]]:
        """For each network of the address and each window: what it may do, and when all of it is paid for."""
        if not self._windows:
            return
        networks: tuple[str | bytes, ...] = prefixes(address) if isinstance(address, str) else address
        for factor, network in zip((1, SITE_FACTOR), networks, strict=False):
            for window, paid_at in zip(self._windows, self._paid_at.get(network) or repeat(now), strict=False):
                yield network, window, window.amount * factor, paid_at


class ConnectionLimit:
    """How many connections of each address may be open; an IPv6 address counts as in `AddressRateLimiter`.

    Args:
        most: of one address; 0 means no limit. May be replaced by assignment.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: Counter[str] = Counter()  # by network

    def check(self, address: str) -> None:
        """Let one more pass.

        Raises:
            RateLimited: the address has as many as it may.
        """
        if not self.most:
            return
        for network, factor in prefix_factors(address):
            if self._open[network] >= self.most * factor:
                raise RateLimited("Your address has as many connections as it may", retry_after_s=5)

    def add(self, address: str) -> Callable[[], None]:
        """Count one more, even past the limit.

        Returns:
            What to call once when it is closed.
        """
        networks = prefixes(address)
        self._open.update(networks)
        return partial(self._remove, networks)

    def _remove(self, networks: tuple[str, ...]) -> None:
        self._open.subtract(networks)
        for network in networks:
            if not self._open[network]:
                del self._open[network]


def _limiting(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    return tuple(window for window in windows if window.amount)


def per_minute(rate: float) -> Window:
    """A rate a minute, a whole minute's worth of which may come at once."""
    return Window(rate, 60)


def per_hour(rate: float) -> Window:
    """A rate an hour, a whole hour's worth of which may come at once."""
    return Window(rate, 3_600)


class Budgets(NamedTuple):
    """What one room may cause, however many connections it is caused through.

    Attributes:
        deliveries: messages and signals, once for each connection that they go to.
        owner_commands: commands of its owner.
        moderator_commands: the same of all its moderators, who so cannot use up what the owner may do.
        egress: bytes of what is sent in the room apart from messages, signals and files.
    """

    deliveries: TokenBucket
    owner_commands: TokenBucket
    moderator_commands: TokenBucket
    egress: TokenBucket


def room_budgets(limits: Limits) -> Budgets:
    """Those of one room; none of them is spent."""
    egress, commands = limits.egress_rate, _window(limits.owner_commands_per_s, OWNER_BURST_S)
    return Budgets(
        TokenBucket(_window(limits.rate.room_deliveries, BURST_S)),
        TokenBucket(commands),
        TokenBucket(commands),
        TokenBucket(_window(egress.room_bytes, egress.burst_s)),
    )


def address_egress(rate: EgressRate) -> Window:
    """The bytes that may be sent because of one address."""
    return _window(rate.address_bytes, rate.burst_s)


def address_file_rate(rate: FileRate) -> Window:
    """The bytes of files that may be delivered for the senders of one address."""
    return _window(rate.address_bytes, rate.burst_s)


def _window(per_s: float, burst_s: float) -> Window:
    return Window(per_s * burst_s, burst_s)
