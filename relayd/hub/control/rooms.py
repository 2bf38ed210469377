"""The control API's rooms and users: as REST has them, for every room and without keys."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import msgspec
from tornado.iostream import StreamClosedError

from relayd.errors import FieldProblem, InvalidFields
from relayd.hub.admin import Wanted, check_sort
from relayd.hub.control.handler import ControlHandler, Verb
from relayd.hub.control.peers import Tier
from relayd.rooms import room as rooms
from relayd.wire import control, rest
from relayd.wire.ids import room_id_text
from relayd.wire.links import links

MAX_PATTERN_CHARS = 200  # no name is so long, and each room's is compared with it
ROWS_AT_ONCE = 200  # of a listing, in one turn of the loop: about a millisecond


class Rooms(ControlHandler):
    """`/v1/rooms`."""

    async def _list(self) -> None:
        """All rooms that are wanted, as one array, written piece by piece: 50,000 rooms would stop the hub's loop."""
        rooms = self.act(lambda now: self.desk.admin.select(self._wanted(), now))
        self.set_header("Content-Type", "application/json")
        separator = b"["
        try:
            for start in range(0, len(rooms), ROWS_AT_ONCE):
                part = rooms[start : start + ROWS_AT_ONCE]
                rows = self.act(lambda now, part=part: self.desk.admin.rows(part, now))  # type: ignore[misc]
                for row in rows:
                    self.write(separator + msgspec.json.encode(row))
                    separator = b",\n"
                await self.flush()  # waits only while the reader is behind
                await asyncio.sleep(0)
            await self.finish(b"[]" if separator == b"[" else b"]")
        except StreamClosedError:
            return  # has seen enough

    def _wanted(self) -> Wanted:
        return Wanted(
            match=self.get_query_argument("match", ""),
            pattern=self._short("pattern"),
            created_by=self._short("created_by"),
            min_users=self._number("min_users"),
            locked=self.boolean("locked"),
            sealed=self.boolean("sealed"),
            sort=check_sort(self.get_query_argument("sort", "date")),
            reverse=bool(self.boolean("reverse")),
            limit=self._number("limit"),
        )

    def _short(self, name: str) -> str:
        text = self.get_query_argument(name, "")
        if len(text) > MAX_PATTERN_CHARS:
            raise _wrong(name, f"has more than {MAX_PATTERN_CHARS} characters")
        return text

    def _number(self, name: str) -> int:
        text = self.get_query_argument(name, "0")
        if not (text.isdecimal() and len(text) < 10):
            raise _wrong(name, "is not a whole number")
        return int(text)

    async def _create(self) -> None:
        body, take_name = self.take(rest.CreateRoom), bool(self.boolean("take"))
        body, mark = await self.desk.passwords.seal(body)
        created = self.act(lambda now: self.desk.service.create(body, now, address=None, take_name=take_name))
        self.about = created.id
        chat, link = links(self.desk.steering.base(), created.id, created.invite_key, mark)
        self.set_header("Location", f"/v1/rooms/{created.id}")
        self.write_struct(msgspec.structs.replace(created, chat=chat, link=link), 201)

    verbs: ClassVar = {
        "GET": Verb("list_rooms", Tier.OBSERVE, _list),
        "POST": Verb("create_room", Tier.OPERATE, _create),
    }


class Room(ControlHandler):
    """`/v1/rooms/<room>`."""

    def _read(self, reference: str) -> None:
        room = self.room(reference)
        self._show(room, self.act(lambda now: self.desk.service.details(room, now)))

    def _edit(self, reference: str) -> None:
        body, room, take_name = self.take(rest.EditRoom), self.room(reference), bool(self.boolean("take"))
        edit = self.desk.service.edit
        self._show(room, self.act(lambda now: edit(room, body, now, is_admin=True, take_name=take_name)))

    def _show(self, room: rooms.Room, details: rest.Details) -> None:
        self.write_struct(msgspec.to_builtins(details) | {"created_by": self.desk.admin.created_by(room)})

    def _close(self, reference: str) -> None:
        room = self.room(reference)
        self.act(lambda now: self.desk.service.terminate(room, "terminated"))
        self.set_status(204)

    verbs: ClassVar = {
        "GET": Verb("get_room", Tier.OBSERVE, _read),
        "PATCH": Verb("edit_room", Tier.OPERATE, _edit),
        "DELETE": Verb("close_room", Tier.OPERATE, _close),
    }


class Users(ControlHandler):
    """`/v1/rooms/<room>/users`."""

    def _list(self, reference: str) -> None:
        after = self.get_query_argument("after", "")
        self.write_struct(control.UserPage(self.desk.admin.users(self.room(reference), after)))

    verbs: ClassVar = {"GET": Verb("list_users", Tier.OBSERVE, _list)}


class User(ControlHandler):
    """`/v1/rooms/<room>/users/<user_id>`."""

    def _kick(self, reference: str, user_id: str) -> None:
        ban, room = bool(self.boolean("ban")), self.room(reference)
        self.act(lambda now: self.desk.service.kick(room, user_id, ban=ban, now=now))
        self.set_status(204)

    verbs: ClassVar = {"DELETE": Verb("kick", Tier.OPERATE, _kick)}


class Messages(ControlHandler):
    """`/v1/rooms/<room>/messages`."""

    def _say(self, reference: str) -> None:
        body, room = self.take(control.Say), self.room(reference)
        self.write_struct(self.act(lambda now: self.desk.admin.say(room, body.text, now)))

    verbs: ClassVar = {"POST": Verb("send", Tier.OPERATE, _say)}


class Passes(ControlHandler):
    """`/v1/rooms/<room>/passes`."""

    def _mint(self, reference: str) -> None:
        room = self.room(reference)
        self.write_struct(self.act(lambda now: self.desk.admin.mint_pass(room, now)), 201)

    verbs: ClassVar = {"POST": Verb("pass", Tier.OPERATE, _mint)}


class Announcements(ControlHandler):
    """`/v1/announcements`."""

    def _announce(self) -> None:
        body = self.take(control.Announce)
        rooms = self.desk.admin.rooms_for(body.room)
        self.about = "all" if body.room is None else room_id_text(rooms[0].meta.room_id)
        self.write_struct(self.act(lambda now: self.desk.admin.announce(rooms, body.text)))

    verbs: ClassVar = {"POST": Verb("announce", Tier.OPERATE, _announce)}


def _wrong(field: str, reason: str) -> InvalidFields:
    return InvalidFields(f"{field}: {reason}", problems=(FieldProblem(field, reason),))
