"""Muted in a sealed room: the server cannot see what a card says, but others need its key."""

from __future__ import annotations

from tests.sealed.sealed_people import Person, kicked_out, people, plain


async def shows(person: Person, nick: str) -> str:
    """Shows a card; the code of the answer."""
    await person.peer.send("profile", id=nick, profile=plain(person.sealer.card(nick)))
    while True:
        frame = await person.peer.recv()
        if frame.get("id") == nick:
            return frame.get("code", frame["type"])


async def mute(owner: Person, user: Person, command: str = "mute") -> None:
    await owner.peer.send(command, id=command, user=user.id)
    await owner.peer.until("ok", id=command)


async def card_of(owner: Person, user: Person) -> dict:
    """What a newcomer is shown of the user."""
    newcomer = await owner.relay.connect(owner.room.id)
    await newcomer.send("join", session=owner.session)
    joined = await newcomer.recv()
    return next(one["profile"] for one in joined["users"] if one["id"] == user.id)


async def test_one_card_in_each_epoch(relay):
    """It has the key for direct messages and the next box; a second one in the same epoch would say something."""
    _, (owner, bob, eve) = await people(relay, "owner", "bob", "eve")
    await mute(owner, bob)
    assert await shows(bob, "spam") == "muted"
    await kicked_out(owner, bob, kick=eve)
    await bob.go_on()
    assert await shows(bob, "bob") == "ok"
    assert await shows(bob, "spam") == "muted"
    assert (await card_of(owner, bob))["e"] == 1
    await mute(owner, bob, "unmute")
    assert await shows(bob, "bobby") == "ok"


async def test_another_connection_shows_no_other_card(relay):
    """By the command, by a join, after leaving: others see the card of before."""
    _, (owner, bob) = await people(relay, "owner", "bob")
    before = await card_of(owner, bob)
    await mute(owner, bob)
    await bob.join(card=False)
    assert await shows(bob, "spam") == "muted"
    await bob.join(card=False, profile=plain(bob.sealer.card("spam")))
    assert await card_of(owner, bob) == before
    await bob.peer.send("leave")
    await bob.peer.closed()
    await bob.join(card=False, proof=bob.keys.proof_text, profile=plain(bob.sealer.card("spam")))
    assert await card_of(owner, bob) == before


async def test_a_muted_newcomer_shows_one(relay):
    """Else nobody could write to that user, and the next rekey would have no box."""
    _, (owner,) = await people(relay, "owner")
    bob = await Person(relay, owner.room, "bob").join(card=False)
    await mute(owner, bob)
    assert await shows(bob, "bob") == "ok"
    assert await shows(bob, "spam") == "muted"
