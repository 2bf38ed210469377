"""When a room ends, and when its people are told that it will.

All times are seconds on one clock; the functions are exact, so that 24 hours pass in a test in no time.
"""

from __future__ import annotations

from typing import NamedTuple

from relayd.errors import FieldProblem, InvalidFields
from relayd.wire.rest import seconds_of

WARNINGS_S = (300.0, 60.0)  # before the end, longest first


class Lifetime(NamedTuple):
    """How long a room lives.

    Attributes:
        created_at, ends_at: seconds; the end comes then at the latest.
        users_leave: it also ends some time after the last user left.
    """

    created_at: float
    ends_at: float
    users_leave: bool


def lifetime(expiration: float | str, created_at: float, now: float) -> Lifetime:
    """The lifetime asked for as `expiration_date`: hours from creation, or `usersLeave`.

    Raises:
        InvalidFields: no such number of hours, or an end that has passed.
    """
    try:
        seconds, users_leave = seconds_of(expiration)
    except ValueError:
        raise _wrong('is hours, more than 0 and at most 24, or "usersLeave"') from None
    if created_at + seconds <= now:
        raise _wrong("counts from the room's creation, and that moment has passed")
    return Lifetime(created_at, created_at + seconds, users_leave)


def next_warning(life: Lifetime, now: float) -> float | None:
    """When the people in the room are next told that it ends; None if not again."""
    return min((life.ends_at - left for left in WARNINGS_S if life.ends_at - left > now), default=None)


def _wrong(reason: str) -> InvalidFields:
    problem = FieldProblem("expiration_date", reason)
    return InvalidFields(f"expiration_date: {reason}", problems=(problem,))
