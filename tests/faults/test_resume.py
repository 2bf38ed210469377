"""Coming back after a lost connection: exactly what was missed, and nothing that was never for these ears."""

from __future__ import annotations

import pytest

from tests.conftest import relay_with


async def _said(peer, *ids: str) -> None:
    for id_ in ids:
        await peer.say(id_)
        await peer.until("message", id=id_)


async def _messages(peer, count: int) -> list[str]:
    return [(await peer.until("message"))["id"] for _ in range(count)]


def _since(peer, seq: int) -> dict:
    return {"epoch": peer.joined["epoch"], "seq": seq}


async def test_since_brings_what_was_missed(relay):
    """Messages said while the connection was gone follow the joined frame, once each, in order."""
    room = await relay.create()
    ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
    await _said(ann, "1")
    await bob.socket.close()
    await _said(ann, "2", "3")
    back = await relay.join(room, session=bob.session, since=_since(bob, 1))
    assert (back.id, back.joined["recovered"], back.joined["missed"]) == (bob.id, True, 0)
    assert await _messages(back, 2) == ["2", "3"]
    await _said(ann, "4")
    assert await _messages(back, 1) == ["4"]


async def test_authors_who_have_left(relay):
    """Who came, said something and left in the meantime is told of around what they said; nobody else is."""
    room = await relay.create()
    ann, old, early = await relay.join(room, "ann"), await relay.join(room, "old"), await relay.join(room, "early")
    await early.say("0")
    await early.send("leave")
    last = await ann.until("message")
    await ann.socket.close()
    away = await relay.join(room, "away")
    for peer, words in ((await relay.join(room, "bob"), "1"), (await relay.join(room, "cem"), ""), (old, "2")):
        if words:
            await peer.say(words)
            await peer.until("message", id=words)
        await peer.send("leave")
        await peer.closed()
        if words == "1":
            bob = peer
    since = {"epoch": ann.joined["epoch"], "seq": last["seq"]}
    again = await relay.join(room, session=ann.session, since=since)
    assert {user["id"] for user in again.joined["users"]} == {ann.id, away.id}
    before, *said, after = [await again.recv() for _ in range(4)]
    assert [(user["id"], user["profile"]) for user in before["joined"]] == [(bob.id, {"nick": "bob"})]
    assert [frame["id"] for frame in said] == ["1", "2"]
    assert (after["left"], before["users"], after["users"]) == ([bob.id], 2, 2)
    bob = await relay.join(room, session=bob.session)
    once_more = await relay.join(room, session=ann.session, since=since)
    assert bob.id in {user["id"] for user in once_more.joined["users"]}
    assert [(await once_more.recv())["type"] for _ in range(2)] == ["message", "message"]


async def test_nothing_missed_is_recovered(relay):
    """Who has heard everything is told so and hears nothing again."""
    room = await relay.create()
    ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
    await _said(ann, "1")
    back = await relay.join(room, session=bob.session, since=_since(bob, 1))
    assert (back.joined["recovered"], back.joined["missed"]) == (True, 0)
    await _said(ann, "2")
    assert await _messages(back, 1) == ["2"]


async def test_direct_messages_come_again(relay):
    """Direct ones of either side with `after` from since.seq on come too; nobody else's do."""
    room = await relay.create()
    ann, bob, eve = [await relay.join(room, nick) for nick in ("ann", "bob", "eve")]
    await _said(ann, "1")
    await bob.socket.close()
    await eve.socket.close()
    await ann.say("private", to=bob.id)
    await ann.until("message", id="private")
    await _said(ann, "2")
    back = await relay.join(room, session=bob.session, since=_since(bob, 1))
    assert await _messages(back, 2) == ["private", "2"]
    other = await relay.join(room, session=eve.session, since=_since(eve, 1))
    assert await _messages(other, 1) == ["2"]


async def test_the_ring_is_no_transcript(relay):
    """A newcomer gets nothing that was said before, whatever it claims to have heard."""
    room = await relay.create()
    ann = await relay.join(room, "ann")
    await _said(ann, "1", "2")
    new = await relay.join(room, since=_since(ann, 0))
    assert (new.joined["recovered"], new.joined["missed"]) == (False, 2)
    await _said(ann, "3")
    assert await _messages(new, 1) == ["3"]


async def test_who_left_was_not_there(relay):
    """What was said after somebody left is not for them, though the session is theirs."""
    room = await relay.create(expiration_date=1)
    ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
    await _said(ann, "1")
    await bob.send("leave")
    await bob.closed()
    await _said(ann, "2", "3")
    back = await relay.join(room, session=bob.session, since=_since(bob, 1))
    assert (back.id, back.joined["recovered"], back.joined["missed"]) == (bob.id, False, 2)
    await _said(ann, "4")
    assert await _messages(back, 1) == ["4"]


async def test_direct_messages_before_a_second_stay(relay):
    """Nor do direct messages of an earlier stay come again in a later one."""
    room = await relay.create(expiration_date=1)
    ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
    await ann.say("early", to=bob.id)
    await bob.until("message", id="early")
    await bob.send("leave")
    await bob.closed()
    back = await relay.join(room, session=bob.session, since=_since(bob, 0))
    await _said(ann, "now")
    assert await _messages(back, 1) == ["now"]


async def test_resume_zero_keeps_nothing(relay):
    """With `resume: 0` what was missed is counted and lost."""
    room = await relay.create(settings={"resume": 0})
    ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
    await bob.socket.close()
    await _said(ann, "1", "2")
    back = await relay.join(room, session=bob.session, since=_since(bob, 0))
    assert (back.id, back.joined["recovered"], back.joined["missed"]) == (bob.id, False, 2)


async def test_turning_resume_off_empties_the_ring(relay):
    """An edit to `resume: 0` forgets what was kept."""
    room = await relay.create()
    ann, bob = await relay.join(room, "ann", owner=True), await relay.join(room, "bob")
    await bob.socket.close()
    await _said(ann, "1")
    await ann.send("edit", id="e", settings={"resume": 0})
    await ann.until("ok", id="e")
    back = await relay.join(room, session=bob.session, since=_since(bob, 0))
    assert (back.joined["recovered"], back.joined["missed"]) == (False, 1)


async def test_more_than_is_kept(relay):
    """Past 256 KiB the oldest are lost and counted; the others come."""
    async with relay_with(limits__message_rate=0) as relay:
        room = await relay.create()
        ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
        await bob.socket.close()
        for number in range(12):
            await ann.say(str(number), "x" * 30_000)
        for number in range(12):
            await ann.until("message", id=str(number))
        back = await relay.join(room, session=bob.session, since=_since(bob, 0))
        missed = back.joined["missed"]
        assert not back.joined["recovered"]
        assert missed == 4  # 12 frames of 30 KB are 360 KB; 8 of them fit
        assert await _messages(back, 12 - missed) == [str(number) for number in range(missed, 12)]


async def test_all_rings_together_are_bounded():
    """Past the total the largest ring is emptied, and a small room keeps what it has."""
    async with relay_with(limits__message_rate=0, limits__max_ring=100_000) as relay:
        small, large = await relay.create(), await relay.create()
        ann, bob = await relay.join(small, "ann"), await relay.join(small, "bob")
        eve, mal = await relay.join(large, "eve"), await relay.join(large, "mal")
        await _said(ann, "keep")
        for number in range(4):
            await eve.say(str(number), "x" * 30_000)
        await eve.until("message", id="3")
        lost = await relay.join(large, session=mal.session, since=_since(mal, 0))
        assert lost.joined["missed"] == 4
        kept = await relay.join(small, session=bob.session, since=_since(bob, 0))
        assert await _messages(kept, 1) == ["keep"]


@pytest.mark.parametrize(
    ("epoch", "seq", "missed"),
    [("another", 0, 0), ("", 1, 0), (None, 99, 0), (None, 2**53 - 1, 0)],
    ids=["another epoch", "no epoch", "the future", "far future"],
)
async def test_a_since_that_fits_nothing(relay, epoch, seq, missed):
    """It recovers nothing, and nothing is said again."""
    room = await relay.create()
    ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
    await _said(ann, "1")
    since = {"epoch": bob.joined["epoch"] if epoch is None else epoch, "seq": seq}
    back = await relay.join(room, session=bob.session, since=since)
    assert (back.joined["recovered"], back.joined["missed"]) == (False, missed)
    await _said(ann, "2")
    assert await _messages(back, 1) == ["2"]


@pytest.mark.parametrize("seq", [-1, 1.5, "1", None, 2**53])
async def test_a_since_of_the_wrong_shape(relay, seq):
    """It breaks the protocol, before anything is joined."""
    room = await relay.create()
    peer = await relay.connect(room["id"])
    await peer.send("join", key=room["invite_key"], since={"epoch": "x", "seq": seq})
    assert await peer.closed() == (4000, "protocol_error")


async def test_the_since_of_another_user(relay):
    """A session is heard for its own user only: what others missed is not told to it."""
    room = await relay.create()
    ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
    await _said(ann, "1")
    eve = await relay.join(room, "eve")
    await _said(ann, "2")
    back = await relay.join(room, session=eve.session, since=_since(bob, 0))
    assert (back.id, back.joined["recovered"], back.joined["missed"]) == (eve.id, False, 1)
    assert await _messages(back, 1) == ["2"]


async def test_a_session_of_another_room(relay):
    """It is worth nothing here: with it alone there is no such room."""
    room, other = await relay.create(), await relay.create()
    ann = await relay.join(other, "ann")
    peer = await relay.connect(room["id"])
    await peer.send("join", session=ann.session, since={"epoch": ann.joined["epoch"], "seq": 0})
    assert await peer.closed() == (4004, "no_such_room")


async def test_a_stolen_session_is_another_tab(relay):
    """Used at the same time it hears what that user hears, and counts once."""
    room = await relay.create()
    ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
    thief = await relay.join(room, session=bob.session)
    await ann.say("private", to=bob.id)
    assert (await bob.until("message"))["id"] == (await thief.until("message"))["id"] == "private"
    details = await relay.details(room)
    assert (details["users"], details["connections"]) == (2, 3)


async def test_said_again_after_a_reconnect(relay):
    """The same id by the same user is not heard twice; the sender is told where it stands."""
    room = await relay.create()
    ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
    await _said(bob, "1")
    back = await relay.join(room, session=bob.session, since=_since(bob, 1))
    await back.say("1")
    assert await back.until("ok") == {"type": "ok", "id": "1", "seq": 1}
    await _said(ann, "2")
    assert [frame["id"] for frame in await ann.frames(0.2) if frame["type"] == "message"] == []


async def test_said_again_after_leaving(relay):
    """Nor when its sender had lost the place in between: what was said is remembered for two minutes."""
    room = await relay.create(expiration_date=1)
    ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
    await _said(bob, "1")
    await bob.send("leave")
    await bob.closed()
    back = await relay.join(room, session=bob.session)
    assert back.id == bob.id
    await back.say("1")
    assert await back.until("ok") == {"type": "ok", "id": "1", "seq": 1}
    await _said(ann, "2")
    assert (await back.until("message"))["seq"] == 2


async def test_a_gap_on_the_bus_sends_everyone_to_resume(tmp_path):
    """A gateway that misses a message notices by its number and lets nobody miss it."""
    from relayd.bus.messages import Said
    from relayd.daemon import running
    from relayd.settings import load
    from relayd.startup import Start
    from relayd.wire.ids import parse_room_id
    from tests.conftest import Relay

    settings = load(None, {}, {"listen": ["127.0.0.1:0"], "control": f"{tmp_path}/control.sock"})
    async with running(Start(settings)) as daemon:
        relay = Relay(daemon.addresses[0])
        room = await relay.create()
        ann = await relay.join(room, "ann")
        daemon._gateway._fanout.deliver(parse_room_id(room["id"]), Said(3, [b'{"type":"message","seq":3}']))
        assert await ann.closed() == (4500, "restarting")
        await relay.close()
