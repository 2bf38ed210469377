"""Who is in a room, as those in it are told: not each coming and going, but every while the sum of them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from relayd.bus.messages import PresenceTold
from relayd.hub.outgoing import Outgoing
from relayd.rooms import view
from relayd.rooms.member import Member
from relayd.rooms.ring import Author, Rings
from relayd.rooms.room import Room
from relayd.wire import events

MAX_NEWCOMERS_TOLD = 500  # in one frame: what comes in a quarter of a second at 2,000 joins a second


class Attendance:
    """Tells what the rooms' `PresenceLog` have collected when it is time.

    Args:
        outgoing: takes what is told.
        rings: of all rooms.
        happened: is told of everyone who came or went; see `Happenings.tell`.
        interval_s: how long it is collected.

    Attributes:
        interval_s: may be changed.
    """

    def __init__(self, outgoing: Outgoing, rings: Rings, happened: Callable[..., None], interval_s: float) -> None:
        self._outgoing = outgoing
        self._rings = rings
        self._happened = happened
        self.interval_s = interval_s
        self._since: dict[Room, float] = {}  # when the first of it happened, in that order

    def changed(self, room: Room, now: float) -> None:
        """Perhaps there is something to tell."""
        if room.presence:
            self._since.setdefault(room, now)

    def introduce(self, room: Room, member: Member) -> None:
        """Before somebody goes whose words were heard, the others are told whose, if that is still to come.

        Else those words would be nobody's, and in a sealed room nobody could open them. It costs everyone a frame more
        than presence does otherwise, and never more of them than there are messages. For those who will hear them
        later only, it is kept as long as the words are.
        """
        said = member.last_said
        if said is None:
            return
        author = Author(view.entry(member), member.joined_seq, said.seq, said.at)
        self._rings.keep_author(room.ring, member.user_id, author)
        since = self._since.get(room)
        if since is not None and said.at >= since and room.presence.hides(member.user_id):
            self._tell(room)

    def with_authors(self, room: Room, seq: int, missed: list[bytes]) -> list[bytes]:
        """The same for somebody who comes back: the frames missed since `seq`, between two that tell whose they are."""
        strangers = {user: entry for user, entry in room.ring.strangers(seq).items() if user not in room.members}
        if not missed or not strangers:
            return missed
        entries, users = [msgspec.Raw(entry) for entry in strangers.values()], len(room.members)
        before = events.Presence(joined=entries, left=[], changed=[], users=users)
        after = events.Presence(joined=[], left=[str(user_id) for user_id in strangers], changed=[], users=users)
        return [events.encode(before), *missed, events.encode(after)]

    def next_due(self) -> float | None:
        """When `advance` has something to do next; None if never."""
        for since in self._since.values():
            return since + self.interval_s
        return None

    def advance(self, now: float) -> None:
        """Tells what was collected for long enough."""
        while self._since:
            room, since = next(iter(self._since.items()))
            if since + self.interval_s > now:
                return
            self._tell(room)

    def tell_all(self) -> None:
        """Tells everything now."""
        for room in list(self._since):
            self._tell(room)

    def forget(self, room: Room) -> None:
        """It is over, and nobody is there to be told."""
        self._since.pop(room, None)

    def _tell(self, room: Room) -> None:
        del self._since[room]
        changes = room.presence.take()
        for user_id in changes.joined:
            self._happened("user_joined", room, user=user_id)
        for user_id in changes.left:
            self._happened("user_left", room, user=user_id)
        entries = [view.entry(room.members[user_id]) for user_id in changes.changed]
        left, changed = events.encode(changes.left), b"[%b]" % b",".join(entries)
        # In pieces: who is behind is looked at between them, and a flood of newcomers fills no queue unseen.
        for start in range(0, max(1, len(changes.joined)), MAX_NEWCOMERS_TOLD):
            newcomers = changes.joined[start : start + MAX_NEWCOMERS_TOLD]
            joined = [(str(user_id), view.entry(room.members[user_id])) for user_id in newcomers]
            event = PresenceTold(joined, left, changed, len(room.members))
            self._outgoing.to_room(room.meta.room_id, event)
            left = changed = b"[]"
