"""Making rooms and getting into them: from a server's address to a link, from a link to a `Room`."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Any, cast

import msgspec

from relayd.client.backoff import Backoff
from relayd.client.clock import boot_clock
from relayd.client.http import Place, parse_server
from relayd.client.key_monitor import KEY_TIMES, KeyTimes
from relayd.client.membership import Membership
from relayd.client.rest import Rest
from relayd.client.room import Room
from relayd.client.seal.keys import OwnerKey
from relayd.client.seal.link import Link, ShareLink, parse_link
from relayd.client.seal.room import new_room, room_is_sealed, unlock
from relayd.client.sealed_voice import SealedVoice
from relayd.client.shapes import RoomDetails, read_access
from relayd.client.voice import OpenVoice, Voice
from relayd.wire.ids import RandomBytes
from relayd.wire.rest import USERS_LEAVE
from relayd.wire.sealing import PublicAccess
from relayd.wire.sealing_text import Redacted, SealingError


class Owner(Redacted):
    """What makes its holder a room's owner: to be kept like a password for as long as the room lives.

    Args:
        key: `ro_...`, known to the server as a digest.
        signing: the pair that signs new keys of a sealed room, which no server ever sees; None for an open one.
    """

    __slots__ = ("key", "signing")

    def __init__(self, key: str, signing: OwnerKey | None = None) -> None:
        self.key = key
        self.signing = signing


class Made(Redacted, msgspec.Struct, frozen=True):
    """A room just made.

    Attributes:
        link: what to share: a secret, not for logs.
        owner: what to keep.
        id, name, expiration_date: as the server says.
    """

    link: str
    owner: Owner
    id: str
    name: str
    expiration_date: str


async def create(
    server: str,
    *,
    name: str | None = None,
    max_users: int | None = None,
    expires: float | str = USERS_LEAVE,
    password: str | None = None,
    sealed: bool = True,
    settings: dict[str, Any] | None = None,
    create_key: str = "",
    tls: ssl.SSLContext | None = None,
    random_bytes: RandomBytes = os.urandom,
) -> Made:
    """Makes a room, by default one that is sealed with a secret in its link.

    Args:
        server: `https://host[:port]`.
        name: 1 to 64 letters, digits, space and -_. ; None for one that the server makes up. The server knows it.
        max_users: most users at once; None for the server's default.
        expires: hours to live, at most 24, or `usersLeave`.
        password: to be told to members by another way than the link. It never leaves this process.
        sealed: False for an open room, in which the server reads along.
        settings: the room's behaviours.
        create_key: for servers on which only people with such a key create rooms.
        tls: how certificates are checked; by default as the system does.
        random_bytes: where keys come from.

    Raises:
        SealingError: the password is empty or too long, or given for an open room.
        RelayError: the server refuses.
        ClientError: it is out of reach, or is none.
    """
    if password is not None and not sealed:
        raise SealingError("an open room has no password")
    rest = Rest(server, tls=tls)
    # In a thread: a password is stretched for 0.2 to 0.4 s.
    keys = await asyncio.to_thread(new_room, password, random_bytes) if sealed else None
    made = await rest.create(
        name=name,
        max_users=max_users,
        expires=expires,
        access=keys.access if keys else None,
        settings=settings,
        create_key=create_key,
    )
    link = keys.link(made.invite_key) if keys else Link(invite_key=made.invite_key)
    return Made(
        link=ShareLink(rest.place.origin, made.id, link).url,
        owner=Owner(made.owner_key, keys.owner if keys else None),
        id=made.id,
        name=made.name,
        expiration_date=made.expiration_date,
    )


def join(
    link: str,
    nick: str,
    *,
    password: str | None = None,
    owner: Owner | None = None,
    server: str | None = None,
    events: bool = True,
    on_waiting: Callable[[RoomDetails], None] | None = None,
    tls: ssl.SSLContext | None = None,
    backoff: Backoff | None = None,
    random_bytes: RandomBytes = os.urandom,
    clock: Callable[[], float] = boot_clock,
    key_times: KeyTimes = KEY_TIMES,
) -> Joining:
    """Gets into the room behind a link, with `async with`; leaving the block leaves the room.

    Args:
        link: as it was shared. A sealed one never ends in an open room, whatever the server answers.
        nick: the name to be shown.
        password: where the room has one. It never leaves this process.
        owner: from `create`, to be the owner.
        server: another way to the link's server than its address: `http://127.0.0.1:8080`, `unix:PATH`.
        events: False for those who only speak: nothing that is heard is kept.
        on_waiting: called when the room has a lobby and somebody inside has to admit this user, which entering waits
            for; again after each lost connection.
        tls: how certificates are checked; by default as the system does.
        backoff: how long to wait before coming back after a lost connection.
        random_bytes: where keys and sids come from.
        clock: seconds, including those in which the machine sleeps.
        key_times: how often keys are confirmed and checked.

    Raises:
        LinkError: the link has another form.

    Entering raises:
        PasswordNeeded: the room has a password and none was given.
        SealingError: link, password and server do not fit each other; its kinds say how.
        RelayError: the server refuses: `NoSuchRoom`, `Forbidden` (a wrong password), `RoomFull`, `Locked`,
            `Denied`, ...
        ClientError: the server is out of reach, or is none.
    """
    options = _Options(
        password=password,
        owner=owner,
        events=events,
        on_waiting=on_waiting,
        tls=tls,
        backoff=backoff,
        random_bytes=random_bytes,
        clock=clock,
        key_times=key_times,
    )
    share = parse_link(link)
    return Joining(share, parse_server(server or share.server), nick, options)


class _Options(Redacted, msgspec.Struct, frozen=True, kw_only=True):
    """What `join` was given."""

    password: str | None
    owner: Owner | None
    events: bool
    on_waiting: Callable[[RoomDetails], None] | None
    tls: ssl.SSLContext | None
    backoff: Backoff | None
    random_bytes: RandomBytes
    clock: Callable[[], float]
    key_times: KeyTimes


class Joining(Redacted):
    """What `join` gives: enter it for the room."""

    def __init__(self, share: ShareLink, place: Place, nick: str, options: _Options) -> None:
        self._share: ShareLink | None = share  # None once entered: its secret must not outlive the keys of the epoch
        self._place = place
        self._nick = nick
        self._options = options
        self._room: Room | None = None

    async def __aenter__(self) -> Room:
        share, options = self._share, self._options
        if share is None:
            raise RuntimeError("this was entered before: call join again")
        rest = Rest(self._place, tls=options.tls)
        key = options.owner.key if options.owner else share.link.invite_key
        voice = await self._voice(share, rest, key)
        self._share = None
        inside = Membership(
            share,
            rest,
            voice,
            key,
            self._nick,
            events=options.events,
            on_waiting=options.on_waiting,
            tls=options.tls,
            backoff=options.backoff,
            clock=options.clock,
        )
        self._room = Room(inside)
        return await self._room.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._room is not None:
            await self._room.leave()

    async def _voice(self, share: ShareLink, rest: Rest, key: str) -> Voice:
        options = self._options
        access = read_access(await rest.details(share.room_id, key))
        if not room_is_sealed(share.link, access):
            if options.password is not None:
                raise SealingError("this room is open: it has no password")
            return OpenVoice()
        # Can't be None: room_is_sealed has looked. In a thread: a password is stretched for 0.2 to 0.4 s.
        keys = await asyncio.to_thread(unlock, share.link, cast(PublicAccess, access), options.password)
        signing = options.owner.signing if options.owner else None
        return SealedVoice(
            share.link, keys, signing, options.random_bytes, clock=options.clock, times=options.key_times
        )
