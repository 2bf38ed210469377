"""Request bodies: JSON or a form, checked against what is wanted."""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from relayd.errors import FieldProblem, InvalidFields, Malformed, WrongContentType
from relayd.fields import check

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
MAX_FORM_FIELDS = 100

T = TypeVar("T", bound=msgspec.Struct)


def read_body(kind: type[T], content_type: str, body: bytes) -> T:
    """Makes a `kind` of the body of a request.

    Args:
        content_type: the header; it may be missing where the body is.
        body: as it came.

    Raises:
        WrongContentType, Malformed, InvalidFields: with what to do about it.
    """
    essence = content_type.partition(";")[0].strip().lower()
    if not body and essence in ("", JSON, FORM):
        return check(kind, {})
    if essence == JSON:
        return check(kind, _read_json(body))
    if essence == FORM:
        return check(kind, _read_form(body), strict=False)
    raise WrongContentType(f"Send {JSON} or {FORM}")


def _read_json(body: bytes) -> dict[str, Any]:
    try:
        given = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        reason = (
            "nested too deeply" if isinstance(wrong, RecursionError) else str(wrong).removeprefix("JSON is malformed: ")
        )
        raise Malformed(f"The body is not valid JSON: {reason}") from None
    if not isinstance(given, dict):
        raise Malformed("The body must be a JSON object")
    try:
        return _with_integers(given)
    except RecursionError:
        raise Malformed("The body is not valid JSON: nested too deeply") from None


def _with_integers(given: dict[str, Any]) -> dict[str, Any]:
    """The same with 5 for 5.0: JSON has one kind of number, and an integer is any without a fraction (JSON Schema)."""
    return {name: _integer(value) for name, value in given.items()}


def _integer(value: Any) -> Any:
    if isinstance(value, dict):
        return _with_integers(value)
    # 2^53: past it a double is no longer the number that was written.
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _read_form(body: bytes) -> dict[str, Any]:
    """A form's fields; those of `settings` are written `settings.resume=30`."""
    if body[:1] == b"{":
        raise Malformed(f"That looks like JSON sent as a form; add the header Content-Type: {JSON}")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS)
    except ValueError:
        raise Malformed("The body is not a form in UTF-8") from None
    given: dict[str, Any] = {}
    for name, value in pairs:
        group, dot, inner = name.partition(".")
        into = given.setdefault(group, {}) if dot else given
        if not isinstance(into, dict) or (inner or group) in into:
            raise InvalidFields(f"{name}: is given twice", problems=(FieldProblem(name, "is given twice"),))
        into[inner or group] = _scalar(value) if dot else value
    return given


def _scalar(text: str) -> Any:
    """A value of `settings`, whose types only the hub knows: true, false, a number or text."""
    try:
        value = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, RecursionError):
        return text
    return text if isinstance(value, dict | list) else value
