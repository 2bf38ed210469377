"""What all handlers of the control API share: who may ask, and a line in the log for what was changed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, cast

import msgspec

from relayd.errors import FieldProblem, InvalidFields, MethodNotAllowed, NotPermitted, RelayError
from relayd.http.bodies import read_body
from relayd.http.handler import JsonHandler
from relayd.http.passwords import Passwords
from relayd.hub.admin import Admin
from relayd.hub.control.peers import Peer, Tier, Tiers, peer_of
from relayd.hub.happenings import Happenings
from relayd.hub.service import RoomService
from relayd.rooms.room import Room
from relayd.wire.control import Draining, Probe, Reloaded, Status, Upgraded
from relayd.wire.ids import room_id_text

audit = logging.getLogger("relayd.audit")
audit.setLevel(logging.INFO)  # whatever else is logged

_BOOLEANS = {"": None, "true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

T = TypeVar("T", bound=msgspec.Struct)
U = TypeVar("U")


class Steering(Protocol):
    """What the control API can do with the daemon as a whole."""

    def act(self, work: Callable[[float], U]) -> U:
        """Does something to the rooms, and tells the gateways."""

    def status(self) -> Status:
        """How it fares."""

    def settings_json(self) -> bytes:
        """The settings that hold, as JSON."""

    def metrics_text(self) -> bytes:
        """The metrics, in Prometheus' text format."""

    def probe(self) -> Probe:
        """A token for a request that is told how it arrives."""

    def pending(self) -> Reloaded:
        """What a reload would change."""

    def reload(self) -> Reloaded:
        """Takes the settings anew."""

    def set_log_level(self, level: str) -> Reloaded:
        """Logs from that level on, until the settings are taken anew."""

    def drain(self, over_s: float, *, forget: bool = False) -> Draining:
        """Begins to end."""

    async def upgrade(self) -> Upgraded:
        """Lets another process take over, and ends."""

    def base(self) -> tuple[str, str]:
        """Scheme and host under which people reach it, for links."""


class Desk(NamedTuple):
    """What the handlers work with."""

    service: RoomService
    admin: Admin
    happenings: Happenings
    tiers: Tiers
    passwords: Passwords
    steering: Steering


class Verb(NamedTuple):
    """What a method does: its name in the log, who may use it, and the work. It changes something unless it's a GET."""

    name: str
    tier: Tier
    work: Callable[..., Awaitable[None] | None]


class ControlHandler(JsonHandler):
    """Base of the control API's handlers. `verbs` are the methods it answers to; there's no other way to one."""

    verbs: ClassVar[dict[str, Verb]]
    desk: Desk

    def initialize(self, desk: Desk) -> None:  # type: ignore[override]
        """Tornado's constructor."""
        super().initialize()
        self.desk = desk
        self.methods = tuple(self.verbs)
        self.about = "-"  # the room of this request, for the log
        self._peer: Peer | None = None
        self._result = "ok"

    async def _serve(self, *arguments: str) -> None:
        """Does what is asked, if whoever asks may. The body has been read: an answer before it would be lost."""
        verb = self._verb()
        if verb is None:
            raise MethodNotAllowed
        # Typed as what it might be over HTTP/2; HTTPServer gives HTTP1Connection, which has a stream.
        socket = cast(Any, self.request.connection).stream.socket
        if socket is None:
            raise NotPermitted("The connection is gone, so nobody can say any more who asks")
        self._peer = peer_of(socket)
        if self.desk.tiers.of(self._peer) < verb.tier:
            groups = self.desk.tiers.groups_for(verb.tier)
            raise NotPermitted(f"That takes root, the daemon's own user, or a member of one of the groups: {groups}")
        work = verb.work(self, *arguments)
        if work is not None:
            await work

    get = head = post = put = patch = delete = _serve

    def _verb(self) -> Verb | None:
        method = str(self.request.method)
        return self.verbs.get("GET" if method == "HEAD" else method)

    def room(self, reference: str) -> Room:
        """The room of this request.

        Raises:
            NoSuchRoom, AmbiguousRoom: there is none, or more than one.
        """
        room = self.desk.admin.find(reference)
        self.about = room_id_text(room.meta.room_id)
        return room

    def take(self, kind: type[T]) -> T:
        """The body, checked."""
        return read_body(kind, self.request.headers.get("Content-Type", ""), self.body)

    def boolean(self, name: str) -> bool | None:
        """A yes or no of the query; None if it says neither.

        Raises:
            InvalidFields: it says something else.
        """
        text = self.get_query_argument(name, "").lower()
        if text not in _BOOLEANS:
            raise InvalidFields(f"{name}: is true or false", problems=(FieldProblem(name, "is true or false"),))
        return _BOOLEANS[text]

    def act(self, work: Callable[[float], U]) -> U:
        """Does something to the rooms."""
        return self.desk.steering.act(work)

    def write_struct(self, answer: Any, status: int = 200) -> None:
        """Answers with a Struct as JSON."""
        self.write_json(msgspec.json.encode(answer), status)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answers with the problem."""
        info = kwargs.get("exc_info")
        self._result = info[1].code if info and isinstance(info[1], RelayError) else f"http_{status_code}"
        super().write_error(status_code, **kwargs)

    def on_finish(self) -> None:
        """A line for each request that changes something, or was meant to: who, what, where, and what came of it."""
        verb = self._verb()
        if verb is None or self._peer is None or self.request.method in ("GET", "HEAD"):
            return
        said = {
            "uid": self._peer.uid,
            "pid": self._peer.pid,
            "verb": verb.name,
            "room": self.about,
            "result": self._result,
        }
        audit.info("uid=%(uid)d pid=%(pid)d verb=%(verb)s room=%(room)s result=%(result)s", said)
