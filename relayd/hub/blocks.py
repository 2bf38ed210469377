"""What admins have closed to strangers for now: addresses that may not connect, and the creation of rooms.

Both are kept in memory only: an upgrade passes them on, a restart forgets them.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

import msgspec

from relayd.bus.messages import EVERY_GATEWAY, Blocked, Event
from relayd.errors import FieldProblem, InvalidFields, NotFound, RoomsFrozen
from relayd.rooms.addresses import UNIX, network
from relayd.rooms.blocks import BlockList, parse_target
from relayd.rooms.digests import Digests, handle_of, parse_handle

MAX_BLOCKS = 4_096  # every gateway gets all of them with each change; more are the business of a firewall
_RETRY_S = 60.0  # for those who want a room while none is created: often enough for a person who waits


class Block(msgspec.Struct, frozen=True):
    """One address, network or handle that is blocked.

    Attributes:
        target: as `parse_target` gives it.
        since, until: seconds since 1970; without an end until it is unblocked.
    """

    target: str
    since: float
    until: float | None


class ClosedState(msgspec.Struct, frozen=True):
    """All of this, for the process that takes over. The key is that of `Digests`, by which handles are made."""

    digest_key: bytes
    blocks: list[Block]
    frozen_since: float | None


class Closed:
    """Blocked addresses, and whether strangers may create rooms.

    Args:
        publish: tells gateways on a topic.
        digests: those that rooms use.

    Attributes:
        blocked: asked about each client.
        frozen_since: seconds since 1970, when the creation of rooms was closed; None while it is open.
    """

    def __init__(self, publish: Callable[[bytes, Event], None], digests: Callable[[], Digests]) -> None:
        self.blocked = BlockList()
        self.frozen_since: float | None = None
        self._publish = publish
        self._digests = digests
        self._blocks: dict[str, Block] = {}

    def check_creation(self) -> None:
        """Let a stranger create a room.

        Raises:
            RoomsFrozen: nobody but admins may now.
        """
        if self.frozen_since is not None:
            raise RoomsFrozen(retry_after_s=_RETRY_S)

    def freeze(self, now: float) -> None:
        """Let strangers create no rooms; where that is so already, since when stays as it is."""
        if self.frozen_since is None:
            self.frozen_since = now

    def unfreeze(self) -> None:
        """Let them again."""
        self.frozen_since = None

    @property
    def blocks(self) -> list[Block]:
        """All, the oldest first."""
        return list(self._blocks.values())

    def block(self, text: str, for_s: float | None, proxies: tuple[str, ...], now: float) -> Block:
        """Block an address, a network or a handle; one that is blocked already gets the new end.

        Args:
            for_s: seconds; None until it is unblocked.
            proxies: those that are trusted, see `Settings.trusted_proxies`.

        Raises:
            InvalidFields: it is none, or one of a trusted proxy, behind which everybody is; or there are too many.
        """
        target = _target(text)
        self._check_proxies(target, proxies)
        if target not in self._blocks and len(self._blocks) >= MAX_BLOCKS:
            raise _wrong(f"there are {MAX_BLOCKS} blocks, the most there may be: block networks, or unblock some")
        block = Block(target, now, None if for_s is None else now + for_s)
        self._blocks.pop(target, None)
        self._blocks[target] = block
        self.tell()
        return block

    def unblock(self, text: str) -> Block:
        """End a block.

        Raises:
            InvalidFields: that is no address, network or handle.
            NotFound: it is not blocked by itself.
        """
        target = _target(text)
        block = self._blocks.pop(target, None)
        if block is None:
            within = self._around(target)
            raise NotFound(f"{target} is not blocked" + (f"; it is in {within}, which is" if within else ""))
        self.tell()
        return block

    def tell(self) -> None:
        """Have every gateway go by what is blocked now."""
        targets, key = list(self._blocks), self._digests().key
        self.blocked.change(targets, key)
        self._publish(EVERY_GATEWAY, Blocked(targets, key))

    def tell_newcomer(self) -> None:
        """A gateway listens from now on: it is told if there is anything to tell."""
        if self._blocks:
            self.tell()

    def next_due(self) -> float | None:
        """When the next block ends."""
        return min((block.until for block in self._blocks.values() if block.until is not None), default=None)

    def advance(self, now: float) -> None:
        """End the blocks whose time is over."""
        over = [block.target for block in self._blocks.values() if block.until is not None and block.until <= now]
        for target in over:
            del self._blocks[target]
        if over:
            self.tell()

    def state(self) -> ClosedState:
        """For the process that takes over."""
        return ClosedState(self._digests().key, self.blocks, self.frozen_since)

    def restore(self, state: ClosedState) -> None:
        """What the process before had, once its key holds."""
        self.frozen_since = state.frozen_since
        self._blocks = {block.target: block for block in state.blocks}
        self.tell_newcomer()

    def _check_proxies(self, target: str, proxies: tuple[str, ...]) -> None:
        is_handle = parse_handle(target) is not None
        for proxy in proxies:
            # A handle cannot be compared with a network of proxies, but with a single one.
            address = proxy.removesuffix("/32").removesuffix("/128")
            same = is_handle and "/" not in address and handle_of(self._digests().networks(address)[0]) == target
            if same or (not is_handle and proxy != UNIX and _overlap(target, str(network(proxy)))):
                raise _wrong(f"{target} is of the trusted proxy {proxy}: that would block everybody behind it")

    def _around(self, target: str) -> str | None:
        if parse_handle(target) is not None:
            return None
        return next((one for one in self._blocks if parse_handle(one) is None and _overlap(one, target)), None)


def _overlap(one: str, other: str) -> bool:
    first, second = ip_network(one), ip_network(other)
    return first.version == second.version and first.overlaps(second)


def _target(text: str) -> str:
    try:
        return parse_target(text)
    except ValueError as wrong:
        raise _wrong(str(wrong)) from None


def _wrong(reason: str) -> InvalidFields:
    return InvalidFields(reason, problems=(FieldProblem("target", reason),))
