"""kick, announce, send, list users."""

from __future__ import annotations

import json

import pytest
from websockets import ConnectionClosed
from websockets.sync.client import connect


def test_list_users(daemon, room):
    """Ids, nicks, roles and states; -o json is what REST gives."""
    with daemon.join(room, "ann") as ann, daemon.join(room, "bob") as bob:
        users = daemon.json("list", "users", room["id"])
        assert [(user["id"], user["profile"]["nick"]) for user in users] == [(ann.id, "ann"), (bob.id, "bob")]
        lines = daemon.ctl("list", "users", room["id"]).stdout.splitlines()
        assert lines[0].split() == ["ID", "NICK", "ROLE", "STATE"]
        assert lines[1].split() == [ann.id, "ann", "member", "here"]
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
        joined, missed = (json.loads(socket.recv(timeout=5)) for _ in range(2))
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
    assert created["link"].endswith(".1p")
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
    log = daemon.log.read_text()
    assert f"verb=pass room={room['id']} result=ok" in log
    assert minted["key"] not in log
    daemon.ctl("edit", "room", room["id"], "-unlock")
