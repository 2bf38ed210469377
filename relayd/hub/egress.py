"""What the server sends because of what somebody did, apart from messages, signals and files: who it is charged to.

Each byte is charged after it was sent, as its number is known only then: the address (for IPv6 its networks) of the one
who caused it, and the room. Who owes more than a burst is refused until that is paid for. The room refuses nothing, so
that nobody can lock others out of it: its presence is collected for longer.

| what | charged to the address | to the room |
| --- | --- | --- |
| a join | `joined` and the frames after it; the user's entry for each connection in the room | the frames |
| a profile; a user who goes away | the user's entry for each connection | |
| an edit of the room | its frame for each connection | the same |
| a list of users over REST | its bytes | |
| presence frames | | each for each connection |
"""

from __future__ import annotations

from relayd.rooms import view
from relayd.rooms.limits import Address, AddressRateLimiter, Budgets, address_egress, room_budgets
from relayd.rooms.member import Member
from relayd.rooms.room import Room
from relayd.settings import Limits


class Egress:
    """Keeps these accounts.

    Args:
        limits: see `EgressRate`; the room's other budgets come from them, too.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._addresses = AddressRateLimiter(address_egress(limits.egress_rate))

    def change(self, limits: Limits) -> None:
        """Other limits hold from now on."""
        self._limits = limits
        self._addresses.change(address_egress(limits.egress_rate))

    def budgets(self, room: Room) -> Budgets:
        """Those of the room."""
        if room.budgets is None:
            room.budgets = room_budgets(self._limits)
        return room.budgets

    def check(self, address: Address, now: float) -> None:
        """Refuse an address because of which too much was sent.

        Raises:
            RateLimited: with the time after which it may cause something again.
        """
        self._addresses.check(address, now)

    def charge(self, address: Address, size: int, now: float) -> None:
        """So many bytes were sent because of that address, or will be."""
        self._addresses.book(address, now, size)

    def charge_entry(self, room: Room, member: Member, now: float) -> None:
        """Everyone in the room will be sent how the user looks now."""
        self.charge(member.networks, len(view.entry(member)) * room.connections, now)

    def charge_room(self, room: Room, size: int, now: float) -> None:
        """So many bytes were sent in that room."""
        self.budgets(room).egress.book(now, size)

    def wait_s(self, room: Room, now: float) -> float:
        """Seconds until the room owes no more than a burst."""
        return self.budgets(room).egress.wait_s(now)
