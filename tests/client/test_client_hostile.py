"""A client of a sealed link shows and sends no plaintext, whatever a server answers; and nothing makes it fall over."""

from __future__ import annotations

import asyncio
import json
import random

import pytest
from cutter import heard
from fake_relay import fake_relay
from test_client_resume import quick

from relayd.client import (
    BadServer,
    Event,
    Message,
    Reconnected,
    Rekeyed,
    RekeyRefused,
    Signal,
    Unreadable,
    UserJoined,
    create,
    join,
    membership,
)
from relayd.client.sealing_errors import Downgrade, LinkError, RekeyError, UnknownSuite, WrongEpoch, WrongSecret
from relayd.wire.sealing_text import SealingError

PLAIN = "canary of plain words"


@pytest.fixture
async def fake():
    async with fake_relay() as fake:
        yield fake


def sent_nothing_plain(fake) -> bool:
    """Whether every frame but joins and pings carries sealed things only, and nothing said shows anywhere."""
    for _, frame in fake.heard:
        sealed = frame.get("body") or frame.get("data")
        if frame["type"] in ("message", "signal") and not (isinstance(sealed, dict) and set(sealed) == set("esnc")):
            return False
        if frame["type"] == "join" and frame.get("profile"):
            return False
    return PLAIN.encode() not in b"".join(fake.logged)


async def take_all(room, shown: list[Event]) -> None:
    async for event in room:
        shown.append(event)  # noqa: PERF401 # what was shown before the end counts


def without(*names):
    return lambda details: {name: value for name, value in details.items() if name not in names}


@pytest.mark.parametrize("password", [None, "pw"])
@pytest.mark.parametrize(
    "lie",
    [
        lambda details: {**details, "access": None, "sealed": False, "protected": False},
        lambda details: {**details, "access": None},
        without("access", "sealed", "protected"),
        lambda details: {**details, "access": {**details["access"], "suite": 2}},
        lambda details: {**details, "access": {**details["access"], "salt": "A" * 22}},
        lambda details: {**details, "access": {**details["access"], "salt": ""}},
        lambda details: {**details, "access": {**details["access"], "salt": "A" * 13334}},
        lambda details: {**details, "access": {**details["access"], "salt": details["access"]["salt"][:-1]}},
        lambda details: {**details, "access": {**details["access"], "password": not details["access"]["password"]}},
        lambda details: {**details, "access": {**details["access"], "owner": "A" * 43}},
        lambda details: {**details, "access": {**details["access"], "epoch": 2**32}},
        lambda details: {**details, "access": "sealed"},
        lambda details: {**details, "access": []},
        lambda details: {"room": details},
    ],
)
async def test_details_that_lie_keep_it_out(fake, lie, password):
    made = await create(fake.base, password=password)
    fake.rest = lie
    with pytest.raises((SealingError, BadServer)) as caught:
        await join(made.link, PLAIN, password=password).__aenter__()
    assert fake.heard == [], "not even a join was sent"
    assert made.link.partition("#")[2] not in str(caught.value)


@pytest.mark.parametrize(
    ("lie", "kind"),
    [
        (lambda room: {**room, "access": None, "sealed": False}, Downgrade),
        (lambda room: {**room, "access": {**room["access"], "check": "A" * 22}}, WrongSecret),
        (lambda room: {**room, "access": {**room["access"], "check": None}}, WrongSecret),
        (lambda room: {**room, "access": {**room["access"], "check": "A" * 21}}, SealingError),
        (lambda room: {**room, "access": {**room["access"], "epoch": 1}}, WrongEpoch),
        (lambda room: {**room, "access": {**room["access"], "salt": "A" * 22}}, WrongSecret),
    ],
)
async def test_a_joined_frame_that_lies_ends_it_before_anything_is_sent_or_shown(fake, lie, kind):
    made = await create(fake.base)
    for reconnect in (False, True):

        def hostile(user, frame):
            if frame["type"] != "joined":
                return [frame]
            plain = {"type": "message", "seq": 1, "at": 0, "from": "u_1", "id": "x", "body": {"text": PLAIN}}
            return [{**frame, "room": lie(frame["room"])}, plain]

        if not reconnect:
            fake.mangle = hostile
            with pytest.raises(kind):
                await join(made.link, PLAIN).__aenter__()
        else:
            fake.mangle = lambda user, frame: [frame]
            async with join(made.link, PLAIN, backoff=quick()) as ann:
                fake.mangle = hostile
                next(iter(fake.sockets)).close(4500, "")
                shown: list[Event] = []
                with pytest.raises(kind):
                    await take_all(ann, shown)
                assert not any(isinstance(event, Message) for event in shown)
                with pytest.raises(kind):
                    await ann.say(PLAIN)
    assert sent_nothing_plain(fake)


async def test_messages_before_the_join_is_answered_are_not_shown(fake):
    made = await create(fake.base)
    plain = {"type": "message", "seq": 1, "at": 0, "from": "u_1", "id": "x", "body": {"text": PLAIN}}
    fake.mangle = lambda user, frame: [plain, frame] if frame["type"] == "joined" else [frame]
    async with join(made.link, "ann") as ann:
        await ann.say("hello")
        assert (await heard(ann, Message)).text == "hello"


@pytest.mark.parametrize("sender", ["admin", "me", "bob", "u_0000000000000000"])
async def test_plain_words_are_never_shown(fake, sender):
    """A plain message, direct message, signal or profile under anybody's name, admin's too."""
    made = await create(fake.base)
    async with join(made.link, "ann") as ann, join(made.link, "bob") as bob:
        await heard(ann, UserJoined)
        who = {"me": ann.me.id, "bob": bob.me.id}.get(sender, sender)
        socket = next(s for s, user in fake.sockets.items() if user == ann.me.id)
        body = {"kind": "text", "text": PLAIN}
        for seq, lie in enumerate([body, PLAIN, {"e": 0, "s": "A" * 22, "n": 0, "c": "A" * 107}, None, [], 7], 1):
            fake.tell(socket, {"type": "message", "seq": seq, "at": 0, "from": who, "id": f"x{seq}", "body": lie})
            direct = {"type": "message", "after": seq, "at": 0, "from": who, "to": ann.me.id, "id": f"y{seq}"}
            fake.tell(socket, {**direct, "body": lie})
        fake.tell(socket, {"type": "signal", "from": who, "kind": "typing", "data": PLAIN})
        fake.tell(socket, {"type": "signal", "from": who, "kind": "sealed", "data": PLAIN})
        entry = {"id": who, "role": "member", "profile": {"nick": PLAIN}, "away": False, "muted": False}
        fake.tell(socket, {"type": "presence", "joined": [entry], "left": [], "changed": [entry], "users": 3})
        fake.seq = 10
        await bob.say("true words")
        shown = 0
        async with asyncio.timeout(10):
            async for event in ann:
                assert not isinstance(event, Signal)
                assert PLAIN not in repr(event)
                shown += isinstance(event, Unreadable)
                if isinstance(event, Message):
                    assert event.text == "true words"
                    break
        assert shown == 12, "that something came which did not open is shown"
        assert ann.user(who).nick in ("ann", "bob", "", "admin")
    assert sent_nothing_plain(fake)


async def test_replayed_reflected_swapped_and_forged(fake):
    """Ciphertexts come again, from another sender, under another id or type: none is shown twice or falsely."""
    made = await create(fake.base)
    async with join(made.link, "ann") as ann, join(made.link, "bob") as bob, join(made.link, "cyd") as cyd:
        await bob.say("once")
        message = await heard(ann, Message)
        frame = next(frame for user, frame in fake.heard if frame["type"] == "message")
        socket = next(s for s, user in fake.sockets.items() if user == ann.me.id)
        await ann.say("mine")
        own = fake.heard[-1][1]
        tampered = {**frame["body"], "c": frame["body"]["c"][:-4] + "AAAA"}
        lies = [
            {"from": bob.me.id, "id": message.id, "body": frame["body"]},  # replayed
            {"from": cyd.me.id, "id": message.id, "body": frame["body"]},  # under another name
            {"from": bob.me.id, "id": "other", "body": frame["body"]},  # under another id
            {"from": bob.me.id, "id": own["id"], "body": own["body"]},  # reflected
            {"from": bob.me.id, "id": message.id, "body": tampered},
            {"from": bob.me.id, "id": message.id, "body": {**frame["body"], "n": 1}},
            {"from": bob.me.id, "id": message.id, "body": {**frame["body"], "e": 1}},
            {"from": bob.me.id, "id": message.id, "body": fake.users[bob.me.id]["profile"]},  # a card as a message
        ]
        for lie in lies:
            fake.seq += 1
            fake.tell(socket, {"type": "message", "seq": fake.seq, "at": 0, **lie})
        fake.tell(socket, {"type": "signal", "from": bob.me.id, "kind": "sealed", "data": frame["body"]})
        await bob.say("end")
        said = [await heard(ann, Message) for _ in range(2)]
        assert [(one.text, one.user.nick) for one in said] == [("mine", "ann"), ("end", "bob")]


async def test_new_keys_that_the_owner_did_not_make_are_refused(fake):
    made = await create(fake.base)
    async with join(made.link, "ann", owner=made.owner) as ann, join(made.link, "bob") as bob:
        link = bob.link
        socket = next(s for s, user in fake.sockets.items() if user == bob.me.id)
        for lie in ({"epoch": 1}, {"epoch": 1, "check": "A" * 22, "box": "A" * 171}, {"epoch": "x"}, {"epoch": -1}):
            fake.tell(socket, {"type": "room", "event": "rekeyed", "seq": 1, **lie})
            await heard(bob, RekeyRefused)
        assert bob.link == link
        await bob.say("still in the old epoch")
        assert (await heard(ann, Message)).epoch == 0
        await ann.kick("u_00000000000000ff")
        await heard(bob, Rekeyed)
        link = bob.link
        fake.tell(socket, {"type": "room", "event": "rekeyed", **fake.boxes[bob.me.id]})
        await bob.say("what is known already is passed over")
        shown = []
        async with asyncio.timeout(5):
            async for event in bob:
                shown.append(type(event))
                if isinstance(event, Message) and event.epoch == 1:
                    break
        assert RekeyRefused not in shown
        assert Rekeyed not in shown
        assert bob.link == link


async def test_an_old_epoch_does_not_come_back(fake):
    made = await create(fake.base)
    async with (
        join(made.link, "ann", owner=made.owner) as ann,
        join(made.link, "bob", backoff=quick()) as bob,
        join(made.link, "cyd") as cyd,
    ):
        access, check = fake.access, fake.check
        for _ in range(2):
            await heard(ann, UserJoined)
        await ann.kick(cyd.me)
        await heard(bob, Rekeyed)
        fake.epoch, fake.access, fake.check = 0, access, check
        fake.boxes.clear()
        for socket in [s for s, user in fake.sockets.items() if user == bob.me.id]:
            socket.close(4500, "")
        with pytest.raises(WrongEpoch):
            await heard(bob, Reconnected)


async def test_a_stale_epoch_without_new_keys_is_an_error_and_no_plaintext(fake, monkeypatch):
    monkeypatch.setattr(membership, "STALE_TIMEOUT_S", 0.2)
    made = await create(fake.base)
    async with join(made.link, "ann") as ann:
        fake.refuse = lambda user, frame: {"code": "stale_epoch"} if frame["type"] == "message" else None
        with pytest.raises(RekeyError):
            await ann.say(PLAIN)
    assert sent_nothing_plain(fake)


async def test_cards_with_keys_that_nothing_can_be_sealed_to(fake):
    """A server, or a member, shows broken cards: whoever is broken is left out, the others go on."""
    made = await create(fake.base)
    async with join(made.link, "ann", owner=made.owner) as ann, join(made.link, "bob") as bob:
        await bob.say("x")
        await heard(ann, Message)
        for profile in ({}, {"nick": "x"}, [], None, 7, {"e": 0, "s": "A" * 22, "n": 0, "c": "A" * 107}):
            socket = next(s for s, user in fake.sockets.items() if user == ann.me.id)
            entry = {"id": bob.me.id, "role": "member", "profile": profile, "away": False, "muted": False}
            fake.tell(socket, {"type": "presence", "joined": [], "left": [], "changed": [entry], "users": 2})
        await bob.say("y")
        assert (await heard(ann, Message)).user.nick == "bob", "the last good card holds"
        await ann.say("still", to=bob.me)


@pytest.mark.parametrize(
    "frame",
    [
        "not json", "{}", "[]", "null", '{"type": 7}', '{"type": "joined"}', '{"type": "what"}', "[" * 100_000,
        '{"type":"presence","joined":[{"id":7}]}', '{"type":"presence","left":"all"}', '{"type":"room"}',
        '{"type":"message","seq":"1","from":"u","id":"x","body":1}', '{"type":"error"}', '{"type":"ok","id":[]}',
        '{"type":"room","event":"updated","room":{"name":[]}}', '{"type":"message","seq":1e400}', '"\\ud800"',
        '{"type":"room","event":"expiring","in":1e99}', '{"type":"room","event":"restarting","retry_in_ms":-1}',
        '{"type":"error","code":"x","retry_after_ms":-99999999999}', '{"type":"room","event":"announcement","text":{}}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("sealed", [True, False])
async def test_frames_that_are_none_are_passed_over(fake, frame, sealed):
    made = await create(fake.base, sealed=sealed)
    async with join(made.link, "ann") as ann:
        next(iter(fake.sockets)).write_message(frame)
        next(iter(fake.sockets)).write_message(b"\x00" * 50, binary=True)
        assert (await ann.say("fine")).seq == 1
        assert (await heard(ann, Message)).text == "fine"


async def test_random_frames_never_break_a_member(fake):
    seed = random.randrange(10**6)
    draw = random.Random(seed)
    made = await create(fake.base)
    async with join(made.link, "ann") as ann, join(made.link, "bob") as bob:
        await bob.say("x")
        await heard(ann, Message)
        real = [json.dumps(frame) for _, frame in fake.heard] + [json.dumps(entry) for entry in fake.users.values()]
        values = [None, 0, -1, 2**53, "", "u_1", ann.me.id, bob.me.id, [], {}, *(json.loads(text) for text in real)]
        names = "seq at from id body to kind data joined left changed users event room epoch check box text".split()
        types = "message signal presence room ok error pong joined".split()
        socket = next(s for s, user in fake.sockets.items() if user == ann.me.id)
        for _ in range(400):
            frame = {name: draw.choice(values) for name in draw.sample(names, draw.randrange(len(names)))}
            frame["type"] = draw.choice(types)
            if not isinstance(frame.get("seq"), int) or frame["seq"] > 10**6:
                frame["seq"] = fake.seq
            socket.write_message(json.dumps(frame))
        fake.seq = 10**6 + 1
        assert (await ann.say("alive")).seq > 0, seed
        async with asyncio.timeout(10):
            async for event in ann:
                assert not isinstance(event, Message) or event.text in ("alive", "x"), seed
                if isinstance(event, Message) and event.text == "alive":
                    break


# Bad input of one's own. ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", ["", "x" * 10_000, "\ud800", "\ufeffx"])
async def test_passwords_that_cannot_be(fake, password):
    with pytest.raises(SealingError, match="password") as caught:
        await create(fake.base, password=password)
    assert fake.logged == []
    assert not password or password not in str(caught.value)


@pytest.mark.parametrize("password", ["e\u0301", "🔑🗝️", "x" * 1024, " spaces are kept "])
async def test_passwords_that_can(fake, password):
    import unicodedata

    made = await create(fake.base, password=password)
    async with join(made.link, "ann", password=unicodedata.normalize("NFC", password)) as ann:
        await ann.say("in")
    assert password.encode() not in b"".join(fake.logged)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda link: link[:-1], LinkError),
        (lambda link: link + "A", LinkError),
        (lambda link: link.replace(".1.", ".2."), UnknownSuite),
        (lambda link: link.replace(".1.", ".1p"), SealingError),
        (lambda link: link.rpartition(".")[0] + "." + "A" * 22, LinkError),
        (lambda link: link.partition("#")[0], LinkError),
        (lambda link: "x" + link, LinkError),
        (lambda link: link.replace("ri_", "ro_"), LinkError),
        (lambda link: "", LinkError),
    ],
)
async def test_links_that_are_damaged(fake, change, kind):
    made = await create(fake.base)
    with pytest.raises(kind) as caught:
        join(change(made.link), "ann")
    assert made.link.rpartition(".")[2][:10] not in str(caught.value)
    assert fake.heard == []


async def test_newcomers_without_a_card_are_not_hidden(fake):
    """Somebody who listens and shows nothing is listed all the same."""
    made = await create(fake.base)
    async with join(made.link, "ann") as ann:
        entry = {"id": "u_00000000000000ff", "role": "member", "profile": {}, "away": False, "muted": False}
        fake.tell_all({"type": "presence", "joined": [entry], "left": [], "changed": [], "users": 2})
        assert (await heard(ann, UserJoined)).user.nick == ""
        assert ann.user_count == len(ann.users) == 2
