"""Several cards of one user, as a client sees them that knows nothing but the protocol: frames, in their order."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from relayd.client.sealing import Heard
from relayd.client.sealing_errors import Dropped, NotOpened, UnknownSender
from tests.conftest import relay_with
from tests.sealed.sealed_people import Person, make_room, people, plain


class Reader:
    """Takes the frames of a person one by one: cards as they are told, messages as they come.

    A message of somebody of whom no card has come waits for it.
    """

    def __init__(self, person: Person) -> None:
        self.person = person
        self.texts: dict[str, str] = {}  # by message id
        self.presence: list[dict[str, Any]] = []
        self.held: list[Heard] = []
        self._take_users(person.peer.joined["users"], person.peer.joined["seq"])

    async def until(self, *ids: str) -> None:
        """Reads on until all of these messages have come; each must open."""
        async with asyncio.timeout(20):
            while not set(ids) <= set(self.texts):
                self.take(await self.person.peer.recv())

    async def for_a_while(self, seconds: float) -> None:
        for frame in await self.person.peer.frames(seconds):
            self.take(frame)

    def take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "presence":
            self.presence.append(frame)
            self._take_users([*frame["joined"], *frame["changed"]], self.person.peer.joined["seq"])
        elif frame["type"] == "message":
            place = frame["seq"] if "seq" in frame else frame["after"]
            self.held.append(Heard(frame["from"], frame["id"], frame["body"], place, frame.get("to")))
        with contextlib.suppress(UnknownSender):
            while self.held:
                self.texts[self.held[0].id] = self.person.opener.message(self.held[0]).body["text"]
                self.held.pop(0)

    def _take_users(self, users: list[dict[str, Any]], place: int) -> None:
        for user in users:
            # A user who has shown nothing yet; one's own card, which another opener has sent.
            with contextlib.suppress(NotOpened, Dropped):
                self.person.opener.card(user["id"], user["profile"], place)

    def told_of(self, user_id: str) -> list[dict[str, Any]]:
        """The presence frames that name the user."""
        named = [(frame, [*frame["joined"], *frame["changed"]]) for frame in self.presence]
        return [frame for frame, users in named if any(user["id"] == user_id for user in users)]


async def another(person: Person, *, same_pair: bool = False, **fields: Any) -> Person:
    """One more connection of the user, which comes by the session."""
    one = Person(person.relay, person.room, person.nick)
    one.session = person.session
    if same_pair:
        one.user = person.user
    return await one.join(**fields)


async def test_connections_of_one_session(relay):
    """Four connections of one session, each with a sid and a key pair of its own, send messages immediately."""
    room, (_, ann) = await people(relay, "owner", "ann")
    tabs = [ann, *[await another(ann) for _ in range(3)]]
    for number, tab in enumerate(tabs):
        await tab.say(f"early {number}")
    late = Reader(await Person(relay, room, "late").join(card=False))
    for number, tab in enumerate(tabs):
        await tab.say(f"late {number}")
    await late.until(*(f"late {number}" for number in range(4)))
    cards = [user for user in late.presence[0]["changed"] if user["id"] == ann.id]
    assert len(cards) == 4
    assert cards[-1]["profile"] == next(
        user["profile"] for user in late.person.peer.joined["users"] if user["id"] == ann.id
    )
    assert [user["id"] for user in late.person.peer.joined["users"]].count(ann.id) == 1
    response = await relay.request("GET", f"/api/v1/{room.id}/users", room.created["invite_key"])
    assert response.body.count(ann.id.encode()) == 1


async def test_an_own_connection_that_has_shown_nothing_yet(relay):
    """A user's own join is not announced to the user, but each connection gets the cards of the others."""
    room = await make_room(relay)
    first = await Person(relay, room, "ann").join(card=False)
    second = Reader(await another(first, card=False))
    await first.show_card()
    await asyncio.sleep(0.4)
    await second.person.peer.send("profile", profile=plain(second.person.sealer.card("ann")))
    await first.say("m")
    await second.until("m")


async def test_a_card_is_told_before_the_first_message(relay):
    """Where others have another card of the user, the presence frame is the last one before the message."""
    _, (owner, ann) = await people(relay, "owner", "ann")
    await asyncio.sleep(0.4)
    await owner.peer.frames(0.1)
    tab = await another(ann, card=False)
    await tab.peer.send("profile", profile=plain(tab.sealer.card("ann")))
    await tab.say("m")
    frames = [await owner.peer.recv() for _ in range(2)]
    assert [frame["type"] for frame in frames] == ["presence", "message"]
    assert [user["id"] for user in frames[0]["changed"]] == [ann.id]


async def test_profiles_that_change_again_and_again_force_no_frames():
    """A client cannot make a presence frame of each message by showing another card before it."""
    async with relay_with(limits__message_rate__user_signals=1000, limits__message_rate__user_messages=1000) as relay:
        _, (owner, ann) = await people(relay, "owner", "ann")
        tab = await another(ann)
        await asyncio.sleep(0.4)
        reader = Reader(owner)
        await reader.for_a_while(0.1)
        reader.presence.clear()
        for number in range(60):
            speaker = (ann, tab)[number % 2]
            await speaker.peer.send("profile", profile=plain(speaker.sealer.card(f"ann {number}")))
            await speaker.say(f"{number}")
        began = asyncio.get_running_loop().time()
        await reader.until(*(f"{number}" for number in range(60)))
        lasted_s = asyncio.get_running_loop().time() - began
        assert len(reader.told_of(ann.id)) <= 2 + lasted_s / 0.25
        for speaker in (ann, tab):
            await speaker.peer.until("message", id="59")


async def test_newcomers_who_speak_at_once_force_no_frames(relay):
    """Members wait for the card of an unknown user, so messages of a crowd cost no more presence than its joins."""
    room = await make_room(relay)
    reader = Reader(await Person(relay, room, "owner").join(owner=True))
    began = asyncio.get_running_loop().time()
    crowd = [await Person(relay, room, f"p{number}").join(card=False) for number in range(20)]
    await asyncio.sleep(0.4)  # announced without their cards
    for person in crowd:
        await person.peer.send("profile", profile=plain(person.sealer.card(person.nick)))
        await person.say(person.nick)
    for person in crowd:
        await person.peer.until("message", id="p19")
    await reader.until(*(person.nick for person in crowd))
    lasted_s = asyncio.get_running_loop().time() - began
    assert len(reader.presence) <= 1 + lasted_s / 0.25


@pytest.mark.parametrize(("resume", "told"), [(0, 2), (60, 3)])
async def test_cards_of_lost_connections_are_kept_as_long_as_what_was_said(relay, resume, told):
    """Not that of one that was silent; and of the others only while somebody who comes back may need them."""
    room, (_, ann) = await people(relay, "owner", "ann", settings={"resume": resume})
    for number in range(3):
        tab = await another(ann)
        if number:
            await tab.said(f"{number}")
        await tab.peer.socket.close()
    async with asyncio.timeout(20):
        while (await relay.details(room.created))["connections"] > 2:
            await asyncio.sleep(0.02)
    late = await Person(relay, room, "late").join(card=False)
    cards = [user["profile"] for user in (await late.peer.recv())["changed"]]
    shown = next(user["profile"] for user in late.peer.joined["users"] if user["id"] == ann.id)
    assert (len(cards), cards[-1]) == (told, shown)
