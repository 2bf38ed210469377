"""A relay that is not ours: small, honest as it comes, and hostile where a test makes it so.

It keeps rooms as the protocol says (one order, sessions, sealed access, rekeys), without limits or resume, and lets
a test change every answer on its way: `mangle` for frames, `rest` for details.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from relayd.wire.sealing import Access, proof_fits

Frame = dict[str, Any]


def token(prefix: str, size: int) -> str:
    from relayd.wire.sealing_text import encode_base64url

    return prefix + encode_base64url(os.urandom(size))


class FakeRelay:
    """The state of the server: one room, its members and all frames that clients sent."""

    def __init__(self) -> None:
        self.id = str(uuid.uuid4())
        self.invite, self.owner = token("ri_", 16), token("ro_", 32)
        self.owner_id = "u_" + os.urandom(8).hex()
        self.access: dict[str, Any] | None = None
        self.check: str | None = None
        self.epoch, self.seq = 0, 0
        self.users: dict[str, Frame] = {}
        self.sessions: dict[str, str] = {}
        self.sockets: dict[Any, str] = {}
        self.boxes: dict[str, Frame] = {}
        self.heard: list[tuple[str, Frame]] = []  # (user id, frame) as they came
        self.logged: list[bytes] = []  # every byte of REST bodies and frames, to be searched for secrets
        # What a test may put in the way.
        self.mangle: Callable[[str, Frame], list[Frame]] = lambda user, frame: [frame]
        self.rest: Callable[[Frame], Frame] = lambda details: details
        self.refuse: Callable[[str, Frame], Frame | None] = lambda user, frame: None
        self.silent: set[str] = set()  # types of frames that get no answer
        self.chunk: Callable[[bytes], list[bytes]] = lambda frame: [frame]
        self.offers: dict[str, tuple[Any, Frame]] = {}  # fid -> the socket that serves it, and what it said
        self.streams: dict[int, tuple[Any, str, int]] = {}  # one for each accept: who receives what, from where
        self.accepted: set[tuple[str, str]] = set()  # who has accepted what
        self.base = ""
        self.ends = "2030-01-01T00:00:00Z"

    def details(self, *, joined: bool = False) -> Frame:
        access = None
        if self.access is not None:
            access = {name: value for name, value in self.access.items() if name not in ("verifier", "check")}
            access["epoch"] = self.epoch
            if joined:
                access["check"] = self.check
        return self.rest(
            {
                "name": "fake", "id": self.id, "owner_id": self.owner_id, "users": len(self.users), "max": 50,
                "sealed": access is not None, "protected": bool(access and access["password"]), "access": access,
                "locked": False, "settings": {"resume": 60},
            }
        )  # fmt: skip

    def tell(self, socket: Any, frame: Frame) -> None:
        for one in self.mangle(self.sockets.get(socket, ""), frame):
            with contextlib.suppress(WebSocketClosedError):
                socket.write_message(json.dumps(one))

    def tell_all(self, frame: Frame, *, but: Any = None) -> None:
        for socket in list(self.sockets):
            if socket is not but:
                self.tell(socket, frame)

    def drop(self, user: str, code: int, reason: str) -> None:
        for socket in [one for one, who in self.sockets.items() if who == user]:
            del self.sockets[socket]
            socket.close(code, reason)

    def join(self, socket: Any, frame: Frame) -> None:
        user = self.sessions.get(frame.get("session", ""))
        if user is None and frame.get("key") not in (self.invite, self.owner):
            socket.close(4004, "no_such_room")
            return
        if user is None and self.access is not None and not self._proof_fits(frame.get("proof")):
            socket.close(4003, "forbidden")
            return
        if user is None:
            user = self.owner_id if frame["key"] == self.owner else "u_" + os.urandom(8).hex()
        session = frame.get("session") or token("rs_", 32)
        self.sessions[session] = user
        new = user not in self.users
        role = "owner" if user == self.owner_id else "member"
        entry = self.users.setdefault(user, {"id": user, "role": role, "profile": {}, "away": False, "muted": False})
        entry["profile"] = frame.get("profile", entry["profile"])
        self.sockets[socket] = user
        since = frame.get("since", {"seq": self.seq})
        joined: Frame = {
            "type": "joined", "you": {"id": user, "session": session, "role": role},
            "room": self.details(joined=True), "users": list(self.users.values()), "epoch": "fake", "seq": self.seq,
            "recovered": since["seq"] == self.seq, "missed": self.seq - since["seq"],
        }  # fmt: skip
        if user in self.boxes:
            joined["rekey"] = self.boxes[user]
        self.tell(socket, joined)
        if new:
            self.presence(socket, joined=[entry])

    def _proof_fits(self, proof: str | None) -> bool:
        return proof_fits(Access(**(self.access or {})), proof)

    def presence(self, but: Any = None, **changes: Any) -> None:
        empty: Frame = {"joined": [], "left": [], "changed": []}
        self.tell_all({"type": "presence", **empty, **changes, "users": len(self.users)}, but=but)

    def hear(self, socket: Any, frame: Frame) -> None:
        user = self.sockets.get(socket, "")
        self.heard.append((user, frame))
        refusal = self.refuse(user, frame)
        if refusal is not None:
            self.tell(socket, {"type": "error", "id": frame.get("id"), **refusal})
        elif frame["type"] not in self.silent:
            getattr(self, "on_" + frame["type"])(socket, user, frame)

    def on_join(self, socket: Any, user: str, frame: Frame) -> None:
        self.join(socket, frame)

    def on_message(self, socket: Any, user: str, frame: Frame) -> None:
        if self.access is not None and frame["body"].get("e") != self.epoch:
            self.tell(socket, {"type": "error", "id": frame["id"], "code": "stale_epoch", "detail": ""})
            return
        if "file" in frame:
            self.offers[frame["file"]["fid"]] = (socket, frame["file"])
        out = {"type": "message", "at": 0, "from": user, "id": frame["id"], "body": frame["body"]}
        if "to" in frame:
            for other in [one for one, who in self.sockets.items() if who in (user, frame["to"])]:
                self.tell(other, {**out, "to": frame["to"], "after": self.seq})
            return
        self.seq += 1
        self.tell_all({**out, "seq": self.seq})

    def on_signal(self, socket: Any, user: str, frame: Frame) -> None:
        self.tell_all({"type": "signal", "from": user, "kind": frame["kind"], "data": frame["data"]}, but=socket)

    def on_profile(self, socket: Any, user: str, frame: Frame) -> None:
        self.users[user]["profile"] = frame["profile"]
        self.tell(socket, {"type": "ok", "id": frame["id"]})
        self.presence(changed=[self.users[user]])

    def on_kick(self, socket: Any, user: str, frame: Frame) -> None:
        self.kick(frame["user"])
        self.tell(socket, {"type": "ok", "id": frame["id"]})

    def kick(self, user: str) -> None:
        self.drop(user, 4011, "kicked")
        self.users.pop(user, None)
        self.sessions = {session: who for session, who in self.sessions.items() if who != user}
        self.presence(left=[user])

    def on_rekey(self, socket: Any, user: str, frame: Frame) -> None:
        if frame["epoch"] != self.epoch + 1:
            self.tell(socket, {"type": "error", "id": frame["id"], "code": "stale_epoch", "detail": ""})
            return
        if "kick" in frame:
            self.kick(frame["kick"])
        self.epoch, self.check = frame["epoch"], frame["check"]
        self.access = {**(self.access or {}), "verifier": frame["verifier"], "check": frame["check"]}
        self.seq += 1
        for who, box in frame["boxes"].items():
            self.boxes[who] = {"epoch": self.epoch, "check": self.check, "box": box, "seq": self.seq}
        self.tell(socket, {"type": "ok", "id": frame["id"]})
        for other, who in list(self.sockets.items()):
            self.tell(other, {"type": "room", "event": "rekeyed", **self.boxes.get(who, {"epoch": self.epoch})})

    # Files: every receiver has a stream of its own. -------------------------------------------------------------

    def on_accept(self, socket: Any, user: str, frame: Frame) -> None:
        fid = frame["fid"]
        if fid not in self.offers:
            error = {"type": "error", "id": frame["id"], "fid": fid, "code": "no_such_file", "detail": ""}
            self.tell(socket, error)
            return
        stream = len(self.streams) + 1
        self.streams[stream] = (socket, fid, frame["from"])
        self.accepted.add((user, fid))
        self.tell(socket, {"type": "ok", "id": frame["id"]})
        self.tell_file(fid, "accepted", user=user)
        if frame["from"] < frame["upto"]:
            self.tell_file(fid, "send", stream=stream, **{"from": frame["from"]}, upto=frame["upto"])

    def on_grant(self, socket: Any, user: str, frame: Frame) -> None:
        for stream, (receiver, fid, first) in self.streams.items():
            if receiver is socket and fid == frame["fid"] and fid in self.offers:
                self.tell_file(fid, "send", stream=stream, **{"from": first}, upto=frame["upto"])

    def on_serve(self, socket: Any, user: str, frame: Frame) -> None:
        self.offers[frame["fid"]] = (socket, frame)

    def on_done(self, socket: Any, user: str, frame: Frame) -> None:
        if frame["fid"] not in self.offers or (user, frame["fid"]) not in self.accepted:
            self.tell(socket, {**frame, "type": "error", "code": "no_such_file", "detail": ""})
            return
        self.tell(socket, {"type": "ok", "id": frame["id"]})
        self.tell_file(frame["fid"], "received", user=user, ok=frame["ok"])

    def on_cancel(self, socket: Any, user: str, frame: Frame) -> None:
        if "id" in frame:
            self.tell(socket, {"type": "ok", "id": frame["id"]})
        if frame["fid"] not in self.offers:
            return
        if self.offers[frame["fid"]][0] is socket:
            self.end_file(frame["fid"], "withdrawn")
        else:
            self.tell_file(frame["fid"], "cancelled", user=user)

    def tell_file(self, fid: str, event: str, **fields: Any) -> None:
        """Tells the connection that serves the file."""
        self.tell(self.offers[fid][0], {"type": "file", "event": event, "fid": fid, **fields})

    def end_file(self, fid: str, reason: str) -> None:
        del self.offers[fid]
        for receiver in {receiver for receiver, of, _ in self.streams.values() if of == fid}:
            self.tell(receiver, {"type": "file", "event": "ended", "fid": fid, "reason": reason})

    def hear_chunk(self, frame: bytes) -> None:
        receiver, _, _ = self.streams[int.from_bytes(frame[2:6], "big")]
        for one in self.chunk(frame):
            with contextlib.suppress(WebSocketClosedError):
                receiver.write_message(one, binary=True)

    def on_ping(self, socket: Any, user: str, frame: Frame) -> None:
        self.tell(socket, {"type": "pong", "id": frame.get("id")})

    def on_leave(self, socket: Any, user: str, frame: Frame) -> None:
        self.users.pop(user, None)
        self.drop(user, 4014, "left")
        self.presence(left=[user])


class _Socket(WebSocketHandler):
    def initialize(self, fake: FakeRelay) -> None:
        self.fake = fake

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return "relay.v1" if "relay.v1" in subprotocols else None

    def on_message(self, message: str | bytes) -> None:
        self.fake.logged.append(message.encode() if isinstance(message, str) else message)
        if isinstance(message, bytes):
            self.fake.hear_chunk(message)
        else:
            self.fake.hear(self, json.loads(message))

    def on_close(self) -> None:
        self.fake.sockets.pop(self, None)


class _Rest(RequestHandler):
    def initialize(self, fake: FakeRelay) -> None:
        self.fake = fake

    def post(self, path: str) -> None:
        fake = self.fake
        fake.logged.append(self.request.body)
        fields = json.loads(self.request.body)
        fake.access = fields.get("access")
        fake.check = (fake.access or {}).get("check")
        self.set_status(201)
        self.write(
            {"name": "fake", "id": fake.id, "owner_id": fake.owner_id, "owner_key": fake.owner,
             "invite_key": fake.invite, "expiration": "usersLeave", "expiration_date": fake.ends,
             "chat": "", "link": ""}
        )  # fmt: skip

    def get(self, path: str) -> None:
        self.fake.logged.append(repr(self.request.headers).encode() + self.request.uri.encode())
        if path.endswith("/users"):
            self.write({"users": []})
        else:
            self.write(self.fake.details())


@contextlib.asynccontextmanager
async def fake_relay(**ssl_options: Any) -> AsyncIterator[FakeRelay]:
    """A fake on a free port."""
    fake = FakeRelay()
    routes = [(r"/api/v1/(.*)", _Rest, {"fake": fake}), (r"/[0-9a-f-]{36}", _Socket, {"fake": fake})]
    server = HTTPServer(Application(routes, log_function=lambda handler: None), **ssl_options)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    fake.base = f"http{'s' if ssl_options else ''}://localhost:{sockets[0].getsockname()[1]}"
    if not ssl_options:
        fake.base = fake.base.replace("localhost", "127.0.0.1")
    try:
        yield fake
    finally:
        for socket in list(fake.sockets):
            socket.close(1001, "")
        server.stop()
        await server.close_all_connections()
