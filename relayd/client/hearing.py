"""From a server's frames to what a member is told: who is here, and what is said, opened and in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Final

from relayd.client.events import (
    Announcement,
    Event,
    FileOffered,
    Knocking,
    Message,
    MessageRemoved,
    RoomExpiring,
    RoomUpdated,
    Signal,
    Unreadable,
    UserChanged,
    UserJoined,
    UserLeft,
)
from relayd.client.seal.files import read_offer
from relayd.client.sealing_errors import Dropped, FileError, NotOpened, UnknownSender
from relayd.client.shapes import (
    AnyFrame,
    JoinedFrame,
    MessageFrame,
    PresenceFrame,
    RoomDetails,
    RoomFrame,
    SignalFrame,
    UserShape,
)
from relayd.client.users import Change, Roster, User
from relayd.client.voice import Voice

# Presence is told up to 250 ms late, so a newcomer's first words may come before their card.
HOLD_S: Final = 1.5


class Hearing:
    """What one member hears of a room.

    A newcomer is told of when the card has come, so that there is a name to be told; but somebody who shows none is
    told of all the same, a moment later. Messages wait, all of them and in order, while name and card of the first
    one's sender are on their way; a sender who was not shown in time is not waited for again before that.

    Args:
        voice: opens what is said.
        emit: takes every event, in order.
    """

    def __init__(self, voice: Voice, emit: Callable[[Event], None]) -> None:
        self.roster = Roster()
        self.details: RoomDetails
        self.knocking: list[User] = []  # who waits in the lobby, as far as this user is told
        self._voice = voice
        self._emit = emit
        self._held: deque[tuple[MessageFrame, int]] = deque()  # with the place of each
        self._unshown: set[str] = set()  # user ids that are not waited for
        self._timer: asyncio.TimerHandle | None = None
        self._newcomers: dict[str, asyncio.TimerHandle] = {}  # user id -> when they are told of without a card

    def on_joined(self, joined: JoinedFrame, profile: object) -> None:
        """Takes the list of users and the room as they are now; `profile` is this user's."""
        first = not self.roster.all()
        self.details = joined.room
        shapes = joined.users
        if all(shape.id != joined.you.id for shape in shapes):  # the list is cut short in a large room
            shapes = [*shapes, UserShape(joined.you.id, joined.you.role, profile)]
        users = [self._user(shape, joined.seq) for shape in shapes]
        change = self.roster.replace(users, joined.room.users)
        if not joined.room.settings.get("lobby"):  # else the list follows
            self._knocked([])
        if not first:
            self._tell(change)
        self._retry()

    def on_page(self, users: list[UserShape], place: int) -> None:
        """Takes users that were here all along, but did not fit into the list."""
        self.roster.add_page([self._user(shape, place) for shape in users])
        self._retry()

    def on_frame(self, frame: AnyFrame, place: int) -> None:
        """Takes any frame; those that tell a member nothing are left to others.

        Args:
            frame: as it came.
            place: the last `seq` heard, this one's included.
        """
        handler = self._HANDLERS.get(type(frame))
        if handler is not None:
            handler(self, frame, place)

    def on_lost(self) -> None:
        """The connection is lost: the cards that held messages wait for come with the next connection."""
        self._stop_waiting()

    def close(self) -> None:
        """It is over: what is held is told as not opened."""
        self._unshown.update(frame.from_ for frame, _ in self._held)
        self._retry()
        for user_id in list(self._newcomers):
            self._announce(user_id)

    # Frames. ----------------------------------------------------------------------------------------------------

    def _on_message(self, frame: MessageFrame, place: int) -> None:
        at = frame.seq if frame.seq is not None else frame.after
        self._held.append((frame, place if at is None else at))
        if len(self._held) == 1:
            self._retry()

    def _on_signal(self, frame: SignalFrame, place: int) -> None:
        try:
            signal = self._voice.read_signal(frame, place)
        except (NotOpened, Dropped):
            return  # of the moment: not worth a line
        if signal is not None:
            self._emit(Signal(self.roster.known(frame.from_), *signal))

    def _on_presence(self, frame: PresenceFrame, place: int) -> None:
        joined = [self._user(shape, place) for shape in frame.joined]
        changed = [self._user(shape, place) for shape in frame.changed]
        self._tell(self.roster.update(joined, frame.left, changed, frame.users))
        self._retry()

    def _on_room(self, frame: RoomFrame, place: int) -> None:
        if frame.event == "updated" and frame.room is not None:
            self.details = frame.room
            self._emit(RoomUpdated(frame.room))
        elif frame.event == "expiring" and frame.in_ is not None:
            self._emit(RoomExpiring(frame.in_))
        elif frame.event == "knocking":
            self._knocked([self._voice.read_newcomer(shape, place) for shape in frame.users])
        elif frame.event == "announcement":
            self._emit(Announcement(frame.text))
        elif frame.event == "removed" and frame.message is not None:
            self._on_removed(frame.message, frame.by)

    def _on_removed(self, seq: int, by: str) -> None:
        # What is held still waits for its sender's card.
        self._held = deque(one for one in self._held if one[0].seq != seq)
        self._emit(MessageRemoved(seq, self.roster.known(by)))
        self._retry()

    _HANDLERS: ClassVar[dict[type, Callable[..., None]]] = {
        MessageFrame: _on_message,
        SignalFrame: _on_signal,
        PresenceFrame: _on_presence,
        RoomFrame: _on_room,
    }

    # Inside. ----------------------------------------------------------------------------------------------------

    def _knocked(self, users: list[User]) -> None:
        if users != self.knocking:
            self.knocking = users
            self._emit(Knocking(users))

    def _user(self, shape: UserShape, place: int) -> User:
        user = self._voice.read_user(shape, place)
        if user.key:
            self._unshown.discard(user.id)
        return user

    def _tell(self, change: Change) -> None:
        for user in change.joined:
            later = asyncio.get_running_loop().call_later(HOLD_S, self._announce, user.id)
            self._newcomers[user.id] = later
            if user.key or not self._voice.sealed:
                self._announce(user.id)
        for user in change.left:
            self._announce(user.id)
            self._emit(UserLeft(user))
        for before, user in change.changed:
            if user.id not in self._newcomers:
                self._emit(UserChanged(before, user))
            elif user.key:
                self._announce(user.id)

    def _announce(self, user_id: str) -> None:
        """Tells of a newcomer, if that has not been done."""
        later = self._newcomers.pop(user_id, None)
        if later is not None:
            later.cancel()
            self._emit(UserJoined(self.roster.known(user_id)))

    def _retry(self) -> None:
        """Tells what is held, up to the first message that has to wait."""
        self._stop_waiting()
        while self._held:
            event = self._open(*self._held[0])
            if event is _WAIT:
                self._timer = asyncio.get_running_loop().call_later(HOLD_S, self._give_up)
                return
            self._held.popleft()
            if event is not None:
                self._emit(event)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._unshown.add(self._held[0][0].from_)
        self._timer = None
        self._retry()

    def _open(self, frame: MessageFrame, place: int) -> Any:
        """An event, None for what is not to be told, or `_WAIT`."""
        user, may_wait = self.roster.known(frame.from_), frame.from_ not in self._unshown
        if may_wait and not self.roster.has_seen(frame.from_):
            return _WAIT
        try:
            return self._offer_or_message(self._voice.read_message(frame, place, user))
        except UnknownSender as wrong:
            return _WAIT if may_wait else Unreadable(user, str(wrong))
        except NotOpened as wrong:
            return Unreadable(user, str(wrong))
        except Dropped:
            return None

    def _offer_or_message(self, message: Message) -> Message | FileOffered:
        if isinstance(message.body, dict) and message.body.get("kind") == "file":
            # One that cannot be read is shown as what it is: something of a kind that this client does not know.
            with contextlib.suppress(FileError):
                return FileOffered(message=message, file=read_offer(message.body, sealed=self._voice.sealed))
        return message


_WAIT: Final = object()
