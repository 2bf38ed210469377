"""Files with `relay`: sent and received in pipes and at terminals, against a real daemon."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from cutter import heard
from test_relay_cli import RELAY, done, home, no_leftovers, start, terminal  # noqa: F401 - two are fixtures

from relayd.cli.relay_disk import Disk, DiskLimit
from relayd.client import DiskError, FileOffered, Room, UserJoined, Withdrawn, create, join

pytestmark = pytest.mark.usefixtures("home", "no_leftovers")

WAIT_S = 30
MIB, GIB = 1024**2, 1024**3


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "report.bin"
    path.write_bytes(os.urandom(300_000))
    return path


@pytest.fixture
def inbox(tmp_path):
    directory = tmp_path / "inbox"
    directory.mkdir()
    return directory


@pytest.mark.parametrize("sealed", [True, False])
async def test_from_one_program_to_another(relay, file, inbox, sealed):
    """Several files and a text along; both end by themselves, and say one line a file."""
    made = await create(relay.base, sealed=sealed)
    other = file.with_name("empty file.txt")
    other.touch()
    receiving = await start("receive", made.link, "--files", str(inbox), "--count", "2", "--nick", "bob")
    assert b"listening" in await asyncio.wait_for(receiving.stderr.readline(), WAIT_S)
    code, out, err = await done("send", made.link, "-f", str(file), "-f", str(other), "--nick", "ann", "for you")
    assert (code, out) == (0, "")
    assert sorted(line.partition(" in ")[0].partition("#")[0] for line in err.splitlines()) == [
        "relay: empty file.txt: bob",
        "relay: report.bin: bob",
    ]
    out, err = await asyncio.wait_for(receiving.communicate(), WAIT_S)
    assert receiving.returncode == 0
    first, *files = out.decode().splitlines()
    assert first.endswith(": for you")
    assert sorted(line.partition(": ")[2] for line in files) == [
        f"sent empty file.txt (0 B): {inbox}/empty file.txt",
        f"sent report.bin (293.0 KiB): {inbox}/report.bin",
    ]
    assert b"\x1b" not in out + err
    assert (inbox / "report.bin").read_bytes() == file.read_bytes()
    assert (inbox / "empty file.txt").read_bytes() == b""


async def test_receive_as_json(relay, file, inbox):
    """The path where it is taken, null where it is only offered; never the key."""
    made = await create(relay.base)
    taking = await start("receive", made.link, "--files", str(inbox), "--count", "1", "-o", "json")
    listening = await start("receive", made.link, "-o", "json")
    for one in (taking, listening):
        await asyncio.wait_for(one.stderr.readline(), WAIT_S)
    async with join(made.link, "ann") as ann:
        offer = await ann.offer(file)
        took = json.loads(await asyncio.wait_for(taking.stdout.readline(), WAIT_S))
        heard_of = json.loads(await asyncio.wait_for(listening.stdout.readline(), WAIT_S))
        assert took["nick"] == heard_of["nick"] == "ann"
        about = {"name": "report.bin", "size": 300_000, "type": "application/octet-stream"}
        assert took["file"] == {**about, "path": str(inbox / "report.bin")}
        assert heard_of["file"] == {**about, "path": None}
        assert offer.file.key not in json.dumps([took, heard_of])
        assert await asyncio.wait_for(taking.wait(), WAIT_S) == 0
    listening.terminate()
    await listening.wait()


async def test_a_receiver_that_is_stopped_keeps_the_part(relay, tmp_path, inbox):
    """And says where; started again, it goes on."""
    large = tmp_path / "large.bin"
    with large.open("wb") as handle:
        handle.truncate(400_000_000)
    made = await create(relay.base, sealed=False)
    async with join(made.link, "ann") as ann:
        receiving = await start("receive", made.link, "--files", str(inbox))
        await heard(ann, UserJoined, timeout=WAIT_S)
        offer = await ann.offer(large)
        await offer.changed.wait_until(lambda: offer.sent_bytes > 5_000_000, WAIT_S)
        receiving.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(receiving.wait(), WAIT_S) == 0
        err = (await receiving.stderr.read()).decode()
        (part,) = inbox.iterdir()
        assert f"what has come is kept in {part}" in err
        assert "Traceback" not in err
        assert part.stat().st_mode & 0o777 == 0o600


async def test_nobody_and_somebody_who_fails(relay, file, inbox):
    """Exit code 1, and a line for each that says why."""
    made = await create(relay.base, sealed=False)
    code, out, err = await done("send", made.link, "-f", str(file), "--wait", "0.2")
    assert (code, out) == (1, "")
    assert err == "relay: report.bin: nobody has accepted it\nrelay: the file did not arrive\n"
    with file.open("r+b") as handle:
        handle.truncate(200_000_000)
    async with join(made.link, "bob") as bob:
        sending = await start("send", made.link, "-f", str(file))
        receiving = bob.accept(await heard(bob, FileOffered, timeout=WAIT_S), inbox)
        await receiving.changed.wait_until(lambda: receiving.received_bytes > 0, WAIT_S)
        receiving.cancel()
        _, err = await asyncio.wait_for(sending.communicate(), WAIT_S)
    assert sending.returncode == 1
    assert b"bob#" in err
    assert b" did not get it\nrelay: the file did not arrive\n" in err


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["send", "LINK"], 2, "give a text, - for standard input, or -f PATH"),
        (["send", "LINK", "-f", "nowhere.bin"], 1, "nowhere.bin cannot be read: No such file"),
        (["send", "LINK", "-f", "."], 1, ". is no file that can be sent"),
        (["send", "LINK", "-f", "FILE", "FILE"], 2, "each file has its own -f"),
        (["receive", "LINK", "--files", "nowhere"], 2, "nowhere is no directory"),
        (["receive", "LINK", "--count", "1"], 2, "it takes --files DIR"),
    ],
)
async def test_wrong_usage_is_said_in_one_line(file, args, code, says):
    """Before anybody is connected to."""
    words = {"LINK": "http://127.0.0.1:1/nonsense", "FILE": str(file)}
    got, out, err = await done(*(words.get(word, word) for word in args))
    assert (got, out) == (code, "")
    assert says in err
    assert err.count("\n") == 1


async def test_bars_at_a_terminal(relay, tmp_path, inbox):
    """With how much, how fast and how long; gone when it is done, and the line that remains is whole."""
    large = tmp_path / ("long " * 20 + "[bold].bin")
    large.write_bytes(bytes(60_000_000))
    made = await create(relay.base, sealed=False)
    async with join(made.link, "ann") as ann, terminal("receive", made.link, "--files", str(inbox)) as screen:
        await screen.shows("listening")
        await ann.offer(large)
        await screen.shows("/57.2 MiB", WAIT_S)
        await screen.shows("iB/s", WAIT_S)
        await screen.shows(f"{inbox}/{large.name}", WAIT_S)
        assert "long long long long lon~" in screen.text


async def appears(path: Path) -> None:
    """Lines of the chat that change are redrawn in pieces, so that what they say cannot be waited for."""
    async with asyncio.timeout(WAIT_S):
        while not path.exists():
            await asyncio.sleep(0.05)


async def take_for_ever(room: Room, offered: FileOffered, inbox: Path) -> None:
    while True:
        await room.accept(offered, inbox)
        await asyncio.sleep(0.1)


async def test_the_chat_offers_and_takes(relay, file, inbox):
    made = await create(relay.base)
    async with (
        join(made.link, "bob") as bob,
        terminal("join", made.link, "--nick", "ann", "--files", str(inbox)) as screen,
    ):
        await screen.shows("ann#")
        await heard(bob, UserJoined, timeout=WAIT_S)
        await bob.offer(file, name="../\x1b[31mpicture.png")
        await appears(inbox / "[31mpicture.png")
        assert (inbox / "[31mpicture.png").read_bytes() == file.read_bytes()
        assert "\x1b[31mpicture" not in screen.raw
        screen.type(f"/file {file}\n")
        offered = await heard(bob, FileOffered, timeout=WAIT_S, mine=False)
        assert (await bob.accept(offered, inbox)).read_bytes() == file.read_bytes()
        screen.type("/file nowhere\n")
        await screen.shows("nowhere cannot be read", WAIT_S)
        screen.type("/cancel\n")
        with pytest.raises(Withdrawn):
            await take_for_ever(bob, offered, inbox)
        screen.type("\x03")
        assert await screen.ended() == 0


async def test_the_chat_asks_before_it_takes(relay, file, inbox, monkeypatch):
    monkeypatch.chdir(inbox)
    made = await create(relay.base)
    async with join(made.link, "bob") as bob, terminal("join", made.link, "--nick", "ann") as screen:
        await screen.shows("ann#")
        await heard(bob, UserJoined, timeout=WAIT_S)
        offer = await bob.offer(file)
        await screen.shows("offers report.bin (293.0 KiB); /accept 1 takes it", WAIT_S)
        screen.type("/accept 7\n")
        await screen.shows("there is no such offer", WAIT_S)
        assert not offer.deliveries
        screen.type("/accept\n")
        await appears(inbox / "report.bin")
        assert (inbox / "report.bin").read_bytes() == file.read_bytes()
        screen.type("/cancel 9\n")
        await screen.shows("no such file is under way", WAIT_S)


class _Coming:
    """As much of a `Receiving` as a limit looks at."""

    def __init__(self, size: int) -> None:
        self.size, self.received_bytes = size, 0


# The disk. ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "free", "files", "taken"),
    [
        (1000 * MIB, 500 * MIB, [400 * MIB, 60 * MIB, 40 * MIB], [True, False, True]),  # 5 %: 50 MiB
        (100 * GIB, 2 * GIB, [GIB, 1], [True, False]),  # 1 GiB, as 5 % are more
        (100 * GIB, GIB // 2, [1], [False]),
        (0, 0, [10 * GIB], [True]),  # a file system that does not tell, as ramfs
    ],
)
def test_some_of_the_disk_stays_free(tmp_path, total, free, files, taken):
    """What is under way counts as if it had come: none of it is on the disk yet."""
    limit, result = DiskLimit(tmp_path, None, lambda directory: Disk(total, free)), []
    for size in files:
        try:
            limit.check("x", size)
        except DiskError:
            result.append(False)
        else:
            limit.begin(_Coming(size))
            result.append(True)
    assert result == taken


def test_a_bound_on_all_files(tmp_path):
    """What did not come whole gives its bytes back."""
    limit = DiskLimit(tmp_path, 1000)
    one, other = _Coming(600), _Coming(400)
    limit.check("one", 600)
    limit.begin(one)
    with pytest.raises(DiskError, match="601 B is more than the 400 B that --max-bytes leaves"):
        limit.check("big", 601)
    limit.check("other", 400)
    limit.begin(other)
    with pytest.raises(DiskError):
        limit.check("tiny", 1)
    limit.check("empty", 0)
    limit.end(one, whole=True)
    limit.end(other, whole=False)
    limit.check("again", 400)


async def test_receive_takes_no_more_than_it_is_told(relay, tmp_path, inbox):
    """The file that is too much is named, with the way out; the others are taken, and the exit code is 1."""
    made = await create(relay.base, sealed=False)
    arguments = ("--files", str(inbox), "--count", "2", "--max-bytes", "100")
    receiving = await start("receive", made.link, *arguments, "--nick", "bob")
    await asyncio.wait_for(receiving.stderr.readline(), WAIT_S)
    async with join(made.link, "ann") as ann:
        for name, count in (("big", 101), ("small", 100)):
            (tmp_path / name).write_bytes(b"x" * count)
            await ann.offer(tmp_path / name)
        _, err = await asyncio.wait_for(receiving.communicate(), WAIT_S)
    assert receiving.returncode == 1
    assert [path.name for path in inbox.iterdir()] == ["small"]
    assert b"big was not taken: 101 B is more than the 100 B that --max-bytes leaves" in err


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, to mount a small disk")
async def test_receive_leaves_some_of_a_real_disk_free(relay, tmp_path, inbox):
    """On a disk of 2 MiB, 1.95 MiB are too much."""
    made = await create(relay.base, sealed=False)
    command = f"mount -t tmpfs -o size=2m none {inbox} && exec {RELAY} receive {made.link} --files {inbox} --count 2"
    receiving = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", "sh", "-c", command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    await asyncio.wait_for(receiving.stderr.readline(), WAIT_S)
    async with join(made.link, "ann") as ann:
        for name, count in (("big", 2_045_000), ("small", 1_000_000)):
            (tmp_path / name).write_bytes(b"x" * count)
            await ann.offer(tmp_path / name)
        out, err = await asyncio.wait_for(receiving.communicate(), WAIT_S)
    assert b"sent small" in out
    assert b"big was not taken: 102.4 KiB of the disk stay free" in err
    assert receiving.returncode == 1
