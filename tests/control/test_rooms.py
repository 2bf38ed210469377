"""relayctl's commands on rooms: each run as a process against a running relayd, both outputs."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.error
import urllib.request

import pytest

from tests.control.conftest import BIN, clean_environment


def test_create_room_by_argument(daemon):
    """NAME as in the idea document; the answer is REST's, and the link comes from the first TCP listener."""
    created = daemon.json("create", "room", "tea time", "-max", "8", "-expiration", "2")
    assert created["name"] == "tea time"
    assert created["owner_key"].startswith("ro_")
    assert created["link"] == f"{daemon.base}/{created['id']}#{created['invite_key']}"
    assert created["chat"] == f"{daemon.base.replace('http', 'ws')}/{created['id']}"
    details = daemon.json("get", "room", "tea time")
    assert (details["max"], details["name"]) == (8, "tea time")
    assert details["expiration"] == created["expiration_date"]
    daemon.ctl("close", "room", "tea time")


@pytest.mark.parametrize("dashes", ["-", "--"])
def test_both_spellings_of_options(daemon, dashes):
    """Every option is understood with one dash and with two."""
    created = daemon.json(
        "create", "room", f"{dashes}name", "spelled", f"{dashes}max", "3", f"{dashes}expiration", "usersLeave"
    )
    assert (created["name"], created["expiration"]) == ("spelled", "usersLeave")
    assert daemon.json("get", "room", "spelled")["max"] == 3
    daemon.ctl("close", "room", "spelled")


def test_create_room_for_people(daemon):
    """The link stands on a line of its own, unwrapped, last."""
    text = daemon.ctl("create", "room", "read me").stdout
    last = text.splitlines()[-1]
    assert last.startswith("Link")
    assert "#ri_" in last
    daemon.ctl("close", "room", "read me")


def test_room_settings(daemon):
    """-set gives the room's desired behaviours, and unknown ones are named."""
    daemon.ctl("create", "room", "quiet", "-set", "resume=0", "--set", "files=false")
    settings = daemon.json("get", "room", "quiet")["settings"]
    assert (settings["resume"], settings["files"]) == (0, False)
    assert "resum" in daemon.wrong("create", "room", "-set", "resum=1", code=1)
    daemon.ctl("close", "room", "quiet")


def test_get_room_for_people(daemon, room):
    """Units that can be read."""
    text = daemon.ctl("get", "room", room["id"]).stdout
    assert f"Room         {room['name']}" in text
    assert "when its users have left" in text
    assert "Users        0 of 50" in text


@pytest.mark.parametrize("digits", [4, 8, 13])
def test_room_by_prefix(daemon, room, digits):
    """The first digits of an id stand for it, if they are its alone."""
    assert daemon.json("get", "room", room["id"][:digits])["id"] == room["id"]


def test_ambiguous_prefix(daemon):
    """Four digits that two ids have in common stand for neither; the line names both."""
    first: dict[str, str] = {}
    made: list[str] = []
    twin = ""
    while not twin:  # by the birthday paradox after some 300 rooms
        made += [room["id"] for room in daemon.create_rooms(50)]
        twin = next((one for one in made[-50:] if first.setdefault(one[:4], one) != one), "")
    line = daemon.wrong("get", "room", twin[:4], code=1)
    assert twin in line
    assert first[twin[:4]] in line
    assert daemon.json("get", "room", twin)["id"] == twin
    daemon.close_rooms(made)


def test_a_name_goes_before_a_prefix(daemon, room):
    """A room may be named like the beginning of another's id; the name wins, as only it can be chosen."""
    name = room["id"][:6]
    named = daemon.json("create", "room", name)
    assert daemon.json("get", "room", name)["id"] == named["id"]
    assert daemon.json("get", "room", room["id"][:8])["id"] == room["id"]
    daemon.ctl("close", "room", name)


def test_list_rooms_sorts_and_filters(daemon):
    """By any field, either way round."""
    for name, most in (("sort b", 5), ("sort a", 9), ("sort c", 7)):
        daemon.ctl("create", "room", name, "-max", str(most))
    daemon.ctl("edit", "room", "sort c", "-lock")

    def names(*options):
        return [one["name"][-1] for one in daemon.json("list", "rooms", "-match", "SORT", *options)]

    assert names() == ["b", "a", "c"]
    assert names("-sort", "name") == ["a", "b", "c"]
    assert names("-sort", "name", "-reverse") == ["c", "b", "a"]
    assert names("-sort", "max") == ["a", "c", "b"]
    assert names("-locked") == ["c"]
    assert names("-open") == ["b", "a"]
    assert names("-min-users", "1") == []
    for name in "abc":
        daemon.ctl("close", "room", f"sort {name}")


def test_list_rooms_for_people(daemon, room):
    """Headings, aligned columns; and nothing but a sentence where there is nothing."""
    lines = daemon.ctl("list", "rooms").stdout.splitlines()
    assert lines[0].split() == ["NAME", "ID", "USERS", "CONNS", "MESSAGES", "VOLUME", "ENDS"]
    row = next(line for line in lines if room["id"] in line)
    assert row.index(room["id"]) == lines[0].index("ID")
    empty = daemon.ctl("list", "rooms", "-match", "nothing is called that")
    assert (empty.stdout, empty.stderr) == ("", "There are no such rooms.\n")


def test_edit_room(daemon, room):
    """What is not given stays; everyone inside is told."""
    with daemon.join(room) as ann:
        edited = daemon.json("edit", "room", room["id"], "-name", "renamed", "-max", "9", "-lock")
        assert (edited["name"], edited["max"], edited["locked"]) == ("renamed", 9, True)
        assert ann.until("room", event="updated")["room"]["name"] == "renamed"
    assert "Access       open, locked" in daemon.ctl("get", "room", "renamed").stdout
    assert daemon.json("edit", "room", "renamed", "-unlock", "-expiration", "1")["locked"] is False


def test_close_room(daemon):
    """Everyone inside is told and disconnected."""
    room = daemon.json("create", "room", "short")
    with daemon.join(room) as ann:
        assert "1 users were inside" in daemon.ctl("close", "room", "short").stdout
        assert ann.until("room", event="closed")["reason"] == "terminated"
        assert ann.closed() == 4010
    daemon.wrong("get", "room", "short", code=4)


def test_password_never_on_the_command_line(daemon):
    """-password takes no value: it is asked for, or comes in a pipe."""
    line = daemon.wrong("create", "room", "-password", code=2, stdin=subprocess.DEVNULL)
    assert "standard input" in line
    done = subprocess.run([BIN / "relayctl", "create", "room", "--help"], capture_output=True, text=True, check=True)
    assert "-password" in done.stdout


@pytest.mark.parametrize("command", ["get", "edit", "close"])
def test_no_such_room(daemon, command):
    """Exit code 4, and one line."""
    more = ["-max", "3"] if command == "edit" else []
    assert "nowhere" in daemon.wrong(command, "room", "nowhere", *more, code=4)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["create", "room", "-max", "many"], 2, "many"),
        (["create", "room", "-expiration", "soon"], 2, "soon"),
        (["create", "room", "-expiration", "25"], 1, "expiration_date"),
        (["create", "room", "-max", "0"], 1, "max"),
        (["create", "room", "bad/name"], 1, "name"),
        (["create", "room", "a", "-name", "b"], 2, "twice"),
        (["create", "castle"], 2, "castle"),
        (["edit", "room", "x"], 2, "what to change"),
        (["list", "rooms", "-sort", "colour"], 2, "colour"),
        (["get", "room"], 2, "ROOM"),
        (["fly"], 2, "fly"),
        (["list", "rooms", "--fly"], 2, "--fly"),
        (["get", "room", "abc"], 4, "abc"),
    ],
)
def test_wrong_usage(daemon, arguments, code, said):
    """One line that names what is wrong, and the right exit code."""
    assert said in daemon.wrong(*arguments, code=code)


def test_name_taken(daemon, room):
    """Refused: exit code 1."""
    assert "name" in daemon.wrong("create", "room", room["name"].upper(), code=1)


def test_full_pipe(daemon):
    """`relayctl list rooms | head -1` with more than a pipe holds: no traceback, exit code 0, relayd unharmed."""
    made = [room["id"] for room in daemon.create_rooms(400)]
    script = f"'{BIN}/relayctl' --socket '{daemon.socket}' -o json list rooms | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=clean_environment())
    assert done.stdout == "[\n0\n"
    assert done.stderr == ""
    assert daemon.json("status")["rooms"] >= 400
    daemon.close_rooms(made)


@pytest.fixture
def crowded_daemon(make_daemon):
    """Strangers have all its rooms and places, and names besides."""
    limits = "max_rooms = 3\nmax_places = 150\naddress_share = 0\n"
    daemon = make_daemon()
    daemon.config.write_text(f"[limits]\n{limits}[rooms]\nreserved_names = []\n")
    daemon.ctl("reload")
    for name in ("support", "lobby", "team"):
        assert stranger(daemon, {"name": name})[0] == 201
    assert stranger(daemon, {})[0] == 503
    return daemon


def stranger(daemon, body) -> tuple[int, dict]:
    """What somebody is answered who creates a room over REST."""
    request = urllib.request.Request(
        f"{daemon.base}/api/v1/room", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def test_admins_are_not_refused_what_strangers_have_used_up(crowded_daemon):
    """They create a room with more people than every room is guaranteed, and all of them get in."""
    made = crowded_daemon.json("create", "room", "urgent", "-max", "80")
    with contextlib.ExitStack() as people:
        for number in range(60):
            people.enter_context(crowded_daemon.join(made, str(number)))
        assert crowded_daemon.json("get", "room", "urgent")["users"] == 60
        assert crowded_daemon.json("status")["places"] == 150 + 60
        assert stranger(crowded_daemon, {"max": 1})[1]["code"] == "overloaded"


def test_admins_take_a_name_back(crowded_daemon):
    """With a new room, or with one that is there; the room that had it gets another name, and its people are told."""
    taken = crowded_daemon.json("get", "room", "support")
    assert "has that name" in crowded_daemon.wrong("create", "room", "support", code=1)
    key = crowded_daemon.json("create", "room", "SUPPORT", "-take")
    assert crowded_daemon.json("get", "room", "support")["id"] == key["id"]
    renamed = crowded_daemon.json("get", "room", taken["id"])["name"]
    assert renamed != "support"
    assert "has that name" in crowded_daemon.wrong("edit", "room", "support", "-name", "lobby", code=1)
    team = crowded_daemon.json("get", "room", "team")
    assert crowded_daemon.json("edit", "room", "support", "-name", "lobby", "-take")["name"] == "lobby"
    assert crowded_daemon.json("edit", "room", team["id"], "-name", "TEAM", "-take")["name"] == "TEAM"


def test_people_are_told_that_their_room_has_another_name(make_daemon):
    """By `updated`, as for any other edit."""
    daemon = make_daemon()
    room = daemon.json("create", "room", "support")
    with daemon.join(room) as ann:
        daemon.ctl("create", "room", "support", "-take")
        name = ann.until("room", event="updated")["room"]["name"]
        assert daemon.json("get", "room", name)["id"] == room["id"]


def test_admins_use_reserved_names(daemon):
    """For new rooms and for those of strangers, who may then edit all but the name."""
    assert stranger(daemon, {"name": "Support"})[1]["code"] == "name_reserved"
    _, made = stranger(daemon, {"name": "from outside"})
    assert daemon.json("edit", "room", made["id"], "-name", "support")["name"] == "support"
    request = urllib.request.Request(
        f"{daemon.base}/api/v1/{made['id']}",
        b'{"name": "SUPPORT", "max": 9}',
        {"Content-Type": "application/json", "Authorization": f"Bearer {made['owner_key']}"},
        method="PATCH",
    )
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer)["max"] == 9
    daemon.ctl("close", "room", made["id"])
    daemon.ctl("create", "room", "support")
    daemon.ctl("close", "room", "support")


@pytest.mark.parametrize("arguments", [("create", "room", "-take"), ("edit", "room", "tea", "-max", "3", "-take")])
def test_take_without_a_name(daemon, arguments):
    assert "name" in daemon.wrong(*arguments, code=2)
