"""What the pages must hold: links that lead somewhere, every setting, every error, every dependency."""

import re
import tomllib

import pytest
from fences import DOCUMENTS, LANGUAGES, ROOT, fences

from relayd import errors
from relayd.settings import Settings, setting_paths

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def _page(name):
    return (ROOT / name).read_text()


def _anchors(text):
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: one.name)
def test_links_lead_somewhere(document):
    for target in _LINK.findall(_CODE.sub("", document.read_text())):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = document.parent / path if path else document
        assert found.exists(), f"{document.name}: {target}"
        assert not anchor or anchor in _anchors(found.read_text()), f"{document.name}: {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: one.name)
def test_every_fence_says_what_it_is(document):
    """A fence without a language, or with one that nobody runs, would be run by no test."""
    assert document.read_text().count("\n```") == 2 * len(list(fences(document)))
    for fence in fences(document):
        assert fence.language in LANGUAGES, fence.place
        assert fence.language != "text" or not re.search(r"^\$ |^\s*(curl|relay\w*) ", fence.text, re.MULTILINE)


def test_every_target_of_make_is_there():
    """What a page says to make can be made."""
    targets = set(re.findall(r"^(\w+):", _page("Makefile"), re.MULTILINE))
    said = {name for document in DOCUMENTS for name in re.findall(r"`make (\w+)", document.read_text())}
    assert said - targets == set()


def test_every_setting_has_its_row():
    """By its whole path, or behind another of its table in the same row."""
    rows = [line.split("|")[1] for line in _page("docs/admin.md").splitlines() if line.startswith("| `")]
    named = set()
    for row in rows:
        table = ""
        for name in re.findall(r"`([\w.]+)`", row):
            table = name.rpartition(".")[0] or table
            named.add(name if "." in name or not table else f"{table}.{name}")
    assert {path for path, _ in setting_paths(Settings)} - named == set()


def test_defaults_of_settings_are_as_said():
    """Numbers and words in the table of settings are those of the code."""
    for line in _page("docs/admin.md").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        name = re.fullmatch(r"`([a-z_]+(?:\.[a-z_]+)*)`", cells[0]) if len(cells) == 3 else None
        if name is None or name[1] not in dict(setting_paths(Settings)) or cells[1] == "see below":
            continue
        value = Settings()
        for part in name[1].split("."):
            value = getattr(value, part)
        said = tomllib.loads(f"value = {cells[1].strip('`')}")["value"]
        assert said == (list(value) if isinstance(value, tuple) else value), name[1]


def _leaves(kind):
    return [leaf for sub in kind.__subclasses__() for leaf in (sub, *_leaves(sub))]


def test_every_error_has_its_row():
    table = _page("docs/protocol.md").split("## Errors")[1].split("## Sealed rooms")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    said = {code: status.strip() for codes, status in rows for code in re.findall(r"`(\w+)`", codes)}
    kinds = {kind.code: kind for kind in [errors.RelayError, *_leaves(errors.RelayError)]}
    assert set(said) == set(kinds)
    assert {code for code, status in said.items() if status and int(status) != kinds[code].status} == set()


def test_every_close_code_has_its_row():
    table = _page("docs/protocol.md").split("## Closing")[1].split("## Errors")[0]
    said = set(map(int, re.findall(r"^\| (\d{4}) \|", table, re.MULTILINE)))
    assert {kind.close for kind in _leaves(errors.RelayError)} - said == set()


def test_every_dependency_has_its_reason():
    project = tomllib.loads(_page("pyproject.toml"))["project"]
    table = _page("docs/architecture.md").split("## Dependencies")[1]
    for dependency in project["dependencies"]:
        name, bound = dependency.split(">=")
        assert f"| {name} ≥ {bound} |" in table, dependency
