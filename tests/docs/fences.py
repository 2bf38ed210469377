"""What is shown in the documentation, taken out of it so that it can be run.

A fence's language says what becomes of it:

- `sh`: commands, run one after the other; each must succeed.
- `console`: lines that begin with `$ ` are run; what stands below each is compared with what it prints.
- `python`: a program, run as one.
- `toml`: a settings file, loaded.
- `chat`: `ann>` is sent by a client named ann, `ann<` must come to it; see test_chats.py.
- `text`: looked at by people only.

A fence whose info string has `background` goes on while the rest runs, and is compared when the document ends. One
with `system` is for root on a machine of their own: tests/package/test_deb.py follows those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / name
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "docs/protocol.md",
        "docs/architecture.md",
        "docs/development.md",
        "docs/admin.md",
    )
]
LANGUAGES = {"sh", "console", "python", "toml", "chat", "text"}

_FENCE = re.compile(r"^```(\w*) ?([\w ]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# What differs from run to run, and is the same wherever it is meant again: matched, remembered, put back.
_NAMES = (
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    r"u_[0-9a-f]{16}",
    r'(?<=")i_[0-9a-f]{16}',
    r"r[is]_[A-Za-z0-9_-]{22}(?![A-Za-z0-9_-])",
    r"r[cos]_[A-Za-z0-9_-]{43}",
    r'(?<="epoch":")[0-9a-f]{16}',
    r"a_[0-9a-f]{12}",
)
# What differs from run to run, and is of no account.
_PASSING = (
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]\d{3}Z?",
    r'(?<="at":)\d{13}',
    r'(?<="time_alive":)[\d.]+',
    r"(?<=_ms\":)\d+",
    r"\b\d+ s(?=,| ago)",
    r"\b23 h 59 min",
    r"\d+\.\d [KM]iB",
    r"(?<=pid[ =])\d+",
    r"(?<=uid=)\d+",
)
_VARYING = re.compile("|".join(f"({name})" for name in (*_NAMES, *_PASSING, "…")))


class Fence(NamedTuple):
    """One fence: where it is, its language and attributes, and what it holds."""

    document: Path
    line: int
    language: str
    attributes: frozenset[str]
    text: str

    @property
    def place(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def fences(document: Path) -> Iterator[Fence]:
    """All fences of a document, in order."""
    text = document.read_text()
    for match in _FENCE.finditer(text):
        language, attributes, body = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        yield Fence(document, line, language, frozenset(attributes.split()), body)


class Names:
    """What the documentation calls things, and what they are in this run."""

    def __init__(self, real_base: str) -> None:
        self._real: dict[str, str] = {"127.0.0.1:8080": real_base.removeprefix("http://")}

    def put_in(self, text: str) -> str:
        """The same with the things of this run."""
        for shown, real in self._real.items():
            text = text.replace(shown, real)
        return text

    def assert_like(self, shown: str, got: str, place: str) -> None:
        """Compares what is shown with what came; spaces do not matter, and `…` stands for anything."""
        wanted, names = self._pattern(shown)
        match = re.fullmatch(wanted, _squeezed(got), re.DOTALL)
        assert match, f"{place}: shown:\n{shown}\ngot:\n{got}"
        for group, name in names.items():
            self._real.setdefault(name, match[group])

    def _pattern(self, shown: str) -> tuple[str, dict[str, str]]:
        text, pattern, names, at = self.put_in(shown.strip()), "", {}, 0
        known = {re.escape(_squeezed(real)) for real in self._real.values()}
        for match in _VARYING.finditer(text):
            pattern += re.escape(_squeezed(text[at : match.start()]))
            at = match.end()
            kind = match.lastindex - 1
            if kind >= len(_NAMES):
                pattern += ".*?" if match[0] == "…" else r"[^,\"]*?"
            elif re.escape(match[0]) in known:
                pattern += re.escape(match[0])
            elif match[0] in names.values():
                pattern += f"(?P={next(group for group, name in names.items() if name == match[0])})"
            else:
                group = f"name{len(names)}"
                names[group] = match[0]
                pattern += f"(?P<{group}>{_NAMES[kind]})"
        return pattern + re.escape(_squeezed(text[at:])), names


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)
