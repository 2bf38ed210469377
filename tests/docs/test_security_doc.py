"""What docs/security.md names (labels, sizes, rounds, codes, bounds, settings, files, links) is what the code has."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from fences import ROOT, fences

from relayd import errors
from relayd.cli import relay_keys
from relayd.cli.relay_chat import Chat
from relayd.client import http, membership
from relayd.client import socket as client_socket
from relayd.client.files import desk, receiving
from relayd.client.seal import codes, files, opener
from relayd.client.seal.bodies import BodyType
from relayd.gateway import app, read_buffers, scheduler, socket
from relayd.gateway.handlers import SECURITY_HEADERS
from relayd.http import handler, passwords, stream
from relayd.hub import attendance, lobby, scrape
from relayd.hub.control import listener, server
from relayd.machine import listeners
from relayd.rooms import access, addresses, guessing, limits, member, offers, ring, seal, transfer
from relayd.settings import Settings, setting_paths, value_of
from relayd.wire import chunks, commands, frames, sealed_shapes, sealing
from relayd.wire.sealing_text import encode_base64url

DOCUMENT = ROOT / "docs" / "security.md"
TEXT = DOCUMENT.read_text()
VECTORS = json.loads((ROOT / "tests" / "vectors" / "sealing-vectors.json").read_text())
DEFAULTS = Settings()
PATHS = {path for path, _ in setting_paths(Settings)}

WORDS = {4: "four", 5: "five"}
_UNITS = {"KiB": 2**10, "MiB": 2**20}
_NUMBER = re.compile(r"(\d[\d,]*(?:\.\d+)?)(?: (KiB|MiB))?")

# Bounds that are in the code, by what the document calls them.
FIXED = {
    "an owner's rekey frame": (seal.rekey_bytes(0), seal.rekey_bytes(1) - seal.rekey_bytes(0)),
    "profile": (commands.MAX_PROFILE_BYTES,),
    "data of a signal": (commands.MAX_SIGNAL_BYTES,),
    "nesting of bodies, profiles and data": (commands.MAX_DEPTH,),
    "runs into a limit, with less than 10 s between": (socket.MAX_STRIKES,),
    "a reader that takes less than 16 KiB in": (read_buffers.PROGRESS_S,),
    "an unfinished message that grows by less than 16 KiB in": (read_buffers.PROGRESS_S,),
    "fragments of a message": (frames.MAX_FRAGMENTS,),
    "frames read of a connection in a turn of the loop": (socket.FRAMES_AT_ONCE,),
    "bytes looked through after a close frame": (socket.CLOSING_BYTES,),
    "newcomers who wait in the lobby of a room": (lobby.MAX_WAITING, lobby.MAX_WAIT_S / 60),
    "chunks of files under way to a connection": (chunks.MAX_CHUNKS_IN_FLIGHT, chunks.MAX_BYTES_IN_FLIGHT),
    "bytes of a chunk of a longer file, at least": (chunks.MIN_CHUNK_BYTES,),
    "files received by a connection at once": (offers.MAX_RECEIVED,),
    "users remembered who have accepted a file": (offers.MAX_ACCEPTED,),
    "passes over a file at once": (transfer.MAX_STREAMS,),
    "addresses remembered in each of these counts": (guessing.Guessing(1)._most,),
    "kept for those who come back, of a room": (ring.MAX_MESSAGES, ring.MAX_BYTES),
    "ids remembered of a user": (member.REMEMBERED_MESSAGES,),
    "sessions of a user": (member.MAX_SESSIONS,),
    "departed users' sessions, of a room": (access.MAX_DEPARTED,),
    "bans of a room": (access.MAX_BANS,),
    "one-time passes of a room": (access.MAX_PASSES,),
    "presence of a room that is past its rate, at most every": (attendance.MAX_COLLECTED_S,),
    "frames that wait for a later turn of the loop, of a process": (scheduler.MAX_QUEUED_BYTES,),
    "a one-time pass that is not used": (access.PASS_VALID_S,),
    "body of a request": (handler.MAX_BODY_BYTES,),
    "of a body that is too large, read and dropped": (handler.MAX_DROPPED_BYTES,),
    "head of a request": (stream.MAX_HEAD_BYTES,),
    "for a head to arrive": (app._TIMEOUTS.head,),
    "for a body to arrive": (app._TIMEOUTS.body,),
    "a silent HTTP connection": (app._TIMEOUTS.idle,),
    "for 16 KiB of an answer, or the rest of it, to be read": (app._TIMEOUTS.write,),
    "a TCP connection whose peer acknowledges or reads nothing": (listeners.USER_TIMEOUT_S,),
    "connections to the control socket, and for metrics": (server._MAX_CONNECTIONS, scrape._MAX_CONNECTIONS),
    "plain passwords being stretched at once": (passwords.AT_ONCE,),
    "plain passwords waiting": (passwords.MAX_WAITING,),
}

SIZES = {
    "`salt`": sealing.SALT_BYTES,
    "link secret `S`": sealing.SECRET_BYTES,
    "`P`, `K`, `A`, every AES key, every X25519 and Ed25519 key": sealing.KEY_BYTES,
    "check `C`": sealing.CHECK_BYTES,
    "`sid`": sealing.SID_BYTES,
    "GCM tag": sealed_shapes.TAG_BYTES,
    "padding to a multiple of": sealed_shapes.BLOCK_BYTES,
    "HPKE's encapsulated key": sealed_shapes.HPKE_ENC_BYTES,
    "Ed25519 signature": sealed_shapes.SIGNATURE_BYTES,
    "box of a rekey": sealed_shapes.BOX_BYTES,
    "`fid`": files.FID_BYTES,
    "`pass`": sealed_shapes.PASS_BYTES,
    "safety code": codes.CODE_BYTES,
    "password, at most": sealing.MAX_PASSWORD_BYTES,
}

GUESSES = {
    "the first is answered after": guessing.FIRST_DELAY_S,
    "each next one takes twice as long, up to": guessing.MAX_DELAY_S,
    "looked at, for one address and room, in a minute": DEFAULTS.limits.proof_rate,
    "counted as one address, of IPv6": addresses._SUBSCRIBER_BITS,
    "so many from all addresses weigh, for their room, what one weighs for its address": guessing.ROOM_SHARE,
}


def section(title):
    """The text under a heading, up to the next heading."""
    return re.split(rf"^#+ {re.escape(title)}$", TEXT, flags=re.MULTILINE)[1].split("\n#")[0]


def rows(title):
    """The rows of the tables of a section, without their heads."""
    table = [line for line in section(title).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]
    return [row for row, nxt in zip(cells, [*cells[1:], [""]], strict=True) if not _is_rule(row) and not _is_rule(nxt)]


def _is_rule(row):
    return set("".join(row)) == {"-", " "} or set("".join(row)) == {"-"}


def numbers(cell):
    """What a cell says in numbers, in bytes where it has a unit of them."""
    return tuple(float(text.replace(",", "")) * _UNITS.get(unit, 1) for text, unit in _NUMBER.findall(cell))


def code_labels():
    """Every label that the code derives or binds anything with."""
    places = {"labelled": 0, "derive_key": 1, "stretch": 1}
    found = set()
    for path in (ROOT / "relayd").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in places:
                label = node.args[places[node.func.id]]
                if isinstance(label, ast.Constant):
                    found.add(label.value)
    return found


def test_labels():
    """The table has all labels, and each is used in a formula or is that of a hash's input."""
    named = {row[0].strip("`") for row in rows("Writing it down") if len(row) == 3}
    assert named == code_labels()
    used = set(re.findall(r'"(\w+)",', section("Keys of a room") + TEXT.split("### Bodies")[1]))
    assert named <= used


def test_sizes():
    """Each size is the code's, and none is left out."""
    assert {row[0]: numbers(row[1]) for row in rows("Writing it down") if len(row) == 2} == {
        name: (size,) for name, size in SIZES.items()
    }


def test_rounds():
    """Wherever rounds of PBKDF2 are counted, there are as many as the code does."""
    told = re.findall(r"(\d[\d,_]+)\s+rounds", TEXT)
    assert len(told) >= 4
    assert {int(re.sub(r"\D", "", text)) for text in told} == {sealing.PBKDF2_ROUNDS}


def test_body_types():
    """The bytes that tell apart what is sealed."""
    assert {row[1]: int(row[0]) for row in rows("Bodies")} == {kind.name.lower(): kind.value for kind in BodyType}


def test_guessing():
    """The delays and counts of wrong proofs."""
    assert {row[0]: numbers(row[1]) for row in rows("Guessing")} == {name: (n,) for name, n in GUESSES.items()}


@pytest.mark.parametrize("row", rows("Bounds"), ids=lambda row: row[0])
def test_bounds(row):
    """Each bound is the default of its setting, or what the code has."""
    what, bound, setting, _ = row
    if setting == "fixed":
        assert numbers(bound)[: len(FIXED[what])] == FIXED[what]
    else:
        assert (numbers(bound) or (0,)) == (value_of(DEFAULTS, setting.strip("`")),)


def test_no_bound_is_left_out():
    """All fixed bounds and all limits that can be set have a row."""
    table = rows("Bounds")
    assert {row[0] for row in table if row[2] == "fixed"} == FIXED.keys()
    inner = {path for path in PATHS if path.startswith("limits.")} - {"limits.message_rate"}
    assert inner <= {row[2].strip("`") for row in table}


def test_settings_exist():
    """Every setting that is named can be set."""
    named = set(re.findall(r"`((?:limits|rooms|timing|control_groups)\.[\w.]+?)(?: = [^`]*)?`", TEXT))
    named |= {"public_url", "allowed_hosts", "allowed_origins", "trusted_proxies", "log_addresses"}
    assert named <= PATHS
    assert {name for name in named if f"`{name}" not in TEXT} == set()


def test_codes():
    """Every code stands with the number that the code gives it."""
    named = re.findall(r"\b(\d{3,4})\s+`(\w+)`", TEXT)
    assert len(named) > 20
    wrong = [(n, c) for n, c in named if int(n) not in (errors.by_code(c).status, errors.by_code(c).close)]
    assert wrong == []
    close = {kind.close for kind in errors._BY_CODE.values()}
    assert {int(number) for number in re.findall(r"\b(4[05]\d\d)\b", TEXT)} <= close


def test_headers():
    """The headers on every answer."""
    text = TEXT.split("**Headers** on every answer")[1].split("`Strict")[0]
    named = {name for name in re.findall(r"`([A-Z][\w-]+)", text) if "-" in name}
    assert named == {*SECURITY_HEADERS, "Cache-Control"}


def test_other_numbers():
    """Those that stand in sentences."""
    words = " ".join(TEXT.split())
    for said in (
        f"says {opener.REPLAY_MS // 1000} s or more before",
        f"of the last {opener._KEYS_A_USER}.",
        f"mode {listener.MODE:04o}, in a directory that relayd makes with {listener.DIRECTORY_MODE:04o}",
        f"| {member.REMEMBERED_S / 60:.0f} min, or until {member.REMEMBERED_MESSAGES} newer",
        f"room's `resume`, at most {_highest(DEFAULTS.rooms, 'resume')} s",
        f"at most {files.MAX_CHUNK_BYTES // 2**20} MiB",
        f"{client_socket.MAX_MESSAGE_BYTES // 2**20} MiB for a message of the server",
        f"{http.MAX_BODY_BYTES // 2**20} MiB for an answer of REST",
        f"{membership.MOST_EVENTS:,} events not yet taken",
        f"receives {WORDS[desk.MOST_RECEIVED]} files at once",
        f"nothing has come for {receiving.STALLED_S:.0f} s",
        f"with less than {socket.FORGIVEN_S:.0f} s between",
        f"takes less than {read_buffers.PROGRESS_BYTES // 1024} KiB",
        f"Rates let {WORDS[limits.BURST_S]} seconds' worth",
    ):
        assert said in words, said


def _highest(part, name):
    hint = type(part).__annotations__[name]
    return re.search(r"le=(\d+)", str(hint))[1]


def test_the_terminal_client_is_as_told(monkeypatch, tmp_path):
    """The command for codes is there, and keys lie where the document says."""
    assert "`/code NAME`" in TEXT
    assert "code" in Chat.COMMANDS
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert relay_keys.folder() == tmp_path / "relay"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert str(relay_keys.folder()) == str(Path.home() / ".local/state/relay")
    assert "`~/.local/state/relay`" in TEXT


def unhex(text):
    return bytes.fromhex(text)


@pytest.fixture(scope="module")
def shown():
    """The program in the document, run."""
    (fence,) = [fence for fence in fences(DOCUMENT) if fence.language == "python"]
    namespace = {}
    exec(compile(fence.text, fence.place, "exec"), namespace)
    return namespace


@pytest.mark.parametrize("room", VECTORS["rooms"], ids=lambda room: room["case"])
def test_the_program_agrees_with_the_vectors(shown, room):
    """Keys and bodies, by nothing but what the document shows."""
    unbase64 = shown["unbase64"]
    salt = unbase64(room["salt"])
    password, secret = room["password"], room["link_secret"]
    stretched = bytes(32) if password is None else shown["stretch_password"](password, salt)
    assert stretched == unhex(room["P"])
    key, proof, check = shown["room_keys"](stretched, unbase64(secret) if secret else bytes(16), salt, room["epoch"])
    assert (key, encode_base64url(proof), encode_base64url(check)) == (unhex(room["K"]), room["proof"], room["check"])
    for sealed in room["sealed"]:
        opened = shown["open_body"](key, salt, sealed["type"], sealed["body"])
        assert opened == json.loads(sealed["plaintext_json"])


@pytest.mark.parametrize("case", VECTORS["must_not_open"]["cases"], ids=lambda case: case["why"])
def test_the_program_opens_nothing_else(shown, case):
    """What was moved or changed does not open."""
    given = VECTORS["must_not_open"]
    body = {**case["body"], "e": case["open_as"]["epoch"]}
    with pytest.raises((InvalidTag, AssertionError)):
        shown["open_body"](unhex(given["K"]), shown["unbase64"](given["salt"]), case["open_as"]["type"], body)


def test_links_and_files():
    """Every link leads somewhere, and every file that is named is there."""
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        file, _, anchor = target.partition("#")
        path = DOCUMENT.parent / file if file else DOCUMENT
        assert path.is_file(), target
        assert not anchor or anchor in anchors(path.read_text()), target
    for name in re.findall(r"`((?:relayd|tests|docs)/[\w./-]+)`", TEXT):
        assert (ROOT / name).exists(), name


def anchors(text):
    """What a link may have behind #, as code hosts make it of headings."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
