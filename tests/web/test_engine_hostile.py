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


async def test_odd_frames(visitors):
    """Whatever is wrong in a frame, the page is still in the room, shows nothing that was not said, and goes on."""
    # Of numbers beyond what has been said, what is said later would be old news: that is the server's lie.
    frames = [frame for frame in odd_frames() if '"seq": 9007199254740992' not in frame]
    chunks = [[], [1], [1, *[0] * 45], [2] * 100, [1, 2, *[0] * 60]]
    engine, ann = await bare(visitors), await bare(visitors)
    for sealed in (True, False):
        await ann.open(await engine.create(sealed=sealed), "bob")
        await ann("room.say('before')")
        await engine.hears("before")
        await engine("(frames) => frames.forEach((data) => sockets.at(-1).onmessage({data}))", frames)
        hear = "(chunks) => chunks.forEach((bytes) => sockets.at(-1).onmessage({data: Uint8Array.from(bytes).buffer}))"
        await engine(hear, chunks)
        await ann("room.say('after')")
        await engine.hears("after")
        assert await engine("room.state.phase") == "joined"
        if sealed:
            assert await engine("texts()") == ["before", "after"]
        assert await engine("Object.keys(Object.prototype).length") == 0


async def test_a_flood_of_strangers_is_bounded(visitors):
    """Twenty thousand people come, say something and go: what is kept stays within bounds."""
    engine = await bare(visitors)
    await engine.create(sealed=False)
    await engine("""async () => {
      const hear = (frame) => sockets.at(-1).onmessage({data: JSON.stringify(frame)});
      for (let seq = 0; seq < 20_000; ) {
        const ids = Array.from({length: 200}, (_, at) => `u_${String(seq + at).padStart(16, "0")}`);
        hear({type: "presence", joined: ids.map((id) => ({id, profile: {nick: id}})), left: [], changed: [], users: 1});
        for (const from of ids) hear({type: "message", seq: seq += 1, from, id: "m", at: 0, body: "x".repeat(2000)});
        hear({type: "presence", joined: [], left: ids, changed: [], users: 1});
        await until(() => room.state.lines.at(-1)?.system?.nicks.includes(ids[0]));
      }
    }""")
    assert 9_000 < await engine("room.state.lines.length") <= 10_000
    assert await engine("room.state.users.size") == 1
    assert await engine("room.state.lines.reduce((sum, {text}) => sum + text.length, 0)") <= 32_000_000


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
