"""`relay` as people and scripts have it: real processes, pipes and terminals, against a real daemon."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import struct
import sys
import termios
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import relay_with
from cutter import heard
from fake_relay import fake_relay

from relayd.cli import relay_keys
from relayd.client import Message, Rest, UserJoined, UserLeft, create, join
from relayd.client.seal.link import parse_link
from relayd.wire.ids import CREATE, digest_of, new_key

RELAY = str(Path(sys.executable).parent / "relay")


def find(made):
    """What is kept of the room on the server where it was made."""
    return relay_keys.find(made.id, parse_link(made.link).server)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A place for owner keys, and an environment without settings of one's own."""
    for name in ("RELAY_PASSWORD", "RELAY_NICK", "RELAY_SERVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "relay"


_started: list[asyncio.subprocess.Process] = []


@pytest.fixture(autouse=True)
async def no_leftovers():
    """A process that outlives a test that failed would hold up the loop's end."""
    yield
    while _started:
        process = _started.pop()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def start(*args: str, stdin=asyncio.subprocess.DEVNULL, **env: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        RELAY,
        *args,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **env},
        start_new_session=True,  # no terminal to ask for passwords at
    )
    _started.append(process)
    return process


async def done(*args: str, **env: str) -> tuple[int, str, str]:
    process = await start(*args, **env)
    out, err = await asyncio.wait_for(process.communicate(), 15)
    return process.returncode, out.decode(), err.decode()


class Terminal:
    """A process at a terminal of 80 by 24."""

    def __init__(self, process: asyncio.subprocess.Process, handle: int) -> None:
        self.process = process
        self._handle = handle
        self._shown = b""
        asyncio.get_running_loop().add_reader(handle, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._handle, 65536)
        except OSError:  # EIO: the other side is gone
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._handle)
        self._shown += data

    @property
    def raw(self) -> str:
        return self._shown.decode(errors="replace")

    @property
    def text(self) -> str:
        """What was written without the sequences that move cursors and set colours."""
        return re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[=>()][0B]?|\r", "", self.raw)

    def type(self, text: str) -> None:
        os.write(self._handle, text.encode())

    async def shows(self, text: str, timeout: float = 20) -> None:
        async with asyncio.timeout(timeout):
            while text not in self.text:
                await asyncio.sleep(0.02)

    async def ended(self) -> int:
        code = await asyncio.wait_for(self.process.wait(), 20)
        await asyncio.sleep(0.05)
        return code


@contextlib.asynccontextmanager
async def terminal(*args: str, **env: str):
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = await asyncio.create_subprocess_exec(
        RELAY, *args, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=own_terminal,
        env={**os.environ, "TERM": "xterm-256color", **env},
    )  # fmt: skip
    os.close(theirs)
    screen = Terminal(process, ours)
    try:
        yield screen
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)


# new. -----------------------------------------------------------------------------------------------------------


async def test_new_prints_the_link_alone_and_keeps_the_owners_key(relay, home):
    code, out, err = await done(
        "new", "--server", relay.base, "--name", "den", "--max", "7", "--expires", "2", "--open"
    )
    assert (code, err) == (0, "")
    assert re.fullmatch(rf"{relay.base}/[0-9a-f-]{{36}}#ri_[\w-]{{22}}\n", out)
    (kept,) = home.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700
    owner = relay_keys.find(kept.name, relay.base)
    async with join(out.strip(), "ann", owner=owner) as ann:
        assert ann.me.is_owner
        assert (ann.details.name, ann.details.max) == ("den", 7)


async def test_new_is_sealed_unless_told_otherwise(home):
    async with fake_relay() as fake:
        code, out, _ = await done("new", RELAY_SERVER=fake.base)
        assert code == 0
        assert re.fullmatch(r"\S+#ri_[\w-]{22}\.1\.[\w-]{22}\n", out)
        code, out, _ = await done("new", "--password", RELAY_SERVER=fake.base, RELAY_PASSWORD="correct horse")
        assert code == 0
        assert re.fullmatch(r"\S+#ri_[\w-]{22}\.1p\.[\w-]{22}\n", out)
        assert b"correct horse" not in b"".join(fake.logged)


async def test_new_shows_a_qr_code_at_a_terminal_and_asks_without_echo(home):
    async with fake_relay() as fake, terminal("new", "--password", "--server", fake.base) as screen:
        await screen.shows("Password for the room")
        screen.type("first words\n")
        await screen.shows("Once more")
        screen.type("first words\n")
        assert await screen.ended() == 0
        assert "first words" not in screen.text
        assert "\u2588" in screen.text or "\u2580" in screen.text or "\x1b[7m" in screen.raw
        assert re.search(r"^http://\S+#ri_[\w-]{22}\.1p\.[\w-]{22}$", screen.text, re.MULTILINE), "on a line of its own"


async def test_new_offers_a_password(home):
    async with fake_relay() as fake, terminal("new", "--password", "--server", fake.base) as screen:
        await screen.shows("Password for the room")
        screen.type("\n")
        assert await screen.ended() == 0
        assert re.search(r"the password is \w+(-\w+){5}\n", screen.text)


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["new", "--expires", "25"], 2, "--expires is a number of hours"),
        (["new", "--expires", "soon"], 2, "--expires is a number of hours"),
        (["new", "--open", "--password"], 2, "do not go together"),
        (["new", "--server", "ftp://x"], 3, "starts with https://"),
        (["new", "--name", "a/b"], 1, "name"),
        (["send", "http://127.0.0.1/nonsense", "x"], 2, "no room id"),
        (["send", "nonsense", "x"], 2, "must start with https://"),
        (["join", "nonsense"], 2, "join needs a terminal"),
        (["send", "@/nowhere/at/all", "x"], 2, "cannot be read"),
        (["frobnicate"], 2, "No such command"),
    ],
)
async def test_errors_are_one_line_that_says_what_to_do(relay, home, args, code, says):
    got, out, err = await done(*args, RELAY_SERVER=relay.base)
    assert (got, out) == (code, "")
    assert says in err
    assert "Traceback" not in err
    assert args == ["frobnicate"] or err.count("\n") == 1


async def test_exit_codes_for_scripts(relay, home, unused_tcp_port):
    made = await create(relay.base, sealed=False)
    nowhere = made.link.replace(relay.base, f"http://127.0.0.1:{unused_tcp_port}")
    assert (await done("send", nowhere, "x"))[0] == 3
    other = made.link.partition("#")[0] + "#ri_" + "A" * 22
    code, _, err = await done("send", other, "x")
    assert code == 4
    assert "ask for a new link" in err
    sealed = made.link + ".1.AAAAAAAAAAAAAAAAAAAAAQ"
    code, _, err = await done("send", sealed, "x")
    assert code == 5
    assert "shows an open one" in err
    for _, _, text in [await done("--help"), await done("join", "--help")]:
        assert text == ""
    code, out, _ = await done("--help")
    assert "Exit codes" in out
    assert (await done("--version"))[1].startswith("relay ")


async def test_a_password_is_never_asked_for_where_nobody_answers(home):
    async with fake_relay() as fake:
        made = await create(fake.base, password="right")
        code, _, err = await done("send", made.link, "x")
        assert code == 2
        assert "RELAY_PASSWORD" in err
        code, _, err = await done("send", made.link, "x", RELAY_PASSWORD="wrong")
        assert code == 1
        assert "try the password again" in err
        assert (await done("send", made.link, "x", RELAY_PASSWORD="right"))[0] == 0


# What is kept of rooms. -----------------------------------------------------------------------------------------

HOUR_S, DAY_S = 3600.0, 86_400.0
LOST_CLOCK_S = 10 * DAY_S  # a machine without a battery for its clock starts in 1970


@pytest.mark.parametrize("here_days", [-20_000, -2, 0, 2, 400])
@pytest.mark.parametrize("there_days", [-2, 0, 2, 400])
async def test_the_key_of_a_room_that_lives_is_kept_whatever_the_clocks_say(relay, home, here_days, there_days):
    """On the server that is in use; the modification time of its file does not matter either."""
    made = await create(relay.base)
    relay_keys.keep(made)
    os.utime(home / made.id, (0, time.time() + here_days * DAY_S))
    now = time.time()
    await relay_keys.sweep(Rest(relay.base), max(0.0, now + here_days * DAY_S), now + there_days * DAY_S)
    assert find(made) is not None
    assert (home / made.id).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("here_days", "there_days"), [(2, 2), (2, 0), (0, 2), (-20_000, 2), (400, -2)])
async def test_the_key_of_a_room_that_is_over_goes_when_a_clock_makes_one_ask(relay, home, here_days, there_days):
    over, lives = await create(relay.base), await create(relay.base)
    for made in (over, lives):
        relay_keys.keep(made)
    await Rest(relay.base).close(over.id, over.owner.key)
    now = time.time()
    await relay_keys.sweep(Rest(relay.base), max(0.0, now + here_days * DAY_S), now + there_days * DAY_S)
    assert (find(over), find(lives) is not None) == (None, True)


async def test_a_room_that_was_given_more_time_is_not_taken_for_over(relay, home):
    """The file has an end after an hour; the owner has made it a day, and the clocks are right."""
    made = await create(relay.base, expires=1)
    relay_keys.keep(made)
    await Rest(relay.base).edit(made.id, made.owner.key, expiration_date=24)
    await relay_keys.sweep(Rest(relay.base), time.time() + 2 * HOUR_S, time.time() + 2 * HOUR_S)
    assert find(made) is not None


async def test_a_server_that_does_not_say_that_the_room_is_over_is_no_reason(home, unused_tcp_port):
    """It cannot be reached, or has too much to do."""
    async with fake_relay() as fake:
        made = await create(fake.base)
        relay_keys.keep(made)
        base = f"http://127.0.0.1:{unused_tcp_port}"
        text = (home / made.id).read_text().replace(fake.base, base)
        (home / made.id).write_text(text)
        await relay_keys.sweep(Rest(base), time.time() + 2 * DAY_S, time.time() + 2 * DAY_S)
        assert relay_keys.find(made.id, base) is not None


@pytest.mark.parametrize("kind", ["elsewhere", "of relay 0.1", "broken"])
@pytest.mark.parametrize(
    ("here_s", "there_s", "goes"),
    [
        (9 * DAY_S, 9 * DAY_S, True),
        (9 * DAY_S, 2 * DAY_S, False),  # this machine's clock is ahead
        (2 * DAY_S, 9 * DAY_S, False),  # the other server's is
        (6 * DAY_S, 6 * DAY_S, False),  # both are, by days
        (LOST_CLOCK_S - 1.8e9, 9 * DAY_S, True),
        (LOST_CLOCK_S - 1.8e9, 0, False),
        (9 * DAY_S, LOST_CLOCK_S - 1.8e9, False),
    ],
)
async def test_keys_of_other_servers_go_when_two_clocks_say_so(home, kind, here_s, there_s, goes):
    """Those servers are not asked, as it is none of their business what is made elsewhere. Times are from `ends` on."""
    home.mkdir()
    ends_s = 1.8e9
    file = {"owner_key": "ro_x", "ends": datetime.fromtimestamp(ends_s, UTC).isoformat()}
    if kind == "elsewhere":
        file["server"] = "https://chat.example"
    (home / "room").write_text("{" if kind == "broken" else json.dumps(file))
    os.utime(home / "room", (0, ends_s - DAY_S))
    async with fake_relay() as fake:
        await relay_keys.sweep(Rest(fake.base), ends_s + here_s, ends_s + there_s)
        # When a broken file was written is known by this machine's clock alone.
        goes = goes and not (kind == "broken" and here_s < 0)
        assert (home / "room").exists() is not goes
        assert fake.logged == []


@pytest.mark.parametrize("ends", ["", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "soon", "2030-01-01T00:00:00"])
async def test_odd_files_and_servers_do_no_harm(home, ends):
    """A time that is none, or at the end of the calendar; a directory, a file from the future."""
    (home / "directory").mkdir(parents=True)
    (home / "room").write_text(json.dumps({"owner_key": "ro_x", "ends": ends}))
    (home / "future").write_text("")
    os.utime(home / "future", (0, 1e11))
    async with fake_relay() as fake:
        fake.ends = ends
        code, out, err = await done("new", "--server", fake.base)
        assert (code, err) == (0, "")
        assert out.startswith(fake.base)
    assert {"directory", "future"} <= {path.name for path in home.iterdir()}


async def test_many_rooms_are_asked_for_in_portions(home):
    """Those whose end is longest ago first."""
    async with fake_relay() as fake:
        made = await create(fake.base)
        relay_keys.keep(made)
        kept = json.loads((home / made.id).read_text())
        for number in range(100):
            kept["ends"] = datetime.fromtimestamp(1.8e9 + number, UTC).isoformat()
            (home / f"{number}").write_text(json.dumps(kept))
        fake.logged.clear()
        await relay_keys.sweep(Rest(fake.base), 1.9e9, 1.9e9)
        asked = {int(text.decode().rpartition("/")[2]) for text in fake.logged}
        assert asked == set(range(32))


async def test_a_link_to_another_server_does_not_drop_the_key(relay, home):
    """The same room id, where there is no such room: that server's word is not about the room that was made."""
    async with relay_with() as other:
        made = await create(relay.base)
        relay_keys.keep(made)
        async with terminal("join", made.link.replace(relay.base, other.base), "--nick", "ann") as screen:
            assert await screen.ended() == 4
        assert find(made) is not None


@pytest.mark.skipif(shutil.which("faketime") is None, reason="there is no faketime: apt-get install faketime")
@pytest.mark.parametrize("time_", ["+2 days", "-2 days", "+400 days", "1970-01-02 00:00:00"])
async def test_new_at_a_wrong_time(relay, home, time_):
    """A clock that is off for a while costs no key of a room that lives; that of one that is over goes all the same."""
    first, over = [(await done("new", "--server", relay.base))[1].strip() for _ in range(2)]
    first_id, over_id = [link.rpartition("/")[2].partition("#")[0] for link in (first, over)]
    await Rest(relay.base).close(over_id, relay_keys.find(over_id, relay.base).key)
    process = await asyncio.create_subprocess_exec("faketime", time_, RELAY, "new", "--server", relay.base)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert relay_keys.find(first_id, relay.base) is not None
    if time_.startswith("+"):
        assert relay_keys.find(over_id, relay.base) is None


# send and receive. ----------------------------------------------------------------------------------------------


async def test_send_says_a_text(relay, home):
    made = await create(relay.base, sealed=False)
    async with join(made.link, "ann") as ann:
        assert await done("send", made.link, "hello", "there", "--nick", "bob") == (0, "", "")
        message = await heard(ann, Message)
        assert (message.text, message.user.nick) == ("hello there", "bob")


async def test_send_says_lines_as_they_come(relay, home):
    made = await create(relay.base, sealed=False)
    async with join(made.link, "ann") as ann:
        process = await start("send", made.link, "-", stdin=asyncio.subprocess.PIPE)
        process.stdin.write(b"one\n\ntw")
        assert (await heard(ann, Message, timeout=10)).text == "one"
        process.stdin.write("o\r\ndr\xff".encode("latin-1") + b"ei\nend")
        assert (await heard(ann, Message)).text == "two"
        assert (await heard(ann, Message)).text == "dr\ufffdei"
        process.stdin.close()
        assert (await heard(ann, Message)).text == "end"
        assert await asyncio.wait_for(process.wait(), 5) == 0


async def test_send_can_be_interrupted_while_it_waits_for_a_line(relay, home):
    made = await create(relay.base, sealed=False)
    async with join(made.link, "ann") as ann:
        process = await start("send", made.link, "-", stdin=asyncio.subprocess.PIPE)
        await heard(ann, UserJoined, timeout=10)
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 5) == 130
        assert (await process.stderr.read()) == b""


async def test_receive_prints_lines_that_nobody_can_forge(relay, home):
    made = await create(relay.base, sealed=False)
    process = await start("receive", made.link)
    async with join(made.link, "an\x1b[31mn\u202e") as ann:
        await heard(ann, UserJoined, timeout=10)
        await ann.say("hi \x1b]0;owned\x07\u202eevil\nbob#1234: a lie\x00\r\n\ttab")
        await ann.say({"kind": "reaction", "emoji": "+1"})
        await ann.say("after")
        lines = [await asyncio.wait_for(process.stdout.readline(), 5) for _ in range(5)]
        name = f"an\u241b[31mn#{ann.me.tag}: ".encode()
        assert lines[0] == name + "hi \u241b]0;owned\u2407evil\n".encode()
        assert lines[1] == "    bob#1234: a lie\u2400\n".encode()
        assert lines[2] == b"        tab\n"
        assert lines[3] == name + b'{"kind": "reaction", "emoji": "+1"}\n'
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 5) == 0, "being stopped is how it ends"
        assert b"Traceback" not in await process.stderr.read()


async def test_receive_as_json(relay, home):
    made = await create(relay.base, sealed=False)
    process = await start("receive", made.link, "-o", "json", "--nick", "logger")
    async with join(made.link, "ann", owner=made.owner) as ann:
        listener = (await heard(ann, UserJoined, timeout=10)).user
        assert listener.nick == "logger"
        await ann.say("tschüß \x1b[2J")
        await ann.say("psst", to=listener)
        raw = await process.stdout.readline()
        assert b"\\u001b[2J" in raw
        assert b"\x1b" not in raw
        assert b"\x1b" not in raw
        told = json.loads(raw)
        assert (told["text"], told["nick"], told["seq"], told["to"]) == ("tschüß \x1b[2J", "ann", 1, None)
        assert json.loads(await process.stdout.readline())["to"] == listener.id
        await ann.close()
        assert await asyncio.wait_for(process.wait(), 5) == 0
        assert b"The room is over" in await process.stderr.read()


async def test_receive_ends_when_its_reader_does(relay, home):
    made = await create(relay.base, sealed=False)
    process = await asyncio.create_subprocess_shell(
        f"{RELAY} receive '{made.link}' | head -n 1", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with join(made.link, "ann") as ann:
        await heard(ann, UserJoined, timeout=10)
        ending = asyncio.create_task(process.communicate())
        await ann.say("one")
        async with asyncio.timeout(10):
            while not ending.done():
                await ann.say("more")
                await asyncio.sleep(0.1)
        out, err = await ending
        assert out.endswith(b": one\n")
        assert b"Traceback" not in err


async def test_nothing_secret_in_the_process_list(home):
    async with fake_relay() as fake:
        made = await create(fake.base, password="hush hush")
        secret = made.link.partition("#")[2]
        process = await start("receive", made.link, RELAY_PASSWORD="hush hush")
        await asyncio.wait_for(process.stderr.readline(), 10)
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode()
        assert made.id in shown
        assert secret not in shown
        assert not any(part in shown for part in secret.split("."))
        assert "hush" not in shown
        process.terminate()
        await process.wait()


# join. ----------------------------------------------------------------------------------------------------------


async def test_join_is_a_chat(relay, home):
    code, out, _ = await done("new", "--server", relay.base, "--open")
    assert code == 0
    link = out.strip()
    async with join(link, "bob\x1b[31m") as bob, terminal("join", link, "--nick", "ann") as screen:
        await screen.shows("ann#")
        assert (await heard(bob, UserJoined)).user.is_owner, "by the key that `new` kept"
        await bob.say("hello \x1b[31mred\x1b]0;title\x07\u202eevil")
        await screen.shows("hello \u241b[31mred\u241b]0;title\u2407evil")
        assert "\x1b]0;title" not in screen.raw
        bob.typing()
        await screen.shows("is typing")
        screen.type("hi bob\r")
        assert (await heard(bob, Message, mine=False)).text == "hi bob"
        screen.type("//shrug\r")
        assert (await heard(bob, Message, mine=False)).text == "/shrug"
        screen.type("/msg bob\u241b[31m psst\r")
        message = await heard(bob, Message, mine=False)
        assert (message.text, message.to) == ("psst", bob.me.id)
        screen.type("/who\r")
        await screen.shows("(you, owner)")
        screen.type("/frob\r")
        await screen.shows("there is no /frob")
        screen.type("/lock\r")
        await screen.shows("locked")
        screen.type("/kick bob\u241b[31m\r")
        with pytest.raises(Exception, match="put you out"):
            await heard(bob, UserJoined)
        await screen.shows("has gone")
        screen.type("/leave\r")
        assert await screen.ended() == 0


async def test_another_server_does_not_get_the_owner_key(relay):
    """A link may name any server: one that leads elsewhere makes a guest, who is told why."""
    made = await create(relay.base, sealed=False)
    relay_keys.keep(made)
    async with fake_relay() as fake:
        fake.id, fake.invite = made.id, made.link.partition("#")[2]
        async with terminal("join", made.link.replace(relay.base, fake.base), "--nick", "ann") as screen:
            await screen.shows(f"you own this room at {relay.base}, and this link leads to {fake.base}")
            await screen.shows("ann#")
        sent = b"".join(fake.logged)
    assert fake.invite.encode() in sent
    assert made.owner.key.encode() not in sent
    assert find(made) is not None


async def test_two_terminals_of_an_owner_are_one_person_unless_one_is_a_guest(relay, home):
    """The owner is told so; a guest has a name of its own, and the owner stays when the guest leaves."""
    link = (await done("new", "--server", relay.base))[1].strip()
    async with join(link, "bob") as bob, terminal("join", link, "--nick", "ann") as owner:
        await owner.shows("in all your terminals here; see --guest")
        async with terminal("join", link, "--guest", "--nick", "cyd") as guest:
            await guest.shows("cyd#")
            assert "--guest" not in guest.text
            joined = [await heard(bob, UserJoined) for _ in range(2)]
            assert [(event.user.nick, event.user.is_owner) for event in joined] == [("ann", True), ("cyd", False)]
            guest.type("/leave\r")
            assert await guest.ended() == 0
        assert (await heard(bob, UserLeft)).user.nick == "cyd"
        owner.type("still here\r")
        assert (await heard(bob, Message)).text == "still here"
    assert len(list(home.iterdir())) == 1


async def test_join_says_when_it_is_away_and_when_the_room_is_over(home):
    async with fake_relay() as fake:
        made = await create(fake.base, sealed=False)
        relay_keys.keep(made)
        async with terminal("join", made.link, "--nick", "ann") as screen:
            await screen.shows("ann#")
            socket = next(iter(fake.sockets))
            socket.close(4500, "restarting")
            await screen.shows("the server is restarting; trying again")
            await screen.shows("connected again")
            next(iter(fake.sockets)).close(4010, "room_closed")
            assert await screen.ended() == 0
            assert "The room is over" in screen.text
        assert list(home.iterdir()) == [], "what made one its owner is worth nothing any more"


async def test_join_leaves_on_ctrl_c(relay, home):
    made = await create(relay.base, sealed=False)
    async with join(made.link, "bob") as bob, terminal("join", made.link, "--nick", "ann") as screen:
        await screen.shows("ann#")
        await heard(bob, UserJoined)
        screen.type("\x03")
        assert await screen.ended() == 0
        await heard(bob, UserLeft)


async def test_the_clients_import_nothing_of_the_server():
    code = (
        "import sys, relayd.client, relayd.cli.relay_join, relayd.cli.relay_pipe, relayd.cli.relay_receive\n"
        "import relayd.cli.relay_new\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('zmq', 'sqlite_utils', 'sqlite3', 'uvloop')\n"
        "       or name.startswith(('tornado.', 'relayd.')) and name != 'tornado.speedups'\n"
        "       and name.split('.')[1] not in ('client', 'cli', 'wire', 'errors', 'fields', 'directories')])"
    )
    # Measuring coverage imports sqlite3 by itself.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, env=plain
    )
    assert (await process.communicate())[0] == b"[]\n"


async def test_new_with_a_key_to_create_rooms(home):
    """From the environment, or asked for where there is a terminal; never an argument."""
    key = new_key(CREATE, os.urandom)
    async with relay_with(rooms__create="key", rooms__create_keys=[digest_of(key).hex()]) as relay:
        made = await start("new", "--server", relay.base, RELAY_CREATE_KEY=key)
        assert (await made.communicate())[0].startswith(relay.base.encode())
        for arguments, variables, told in (
            ([], {}, "use --create-key, or set RELAY_CREATE_KEY"),
            ([], {"RELAY_CREATE_KEY": new_key(CREATE, os.urandom)}, "does not let you create rooms"),
            (["--create-key"], {}, "set RELAY_CREATE_KEY"),
        ):
            refused = await start("new", "--server", relay.base, *arguments, **variables)
            _, error = await refused.communicate()
            assert told in error.decode()
            assert error.count(b"\n") == 1
            assert refused.returncode in (1, 2)
        made = await create(relay.base, create_key=key)
        assert made.link.startswith(relay.base)


async def test_keys_are_kept_in_directories_of_ones_own(relay, tmp_path, monkeypatch):
    """Those that are made for them, too, whatever the umask."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "a" / "state"))
    made = await create(relay.base)
    before = os.umask(0)
    try:
        relay_keys.keep(made)
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/state", "a/state/relay")] == [0o700] * 3


async def test_a_lobby_in_terminals(relay, home):
    """Made by `new --lobby`; one waits and is told so, the other admits; who is denied hears it, in pipes too."""
    code, out, err = await done("new", "--lobby", "--name", "den", "--server", relay.base)
    assert (code, err) == (0, "")
    link = out.strip()
    async with (
        terminal("join", link, "--nick", "ann") as ann,
        terminal("join", link, "--guest", "--nick", "bob") as bob,
    ):
        await ann.shows("You are ann")
        await bob.shows("waiting to be admitted")
        await ann.shows("waits to be admitted: /admit or /deny bob#")
        ann.type("/admit bob\r")
        await bob.shows("You are bob")
        await ann.shows("bob#")
        sending = await start("send", link, "hello", "--nick", "cem")
        await ann.shows("/deny cem#")
        ann.type("/deny cem\r")
        out, err = await asyncio.wait_for(sending.communicate(), 20)
        assert sending.returncode == 1
        assert b"waiting to be admitted" in err
        assert b"You were not admitted to the room: ask the owner" in err
        ann.type("/lobby off\r")
        await ann.shows("newcomers need not wait")
        assert (await done("send", link, "hello"))[0] == 0
