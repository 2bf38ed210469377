"""What files do to the disk: nobody else's file is touched, nothing is readable before it is whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import threading
from pathlib import Path

import pytest

from relayd.client import DiskError, FileChanged
from relayd.client.files import disk
from relayd.client.files.disk import Partial, Source

DATA = bytes(range(256)) * 10
SHA256 = hashlib.sha256(DATA).digest()
PART = f"a.txt.{SHA256.hex()[:8]}.part"


def part(directory: Path, name: str = "a.txt") -> Partial:
    return Partial(directory, name, SHA256, len(DATA))


def whole(directory: Path, name: str = "a.txt") -> Path:
    one = part(directory, name)
    one.write(DATA)
    return one.finish()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# Reading. -------------------------------------------------------------------------------------------------------


def test_a_source_is_the_file_that_was_opened(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(DATA)
    source = Source(path)
    assert (source.name, source.size, source.media_type) == ("a.txt", len(DATA), "text/plain")
    assert source.digest(threading.Event()) == SHA256
    path.rename(tmp_path / "b")
    path.write_bytes(b"another")
    assert source.read(100, 50) == DATA[100:150]
    source.close()


def test_a_file_that_changes_is_noticed_before_its_bytes_are_sent(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(DATA)
    source = Source(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(FileChanged, match="offer it again"):
        source.read(0, 10)
    grown = Source(path)
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(FileChanged):
        grown.digest(threading.Event())
    shorter = Source(path)
    os.truncate(path, 5)
    with pytest.raises(FileChanged):
        shorter.read(0, 10)
    for one in (source, grown, shorter):
        one.close()


def test_what_is_no_file_cannot_be_sent(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, says in ((tmp_path, "no file"), (tmp_path / "pipe", "no file"), (tmp_path / "none", "No such file")):
        with pytest.raises(DiskError, match=says):
            Source(path)


# Writing. -------------------------------------------------------------------------------------------------------


def test_a_part_is_its_users_alone_until_it_is_whole(tmp_path):
    one = part(tmp_path)
    one.write(DATA[:100])
    assert names(tmp_path) == [PART]
    assert one.path.stat().st_mode & 0o777 == 0o600
    one.write(DATA[100:])
    umask = os.umask(0o027)
    try:
        came = one.finish()
    finally:
        os.umask(umask)
    assert came.read_bytes() == DATA
    assert came.stat().st_mode & 0o777 == 0o640
    assert names(tmp_path) == ["a.txt"]


def test_no_file_is_written_over(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"mine")
    (tmp_path / "a (1).txt").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a (2).txt").mkdir()
    assert whole(tmp_path) == tmp_path / "a (3).txt"
    assert (tmp_path / "a.txt").read_bytes() == b"mine"
    assert not (tmp_path / "elsewhere").exists()


def test_without_hard_links_no_file_is_written_over_either(tmp_path, monkeypatch):
    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(disk.os, "link", no_links)  # as FAT answers
    (tmp_path / "a.txt").write_bytes(b"mine")
    assert whole(tmp_path) == tmp_path / "a (1).txt"
    assert names(tmp_path) == ["a (1).txt", "a.txt"]
    assert (tmp_path / "a (1).txt").read_bytes() == DATA
    assert (tmp_path / "a.txt").read_bytes() == b"mine"


@pytest.mark.parametrize("trap", ["symlink", "hard link", "directory", "pipe", "longer", "in use"])
def test_what_lies_where_the_part_would_be_is_left_alone(tmp_path, trap):
    """A link would write elsewhere, a longer file is another one, and two transfers do not share one part."""
    victim, place, keep = tmp_path / "victim", tmp_path / "in" / PART, contextlib.ExitStack()
    place.parent.mkdir()
    victim.write_bytes(b"precious")
    if trap == "symlink":
        place.symlink_to(victim)
    elif trap == "hard link":
        place.hardlink_to(victim)
    elif trap == "directory":
        place.mkdir()
    elif trap == "pipe":
        os.mkfifo(place)
    elif trap == "longer":
        place.write_bytes(DATA + b"x")
    else:
        keep.callback(part(place.parent).close)
    with keep:
        one = part(place.parent)
        assert one.path.name == f"a (1).txt.{SHA256.hex()[:8]}.part"
        one.write(DATA)
        one.discard()
    assert victim.read_bytes() == b"precious"
    assert trap == "in use" or place.exists()


def test_a_part_of_an_earlier_run_goes_on_at_its_last_whole_chunk(tmp_path):
    one = part(tmp_path)
    one.write(DATA[:1234])
    one.close()
    again = part(tmp_path)
    assert again.path.name == PART
    assert again.recover(100) == 12
    assert again.held_bytes == again.path.stat().st_size == 1200
    assert again.digest.digest() == hashlib.sha256(DATA[:1200]).digest()
    again.write(DATA[1200:])
    again.close()
    # All of it is there, but for its name: the last chunk comes again, to have an end to check at.
    assert part(tmp_path).recover(100) == len(DATA) // 100
    assert part(tmp_path).recover(len(DATA)) == 0


def test_a_part_in_which_nothing_is_held_is_not_left_behind(tmp_path):
    part(tmp_path).close()
    assert names(tmp_path) == []
    discarded = part(tmp_path)
    discarded.write(b"x")
    discarded.discard()
    assert names(tmp_path) == []


def test_an_empty_file_is_one_all_the_same(tmp_path):
    one = Partial(tmp_path, "empty", hashlib.sha256().digest(), 0)
    assert one.recover(100) == 0
    one.write(b"")
    assert one.finish().stat().st_size == 0
    assert names(tmp_path) == ["empty"]


def test_the_longest_names_still_have_room(tmp_path):
    name = "\U0001f600" * 62 + ".jpeg"
    assert whole(tmp_path, name).name == name
    second = whole(tmp_path, name).name
    assert second.endswith(" (1).jpeg")
    assert len(second.encode()) <= 255


def test_a_directory_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(DiskError, match="No such file or directory"):
        part(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="Not a directory"):
        part(tmp_path / "file")
    with pytest.raises(DiskError, match="no files can be put into /proc"):
        part(Path("/proc"))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], check=False, capture_output=True
    ).returncode:
        pytest.skip("takes the right to mount")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_says_so_and_the_part_is_kept(small_disk):
    one = Partial(small_disk, "a.bin", SHA256, 10**6)
    with pytest.raises(DiskError, match="No space left on device") as raised:
        one.write(bytes(614_400))
    one.close()
    assert raised.value.partial == one.path
    assert one.path.stat().st_size >= 3 * 61_440


def test_closing_twice_closes_nothing_of_others(tmp_path):
    """A descriptor's number is given to the next file that is opened."""
    path = tmp_path / "source"
    path.write_bytes(DATA)
    source, one = Source(path), part(tmp_path)
    one.write(DATA)
    one.finish()
    source.close()
    others = [os.open(path, os.O_RDONLY) for _ in range(4)]
    one.close()
    source.close()
    for other in others:
        assert os.fstat(other).st_size == len(DATA)
        os.close(other)
