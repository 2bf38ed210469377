"""A server, or somebody on the way to it, that says what no relay says: the page goes on, or ends with a reason."""

from __future__ import annotations

import itertools
import json

from web.test_engine import BARE, READY, SECRET, Engine, bare

ODD = [None, True, -1, 1.5, 2**53, "", "x", "__proto__", [], [None], {}, {"id": None}]
# No text or number can be made of it: `String` and `Number` throw.
ODD += [{"toString": None, "valueOf": None}]
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


# What is put into the answer to a join, and what the page must call it.
LIES = {
    "check": ({"room": {"access": {"check": "AAAAAAAAAAAAAAAAAAAAAA"}}}, "wrong_secret"),
    "no check": ({"room": {"access": {"check": None}}}, "wrong_secret"),
    "epoch": ({"room": {"access": {"epoch": 1}}}, "wrong_secret"),
    "owner": ({"room": {"access": {"owner": SECRET * 2}}}, "server_wrong"),
    "suite": ({"room": {"access": {"suite": 2}}}, "unknown_suite"),
    "open": ({"room": {"access": None, "sealed": False, "protected": False}}, "downgrade"),
    "half open": ({"room": {"access": None}}, "server_wrong"),
    "another room": ({"room": {"id": "6c1f0d5e-3c1b-4a8e-9d42-0f2b8f6f3a11"}}, "server_wrong"),
    "no room": ({"room": None}, "server_wrong"),
    "nobody": ({"you": None}, "server_wrong"),
    "no place": ({"seq": "x"}, "server_wrong"),
    "keys of nobody": ({"rekey": {"epoch": 1, "check": SECRET, "box": "A" * 171, "seq": 1}}, "rekey_refused"),
}


def with_lie(frame: dict, lie: dict) -> dict:
    """The frame with other values, however deep."""
    for name, value in lie.items():
        frame[name] = with_lie(frame[name], value) if isinstance(value, dict) and name in frame else value
    return frame


async def test_an_answer_to_a_join_is_not_believed(visitors):
    """Where it does not fit the room that the page knows, the page leaves, says why, and has said nothing."""
    one = await visitors()
    said: list[str] = []
    lie: dict = {}

    def stand_in(way) -> None:
        server = way.connect_to_server()

        def up(message: str) -> None:
            said.append(json.loads(message)["type"])
            server.send(message)

        def down(message: str) -> None:
            frame = json.loads(message)
            way.send(json.dumps(with_lie(frame, lie) if frame["type"] == "joined" else frame))

        way.on_message(up)
        server.on_message(down)

    await one.page.route_web_socket(lambda url: url.startswith("ws"), stand_in)
    await one.page.goto(one.base + BARE)
    await one.page.evaluate(READY)
    engine = Engine(one.page)
    for what, (lie, code) in LIES.items():  # noqa: B007 # stand_in reads it
        assert await engine.problem("() => engine.createRoom({nick: 'ann'})") == code, what
    assert said == ["join"] * len(LIES)
