"""Every command and program that the documentation shows, run as a reader would: against a relayd of their own."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fences import DOCUMENTS, LANGUAGES, ROOT, Names, fences

from relayd.settings import load

# The protocol's own test plays it against a daemon whose rooms it knows.
PAGES = [page for page in DOCUMENTS if page.name != "protocol.md"]
SHELL = ["/bin/bash", "-euo", "pipefail", "-c"]


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.1):
        return True
    return False


class Reader:
    """Somebody with a terminal, a directory and a port, who does what a page says from top to bottom."""

    def __init__(self, directory):
        self.port = _free_port()
        self.names = Names(f"http://127.0.0.1:{self.port}")
        self._directory = directory
        self._background = []
        (directory / ".venv").mkdir()
        (directory / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("RELAY", "COV", "XDG"))}
        self._environment = kept | {
            "XDG_RUNTIME_DIR": str(directory),
            "XDG_STATE_HOME": str(directory / "state"),
            "RELAY_SERVER": f"http://127.0.0.1:{self.port}",  # whose default is port 8080, as in the pages
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def follow(self, fence):
        assert fence.language in LANGUAGES, f"{fence.place}: unknown language {fence.language!r}"
        if fence.language == "console":
            self._console(fence)
        elif fence.language == "sh":
            self._run(fence, self._made(fence.text))
        elif fence.language == "python" and "test" in fence.attributes:
            (self._directory / "test_shown.py").write_text(fence.text)
            shown = shlex.quote(str(self._directory / "test_shown.py"))
            options = "-q -p no:cacheprovider -p conftest -c pyproject.toml"
            self._run(fence, f"cd {ROOT}; PYTHONPATH=tests {sys.executable} -m pytest {options} {shown}")
        elif fence.language == "python":
            (self._directory / "program.py").write_text(self.names.put_in(fence.text))
            self._run(fence, f"exec {sys.executable} program.py")
        elif fence.language == "toml":
            (self._directory / "relayd.toml").write_text(fence.text)
            load(str(self._directory / "relayd.toml"), {}, {})

    def _console(self, fence):
        assert fence.text.startswith("$ "), fence.place
        command, _, shown = fence.text.removeprefix("$ ").partition("\n")
        got = self._run(fence, command)
        if got is not None and shown:
            self.names.assert_like(shown, got, fence.place)

    def _made(self, text):
        """What `make` would do, where it would only set up what is there already."""
        lines = []
        for line in text.splitlines():
            told = line
            if line.startswith("make "):
                planned = subprocess.run(
                    ["make", "-n", "--no-print-directory", *line.split()[1:], f"LISTEN=127.0.0.1:{self.port}"],
                    cwd=ROOT,
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout.splitlines()
                told = planned[-1] if line == "make run" else "true"
            lines.append(told)
        return "\n".join(lines)

    def _run(self, fence, command):
        command = self.names.put_in(command)
        if "background" in fence.attributes:
            process = subprocess.Popen(
                [*SHELL, f"exec {command}"],
                cwd=self._directory,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            self._background.append((fence, process))
            self._wait(process)
            return None
        done = subprocess.run(
            [*SHELL, command],
            cwd=self._directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=25,
            check=False,
        )
        assert done.returncode == 0, (fence.place, command, done.stdout, done.stderr)
        return done.stdout

    def _wait(self, process):
        if len(self._background) > 1:
            time.sleep(4)  # for a client to be in its room, on a busy machine, too
            return
        end = time.monotonic() + 15
        while not _answers(self.port):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.02)

    def finish(self):
        """Ends what goes on, and compares what it printed."""
        if len(self._background) > 1:
            time.sleep(2)
        for fence, process in reversed(self._background):
            process.send_signal(signal.SIGTERM)
            printed, said = process.communicate(timeout=15)
            shown = fence.text.partition("\n")[2]
            if fence.language == "console" and shown.strip():
                self.names.assert_like(shown, printed, f"{fence.place} ({said})")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_shows_works(page, tmp_path):
    reader = Reader(tmp_path)
    try:
        for fence in fences(page):
            if "system" not in fence.attributes:
                reader.follow(fence)
    finally:
        reader.finish()
