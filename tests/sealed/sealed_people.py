"""People in sealed rooms, with real keys and real ciphertexts."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from relayd.client.sealing import (
    Heard,
    NewEpoch,
    NewRoom,
    Opener,
    OwnerKey,
    Rekeyed,
    RoomKeys,
    Sealer,
    UserKey,
    make_rekey,
    new_room,
    take_rekey,
    unlock,
)
from relayd.wire.sealing import PublicAccess
from tests.conftest import Peer, Relay

T_MS = 1_700_000_000_000


def plain(sealed: Any) -> Any:
    """A Struct as it goes into JSON."""
    return msgspec.to_builtins(sealed)


class SealedRoom:
    """A room, and all that its creator's client knows of it."""

    def __init__(self, created: dict[str, Any], made: NewRoom) -> None:
        self.created = created
        self.made = made
        self.id: str = created["id"]
        self.owner_key: OwnerKey = made.owner

    def keys(self, password: str | None = None) -> RoomKeys:
        """What somebody has who followed the link while the room was in epoch 0."""
        return unlock(self.made.link(self.created["invite_key"]), self.made.access.public(0), password)


async def make_room(relay: Relay, password: str | None = None, **fields: Any) -> SealedRoom:
    made = new_room(password)
    return SealedRoom(await relay.create(access=plain(made.access), **fields), made)


class Person:
    """One user: a pair, the room's keys as far as they were learnt, and one socket at a time."""

    def __init__(self, relay: Relay, room: SealedRoom, nick: str = "ann", *, password: str | None = None) -> None:
        self.relay = relay
        self.room = room
        self.nick = nick
        self.user = UserKey.generate()
        self.keys = room.keys(password)
        self.session = ""
        self.id = ""
        self.peer: Peer
        self.sealer: Sealer

    async def join(self, *, owner: bool = False, card: bool = True, **fields: Any) -> Person:
        """Comes in, or comes back by session if there is one."""
        self.peer = await self.relay.connect(self.room.id, **fields.pop("socket", {}))
        if self.session:
            fields.setdefault("session", self.session)
        else:
            fields.setdefault("key", self.room.created["owner_key" if owner else "invite_key"])
            fields.setdefault("proof", self.keys.proof_text)
        await self.peer.send("join", **fields)
        self.peer.joined = joined = await self.peer.recv()
        assert joined["type"] == "joined", joined
        self.session, self.id = self.peer.session, self.peer.id
        if "rekey" in joined and joined["rekey"]["epoch"] > self.keys.epoch:
            self.take(joined["rekey"])
        self.keys.confirm(msgspec.convert(joined["room"]["access"], PublicAccess))
        self.sealer = Sealer(self.keys, self.user)
        self.opener = Opener(self.keys, self.user, self.id, T_MS)
        self.opener.add_sealer(self.sealer)
        if card:
            await self.show_card()
        return self

    async def show_card(self) -> None:
        await self.peer.send("profile", id="card", profile=plain(self.sealer.card(self.nick)))
        await self.peer.until("ok", id="card")

    def message(self, id_: str, text: str = "hello") -> dict[str, Any]:
        """A sealed body."""
        return plain(self.sealer.message(id_, {"kind": "text", "text": text}, T_MS))

    async def say(self, id_: str, text: str = "hello", **fields: Any) -> None:
        await self.peer.say(id_, self.message(id_, text), **fields)

    async def said(self, id_: str, text: str = "hello") -> dict[str, Any]:
        """Says it, and gives the frame as it came back."""
        await self.say(id_, text)
        return await self.peer.until("message", id=id_)

    def open(self, frame: dict[str, Any], card_of: Person | None = None) -> str:
        """The text of a message that somebody in the room has said."""
        if card_of is not None:
            self.opener.card(frame["from"], plain(card_of.sealer.card(card_of.nick)), frame["seq"])
        heard = Heard(frame["from"], frame["id"], frame["body"], frame["seq"])
        return self.opener.message(heard).body["text"]

    def take(self, event: dict[str, Any]) -> bytes:
        """Goes on to the epoch of a `rekeyed` event or a `joined.rekey`."""
        fields = {name: event[name] for name in ("epoch", "check", "box", "seq")}
        return take_rekey(self.keys, self.user, msgspec.convert(fields, Rekeyed), now=0.0)

    async def go_on(self) -> dict[str, Any]:
        """Hears of the new epoch and takes it."""
        event = await self.peer.until("room", event="rekeyed")
        self.take(event)
        return event

    def rekey(self, *stay: Person, kick: Person | None = None) -> NewEpoch:
        """The owner's next epoch for those who stay, the owner included."""
        cards = {one.id: one.user.public for one in (self, *stay)}
        out = (kick.id, [kick.user.public]) if kick is not None else None
        return make_rekey(self.keys, self.room.owner_key, cards, kick=out)

    async def refused(self, **fields: Any) -> tuple[int, str]:
        """Tries to join; how it is refused."""
        peer = await self.relay.connect(self.room.id, **fields.pop("socket", {}))
        await peer.send("join", **fields)
        return await peer.closed(10)


async def people(relay, *nicks: str, **fields) -> tuple[SealedRoom, list[Person]]:
    """A room with its owner (the first) and others."""
    room = await make_room(relay, **fields)
    inside = [await Person(relay, room, nick).join(owner=not index) for index, nick in enumerate(nicks)]
    return room, inside


async def send(owner: Person, rekey, id_: str = "rekey") -> None:
    await owner.peer.socket.send(json.dumps(rekey.frame(id_)))


async def kicked_out(owner: Person, *stay: Person, kick: Person):
    """The rekey that throws `kick` out; done when the owner has gone on."""
    rekey = owner.rekey(*stay, kick=kick)
    await send(owner, rekey)
    await owner.go_on()
    await owner.peer.until("ok", id="rekey")
    return rekey
