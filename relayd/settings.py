"""What can be set, and where a setting comes from: built-in default < TOML files < environment < flag.

`Settings` and its parts are the one description: the file's tables, the environment's names (`RELAYD_` and the
path, joined by `_`), `--check-config` and the documentation are all made from it.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from relayd.errors import InvalidFields, SettingsError
from relayd.fields import check, struct_in

Count = Annotated[int, Meta(ge=0)]
Rate = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A group of settings."""


class MessageRate(Part, frozen=True):
    """What may be said in a second; five seconds' worth may come at once. 0 means no limit.

    Attributes:
        user_messages, user_signals, user_bytes: of one user, over all its connections.
        room_messages, room_signals, room_bytes: of one room, over all its users.
        room_deliveries: messages and signals of one room, each counted once for every connection it goes to.
    """

    user_messages: Rate = 30
    user_signals: Rate = 30
    user_bytes: Rate = 512 * 1024
    room_messages: Rate = 600
    room_signals: Rate = 600
    room_bytes: Rate = 8 * 1024 * 1024
    # Several times what one core delivers in a second. A room of 300 reaches 600 messages a second first.
    room_deliveries: Rate = 200_000


class EgressRate(Part, frozen=True):
    """Bytes a second that the server sends because of what somebody did; 0 means no limit.

    Counted are answers to joins with the missed messages, presence, changes of rooms, and lists of users over REST.
    Messages, signals and files are not: they have rates of their own.

    Attributes:
        address_bytes: because of one address. Past it joins, profiles and edits are refused for a while.
        room_bytes: in one room. Past it presence is collected for longer.
        burst_s: so many seconds' worth may be sent at full speed.
    """

    # 256 MiB at full speed: 300 people behind one address who join one sealed room, lose their connections and come
    # back together take 97 MB, and 77 MB more if each has missed all that a room keeps. Then 2 MiB a second, which are
    # 400 joins of open rooms of 25.
    address_bytes: Rate = 2 * 2**20
    room_bytes: Rate = 8 * 2**20
    burst_s: Seconds = 128


class FileRate(Part, frozen=True):
    """Bytes of files a second, apart from what is said; 0 means no limit. Senders are asked for no more than that.

    Attributes:
        user_bytes: sent by one user, over all files.
        address_bytes: delivered for all senders of one address, counted once for each receiver.
        room_bytes: delivered in one room, over all its users.
        burst_s: so many seconds' worth of `address_bytes` and `room_bytes` may be delivered at full speed.
    """

    user_bytes: Rate = 0
    # The first 2 GiB pass at full speed: a file of the largest size to one, or a picture of 5 MiB to 400.
    address_bytes: Rate = 8 * 2**20
    room_bytes: Rate = 32 * 2**20
    burst_s: Seconds = 256


class Limits(Part, frozen=True):
    """Every limit; 0 means none.

    Attributes:
        message_rate: instead of this table one number may stand: messages and signals a second of one user, with
            nothing else limited.
        owner_commands_per_s: edits, kicks and other commands of a room's owner, over WebSocket and REST together; four
            seconds' worth may come at once. To end the room is always possible.
        max_offers: files that one user offers in one room at a time.
        create_rate, join_rate: rooms made and joins tried a minute from one address; a whole minute's worth may
            come at once.
        create_rate_per_hour: rooms made an hour from one address; both rates hold.
        proof_rate: wrong proofs (of a password or link secret) a minute from one address for one room; the more,
            the later each is answered, and past it none is looked at. So many rooms with a plain password it may
            make, too.
        max_rooms: living rooms.
        max_places: seats of all rooms: of each, its users, and at least its `max` or 50, whichever is less. So
            everyone invited to a room of up to 50 finds a seat.
        address_share: the part of `max_rooms` and `max_places` that rooms made from one address may have together, at
            least one room.
        admin_reserve: the part of `max_rooms` and `max_places` that admins may use beyond them, at least 10 rooms of
            50 seats.
        max_departed_sessions: of users who have left, over all rooms, by which they can come back as the same user;
            the oldest go first.
        max_waiting: newcomers who wait in lobbies to be admitted, over all rooms. One address (of IPv6 a /64, and 16
            times as many of a /48) may have `address_share` of them, at least 32.
        max_members: the highest `max` of one room.
        max_message: bytes of one frame.
        max_connections: chats of one gateway process; with workers each has as many.
        max_connections_per_user: of one user in one room; the longest idle goes first.
        max_connections_per_address: of one gateway process: chats of one client address, and all connections of one
            that is no trusted proxy; of IPv6 a /64, and 16 times as many of a /48. 1,000 is a school with three pages
            a person.
        max_ring: bytes kept over all rooms for members who come back; past it the largest room's are dropped.
        max_read_buffers_bytes: bytes that clients of one gateway have sent and that are not acted on yet; past it the
            connections with most of them are closed.
        max_outbox: bytes that wait for one reader before it is cut off.
        max_outboxes: bytes that wait for all readers of one gateway; past it the longest queues go first, until 7/8 of
            that is left.
    """

    message_rate: MessageRate | Rate = MessageRate()
    egress_rate: EgressRate = EgressRate()
    file_rate: FileRate = FileRate()
    owner_commands_per_s: Rate = 5  # each may be sent to everyone; a person clicks less often
    max_offers: Count = 100
    # A class of 300 joins at the same moment, and many share the address of a school or of a carrier's NAT; nobody
    # makes a room a second for long.
    create_rate: Rate = 60
    create_rate_per_hour: Rate = 600
    join_rate: Rate = 1_200
    proof_rate: Rate = 30
    max_rooms: Count = 50_000
    max_places: Count = 200_000
    address_share: Share = 0.05  # twenty addresses that do their worst fill the server, and one cannot
    admin_reserve: Share = 0.02
    max_departed_sessions: Count = 200_000  # about 100 MB
    max_waiting: Count = 10_000  # about 30 MB; 300 lobbies that are full
    max_members: Count = 10_000
    max_message: Annotated[int, Meta(ge=1_024, le=2**30)] = 65_536
    max_connections: Count = 100_000
    max_connections_per_user: Count = 8
    max_connections_per_address: Count = 1_000
    max_ring: Count = 256 * 2**20
    max_read_buffers_bytes: Count = 64 * 2**20
    max_outbox: Annotated[int, Meta(ge=65_536)] = 2**20
    max_outboxes: Count = 256 * 2**20

    @property
    def rate(self) -> MessageRate:
        """`message_rate` with its short form written out."""
        if isinstance(self.message_rate, MessageRate):
            return self.message_rate
        number = self.message_rate
        return MessageRate(number, number, 0, 0, 0, 0, 0)


class Rooms(Part, frozen=True):
    """Who may create rooms, what a room is like whose creator did not say, and how long one waits for people.

    Attributes:
        create: who may create rooms: `anyone`, those who have a `key`, or `nobody`. Admins always may, by `relayctl`.
        create_keys: SHA-256 digests of the keys that let people create rooms, as `relayctl create key` prints them.
        max: most users at once.
        resume, idle_timeout: seconds; see the protocol's `settings` of a room.
        files: whether files may be sent; max_file: bytes of the largest.
        leave_grace: seconds a `usersLeave` room waits after its last user left.
        join_grace: seconds it waits for its first user; so does any other room that no admin has made.
        reserved_names: names that only admins may give rooms; `*` stands for any characters. Case, accents,
            punctuation and look-alike letters make no difference.
    """

    create: Literal["anyone", "key", "nobody"] = "anyone"
    create_keys: tuple[str, ...] = ()
    max: Annotated[int, Meta(ge=1)] = 50
    resume: Annotated[int, Meta(ge=0, le=60)] = 60
    idle_timeout: Annotated[int, Meta(ge=0, le=86_400)] = 900
    files: bool = True
    max_file: Annotated[int, Meta(ge=0, le=2**40)] = 2**30
    leave_grace: Seconds = 30
    join_grace: Seconds = 600
    # A room of such a name passes for the server's own, or for the place where its people meet.
    reserved_names: tuple[str, ...] = tuple(
        "admin admins administrator administrators moderator moderators operator owner root system server relayd "
        "support help-desk security abuse official staff team lobby general announcements news everyone all".split()
    )


class Timing(Part, frozen=True):
    """How often and how long, in seconds.

    Attributes:
        join_timeout: for the first frame to come.
        ping_interval: between pings, give or take a fifth; a connection that answered none of it is dead.
        presence_interval: for which comings and goings are collected.
        gather: for which those who accept a file are waited for, as one upload serves all who do.
        close_timeout: for which is read and dropped after a close frame, so that its code arrives.
        call_timeout: for an answer of the hub.
        drain: over which clients are sent away after SIGTERM.
    """

    join_timeout: Seconds = 10
    ping_interval: Seconds = 25
    presence_interval: Seconds = 0.25
    gather: Seconds = 0.25
    close_timeout: Seconds = 2
    call_timeout: Seconds = 5
    drain: Annotated[float, Meta(ge=0, le=86_400)] = 0


class ControlGroups(Part, frozen=True):
    """Who may use the control socket besides root and the daemon's own user: groups, by name or number.

    Attributes:
        observe: may look: list, get, status, top, watch.
        operate: may also work with rooms and users: create, edit, close, kick, send, announce.
        admin: may also reload, drain and stop.
        socket: group of the socket itself, which all the others must be in to reach it; without it, the first of
            `admin`, `operate` and `observe` that exists.
    """

    observe: tuple[str, ...] = ()
    operate: tuple[str, ...] = ()
    admin: tuple[str, ...] = ("relayd-admin",)
    socket: str = ""


class Settings(Part, frozen=True):
    """Everything that can be set.

    Attributes:
        listen: `HOST:PORT` or `unix:PATH`, one or more.
        control: path of the control socket; without it `$XDG_RUNTIME_DIR/relayd/control.sock`, or
            `/run/relayd/control.sock` as a service.
        workers: gateway processes besides the one that holds the rooms; 0 does all in one process, `auto` is one
            for each core.
        public_url: `https://host` under which people reach the server, for links; else from each request.
        allowed_hosts: names this server answers to, besides that of `public_url`, addresses and local names.
        allowed_origins: origins whose pages may connect, besides the server's own; `*` for all.
        trusted_proxies: addresses or networks (or `unix:`, any peer on a Unix socket) whose `X-Forwarded-*` and
            `Forwarded` are believed.
        metrics: `HOST:PORT` of this machine's own (127.0.0.1, ::1) or `unix:PATH` where Prometheus finds `/metrics`;
            nowhere without it.
        log_level: least level that is logged.
        log_format: `text` for people or `json` for programs, one line an event.
        log_addresses: whether addresses may be logged.
    """

    listen: tuple[str, ...] = ("127.0.0.1:8080",)
    control: str = ""
    workers: Annotated[int, Meta(ge=0, le=1024)] | Literal["auto"] = 0
    public_url: str = ""
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ("unix:",)
    metrics: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    log_addresses: bool = False
    limits: Limits = Limits()
    rooms: Rooms = Rooms()
    timing: Timing = Timing()
    control_groups: ControlGroups = ControlGroups()


PREFIX = "RELAYD_"
# What Kubernetes puts into every container's environment for a Service whose name begins with `relayd`, and Docker for
# a linked container: addresses of that service, and no settings. Sources: Kubernetes, "Service", environment variables;
# Docker, "Legacy container links".
_SERVICE_LINK = re.compile(
    rf"{PREFIX}(?:\w+_)?(?:SERVICE_(?:HOST|PORT(?:_\w+)?)=.*"
    r"|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?=.*"
    r"|PORT=(?:tcp|udp|sctp)://.*)"  # with its value: RELAYD_PORT=9000 is an admin's, and wrong
    rf"|{PREFIX}NAME=/.*|{PREFIX}ENV_\w+=.*",
    re.DOTALL,
)
FIXED = ("listen", "control", "workers", "metrics")  # settings that hold until the daemon ends


def load(file: str | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """The settings of one start.

    Args:
        file: path of a TOML file, or None. The files of the directory FILE.d are read after it; see `files_of`.
        environment: all variables; those that begin with `RELAYD_` count, unless they are service links.
        flags: what the command line gave, by dotted path.

    Raises:
        SettingsError: one line for each mistake, naming where it is, the key and the reason.
    """
    problems: list[str] = []
    merged: dict[str, Any] = {}
    layers: list[tuple[str, Mapping[str, Any], bool]] = [
        *((path, _read_file(path, problems), True) for path in files_of(file, problems)),
        ("environment", *_read_environment(environment, problems)),
        ("command line", dict(flags), False),
    ]
    for where, values, strict in layers:
        tree = _tree(values) if not strict else values
        try:
            check(Settings, tree, strict=strict)
        except InvalidFields as wrong:
            problems += [f"{where}: {problem.field}: {problem.detail}" for problem in wrong.problems]
        _merge(merged, tree)
    if problems:
        raise SettingsError(problems)
    settings = check(Settings, merged, strict=False)
    # What a type cannot say is asked of the whole: layers may agree, or contradict each other, only together.
    problems += [f"{_place_of(key, layers)}: {key}: {reason}" for key, reason in _contradictions(settings)]
    if problems:
        raise SettingsError(problems)
    return settings


def files_of(file: str | None, problems: list[str]) -> list[str]:
    """The settings file and those that add to it: `*.toml` in the directory FILE.d, in alphabetical order.

    Names that begin with a dot are left out: editors keep their copies there. For a key that several files set, the
    last file's value holds.

    Args:
        file: path of the settings file, or None if there is none.
        problems: gets a line if the directory cannot be read.
    """
    if file is None:
        return []
    directory = Path(f"{file}.d")
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208 - pathlib's glob hides what cannot be read
    except FileNotFoundError:
        return [file]
    except OSError as failed:
        problems.append(f"{directory}: cannot be read: {failed.strerror}")
        return [file]
    return [file, *(str(directory / name) for name in names if name.endswith(".toml") and not name.startswith("."))]


def changes(before: Settings, after: Settings) -> list[tuple[str, Any, Any]]:
    """Each setting that differs: its path, and both values."""
    paths = [path for path, _ in setting_paths(Settings)]
    whole = [path for path in paths if not any(path.startswith(f"{other}.") for other in paths)]
    values = [(path, value_of(before, path), value_of(after, path)) for path in whole]
    return [(path, old, new) for path, old, new in values if old != new]


def value_of(settings: msgspec.Struct, path: str) -> Any:
    """The setting at that dotted path."""
    value: Any = settings
    for name in path.split("."):
        value = getattr(value, name)
    return value


def parse_listen(text: str) -> tuple[str, int] | Path:
    """A place to listen: (host, port), or the path of a Unix socket.

    Raises:
        ValueError: it is neither `HOST:PORT`, `[IPV6]:PORT` nor `unix:PATH`.
    """
    if text.startswith("unix:"):
        path = Path(text.removeprefix("unix:"))
        # 107: sun_path of unix(7) without its final zero byte.
        if not path.is_absolute() or len(os.fsencode(path)) > 107:
            raise ValueError(f"{text!r}: the path of a Unix socket is absolute and has at most 107 bytes")
        return path
    host, separator, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not (separator and bare and port.isdecimal() and int(port) < 65536) or (":" in bare and bare == host):
        raise ValueError(f"{text!r} is neither HOST:PORT, [IPV6]:PORT nor unix:/PATH")
    return bare, int(port)


def _contradictions(settings: Settings) -> Iterator[tuple[str, str]]:
    for text in settings.listen:
        try:
            parse_listen(text)
        except ValueError as wrong:
            yield "listen", str(wrong)
    if settings.metrics:
        yield from (("metrics", reason) for reason in _why_not_private(settings.metrics))
    if not settings.listen:
        yield "listen", "is empty; nobody could connect"
    if settings.public_url and not _is_origin(settings.public_url):
        yield "public_url", "is not like https://chat.example.org (no path)"
    for text in settings.trusted_proxies:
        try:
            _ = text == "unix:" or ipaddress.ip_network(text)
        except ValueError:
            yield "trusted_proxies", f'{text!r} is neither an address, a network like 10.0.0.0/8 nor "unix:"'
    yield from _about_create_keys(settings.rooms)
    if settings.limits.max_members and settings.rooms.max > settings.limits.max_members:
        yield "rooms.max", "is higher than limits.max_members"


def _about_create_keys(rooms: Rooms) -> Iterator[tuple[str, str]]:
    for digest in rooms.create_keys:
        if not re.fullmatch("[0-9a-f]{64}", digest):
            yield (
                "rooms.create_keys",
                "holds no digest of 64 hex digits; `relayctl create key` prints a key and its digest",
            )
    if rooms.create == "key" and not rooms.create_keys:
        yield "rooms.create_keys", "is empty, so nobody could create rooms; `relayctl create key` makes a key"


def _why_not_private(place: str) -> Iterator[str]:
    try:
        parsed = parse_listen(place)
    except ValueError as wrong:
        yield str(wrong)
        return
    if isinstance(parsed, tuple) and not _is_loopback(parsed[0]):
        yield f"{place!r} could be reached from elsewhere; use 127.0.0.1, [::1] or unix:/PATH (and a proxy if need be)"


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":  # never anything else: RFC 6761, section 6.3
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name: what it stands for is for others to say


def _is_origin(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.path in ("", "/")


def _place_of(key: str, layers: list[tuple[str, Mapping[str, Any], bool]]) -> str:
    """Where the setting was given last."""
    keys = (key, *_TOGETHER.get(key, ()))
    places = [where for where, values, _ in layers if any(_has(values, one) for one in keys)]
    return places[-1] if places else "defaults"


# Settings that contradict each other only together: by the one that is named, the other.
_TOGETHER = {"rooms.max": ("limits.max_members",), "rooms.create_keys": ("rooms.create",)}


def _has(values: Any, key: str) -> bool:
    """Whether the setting is among these, whose names are dotted paths or, in a file, tables."""
    name, _, rest = key.partition(".")
    return key in values or (bool(rest) and isinstance(values.get(name), dict) and _has(values[name], rest))


def _read_file(file: str, problems: list[str]) -> dict[str, Any]:
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # noqa: PTH116 - pathlib would say no more
            problems.append(f"{file}: cannot be read: not a regular file")  # a pipe could be waited for without an end
            return {}
        # A byte order mark, as some editors write it, is no part of TOML.
        return tomllib.loads(Path(file).read_text(encoding="utf-8-sig"))
    except OSError as failed:
        problems.append(f"{file}: cannot be read: {failed.strerror}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        problems.append(f"{file}: not valid TOML: {wrong}")
    return {}


def _read_environment(environment: Mapping[str, str], problems: list[str]) -> tuple[dict[str, Any], bool]:
    paths = {PREFIX + path.upper().replace(".", "_"): (path, kind) for path, kind in setting_paths(Settings)}
    values: dict[str, Any] = {}
    for name, text in environment.items():
        if name in paths:
            path, kind = paths[name]
            values[path] = [item.strip() for item in text.split(",") if item.strip()] if _is_list(kind) else text
        elif name.startswith(PREFIX) and _SERVICE_LINK.fullmatch(f"{name}={text}") is None:
            problems.append(f"environment: {name}: there is no such setting")
    return values, False


def setting_paths(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each setting's dotted path and type, the parts' after their own."""
    for field in msgspec.structs.fields(kind):
        part = struct_in(field.type)
        if not isinstance(field.type, type) or part is None:
            yield prefix + field.name, field.type
        if part is not None:
            yield from setting_paths(part, f"{prefix}{field.name}.")


def _is_list(kind: Any) -> bool:
    return getattr(kind, "__origin__", None) is tuple


def _tree(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in values.items():
        *parents, last = path.split(".")
        level = tree
        for parent in parents:
            level = level.setdefault(parent, {})
            if not isinstance(level, dict):
                raise SettingsError([f"environment: {path}: {parent} is already set as a whole"])
        if last in level:
            raise SettingsError([f"environment: {path}: is set as a whole, and parts of it, too"])
        level[last] = value
    return tree


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for name, value in new.items():
        if isinstance(value, Mapping) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = dict(value) if isinstance(value, Mapping) else value
