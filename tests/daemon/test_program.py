"""`relayd` as a process of its own: where it listens, what it says of its settings, how it ends, what it logs."""

import asyncio
import contextlib
import json
import os
import signal
import stat
import subprocess
import sys

import pytest
import websockets
from conftest import Peer, Relay
from rawsocket import open_raw

ANYWHERE = "127.0.0.1:0"


class Program:
    """A running relayd and what it has said on standard error."""

    def __init__(self, process):
        self.process = process
        self.lines = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self):
        while line := await self.process.stderr.readline():
            self.lines.append(line.decode())

    async def said(self, text):
        """Waits for a line with this text; gives it."""
        async with asyncio.timeout(15):
            while True:
                for line in self.lines:
                    if text in line:
                        return line
                assert not self._reading.done(), self.lines
                await asyncio.sleep(0.01)

    @property
    def log(self):
        return "".join(self.lines)

    async def ended(self):
        """Waits for the end; gives the exit code."""
        code = await asyncio.wait_for(self.process.wait(), 15)
        await self._reading
        return code


def environment(tmp_path, variables):
    """What a process is started with: nothing of the developer's own settings."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("RELAYD_")}
    return kept | {"XDG_RUNTIME_DIR": str(tmp_path)} | variables


@contextlib.asynccontextmanager
async def relayd(tmp_path, *arguments, **variables):
    """A relayd with these arguments and variables that listens; killed if it has not ended by then."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from relayd.cli.relayd import main; main()", *arguments),
        env=environment(tmp_path, variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    program = Program(process)
    try:
        await program.said("listening on ")
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await program.ended()


def run(tmp_path, *arguments, **variables):
    """A relayd that ends by itself: its exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-c", "from relayd.cli.relayd import main; main()", *arguments],
        env=environment(tmp_path, variables),
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


async def relay_of(program):
    """The means to talk to a program on a TCP port."""
    line = await program.said("listening on http://")
    return Relay(line.split("listening on ")[1].strip())


async def test_says_where_it_listens(tmp_path):
    """On standard error, with the port that it got; and there it is."""
    async with relayd(tmp_path, "--listen", ANYWHERE) as program:
        relay = await relay_of(program)
        assert (await relay.request("GET", "/healthz")).code == 200
        await relay.close()


async def test_several_listeners(tmp_path):
    """`--listen` may be repeated, each place is said, and rooms are the same at all of them."""
    path = tmp_path / "relayd.sock"
    async with relayd(tmp_path, "--listen", ANYWHERE, "--listen", f"unix:{path}") as program:
        await program.said(f"listening on unix:{path}")
        relay = await relay_of(program)
        room = await relay.create()
        async with websockets.unix_connect(str(path), f"ws://localhost/{room['id']}") as socket:
            await socket.send(json.dumps({"type": "join", "key": room["invite_key"]}))
            assert json.loads(await socket.recv())["type"] == "joined"
        await relay.close()


async def test_unix_listener(tmp_path):
    """A socket left behind by a process that was killed is taken over, and removed at the end."""
    path = tmp_path / "relayd.sock"
    async with relayd(tmp_path, "--listen", f"unix:{path}"):
        assert stat.S_ISSOCK(path.stat().st_mode)
    assert path.exists()
    async with relayd(tmp_path, "--listen", f"unix:{path}") as program:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        code, said = await asyncio.to_thread(
            run, tmp_path, "--listen", f"unix:{path}", "--control", str(tmp_path / "c")
        )
        assert code != 0
        assert str(path) in said
        program.process.send_signal(signal.SIGTERM)
        assert await program.ended() == 0
        assert not path.exists()


def test_unix_path_of_a_file(tmp_path):
    """A file that is no socket is not touched."""
    path = tmp_path / "precious"
    path.write_text("data")
    code, said = run(tmp_path, "--listen", f"unix:{path}")
    assert code == 1
    assert said == f"relayd: listen: unix:{path}: is there already, and is no socket\n"
    assert path.read_text() == "data"


async def test_port_in_use(tmp_path):
    """It says which place cannot be had and why, in a line, and ends with an error."""
    async with relayd(tmp_path, "--listen", ANYWHERE) as program:
        relay = await relay_of(program)
        place = relay.base.removeprefix("http://")
        code, said = await asyncio.to_thread(run, tmp_path, "--listen", place, "--control", str(tmp_path / "c"))
        assert code == 1
        assert said == f"relayd: listen: {place}: Address already in use\n"
        assert (await relay.request("GET", "/healthz")).code == 200
        await relay.close()


def test_version_and_help(tmp_path):
    """Both work and say their options."""
    assert run(tmp_path, "--version")[0] == 0
    code, said = run(tmp_path, "--help")
    assert code == 0
    for option in ("--listen", "--control", "--workers", "--config", "--check-config", "--version"):
        assert option in said
    assert run(tmp_path, "--nonsense")[0] == 2


def test_check_config_of_a_good_one(tmp_path):
    """Exit code 0, and nothing is started."""
    file = tmp_path / "relayd.toml"
    file.write_text('listen = ["127.0.0.1:8080"]\npublic_url = "https://chat.example.org"\n[limits]\nmax_rooms = 5\n')
    assert run(tmp_path, "--config", str(file), "--check-config")[0] == 0
    assert run(tmp_path, "--check-config")[0] == 0


def test_check_config_names_every_mistake(tmp_path):
    """Each with the file, the key and the reason, all at once; exit code not 0."""
    file = tmp_path / "relayd.toml"
    file.write_text(
        """
        listne = ["127.0.0.1:8080"]
        log_level = "loud"
        [limits]
        max_rooms = -1
        max_place = 5
        create_rate = "many"
        [limits.message_rate]
        user_messages = -5
        [rooms]
        resume = 61
        [timing]
        join_timeout = 0
        """
    )
    code, said = run(tmp_path, "--config", str(file), "--check-config")
    assert code not in (0, 1)
    lines = [line for line in said.splitlines() if str(file) in line]
    for key in (
        "listne",
        "log_level",
        "limits.max_rooms",
        "limits.max_place",
        "limits.create_rate",
        "limits.message_rate",
        "rooms.resume",
        "timing.join_timeout",
    ):
        assert [line for line in lines if f"{key}" in line.replace(str(file), "")], (key, said)
    assert all(len(line.split(": ")) >= 3 for line in lines)
    assert "listen?" in said  # did you mean
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('listen = ["8080"]', "listen"),
        ("listen = []", "listen"),
        ('listen = ["unix:relative"]', "listen"),
        ('public_url = "chat.example.org"', "public_url"),
        ('public_url = "https://chat.example.org/path"', "public_url"),
        ('trusted_proxies = ["10.0.0.0/33"]', "trusted_proxies"),
        ("limits = 5", "limits"),
        ("[rooms]\nmax = 20000", "rooms.max"),
        ("listen = [", ""),
        ("\x00", ""),
    ],
)
@pytest.mark.parametrize("check", [["--check-config"], []])
def test_wrong_settings(tmp_path, text, key, check):
    """What is wrong is said by file and key, with `--check-config` and without: nothing starts on wrong settings."""
    file = tmp_path / "relayd.toml"
    file.write_text(text)
    code, said = run(tmp_path, "--config", str(file), *check)
    assert code not in (0, 1)
    assert any(str(file) in line and key in line for line in said.splitlines())
    assert "Traceback" not in said
    assert "listening" not in said


def test_no_such_file(tmp_path):
    """A file that is not there is named."""
    code, said = run(tmp_path, "--config", str(tmp_path / "none.toml"), "--check-config")
    assert code not in (0, 1)
    assert "none.toml" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("variables", "said_of"),
    [
        ({"RELAYD_NONSENSE": "1"}, "RELAYD_NONSENSE"),
        ({"RELAYD_ROOMS_MAX": "many"}, "rooms.max"),
        ({"RELAYD_LISTEN": "nowhere"}, "listen"),
    ],
)
def test_wrong_environment(tmp_path, variables, said_of):
    """Mistakes in the environment are named as such."""
    code, said = run(tmp_path, "--check-config", **variables)
    assert code not in (0, 1)
    assert any("environment" in line and said_of in line for line in said.splitlines()), said


async def test_precedence(tmp_path):
    """Default, file, environment, flag: the last one wins, key by key."""
    file = tmp_path / "relayd.toml"
    places = {name: f"unix:{tmp_path}/{name}" for name in ("file", "environment", "flag")}
    file.write_text(f'listen = ["{places["file"]}"]\n[rooms]\nmax = 11\nresume = 12\n[limits]\nmax_members = 100\n')
    variables = {"RELAYD_LISTEN": places["environment"], "RELAYD_ROOMS_MAX": "13", "RELAYD_LIMITS_CREATE_RATE": "2"}
    arguments = ("--config", str(file), "--listen", places["flag"], "--listen", ANYWHERE)
    async with relayd(tmp_path, *arguments, **variables) as program:
        relay = await relay_of(program)
        assert [(tmp_path / name).exists() for name in ("file", "environment", "flag")] == [False, False, True]
        details = await relay.details(await relay.create())
        assert (details["max"], details["settings"]["resume"], details["settings"]["idle_timeout"]) == (13, 12, 900)
        assert (await relay.request("POST", "/api/v1/room", body={"max": 101})).code == 422
        assert (await relay.request("POST", "/api/v1/room", body={})).code in (201, 429)
        assert (await relay.request("POST", "/api/v1/room", body={})).code == 429
        await relay.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_ends_in_order(tmp_path, number):
    """Clients are sent away with a code that says why, the unfinished too; then it ends with exit code 0."""
    async with relayd(tmp_path, "--listen", ANYWHERE) as program:
        relay = await relay_of(program)
        room = await relay.create()
        ann, bob = await relay.join(room, "ann"), await relay.join(room, "bob")
        lurker = await relay.connect(room["id"])
        await ann.say("1", "last words")
        await bob.until("message", id="1")
        program.process.send_signal(number)
        codes = [(await peer.closed())[0] for peer in (ann, bob, lurker)]
        assert set(codes) <= {1012, 4010, 4500}
        assert await program.ended() == 0
        assert "Traceback" not in program.log
        assert "ERROR" not in program.log
        await relay.close()


async def test_end_does_not_wait_for_the_deaf(tmp_path):
    """One who never answers the close frame holds the end up for the close timeout at most."""
    async with relayd(tmp_path, "--listen", ANYWHERE, RELAYD_TIMING_CLOSE_TIMEOUT="0.2") as program:
        relay = await relay_of(program)
        await open_raw(relay, "7f9c24e8-3b12-4fef-91e0-5b2f60f1a0aa")
        program.process.send_signal(signal.SIGTERM)
        assert await program.ended() == 0
        await relay.close()


async def test_log_tells_nothing_of_people(tmp_path):
    """After a busy run with all that can go wrong the log has no content, key, nick, name, address or traceback."""
    variables = {
        "RELAYD_LOG_LEVEL": "debug",
        "RELAYD_TIMING_CLOSE_TIMEOUT": "0.2",
        "RELAYD_TRUSTED_PROXIES": "127.0.0.1",
    }
    async with relayd(tmp_path, "--listen", ANYWHERE, **variables) as program:
        relay = await relay_of(program)
        forwarded = {"X-Forwarded-For": "192.0.2.77"}
        response = await relay.request("POST", "/api/v1/room", body={"name": "canary room"}, headers=dict(forwarded))
        room = json.loads(response.body)
        ann, bob = await relay.join(room, "canary-nick", owner=True), await relay.join(room, "bob")
        cem = Peer(await websockets.connect(f"{relay.ws_base}/{room['id']}", additional_headers=forwarded))
        await cem.send("join", key=room["invite_key"], profile={"nick": "canary-cem"})
        cem.joined = await cem.recv()
        await ann.say("canary-id", {"text": "canary-body"})
        await bob.send("signal", kind="canary-kind", data="canary-data")
        await bob.send("profile", profile={"nick": "canary-other"})
        await bob.say("2", "canary-direct", to=ann.id)
        for frame in ("canary-junk", '{"type":"canary-type"}', b"canary-binary", '{"canary-field":1}'):
            await bob.socket.send(frame)
        await ann.send("edit", id="e", name="canary other room", settings={"canary-setting": 1})
        await ann.until("error", id="e")
        await ann.send("kick", id="k", user=cem.id, ban=True)
        await ann.until("ok", id="k")
        await cem.closed()
        for path in (
            "/canary-path",
            "/api/v1/canary%20room",
            f"/api/v1/{room['id']}?key=canary-query",
            "/%ff%fecanary",
        ):
            await relay.request("GET", path, room["invite_key"], headers=dict(forwarded))
        for body in ("canary-malformed", {"canary-field": "canary-value"}):
            headers = {"Content-Type": "application/json", **forwarded}
            await relay.request("POST", "/api/v1/room", "canary-key", body, headers=headers)
        for junk in (
            b"\x00canary\r\n\r\n",
            b"GET /canary HTTP/9\r\nX: canary\r\n\r\n",
            b"\xff\xfe" * 100 + b"\r\n\r\n",
        ):
            host, port = relay.base.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(junk)
            await asyncio.wait_for(reader.read(), 5)
            writer.close()
        raw = await open_raw(relay, room["id"])
        raw.writer.write(b"canary" * 100)
        await raw.ended()
        raw = await open_raw(relay, room["id"])
        raw.writer.transport.abort()
        await ann.send("close", id="c")
        for peer in (ann, bob):
            await peer.closed()
        program.process.send_signal(signal.SIGTERM)
        assert await program.ended() == 0
        await relay.close()
        log = program.log
        assert "Traceback" not in log
        assert not [line for line in program.lines if " ERROR " in line or " CRITICAL " in line]
        after = log.split("listening on")[-1].partition("\n")[2]
        secrets = [room["invite_key"], room["owner_key"], ann.session, bob.session, cem.session]
        for text in ("canary", "192.0.2.77", "127.0.0.1", *secrets):
            assert text not in after
