"""`python -m tests.fuzz [--seconds S] [TARGET ...]`: fuzz each target with atheris, and keep what reached new code.

The corpus of a target is a file with an input a line, in base64; `test_corpus.py` replays it. An input that fails is
added to it, so that the test fails until the code is fixed. Needs atheris: `make fuzz` installs it.
"""

from __future__ import annotations

import argparse
import base64
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
MAX_INPUT_BYTES = 4_096
SLOW_INPUT_S = 5


def read_corpus(target: str) -> list[bytes]:
    """The inputs that are kept for a target."""
    file = CORPUS / f"{target}.txt"
    return [base64.b64decode(line, validate=True) for line in file.read_text().splitlines()] if file.exists() else []


def _write_corpus(target: str, inputs: set[bytes]) -> None:
    lines = sorted(base64.b64encode(data).decode() for data in inputs)
    (CORPUS / f"{target}.txt").write_text("".join(f"{line}\n" for line in sorted(lines, key=len)))


def _program(target: str, directory: Path) -> Path:
    """A program that fuzzes the target: libFuzzer starts itself again where it merges."""
    program, root = directory / "fuzz", Path(__file__).parents[2]
    command = shlex.join([sys.executable, "-m", "tests.fuzz", "--run", str(program), target])
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(root))} exec {command} "$@"\n')
    program.chmod(0o700)
    return program


def _fuzz(target: str, seconds: int) -> bool:
    """Whether every input was handled."""
    with tempfile.TemporaryDirectory() as directory:
        found, least = Path(directory) / "found", Path(directory) / "least"
        found.mkdir()
        least.mkdir()
        for number, data in enumerate(read_corpus(target)):
            (found / f"kept{number}").write_bytes(data)
        limits = [f"-timeout={SLOW_INPUT_S}", f"-max_len={MAX_INPUT_BYTES}", "-rss_limit_mb=1024"]
        command = [_program(target, Path(directory)), *limits]
        failed = subprocess.run([*command, f"-max_total_time={seconds}", found], check=False, cwd=directory).returncode
        subprocess.run([*command, "-merge=1", least, found], check=False, cwd=directory)
        failures = [file for kind in ("crash", "timeout", "oom") for file in Path(directory).glob(f"{kind}-*")]
        _write_corpus(target, {file.read_bytes() for file in [*least.iterdir(), *failures]})
    return not failed


def _run(program: str, target: str, arguments: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["relayd"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([program, *arguments], TARGETS[target])
    atheris.Fuzz()


def main() -> None:
    """Fuzzes the targets named, or all of them, one after the other."""
    if sys.argv[1:2] == ["--run"]:
        _run(sys.argv[2], sys.argv[3], sys.argv[4:])
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz relayd's readers of foreign bytes.")
    parser.add_argument("--seconds", type=int, default=60, help="how long each target is fuzzed")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all by default")
    wanted = parser.parse_args()
    unknown = sorted(set(wanted.targets) - set(TARGETS))
    if unknown:
        parser.error(f"unknown target {unknown[0]!r}; there are {', '.join(TARGETS)}")
    failed = [target for target in wanted.targets or TARGETS if not _fuzz(target, wanted.seconds)]
    sys.exit(f"failed, see tests/fuzz/corpus: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
