"""kick, announce, send, list users."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import msgspec
import pytest
from websockets import ConnectionClosed
from websockets.sync.client import connect

from relayd.client.sealing import parse_link
from relayd.wire.sealing import access_of, derive_epoch, derive_password_key
from tests.control.conftest import clean_environment


def test_list_users(daemon, room):
    """Ids, nicks, roles and states; -o json is what REST gives, and the handles of addresses."""
    with daemon.join(room, "ann") as ann, daemon.join(room, "bob") as bob:
        users = daemon.json("list", "users", room["id"])
        assert [(user["id"], user["profile"]["nick"]) for user in users] == [(ann.id, "ann"), (bob.id, "bob")]
        lines = daemon.ctl("list", "users", room["id"]).stdout.splitlines()
        assert lines[0].split() == ["ID", "NICK", "ROLE", "STATE", "ADDRESS"]
        assert lines[1].split() == [ann.id, "ann", "member", "here", users[0]["address"]]
    empty = daemon.json("create", "room", "empty")
    assert daemon.json("list", "users", empty["id"]) == []
    assert daemon.ctl("list", "users", empty["id"]).stderr == "Nobody is in the room.\n"
    daemon.ctl("close", "room", "empty")


def test_list_users_over_several_pages(daemon):
    """REST pages by 200; the command shows all, each once."""
    crowd = daemon.json("create", "room", "crowd", "-max", "300")
    with daemon.join(crowd) as ann:
        people = [ann]
        joins = [daemon.join(crowd, f"p{index}") for index in range(204)]
        people += [one.__enter__() for one in joins]
        assert [user["id"] for user in daemon.json("list", "users", "crowd")] == [person.id for person in people]
        daemon.ctl("close", "room", "crowd")
        for one in joins:
            one.__exit__(None, None, None)


def test_a_nick_cannot_steer_the_terminal(daemon, room):
    """What people call themselves is shown without escape sequences, line ends and changes of direction."""
    with daemon.join(room, "\x1b]0;owned\x07\n\u202eevil"):
        shown = daemon.ctl("list", "users", room["id"]).stdout
        assert len(shown.splitlines()) == 2
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)


def test_kick(daemon, room):
    """The user is out with 4011, and may come back unless banned."""
    with daemon.join(room) as ann:
        assert f"{ann.id} is out" in daemon.ctl("kick", room["id"], ann.id).stdout
        assert ann.closed() == 4011
    with daemon.join(room) as ann:
        assert daemon.json("kick", room["id"], ann.id, "-ban")["ban"] is True
        assert ann.closed() == 4011
    assert "no such user" in daemon.wrong("kick", room["id"], "u_0000000000000000", code=1)
    daemon.wrong("kick", "nowhere", "u_0000000000000000", code=4)


def test_announce_to_one_room(daemon, room):
    """It arrives as a room event, and nowhere else."""
    other = daemon.json("create", "room", "other")
    with daemon.join(room) as ann, daemon.join(other) as bob:
        told = daemon.json("announce", room["id"], "at", "noon")
        assert told == {"rooms": 1, "users": 1}
        assert ann.until("room", event="announcement")["text"] == "at noon"
        daemon.ctl("announce", "other", "to bob")
        assert bob.until("room", event="announcement")["text"] == "to bob"
    daemon.ctl("close", "room", "other")


def test_announce_to_all(daemon, room):
    """-all reaches every room; a text alone reaches none, as it could be a room's name."""
    other = daemon.json("create", "room", "other")
    with daemon.join(room) as ann, daemon.join(other) as bob:
        assert "in 2 rooms to 2 users" in daemon.ctl("announce", "-all", "everyone out").stdout
        for person in (ann, bob):
            assert person.until("room", event="announcement")["text"] == "everyone out"
    daemon.ctl("close", "room", "other")
    assert "-all" in daemon.wrong("announce", "everyone", code=2)
    daemon.wrong("announce", "nowhere", "hello", code=4)


def test_send(daemon, room):
    """An admin's text has its place in the room's order, and is from nobody inside."""
    with daemon.join(room) as ann:
        ann.send("message", id="1", body={"kind": "text", "text": "hi"})
        assert ann.until("message")["seq"] == 1
        assert daemon.json("send", room["id"], "hello", "there") == {"room": room["id"], "seq": 2, "users": 1}
        heard = ann.until("message")
        assert (heard["seq"], heard["from"]) == (2, "admin")
        assert heard["body"] == {"kind": "text", "text": "hello there"}
        assert "as message 3, to 1 user." in daemon.ctl("send", room["id"], "again").stdout
    assert daemon.json("get", "room", room["id"])["messages"] == 3


def test_send_is_kept_for_those_who_come_back(daemon, room):
    """It is in the ring like any other message: whoever lost the connection gets it with `since`."""
    with daemon.join(room) as ann:
        session, epoch = ann.joined["you"]["session"], ann.joined["epoch"]
        ann.socket.socket.close()
    daemon.ctl("send", room["id"], "while you were away")
    with connect(f"{daemon.base.replace('http', 'ws')}/{room['id']}", compression=None) as socket:
        socket.send(json.dumps({"type": "join", "session": session, "since": {"epoch": epoch, "seq": 0}}))
        joined, missed = (json.loads(socket.recv(timeout=20)) for _ in range(2))
    assert (joined["recovered"], joined["missed"]) == (True, 0)
    assert (missed["seq"], missed["body"]["text"]) == (1, "while you were away")


@pytest.mark.parametrize("command", ["send", "announce"])
def test_text_from_standard_input(daemon, room, command):
    """`-` reads the text, so that it is seen in no process list."""
    with daemon.join(room) as ann:
        daemon.ctl(command, room["id"], "-", input="line one\nline two\n")
        heard = ann.until("message" if command == "send" else "room")
        assert (heard["body"] if command == "send" else heard)["text"] == "line one\nline two"


@pytest.mark.parametrize("command", ["send", "announce"])
def test_texts_that_are_refused(daemon, room, command):
    """Empty, or too long to be read before it is sent."""
    assert "empty" in daemon.wrong(command, room["id"], " ", code=2)
    assert "16384" in daemon.wrong(command, room["id"], "-", code=1, input="x" * 10_000_000)


def test_nobody_can_say_anything_in_a_sealed_room_from_outside(daemon):
    """An admin has no key of it: `send` is refused and says what reaches it instead, and `announce` does."""
    created = daemon.json("create", "room", "sealed", "-password", input="correct horse\n")
    assert parse_link(created["link"]).link.secret is not None
    details = daemon.json("get", "room", "sealed")
    assert (details["sealed"], details["protected"]) == (True, True)
    assert "sealed, password" in daemon.ctl("get", "room", "sealed").stdout
    assert "announce" in daemon.wrong("send", "sealed", "hello", code=1)
    assert daemon.json("announce", "sealed", "hello")["rooms"] == 1
    assert "correct horse" not in daemon.log.read_text()
    daemon.ctl("close", "room", "sealed")


def test_a_pass_opens_a_locked_room_once(daemon, room):
    """It goes where the invite key goes, and lets one newcomer in; the log tells of it, and not the key."""
    daemon.ctl("edit", "room", room["id"], "-lock")
    (raw,) = daemon.requests([("POST", f"/v1/rooms/{room['id']}/passes", "")])
    minted = json.loads(raw)
    assert (minted["room"], minted["valid"]) == (room["id"], 30.0)
    assert minted["key"].startswith("ri_")
    with daemon.join(room, "admin", key=minted["key"]) as admin:
        assert admin.joined["you"]["role"] == "member"
        with connect(f"{daemon.base.replace('http', 'ws')}/{room['id']}", compression=None) as second:
            second.send(json.dumps({"type": "join", "key": minted["key"]}))
            with pytest.raises(ConnectionClosed) as closed:
                second.recv(timeout=10)
            assert closed.value.rcvd.code == 4004
    log = daemon.wait_for_log(f"verb=pass room={room['id']} result=ok")
    assert minted["key"] not in log
    daemon.ctl("edit", "room", room["id"], "-unlock")


# Files. ---------------------------------------------------------------------------------------------------------

BIN = Path(sys.executable).parent


@contextlib.contextmanager
def taking(link, directory, **environment):
    """`relay receive`, in the room, until one file has come."""
    directory.mkdir()
    arguments = [BIN / "relay", "receive", link, "--files", directory, "--count", "1", "--nick", "bob"]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=clean_environment(**environment))
    try:
        assert "listening" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "minutes.pdf"
    path.write_bytes(bytes(200_000))
    return path


def test_send_a_file(daemon, room, file, tmp_path):
    """Into a locked room, too; said by a user called admin, who is gone afterwards."""
    with taking(room["link"], tmp_path / "in") as receiving:
        daemon.ctl("edit", "room", room["id"], "-lock")
        done = daemon.ctl("send", "-f", file, room["id"])
        assert re.fullmatch(r"minutes\.pdf: bob#\w{4} got 195\.3 KiB in \d+ s\n", done.stdout)
        assert receiving.wait(timeout=30) == 0
        assert (tmp_path / "in" / "minutes.pdf").read_bytes() == file.read_bytes()
    assert all(user["profile"]["nick"] != "admin" for user in daemon.json("list", "users", room["id"]))
    daemon.ctl("edit", "room", room["id"], "-unlock")


def test_send_a_file_that_nobody_takes(daemon, room, file):
    done = daemon.ctl("send", "-f", file, "-wait", "0.2", room["id"], code=1)
    assert done.stderr.splitlines() == [
        "relayctl: minutes.pdf: nobody has accepted it",
        "relayctl: the file did not arrive",
    ]
    assert "cannot be read" in daemon.wrong("send", "-f", file.with_name("none"), room["id"], code=1)
    assert "no room" in daemon.wrong("send", "-f", file, "nowhere", code=4)
    full = daemon.json("create", "room", "full", "-max", "1")
    with daemon.join(full):
        assert "full" in daemon.wrong("send", "-f", file, "full", code=1)
    daemon.ctl("close", "room", "full")


def test_send_a_file_into_a_room_with_a_password(daemon, file, tmp_path):
    """The password is asked for, or taken from the environment; a wrong one is said to be wrong."""
    link = make_without_link_secret(daemon, "pw", "good words")
    with taking(link, tmp_path / "in", RELAY_PASSWORD="good words") as receiving:
        wrong = clean_environment(RELAY_PASSWORD="other words")
        assert "password is wrong" in daemon.wrong("send", "-f", file, "pw", code=1, env=wrong)
        line = daemon.wrong("send", "-f", file, "pw", code=2, start_new_session=True)
        assert "RELAY_PASSWORD" in line
        right = clean_environment(RELAY_PASSWORD="good words")
        sent = daemon.json("send", "-f", file, "pw", env=right)
        assert [(one["name"], len(one["received"]), one["failed"]) for one in sent] == [("minutes.pdf", 1, [])]
        assert receiving.wait(timeout=30) == 0
        assert (tmp_path / "in" / "minutes.pdf").read_bytes() == file.read_bytes()
    daemon.ctl("close", "room", "pw")


def make_without_link_secret(daemon, name, password):
    """A room whose keys come from the password alone, as earlier versions made them; its link."""
    salt = os.urandom(16)
    keys = derive_epoch(salt, 0, password_key=derive_password_key(password, salt), link_secret=None)
    body = {"name": name, "access": msgspec.to_builtins(access_of(keys, owner=None, password=True))}
    request = Request(daemon.base + "/api/v1/room", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request) as answer:
        return json.load(answer)["link"] + ".1p"


def test_the_password_of_a_room_with_a_link_secret_is_not_asked_for(daemon, file):
    """A room made with a plain password takes its whole link, too, which relayd has forgotten."""
    daemon.json("create", "room", "both", "-password", input="good words")
    assert "relay send LINK" in daemon.wrong("send", "-f", file, "both", code=1)
    daemon.ctl("close", "room", "both")


def test_a_room_with_a_secret_in_its_link_is_said_to_be_one(daemon, file):
    made = subprocess.run(
        [BIN / "relay", "new", "--server", daemon.base, "--name", "secret"],
        capture_output=True,
        text=True,
        check=True,
        env=clean_environment(XDG_STATE_HOME=str(file.parent)),
    ).stdout
    assert ".1." in made
    line = daemon.wrong("send", "-f", file, "secret", code=1)
    assert "relay send LINK -f PATH" in line
    daemon.ctl("close", "room", "secret")


def test_a_client_comes_over_a_unix_socket(make_daemon, file, tmp_path):
    """The library's way to the server need not be the one that the link says."""
    place = tmp_path / "clients.sock"
    daemon = make_daemon("--listen", f"unix:{place}")
    made = daemon.json("create", "room", "tea")
    with taking(made["link"], tmp_path / "in") as receiving:
        script = (
            "import asyncio, sys\n"
            "from relayd.client import join\n"
            "async def main():\n"
            "    async with join(sys.argv[1], 'ann', server='unix:' + sys.argv[2]) as room:\n"
            "        print(await (await room.offer(sys.argv[3])).delivered())\n"
            "asyncio.run(main())\n"
        )
        link = made["link"].replace(daemon.base, "http://nowhere.invalid")
        subprocess.run([sys.executable, "-c", script, link, place, file], check=True, timeout=40)
        assert receiving.wait(timeout=30) == 0
        assert (tmp_path / "in" / "minutes.pdf").read_bytes() == file.read_bytes()
