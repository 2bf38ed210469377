"""The settings described from their own docstrings: for `config defaults` and the manual page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from relayd.fields import struct_in
from relayd.settings import PREFIX, Settings

_ENTRY = re.compile(r"(?:^|(?<=\. ))((?:[a-z_]+)(?:, [a-z_]+)*): ")


class Setting(NamedTuple):
    """One key: where it is, what it is by default, and what it means."""

    path: str
    default: Any
    meaning: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.path.upper().replace(".", "_")


class Table(NamedTuple):
    """A table of the file (its name is "" for the keys at the top), what it is about, and its keys."""

    name: str
    about: str
    settings: list[Setting]


def tables() -> list[Table]:
    """All settings, in the order of their description."""
    return list(_tables(Settings, "", Settings()))


def _tables(kind: type[msgspec.Struct], name: str, defaults: Any, more: str = "") -> Iterator[Table]:
    meanings, settings, parts = _meanings(kind), [], []
    for field in msgspec.structs.fields(kind):
        path = f"{name}.{field.name}" if name else field.name
        default, part = getattr(defaults, field.name), struct_in(field.type)
        if part is None:
            settings.append(Setting(path, default, meanings.get(field.name, "")))
        else:
            parts.append((part, path, default, meanings.get(field.name, "")))
    about = " ".join((kind.__doc__ or "").partition("Attributes:")[0].split())
    yield Table(name, f"{about} {more}".rstrip(), settings)
    for inner in parts:
        yield from _tables(*inner)


def _meanings(kind: type[msgspec.Struct]) -> dict[str, str]:
    """What `Attributes:` says: `name, name: meaning`, one such after the other."""
    text = " ".join((kind.__doc__ or "").partition("Attributes:")[2].split())
    known = set(kind.__struct_fields__)
    found: dict[str, str] = {}
    parts = _ENTRY.split(text)
    names: list[str] = []
    for heading, meaning in zip(parts[1::2], parts[2::2], strict=True):
        if set(heading.split(", ")) <= known:
            names = heading.split(", ")
            found |= dict.fromkeys(names, _sentence(meaning))
        else:  # a colon of the sentence's own
            found |= {name: f"{found[name]} {heading}: {meaning.strip()}" for name in names}
    return found


def _sentence(meaning: str) -> str:
    text = meaning.strip()
    return text[:1].upper() + text[1:]


def toml_text(value: Any) -> str:
    """A default as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml_text, value))}]"
    return msgspec.json.encode(value).decode()


def commented_defaults() -> str:
    """A settings file that changes nothing: every key with its default, commented out."""
    lines = [
        "# relayd.toml: settings of relayd; see relayd.toml(5). Every key is shown with its default.",
        "# The environment goes before this file, and the command line before both.",
    ]
    for table in tables():
        lines += ["", *_comment(table.about)] + ([f"[{table.name}]"] if table.name else [])
        for setting in table.settings:
            key = setting.path.rpartition(".")[2]
            lines += ["", *_comment(setting.meaning), f"#{key} = {toml_text(setting.default)}"]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    import textwrap  # noqa: PLC0415

    return textwrap.wrap(text, 100, initial_indent="# ", subsequent_indent="# ")
