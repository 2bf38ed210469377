"""watch and top: what goes on, live."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import socket as sockets
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from tests.control.conftest import BIN, clean_environment, start_ctl


@contextlib.contextmanager
def watching(daemon, *arguments):
    """relayctl watch, once it is connected."""
    process = start_ctl("--socket", daemon.socket, "watch", *arguments)
    connected(daemon)
    yield process
    process.kill()
    process.communicate()


def connected(daemon):
    """Until somebody is connected to the control socket: /proc/net/unix has its path and state 03 then."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if any(line[5:6] == ["03"] and line[-1] == str(daemon.socket) for line in unix_sockets()):
            time.sleep(0.1)  # to be answered
            return
        time.sleep(0.02)
    raise AssertionError("nobody connected")


def unix_sockets():
    return [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]


def test_watch(daemon):
    """What happens, a JSON line each: rooms, who comes and goes, announcements; nothing that is said."""
    with watching(daemon, "-o", "json") as process:
        room = daemon.json("create", "room", "seen")
        with daemon.join(room, "secret nick") as ann:
            ann.send("message", id="1", body={"kind": "text", "text": "secret text"})
            daemon.ctl("announce", "seen", "secret announcement")
            time.sleep(0.5)
            daemon.ctl("edit", "room", "seen", "-max", "3")
            daemon.ctl("kick", "seen", ann.id)
        time.sleep(0.5)
        daemon.ctl("close", "room", "seen")
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    events = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0
    assert err == ""
    kinds = [event["event"] for event in events]
    assert kinds[0] == "room_created"
    assert set(kinds) == {
        "room_created",
        "user_joined",
        "announcement",
        "room_edited",
        "user_kicked",
        "user_left",
        "room_closed",
    }
    assert events[-1]["reason"] == "terminated"
    assert {event["name"] for event in events} == {"seen"}
    assert "secret" not in out
    assert "ri_" not in out


def test_watch_one_room(daemon, room):
    """Other rooms are not told of, and with the room's end the command ends."""
    with watching(daemon, room["id"]) as process:
        daemon.json("create", "room", "elsewhere")
        daemon.ctl("close", "room", "elsewhere")
        daemon.ctl("close", "room", room["id"])
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert len(out.splitlines()) == 1
    assert "room_closed" in out
    assert "reason=terminated" in out


def test_watch_of_no_room(daemon):
    daemon.wrong("watch", "nowhere", code=4)


def test_daemon_ends_while_watched(own_daemon):
    """In order: the watcher is told, and ends with 0. Killed: one line, and 3."""
    with watching(own_daemon) as process:
        own_daemon.end()
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert "stopped" in out


def test_daemon_is_killed_while_watched(own_daemon):
    """One line, and exit code 3."""
    with watching(own_daemon) as process:
        own_daemon.process.kill()
        out, err = process.communicate(timeout=20)
    assert process.returncode == 3
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "gone away" in err
    own_daemon.process.wait()
    # What a killed daemon has left behind is replaced.
    assert own_daemon.socket.exists()
    own_daemon.start()
    assert own_daemon.json("status")["rooms"] == 0


def test_slow_watcher_is_cut_off(own_daemon):
    """One who reads nothing while much happens is told so when it reads again; nobody else waits for it."""
    slow = sockets.socket(sockets.AF_UNIX)
    slow.connect(str(own_daemon.socket))
    slow.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    slow.sendall(b"GET /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.3)
    own_daemon.json("create", "room", "busy")
    body = json.dumps({"text": "x"}).encode()
    request = b"POST /v1/announcements HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    request += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    with sockets.socket(sockets.AF_UNIX) as quick:
        quick.connect(str(own_daemon.socket))
        # 10,000, and what the system takes for one who does not read; it must read 10 s after that was too much.
        for _ in range(10_000 + 600):
            quick.sendall(request)
            assert quick.recv(65_536).startswith(b"HTTP/1.1 200")
    slow.settimeout(20)
    heard = b""
    with contextlib.suppress(TimeoutError):
        while data := slow.recv(2**20):
            heard += data
            if heard.endswith(b"0\r\n\r\n"):
                break
    assert b'"event":"cut_off"' in heard
    assert heard.endswith(b"0\r\n\r\n")
    slow.close()


def test_top_once(daemon, room):
    """Without a terminal it looks once and ends."""
    with daemon.join(room):
        lines = daemon.ctl("top").stdout.splitlines()
        found = daemon.json("top", "-sort", "users")
    assert lines[0].startswith("relayd ")
    assert lines[3].split()[:4] == ["NAME", "ID", "USERS", "CONNS"]
    assert "MSG/S v" in lines[3]
    assert any(room["id"][:8] in line for line in lines)
    assert found["rooms"][0]["id"] == room["id"]
    assert found["status"]["users"] == 1


def test_top_repeated(daemon, room):
    """-n looks so often; -o json gives a line each, with the messages of the time between."""
    process = start_ctl("--socket", daemon.socket, "top", "-n", "2", "-interval", "1.5", "-o", "json")
    time.sleep(0.8)
    for _ in range(3):
        daemon.ctl("send", room["id"], "hello")
    out, _ = process.communicate(timeout=10)
    first, second = (json.loads(line) for line in out.splitlines())
    rates = [one["message_rate"] for look in (first, second) for one in look["rooms"] if one["id"] == room["id"]]
    assert rates[0] == 0
    assert rates[1] > 0.5


class Terminal:
    """relayctl on a terminal of its own, 80 by 24."""

    def __init__(self, daemon, *arguments):
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [BIN / "relayctl", "--socket", daemon.socket, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=clean_environment(TERM="xterm-256color"),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one thread
            text=True,
        )
        os.close(theirs)
        self.shown = ""

    def until(self, text, timeout=20):
        """What is shown from now on until that text."""
        self.shown = ""
        until = time.monotonic() + timeout
        while text not in self.shown and time.monotonic() < until:
            if select.select([self._ours], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    self.shown += os.read(self._ours, 65_536).decode()
        assert text in self.shown, repr(self.shown)
        return self.shown

    def press(self, keys):
        os.write(self._ours, keys.encode())

    def end(self):
        _, err = self.process.communicate(timeout=20)
        os.close(self._ours)
        return self.process.returncode, err


@pytest.mark.parametrize("end", ["q", "\x03"])
def test_top_on_a_terminal(daemon, room, end):
    """It refreshes, keys change the order, `q` and Ctrl-C end it with 0 and give the terminal back."""
    terminal = Terminal(daemon, "top", "-interval", "0.5")
    assert "MSG/S v" in terminal.until("q quit")
    terminal.until("q quit")  # by itself
    terminal.press("u")
    terminal.until("USERS v")
    terminal.press("u")
    terminal.until("USERS ^")
    terminal.press("x")  # no key of ours
    terminal.press(end)
    terminal.until("\x1b[?1049l")
    assert terminal.end() == (0, "")


def test_daemon_ends_under_top(own_daemon):
    """One line, 3, and the terminal as it was."""
    terminal = Terminal(own_daemon, "top", "-interval", "0.3")
    terminal.until("q quit")
    own_daemon.end()
    terminal.until("\x1b[?1049l")
    code, err = terminal.end()
    assert code == 3
    assert len(err.splitlines()) == 1


def test_tables_on_a_terminal_fit(daemon):
    """Names give way, columns stay, at 80 columns; colours, but not with NO_COLOR."""
    daemon.ctl("create", "room", "a name that is much too long for any table of 80 cols")
    terminal = Terminal(daemon, "list", "rooms", "-match", "too long")
    terminal.until("when empty")
    code, _ = terminal.end()
    assert code == 0
    plain = [line for line in terminal.shown.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines() if line]
    assert all(len(line.rstrip()) <= 80 for line in plain)
    assert "~" in terminal.shown
    daemon.ctl("close", "room", "a name that is much too long for any table of 80 cols")
