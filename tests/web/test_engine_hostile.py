"""A server, or somebody on the way to it, that says what no relay says: the page goes on, or ends with a reason."""

from __future__ import annotations

import itertools
import json

from web.test_engine import BARE, READY, Engine, bare

ODD = [None, True, -1, 1.5, 2**53, "", "x", "__proto__", [], [None], {}, {"id": None}]
# By type: the fields that a client reads.
FIELDS = {
    "message": ["seq", "from", "id", "to", "after", "body", "at"],
    "signal": ["from", "kind", "data"],
    "presence": ["joined", "left", "changed", "users"],
    "room": ["event", "room", "in", "text", "seq", "epoch", "check", "box", "retry_in_ms"],
    "ok": ["id", "seq"],
    "error": ["id", "code", "detail", "fid"],
    "pong": ["id"],
    "file": ["event", "fid", "stream", "from", "upto", "user", "ok", "code"],
}


def odd_frames() -> list[str]:
    """Every field of every frame with every odd value, and what is no frame at all."""
    frames = ["", "{", "null", "7", "[]", '{"type":7}', '{"type":"toString"}', '{"type":"__proto__"}', "\u0000" * 9]
    for kind, fields in FIELDS.items():
        frames.append(json.dumps({"type": kind}))
        frames += [json.dumps({"type": kind, name: value}) for name, value in itertools.product(fields, ODD)]
        frames += [json.dumps({"type": kind, **dict.fromkeys(fields, value)}) for value in ODD]
    events = ["updated", "expiring", "announcement", "rekeyed"]
    frames += [json.dumps({"type": "room", "event": event}) for event in events]
    files = ["send", "stop", "accepted", "cancelled", "received", "paused", "ended"]
    frames += [json.dumps({"type": "file", "event": event, "fid": "AAECAwQFBgcICQoLDA0ODw"}) for event in files]
    return frames


async def between(visitors) -> tuple[Engine, list]:
    """A visitor whose sockets somebody stands in; the list holds what speaks to the page."""
    one = await visitors()
    ways: list = []

    def stand_in(way) -> None:
        server = way.connect_to_server()
        way.on_message(server.send)
        server.on_message(way.send)
        ways.append(way)

    await one.page.route_web_socket(lambda url: url.startswith("ws"), stand_in)
    await one.page.goto(one.base + BARE)
    await one.page.evaluate(READY)
    return Engine(one.page), ways


async def test_odd_frames(visitors):
    """Whatever is wrong in a frame, the page is still in the room, shows nothing that was not said, and goes on."""
    for sealed in (True, False):
        engine, ways = await between(visitors)
        link = await engine.create(sealed=sealed)
        ann = await bare(visitors)
        await ann.open(link, "bob")
        await ann("room.say('before')")
        await engine.hears("before")
        for frame in odd_frames():
            # Of numbers beyond what has been said, what is said later would be old news: that is the server's lie.
            if '"seq": 9007199254740992' not in frame:
                ways[0].send(frame)
        for chunk in (b"", b"\x01", b"\x01" + bytes(45), b"\x02" * 100, b"\x01\x02" + bytes(60)):
            ways[0].send(chunk)
        await ann("room.say('after')")
        await engine.hears("after")
        assert await engine("room.state.phase") == "joined"
        if sealed:
            assert await engine("texts()") == ["before", "after"]
        assert await engine("Object.keys({}).length + Object.keys(Object.prototype).length") == 0


async def test_a_flood_of_what_is_new_is_bounded(visitors):
    """Ten thousand people come, say something and go: what is kept stays within bounds."""
    engine, ways = await between(visitors)
    await engine.create(sealed=False)
    for start in range(0, 10_600, 200):
        ids = [f"u_{number:016x}" for number in range(start, start + 200)]
        users = [
            {"id": id_, "role": "member", "profile": {"nick": f"n{id_}"}, "away": False, "muted": False} for id_ in ids
        ]
        ways[0].send(json.dumps({"type": "presence", "joined": users, "left": [], "changed": [], "users": 1}))
        for number, id_ in enumerate(ids):
            message = {"type": "message", "seq": start + number + 1, "from": id_, "id": "m", "at": 0, "body": "x"}
            ways[0].send(json.dumps(message))
        ways[0].send(json.dumps({"type": "presence", "joined": [], "left": ids, "changed": [], "users": 1}))
    await engine(
        "() => until(() => room.state.lines.at(-1)?.system?.nicks.includes('nu_0000000000002967')"
        " || room.state.lines.some(({author}) => author?.id === 'u_0000000000002967'))"
    )
    assert await engine("room.state.lines.length") <= 10_000
    assert await engine("room.state.users.size") == 1


async def test_a_taken_place(visitors):
    """A join that is answered for another user, or without the room's check, ends in a reason and says nothing more."""
    one = await visitors()
    said: list[str] = []

    def lie(way) -> None:
        server = way.connect_to_server()

        def up(message: str | bytes) -> None:
            said.append(str(message))
            server.send(message)

        def down(message: str | bytes) -> None:
            frame = json.loads(message)
            if frame["type"] == "joined":
                frame["room"]["access"]["check"] = "AAAAAAAAAAAAAAAAAAAAAA"
            way.send(json.dumps(frame))

        way.on_message(up)
        server.on_message(down)

    await one.page.route_web_socket(lambda url: url.startswith("ws"), lie)
    await one.page.goto(one.base + BARE)
    await one.page.evaluate(READY)
    engine = Engine(one.page)
    assert await engine.problem("() => engine.createRoom({nick: 'ann'})") == "wrong_secret"
    assert [json.loads(frame)["type"] for frame in said] == ["join"]
