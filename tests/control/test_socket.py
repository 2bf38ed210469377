"""The control socket itself: how it is made, and what is refused."""

from __future__ import annotations

import grp
import json
import os
import socket as sockets
import stat
import subprocess
import time

import pytest

from relayd.errors import SettingsError
from relayd.hub.control.listener import ControlListener
from tests.control.conftest import BIN, clean_environment, run_ctl


def start(control, *arguments, timeout=15, **kwargs):
    """A relayd that is expected to fail; what it says."""
    done = subprocess.run(
        [BIN / "relayd", "--listen", "127.0.0.1:0", "--control", control, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=clean_environment(),
        check=False,
        **kwargs,
    )
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("relayd: ")]


def test_modes(make_daemon):
    """0660 in a directory of 0750, whatever the umask."""
    daemon = make_daemon(umask=0)
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o660
    assert stat.S_IMODE(daemon.socket.parent.stat().st_mode) == 0o750


@pytest.mark.parametrize(("group", "mode"), [(None, 0o700), (os.getgid(), 0o710)])
def test_modes_of_the_directories_above(tmp_path, group, mode):
    """Those that relayd makes are its own, whatever the umask; a group that may use the socket gets through."""
    before = os.umask(0)
    try:
        listener = ControlListener.bind(str(tmp_path / "a" / "b" / "c" / "control.sock"), group)
    finally:
        os.umask(before)
    listener.close()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b", "a/b/c")]
    assert modes == [mode, mode, 0o750]


# Somebody who may not give a file to that group: a user who is not in it (EPERM), or in a user namespace in which the
# group does not exist (EINVAL), as in a container.
OTHERS = {
    "user": ("setpriv", "--bounding-set=-chown", "--inh-caps=-chown", "--clear-groups"),
    "namespace": ("unshare", "--user", "--map-root-user"),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to lose a capability")
@pytest.mark.parametrize("who", OTHERS)
def test_a_group_that_cannot_be_set(make_daemon, who):
    """relayd starts all the same; a line in the log names the group, and what to do."""
    if subprocess.run([*OTHERS[who], "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"{OTHERS[who][0]} is not possible here")
    group = grp.getgrnam("games")
    program = [*OTHERS[who], BIN / "relayd"]
    daemon = make_daemon(program=program, environment={"RELAYD_CONTROL_GROUPS_ADMIN": "games"})
    assert daemon.socket.stat().st_gid != group.gr_gid
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o660
    (line,) = [line for line in daemon.log.read_text().splitlines() if " WARNING " in line]
    assert f"control: the group of {daemon.socket} cannot be set to games, so only root and this user can" in line
    assert "control_groups.socket" in line
    daemon.ctl("create", "room")


def test_never_open_for_a_moment(tmp_path):
    """Between bind() and the last chmod the socket is at no time open to more: seen from the system calls."""
    strace = subprocess.run(["which", "strace"], capture_output=True, check=False)
    if strace.returncode:
        pytest.skip("strace is not installed")
    control = tmp_path / "run" / "control.sock"
    trace = tmp_path / "trace"
    process = subprocess.Popen(
        [
            *("strace", "-f", "-o", trace, "-e", "trace=umask,bind,chmod,mkdir,listen"),
            *(BIN / "relayd", "--listen", "127.0.0.1:0", "--control", control),
        ],
        stderr=subprocess.DEVNULL,
        umask=0,
        env=clean_environment(),
    )
    while not control.exists() or "listen(" not in trace.read_text():
        assert process.poll() is None
        time.sleep(0.05)
    run_ctl("--socket", control, "stop")
    process.wait(timeout=10)
    calls = [line.split(None, 1)[1] for line in trace.read_text().splitlines()]
    bound = next(index for index, call in enumerate(calls) if call.startswith("bind(") and "control.sock" in call)
    assert calls[bound - 1].startswith("umask(0177)")


def test_umask_stays_as_it_was(tmp_path):
    """It is narrowed for the one moment only, and put back."""
    before = os.umask(0o022)
    try:
        listener = ControlListener.bind(str(tmp_path / "a" / "b" / "control.sock"), None)
        assert os.umask(0o022) == 0o022
        listener.close()
        assert not listener.path.exists()
    finally:
        os.umask(before)


def test_a_living_daemons_socket_is_refused(daemon):
    """The second one ends with a clear line, and the first is unharmed."""
    (line,) = start(daemon.socket)
    assert "another relayd listens there" in line
    assert daemon.json("status")["pid"] == daemon.process.pid


def test_a_full_queue_is_a_living_daemon(tmp_path):
    """One who does not answer at once is not dead."""
    place = tmp_path / "control.sock"
    with sockets.socket(sockets.AF_UNIX) as busy:
        busy.bind(str(place))
        busy.listen(0)
        waiting = [sockets.socket(sockets.AF_UNIX) for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(str(place))
        (line,) = start(place)
        assert "another relayd listens there" in line
        for one in waiting:
            one.close()


def test_a_stale_socket_is_replaced(tmp_path):
    """Two that start together on a stale socket: one gets it, the other is refused."""
    place = tmp_path / "control.sock"
    with sockets.socket(sockets.AF_UNIX) as dead:
        dead.bind(str(place))
    command = [BIN / "relayd", "--listen", "127.0.0.1:0", "--control", place]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean_environment()) for _ in range(2)]
    until = time.monotonic() + 15
    while all(one.poll() is None for one in both) and time.monotonic() < until:
        time.sleep(0.05)
    codes = [one.poll() for one in both]
    assert sorted(codes, key=str) == [1, None], codes
    living = both[codes.index(None)]
    assert json.loads(run_ctl("--socket", place, "status", "-o", "json").stdout)["pid"] == living.pid
    run_ctl("--socket", place, "stop")
    for one in both:
        one.communicate(timeout=10)


def test_another_daemons_socket_is_not_taken_away(make_daemon):
    """A daemon that ends removes its own socket, not that which stands in its place by now."""
    daemon = make_daemon()
    daemon.socket.unlink()
    with sockets.socket(sockets.AF_UNIX) as other:
        other.bind(str(daemon.socket))
        assert daemon.end() == 0
        assert daemon.socket.exists()


@pytest.mark.parametrize("kind", ["directory", "file", "relative", "long", "under a file"])
def test_places_that_cannot_be(tmp_path, kind):
    """Each is refused with a line that says why, and what is there stays."""
    place = tmp_path / "place"
    if kind == "directory":
        place.mkdir()
    elif kind != "long":
        place.write_text("precious")
    wanted = {"relative": "control.sock", "long": f"/tmp/{'x' * 120}", "under a file": f"{place}/control.sock"}
    (line,) = start(wanted.get(kind, place))
    assert line.startswith(f"relayd: control: {wanted.get(kind, place)}: ")
    assert kind != "directory" or "is a directory" in line
    assert kind != "file" or (place.read_text() == "precious" and "is no socket" in line)


def test_no_permission(tmp_path):
    """A directory in which the daemon may not write."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o755)
    os.seteuid(65_534)
    try:
        with pytest.raises(SettingsError, match=r"control: .*Permission denied"):
            ControlListener.bind(str(closed / "control.sock"), None)
    finally:
        os.seteuid(0)


def test_client_without_daemon(tmp_path):
    """Exit code 3 and how to start one; whether nothing is there, or something that answers nothing sensible."""
    for place in (tmp_path / "nothing", tmp_path):
        line = run_ctl("--socket", place, "status", code=3).stderr
        assert len(line.splitlines()) == 1
        assert "start one with: relayd" in line


def test_client_finds_the_socket(daemon, tmp_path):
    """By --socket, before RELAYD_CONTROL, before XDG_RUNTIME_DIR."""
    found = clean_environment(RELAYD_CONTROL=str(daemon.socket))
    assert run_ctl("status", env=found).stdout
    assert str(tmp_path) in run_ctl("--socket", tmp_path / "x", "status", env=found, code=3).stderr
    link = tmp_path / "relayd"
    link.symlink_to(daemon.socket.parent)
    assert run_ctl("status", env=clean_environment(XDG_RUNTIME_DIR=str(tmp_path))).stdout


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (b"DELETE /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", b"405"),
        (b"POST /v1/rooms HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: 1\r\n\r\nx", b"415"),
        (b"POST /v1/rooms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\nx", b"400"),
        (b"GET /v1/rooms?limit=x HTTP/1.1\r\nHost: x\r\n\r\n", b"422"),
        (b"GET /v1/rooms?sort=x HTTP/1.1\r\nHost: x\r\n\r\n", b"422"),
        (b"GET /v1/rooms?locked=x HTTP/1.1\r\nHost: x\r\n\r\n", b"422"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_wrong_requests(daemon, request_bytes, status):
    """Problems as REST has them."""
    with sockets.socket(sockets.AF_UNIX) as raw:
        raw.connect(str(daemon.socket))
        raw.sendall(request_bytes)
        raw.settimeout(5)
        assert raw.recv(65_536).startswith(b"HTTP/1.1 " + status)


def test_request_of_10_mib(daemon, tmp_path):
    """It is read to its end, so that the answer arrives, and kept nowhere."""
    big = tmp_path / "big"
    big.write_bytes(b"x" * 10 * 2**20)
    done = subprocess.run(
        ["curl", "-sS", "--unix-socket", daemon.socket, "--data-binary", f"@{big}", "http://relayd/v1/rooms"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["code"] == "too_large"
    assert daemon.json("status")["memory"] < 200 * 2**20


@pytest.mark.alone
def test_10_000_rooms_in_a_listing(own_daemon, tmp_path):
    """All of them, and those who chat meanwhile wait for none of it."""
    own_daemon.create_rooms(10_000)
    room = own_daemon.json("create", "room", "last")
    with own_daemon.join(room) as ann:
        # The machine itself stands still at times; what the listing costs is there with every try.
        waits = min((_waits_while_listing(own_daemon, ann, tmp_path / f"listed{i}") for i in range(3)), key=max)
    rooms = json.loads((tmp_path / "listed0").read_bytes())
    assert len(rooms) == len({room["id"] for room in rooms}) == 10_001
    started_at = time.monotonic()
    subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "--unix-socket", own_daemon.socket, "http://relayd/v1/rooms?sort=name"],
        check=True,
    )
    whole = time.monotonic() - started_at
    assert max(waits) < whole / 3, (sorted(waits)[-5:], whole)
    assert len(own_daemon.ctl("list", "rooms").stdout.splitlines()) == 10_002


def _waits_while_listing(daemon, ann, path):
    """Seconds that each of Ann's messages took to be said, from the start of a listing to its end."""
    command = [BIN / "relayctl", "--socket", daemon.socket, "-o", "json", "list", "rooms", "-sort", "name"]
    waits = []
    with path.open("wb") as listed, subprocess.Popen(command, stdout=listed, env=clean_environment()) as listing:
        while listing.poll() is None or not waits:
            started_at = time.monotonic()
            ann.send("message", id=f"{path.name}-{len(waits)}", body={})
            ann.until("message")
            waits.append(time.monotonic() - started_at)
            time.sleep(0.05)  # under the limit of one user
    return waits
