"""Checks a mapping from outside against a Struct, and names every mistake at once.

msgspec stops at the first field that is wrong. A person who filled in a form or a configuration file wants the
whole list, so each field is converted by itself.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from relayd.errors import FieldProblem, InvalidFields

MAX_UNKNOWN = 20  # named; who sends more has mistaken the address, and near names cost time to find

T = TypeVar("T", bound=msgspec.Struct)


def check(kind: type[T], given: Mapping[str, Any], *, strict: bool = True) -> T:
    """Makes a `kind` of `given`.

    Args:
        kind: a Struct whose field types carry their bounds (`msgspec.Meta`).
        given: names and values as they came, e.g. a decoded JSON object.
        strict: False also takes numbers and booleans written as strings (forms, environment variables).

    Raises:
        InvalidFields: with one problem for every unknown, missing or wrong field, in the order of `kind`.
    """
    problems: list[FieldProblem] = []
    made = _check(kind, given, strict, "", problems)
    if made is None:
        raise InvalidFields("; ".join(f"{p.field}: {p.detail}" for p in problems), problems=tuple(problems))
    return made


def _check(
    kind: type[T], given: Mapping[str, Any], strict: bool, prefix: str, problems: list[FieldProblem]
) -> T | None:
    fields = _fields(kind)
    values: dict[str, Any] = {}
    before = len(problems)
    unknown = [name for name in given if name not in fields]
    problems += [FieldProblem(prefix + name[:64], _unknown(name, fields)) for name in unknown[:MAX_UNKNOWN]]
    for name, field in fields.items():
        if name not in given:
            if field.required:
                problems.append(FieldProblem(prefix + name, "is required"))
            continue
        value = given[name]
        part = struct_in(field.type) if isinstance(value, Mapping) else None
        if part is not None:
            values[field.name] = _check(part, value, strict, f"{prefix}{name}.", problems)
            continue
        try:
            values[field.name] = msgspec.convert(value, field.type, strict=strict)
        except msgspec.ValidationError as wrong:
            problems.append(FieldProblem(prefix + name, _plain(str(wrong), field.type)))
    return None if len(problems) > before else kind(**values)


@functools.cache
def _fields(kind: type[msgspec.Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    """By name. Kept: resolving annotations was a third of the time of opening a room."""
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def struct_in(kind: Any) -> type[msgspec.Struct] | None:
    """The Struct that a field of this type may hold, be it alone or in a union; None if there is none."""
    candidates = (kind, *getattr(kind, "__args__", ()))
    return next((one for one in candidates if isinstance(one, type) and issubclass(one, msgspec.Struct)), None)


def _unknown(name: str, fields: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name[:64], fields, n=1)
    return f"is not a field here; did you mean {near[0]}?" if near else "is not a field here"


def _plain(message: str, kind: Any) -> str:
    """msgspec's sentence without the path, which the problem names itself, and without what was given."""
    if message.startswith("Invalid enum value"):
        return f"may be {' or '.join(_choices(kind))}"
    return message.partition(" - at `$")[0].lower().replace("`", "")


def _choices(kind: Any) -> list[str]:
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    # Of a union all that it allows: text where a number or a word may stand.
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else ()
    return [choice for part in parts for choice in _choices(part)] or [f"a {kind.__name__}"]
