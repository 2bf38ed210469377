"""Where clients come from, as admins see it: each address by its handle, or as itself where `log_addresses` is set.

A handle is made of the keyed digest by which rooms know an address (see `Digests`): so it is the same in the log, in
listings and in `relayctl limits`, it lives as long as the rooms do, and nothing leads back from it to the address.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable

from relayd.errors import FieldProblem, InvalidFields
from relayd.rooms.addresses import UNIX, creator_network
from relayd.rooms.addresses import network as parse_network
from relayd.rooms.blocks import BlockList
from relayd.rooms.digests import Digests, handle_of, parse_handle
from relayd.rooms.refusals import Refusals
from relayd.settings import Settings

log = logging.getLogger("relayd.refused")

MAX_ADDRESSES = 20_000  # known by name, with `log_addresses`; others are shown by their handles
ADMIN = "admin"  # made the rooms that came through the control socket
_LINE = "refused=%(refused)s reason=%(reason)s {}=%(from)s count=%(count)d"


class Origins:
    """Names addresses, and counts what was refused to them.

    Args:
        settings: `log_addresses` and `trusted_proxies` of these count.
        digests: those that rooms use; they are others once rooms are restored.

    Attributes:
        refusals: see `Refusals`.
    """

    def __init__(self, settings: Settings, digests: Callable[[], Digests]) -> None:
        self.refusals = Refusals()
        self._digests = digests
        self._addresses: OrderedDict[bytes, str] = OrderedDict()  # by network
        self._proxies = BlockList()  # not blocked, but asked for in the same way
        self.change(settings)

    def change(self, settings: Settings) -> None:
        """Other settings hold from now on."""
        self._shows_addresses = settings.log_addresses
        self._proxies.change((str(parse_network(one)) for one in settings.trusted_proxies if one != UNIX), b"")
        if not self._shows_addresses:
            self._addresses.clear()

    def note(self, address: str) -> bytes:
        """The digest of an address' smallest network; with `log_addresses` the address is remembered by it."""
        network = self._digests().networks(address)[0]
        self.remember(network, address)
        return network

    def remember(self, network: bytes, address: str) -> None:
        """Where `log_addresses` is set: the address that was last seen of a network with that digest.

        Not that of a trusted proxy: it stands for all clients of which the proxy says nothing, and whoever reads the
        log to ban addresses would ban them all.
        """
        if not self._shows_addresses or self._proxies.has(address):
            return
        self._addresses[network] = address
        self._addresses.move_to_end(network)
        if len(self._addresses) > MAX_ADDRESSES:
            self._addresses.popitem(last=False)

    def name(self, network: bytes) -> str:
        """The address with that digest, or its handle."""
        return self._addresses.get(network) or handle_of(network)

    def creator(self, networks: tuple[bytes, ...]) -> str:
        """Who made a room; see `seats.Creator`."""
        return self.name(networks[0]) if networks else ADMIN

    def matcher(self, text: str) -> Callable[[tuple[bytes, ...]], bool]:
        """Tells whether a room's creator is the address, the IPv6 /64 or /48, the handle or `admin` that is given.

        Raises:
            InvalidFields: it is none of those.
        """
        if text == ADMIN:
            return lambda networks: not networks
        begin = parse_handle(text)
        if begin is not None:
            return lambda networks: bool(networks) and networks[0].startswith(begin)
        try:
            network = self._digests().network(creator_network(text))
        except ValueError:
            reason = "is neither an address, an IPv6 /64 or /48, a handle like a_0123456789ab, nor admin"
            raise InvalidFields(f"created_by: {reason}", problems=(FieldProblem("created_by", reason),)) from None
        return lambda networks: network in networks

    def refuse(self, what: str, reason: str, network: bytes, now: float) -> None:
        """One more refusal of an address that is known by its digest."""
        self.refusals.add(what, reason, network, now)

    def refused(self, entries: Iterable[tuple[str, str, str, int]], now: float) -> None:
        """What a gateway has refused; see `bus.messages.Refused`."""
        for what, reason, address, count in entries:
            self.refusals.add(what, reason, self.note(address) if address else b"", now, count)

    def write_lines(self, now: float) -> None:
        """Log the refusals that are due."""
        for line in self.refusals.lines(now):
            address = self._addresses.get(line.network)
            origin = address or (handle_of(line.network) if line.network else "several")
            fields = {"refused": line.what, "reason": line.reason, "from": origin, "count": line.number}
            log.info(_LINE.format("address" if address else "from"), fields)
