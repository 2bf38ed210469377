"""The REST API of a server: making rooms, looking at them, the owner's work from outside."""

from __future__ import annotations

import ssl
from typing import Any, Final
from urllib.parse import quote

import msgspec

from relayd.client.http import Answer, Place, error_of, exchange, parse_server, request_head
from relayd.client.shapes import (
    CreatedRoom,
    InviteList,
    InviteShape,
    NewInvite,
    NewLimitedInvite,
    RoomDetails,
    Users,
    UserShape,
    read_answer,
)
from relayd.wire.rest import USERS_LEAVE
from relayd.wire.sealing import Access

TIMEOUT_S: Final = 20.0  # a server that is asked to derive keys from a password takes a second or two

_API: Final = "/api/v1/"


class Rest:
    """One server's REST API.

    Every method raises `RelayError` (its kind says what: `NoSuchRoom`, `NameTaken`, ...) for what the server
    refuses, `Unreachable` and `BadServer` for what is wrong with the way to it.

    Args:
        server: `https://host[:port]`.
        tls: how certificates are checked; by default as the system does.
        timeout_s: for each call.
    """

    def __init__(self, server: str | Place, *, tls: ssl.SSLContext | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self.place = server if isinstance(server, Place) else parse_server(server)
        self._tls = tls
        self._timeout_s = timeout_s

    async def create(
        self,
        *,
        name: str | None = None,
        max_users: int | None = None,
        expires: float | str = USERS_LEAVE,
        access: Access | None = None,
        settings: dict[str, Any] | None = None,
        create_key: str = "",
    ) -> CreatedRoom:
        """Makes a room; `relayd.client.create` does it with keys and all.

        Args:
            name: 1 to 64 letters, digits, space and -_. ; None for one that the server makes up.
            max_users: most users at once; None for the server's default.
            expires: hours to live, at most 24, or `usersLeave`.
            access: what makes it a sealed room; None for an open one.
            settings: the room's behaviours.
            create_key: for servers on which only people with such a key create rooms.
        """
        fields = {"name": name, "max": max_users, "expiration_date": expires, "access": access, "settings": settings}
        answer = await self._call(
            "POST", "room", create_key, {key: value for key, value in fields.items() if value is not None}
        )
        return read_answer(answer.body, CreatedRoom)

    async def details(self, room: str, key: str) -> RoomDetails:
        """The room as it is now.

        Args:
            room: its id or name.
            key: invite or owner key.
        """
        return read_answer((await self._call("GET", _part(room), key)).body, RoomDetails)

    async def edit(self, room: str, owner_key: str, **changes: Any) -> RoomDetails:
        """Changes any of `name`, `max`, `expiration_date`, `locked`, `settings`."""
        return read_answer((await self._call("PATCH", _part(room), owner_key, changes)).body, RoomDetails)

    async def close(self, room: str, owner_key: str) -> None:
        """Ends the room for everyone."""
        await self._call("DELETE", _part(room), owner_key)

    async def users(self, room: str, key: str, after: str = "") -> list[UserShape]:
        """Up to 200 users in the order they came, those after the user id `after`."""
        query = f"?after={quote(after, safe='')}" if after else ""
        return read_answer((await self._call("GET", f"{_part(room)}/users{query}", key)).body, Users).users

    async def kick(self, room: str, owner_key: str, user_id: str, *, ban: bool = False) -> None:
        """Throws a user out. In a sealed room use `Room.kick`, which gives it new keys as well."""
        query = "?ban=true" if ban else ""
        await self._call("DELETE", f"{_part(room)}/users/{_part(user_id)}{query}", owner_key)

    async def new_invite(self, room: str, owner_key: str) -> str:
        """A fresh invite key; the old one stops working for newcomers."""
        return read_answer((await self._call("POST", f"{_part(room)}/invite", owner_key)).body, NewInvite).invite_key

    async def create_invite(
        self, room: str, owner_key: str, *, uses: int | None = None, expires_s: int | None = None, label: str = ""
    ) -> NewLimitedInvite:
        """A further invite; `Room.create_invite` makes its link, too."""
        body = {"uses": uses, "expires": expires_s, "label": label}
        return read_answer((await self._call("POST", f"{_part(room)}/invites", owner_key, body)).body, NewLimitedInvite)

    async def invites(self, room: str, owner_key: str) -> list[InviteShape]:
        """The invites that still let somebody in, without their keys."""
        return read_answer((await self._call("GET", f"{_part(room)}/invites", owner_key)).body, InviteList).invites

    async def revoke_invite(self, room: str, owner_key: str, invite_id: str) -> None:
        """That invite lets nobody in any more."""
        await self._call("DELETE", f"{_part(room)}/invites/{_part(invite_id)}", owner_key)

    async def _call(self, method: str, path: str, key: str, body: object = None) -> Answer:
        payload = b"" if body is None else msgspec.json.encode(body)
        headers = {"Accept": "application/json", "Connection": "close", "Content-Length": str(len(payload))}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = request_head(method, _API + path, self.place, headers) + payload
        answer = await exchange(self.place, self._tls, request, self._timeout_s)
        if not 200 <= answer.status < 300:
            raise error_of(answer)
        return answer


def _part(text: str) -> str:
    return quote(text, safe="")
