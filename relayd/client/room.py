"""A room as a member has it: what is said is text and JSON here, whatever it is on the way."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from relayd.client.errors import NotConnected
from relayd.client.events import Event, FileOffered, Message
from relayd.client.files.receiving import Receiving
from relayd.client.files.sending import Offer
from relayd.client.invites import Invite
from relayd.client.membership import Membership
from relayd.client.outbox import Receipt
from relayd.client.sealed_voice import SealedVoice
from relayd.client.shapes import InviteShape, RoomDetails
from relayd.client.users import User
from relayd.wire.sealing_text import Redacted, SealingError

MOST_ON_THE_WAY: Final = 32  # messages without an answer; a server remembers 256 ids of a user
TYPING_EVERY_S: Final = 3.0
REKEY_TIMEOUT_S: Final = 10.0


class Room(Redacted):
    """One member's room. Made by `join`; iterating over it gives its events until it is left or over.

    Where the server has the last word (thrown out, room closed, ...), iterating and everything else raise that
    `RelayError`. Everything else that happens to the connection is mended, and told as an event.
    """

    def __init__(self, membership: Membership) -> None:
        self._inside = membership
        self._slots = asyncio.Semaphore(MOST_ON_THE_WAY)
        self._typing_at: float | None = None  # when that was last told; None while this user is not typing

    # Coming and going. ------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self._inside.start()
        except BaseException:
            await self._inside.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Leaves: the place is given up, all tabs of this user go, iterating ends."""
        await self._inside.stop()

    # What is known. ---------------------------------------------------------------------------------------------

    @property
    def me(self) -> User:
        """Who this user is."""
        return self.user(self._inside.me)

    @property
    def users(self) -> list[User]:
        """Everyone here, this user included, in the order they came."""
        return self._inside.hearing.roster.all()

    @property
    def departed_users(self) -> list[User]:
        """Users whom this client has seen leave, as last known. `kick` and `mute` reach them, too."""
        return self._inside.hearing.roster.departed()

    @property
    def user_count(self) -> int:
        """How many are here, as the server says; `users` may still lack some of a very large room."""
        return max(self._inside.hearing.roster.count, len(self.users))

    @property
    def unconfirmed(self) -> list[User]:
        """Everyone here whose client has not shown a card that is sealed with the room's present keys.

        After new keys everyone is on it until their card comes, usually within a second. A user who stays on it has
        not got the new keys, or the server withholds the card. Empty in an open room, and in one that never had new
        keys.
        """
        return self._inside.keys.unconfirmed()

    @property
    def knocking(self) -> list[User]:
        """Newcomers who wait in the lobby, in the order they came; nobody for those who may not admit them."""
        return self._inside.hearing.knocking

    def user(self, user_id: str) -> User:
        """The user with that id as last known, here or gone."""
        return self._inside.hearing.roster.known(user_id)

    @property
    def details(self) -> RoomDetails:
        """The room as the server last described it."""
        return self._inside.hearing.details

    @property
    def connected(self) -> bool:
        """Whether there is a connection just now."""
        return self._inside.stream.connected

    @property
    def sealed(self) -> bool:
        """Whether what is said here is sealed."""
        return isinstance(self._inside.voice, SealedVoice)

    @property
    def link(self) -> str:
        """The present link: a secret, not for logs. "" if it is not known here.

        It changes when somebody is thrown out of a sealed room, and then only the owner's client that did it knows it.
        """
        return self._inside.link

    async def room_code(self) -> str:
        """The room's safety code: six words, the same for everyone who really is in this room.

        Raises:
            SealingError: an open room has none.
        """
        return await asyncio.to_thread(self._sealed_voice().room_code)

    async def person_code(self, user: User | str | None = None) -> str:
        """A person's safety code, by default one's own: each reads out their own.

        Raises:
            SealingError: an open room has none; or that user's card has not come.
        """
        return await asyncio.to_thread(self._sealed_voice().person_code, _id_of(user or self._inside.me))

    # Hearing. ---------------------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self._inside.next_event()
        if event is None:
            raise StopAsyncIteration
        return event

    # Speaking. --------------------------------------------------------------------------------------------------

    async def say(self, body: Any, to: User | str | None = None) -> Receipt:
        """Says something to all, or to one, exactly once; returns when the server has said it.

        It waits through lost connections and rate limits, and sends again what was lost. To keep an order among
        several, await each before the next.

        Args:
            body: a text, or any JSON (docs/client.md lists the kinds that clients know).
            to: who alone is to hear it.

        Raises:
            Unconfirmed: the connection was away for so long that nobody can tell whether it was said.
            RelayError: the server refuses it (`Muted`, `NoSuchUser`, `TooLarge`), or the room is over.
            SealingError: it cannot be sealed.
        """
        said = {"kind": "text", "text": body} if isinstance(body, str) else body
        async with self._slots:
            self._typing_at = None  # what is said ends the typing by itself
            return await self._inside.say(said, None if to is None else _id_of(to))

    def signal(self, kind: str, data: Any = None, to: User | str | None = None) -> None:
        """Sends something of the moment; without a connection, or under pressure, it is simply lost."""
        self._inside.check()
        with contextlib.suppress(NotConnected):
            wire_kind, wire_data = self._inside.voice.signal(kind, data)
            target = {} if to is None else {"to": _id_of(to)}
            self._inside.stream.send({"type": "signal", "kind": wire_kind, "data": wire_data, **target})

    def typing(self, *, on: bool = True) -> None:
        """Shows that this user is typing: to be called at every key, it tells once in three seconds at most."""
        now = asyncio.get_running_loop().time()
        told_at = self._typing_at
        if on and told_at is not None and now - told_at < TYPING_EVERY_S:
            return
        self._typing_at = now if on else None
        if on or told_at is not None:
            self.signal("typing", on)

    def set_nick(self, nick: str) -> None:
        """Changes the name that others see."""
        self._inside.check()
        self._inside.nick = nick
        self._inside.send_profile()

    # Files. -----------------------------------------------------------------------------------------------------

    async def offer(self, path: Path | str, to: User | str | None = None, *, name: str | None = None) -> Offer:
        """Offers a file to all, or to one; returns when they have been told of it.

        It is sent to whoever accepts it, as long as this client is in the room and does not withdraw it.

        Args:
            path: of the file. It must not change until it has arrived.
            to: who alone may have it.
            name: what the others see it called; by default its own name.

        Raises:
            DiskError: it cannot be read, or changes meanwhile (`FileChanged`).
            RelayError: refused: `FilesOff`, `FileTooLarge`, `TooManyFiles`, and as `say`.
            Unconfirmed: as `say`.
        """
        self._inside.check()
        async with self._slots:
            return await self._inside.files.offer(Path(path), None if to is None else _id_of(to), name)

    def accept(self, offered: FileOffered, to: Path | str = ".") -> Receiving:
        """Begins to receive a file that was offered; await what is returned for the path of the whole file.

        No file is ever written over: it becomes `name (1).ext` where there is one of its name. What an earlier
        attempt has left in that directory of the same file is not sent again.

        Args:
            offered: the event.
            to: the directory it goes to.
        """
        self._inside.check()
        return self._inside.files.accept(offered, Path(to))

    # The owner's work. ------------------------------------------------------------------------------------------

    @property
    def can_rekey(self) -> bool:
        """Whether this client can give the room new keys: it is sealed, and this is the client that made it."""
        voice = self._inside.voice
        return isinstance(voice, SealedVoice) and voice.can_rekey

    async def kick(self, user: User | str, *, ban: bool = False) -> str | None:
        """Throws a user out; in a sealed room everyone else gets new keys, see `unconfirmed`.

        Args:
            user: who; may have left already: the session is worth nothing then.
            ban: also refuse their session and address until the room ends.

        Returns:
            The new link if the room has new keys: the old one is dead. None if it has not: an open room, one made
            by a plain password over REST, or one whose signing key is not on this client. There the person thrown
            out may come back by the link, and could still read if they got hold of what is sent.

        Raises:
            RekeyError: another client of the owner made new keys at the same time.
            RelayError: refused.
            NotConnected, Unconfirmed: there is no connection at the moment, or it was lost before the answer.
        """
        user_id = _id_of(user)
        if not self.can_rekey:
            await self._inside.command({"type": "kick", "user": user_id, "ban": ban})
            return None
        # A ban has no place in a rekey, so it comes first: out is out, whatever becomes of the keys.
        if ban:
            await self._inside.command({"type": "kick", "user": user_id, "ban": True})
        return await self._rekey(user_id, kick=not ban)

    async def _rekey(self, user_id: str, *, kick: bool) -> str:
        voice = self._sealed_voice()
        await self._inside.wait_for_users()
        keep = {user.id for user in self.users} | {self._inside.me}
        new = voice.make_rekey(keep - {user_id}, user_id if kick else None, voice.keys_of(user_id))
        async with asyncio.timeout(REKEY_TIMEOUT_S):
            await self._inside.rekey(new)
        return self.link

    async def renew_link(self) -> str:
        """Replaces the invite key, and returns the new link: the old one lets no newcomer in.

        Raises:
            RelayError: refused; `OwnerOnly` if this is not the owner.
            Unreachable: there is no connection at the moment.
        """
        await self._inside.renew_invite()
        return self.link

    async def create_invite(self, *, uses: int | None = None, expires_s: int | None = None, label: str = "") -> Invite:
        """Makes a further link into the room, with limits of its own.

        Args:
            uses: how many newcomers it lets in, 1 to 1,000; None for any number.
            expires_s: seconds for which it does so; None for as long as the room lives. New keys end it, too.
            label: what it is called in the list; members are not shown it.

        Raises:
            RelayError: refused; `OwnerOnly` if this is not the owner, `TooManyInvites`.
            Unreachable: there is no connection at the moment.
        """
        return await self._inside.create_invite(uses, expires_s, label)

    async def invites(self) -> list[InviteShape]:
        """The invites that still let somebody in, without their links. Raises: as `create_invite`."""
        return await self._inside.invites()

    async def revoke_invite(self, invite: Invite | InviteShape | str) -> None:
        """Ends an invite, given by itself or its id; who came by it stays. Raises: as `create_invite`."""
        await self._inside.revoke_invite(invite if isinstance(invite, str) else invite.id)

    async def admit(self, user: User | str) -> None:
        """Lets a newcomer join who waits in the lobby.

        Raises:
            RelayError: refused: `NoSuchUser` if nobody of that id waits any more, `RoomFull`, `Locked`.
            NotConnected, Unconfirmed: as `kick`.
        """
        await self._inside.command({"type": "admit", "user": _id_of(user)})

    async def deny(self, user: User | str, *, ban: bool = False) -> None:
        """Turns a newcomer away who waits in the lobby.

        Args:
            user: who.
            ban: also refuse newcomers from their address until the room ends.

        Raises:
            RelayError: refused; `NoSuchUser` if nobody of that id waits any more.
            NotConnected, Unconfirmed: as `kick`.
        """
        await self._inside.command({"type": "deny", "user": _id_of(user), "ban": ban})

    async def mute(self, user: User | str, *, on: bool = True) -> None:
        """Lets a user listen only, or speak again. Raises: as `kick`."""
        await self._inside.command({"type": "mute" if on else "unmute", "user": _id_of(user)})

    async def promote(self, user: User | str, *, on: bool = True) -> None:
        """Makes a user a moderator, or a plain member again. Owners only. Raises: as `kick`."""
        await self._inside.command({"type": "promote" if on else "demote", "user": _id_of(user)})

    async def remove(self, message: Message | int) -> None:
        """Removes a message to all for everyone: clients show it no more, and nobody is sent it who comes back.

        Args:
            message: or its `seq`.

        Raises:
            ValueError: a direct message, which has no place in the order.
            RelayError, NotConnected, Unconfirmed: as `kick`.
        """
        seq = message if isinstance(message, int) else message.seq
        if seq is None:
            raise ValueError("a direct message cannot be removed by others")
        await self._inside.command({"type": "remove", "seq": seq})

    async def edit(self, **changes: Any) -> None:
        """Changes any of `name`, `max`, `expiration_date`, `locked`, `settings`. Raises: as `kick`."""
        await self._inside.command({"type": "edit", **changes})

    async def close(self) -> None:
        """Ends the room for everyone. Raises: as `kick`."""
        await self._inside.command({"type": "close"})

    def _sealed_voice(self) -> SealedVoice:
        if not isinstance(self._inside.voice, SealedVoice):
            raise SealingError("this room is open: it has no keys")
        return self._inside.voice


def _id_of(user: User | str) -> str:
    return user if isinstance(user, str) else user.id
