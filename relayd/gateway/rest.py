"""REST: /api/v1. Each handler reads what was asked and puts it to the hub; it decides nothing itself."""

from __future__ import annotations

import time

import msgspec

from relayd.bus.messages import (
    CreateInvite,
    CreateRoom,
    EditRoom,
    EndRoom,
    KickUser,
    ListInvites,
    ListUsers,
    ReadRoom,
    RenewInvite,
    RevokeInvite,
)
from relayd.errors import FieldProblem, InvalidFields
from relayd.gateway.handlers import Handler
from relayd.gateway.openapi import openapi_json
from relayd.http.bodies import read_body
from relayd.rooms.refusals import ROOM
from relayd.wire import rest
from relayd.wire.links import links

_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no", "")


class Rooms(Handler):
    """`/api/v1/room`."""

    refused_as = ROOM
    methods = ("POST",)

    async def post(self) -> None:
        """Opens a room."""
        base = self.door.peers.base_url(self.request)
        self.door.creation.check(self.given_key)
        body = read_body(rest.CreateRoom, self.request.headers.get("Content-Type", ""), self.body)
        address = self.door.peers.address(self.request)
        if body.password is not None:
            self.door.password_rate.spend(address, time.monotonic())
        body, mark = await self.door.passwords.seal(body)
        answer = await self.door.calls.ask(CreateRoom(body, address))
        created = msgspec.json.decode(answer, type=rest.Created)
        chat, link = links(base, created.id, created.invite_key, mark)
        self.set_header("Location", f"/api/v1/{created.id}")
        self.write_json(msgspec.json.encode(msgspec.structs.replace(created, chat=chat, link=link)), 201)


class Room(Handler):
    """`/api/v1/<room>`."""

    methods = ("GET", "HEAD", "PATCH", "DELETE")

    async def get(self, room: str) -> None:
        """Its details."""
        self.write_json(await self.door.calls.ask(ReadRoom(room, self.key)))

    head = get

    async def patch(self, room: str) -> None:
        """Changes it."""
        key = self.key
        body = read_body(rest.EditRoom, self.request.headers.get("Content-Type", ""), self.body)
        self.write_json(await self.door.calls.ask(EditRoom(room, key, body, self.door.peers.address(self.request))))

    async def delete(self, room: str) -> None:
        """Ends it."""
        await self.door.calls.ask(EndRoom(room, self.key))
        self.set_status(204)


class Users(Handler):
    """`/api/v1/<room>/users`."""

    methods = ("GET", "HEAD")

    async def get(self, room: str) -> None:
        """A page of users."""
        after = self.get_query_argument("after", "")
        self.write_json(
            await self.door.calls.ask(ListUsers(room, self.key, after, self.door.peers.address(self.request)))
        )

    head = get


class User(Handler):
    """`/api/v1/<room>/users/<user_id>`."""

    methods = ("DELETE",)

    async def delete(self, room: str, user_id: str) -> None:
        """Puts the user out."""
        key, ban = self.key, self.get_query_argument("ban", "").lower()
        if ban not in (*_TRUE, *_FALSE):
            raise InvalidFields("ban: is true or false", problems=(FieldProblem("ban", "is true or false"),))
        await self.door.calls.ask(KickUser(room, key, user_id, ban in _TRUE))
        self.set_status(204)


class Invite(Handler):
    """`/api/v1/<room>/invite`."""

    methods = ("POST",)

    async def post(self, room: str) -> None:
        """A fresh invite key."""
        self.write_json(await self.door.calls.ask(RenewInvite(room, self.key)))


class Invites(Handler):
    """`/api/v1/<room>/invites`."""

    methods = ("GET", "HEAD", "POST")

    async def get(self, room: str) -> None:
        """Those that still let somebody in."""
        self.write_json(await self.door.calls.ask(ListInvites(room, self.key)))

    head = get

    async def post(self, room: str) -> None:
        """One more."""
        key, base = self.key, self.door.peers.base_url(self.request)
        body = read_body(rest.CreateInvite, self.request.headers.get("Content-Type", ""), self.body)
        room_id = msgspec.json.decode(await self.door.calls.ask(ReadRoom(room, key)), type=rest.Details).id
        created = msgspec.json.decode(
            await self.door.calls.ask(CreateInvite(room_id, key, body)), type=rest.InviteCreated
        )
        _, link = links(base, room_id, created.invite_key)
        self.write_json(msgspec.json.encode(msgspec.structs.replace(created, link=link)), 201)


class InviteById(Handler):
    """`/api/v1/<room>/invites/<id>`."""

    methods = ("DELETE",)

    async def delete(self, room: str, invite_id: str) -> None:
        """Revokes it."""
        await self.door.calls.ask(RevokeInvite(room, self.key, invite_id))
        self.set_status(204)


class OpenApi(Handler):
    """`/api/v1/openapi.json`."""

    methods = ("GET", "HEAD")

    def get(self) -> None:
        """The description of all of this."""
        self.write_json(openapi_json())

    head = get


_ROOM = r"/api/v1/([^/]+)"

ROUTES: list[tuple[str, type[Handler]]] = [
    (r"/api/v1/room", Rooms),
    (r"/api/v1/openapi\.json", OpenApi),
    (_ROOM, Room),
    (_ROOM + r"/users", Users),
    (_ROOM + r"/users/([^/]+)", User),
    (_ROOM + r"/invite", Invite),
    (_ROOM + r"/invites", Invites),
    (_ROOM + r"/invites/([^/]+)", InviteById),
]
