"""Every mistake of a mapping is named at once, and none quotes what was given."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from relayd.errors import FieldProblem, InvalidFields
from relayd.fields import check, struct_in


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    depth: Annotated[int, Meta(ge=1, le=9)] = 3
    mark: Literal["a", "b"] = "a"


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    count: Annotated[int, Meta(ge=0)] = 1
    on: bool = False
    life: Annotated[float, Meta(gt=0)] | Literal["for ever"] = "for ever"
    inner: Inner = Inner()
    either: Inner | Annotated[float, Meta(ge=0)] = 0.0
    words: tuple[str, ...] = ()
    from_: str = msgspec.field(name="from", default="")


def problems(given_: dict[str, Any], *, strict: bool = True) -> dict[str, str]:
    with pytest.raises(InvalidFields) as caught:
        check(Outer, given_, strict=strict)
    assert caught.value.detail == "; ".join(f"{field}: {detail}" for field, detail in caught.value.problems)
    assert all(isinstance(problem, FieldProblem) for problem in caught.value.problems)
    return dict(caught.value.problems)


def test_right_ones_pass():
    given_ = {"name": "n", "count": 2, "on": True, "life": 1.5, "inner": {"depth": 4}, "either": {"mark": "b"}}
    assert check(Outer, given_) == Outer("n", 2, True, 1.5, Inner(4), Inner(3, "b"))
    assert check(Outer, {"name": "n", "either": 2.5, "words": ["x"], "from": "y"}) == Outer(
        "n", either=2.5, words=("x",), from_="y"
    )


def test_all_mistakes_at_once_in_order():
    found = problems({"bogus": 1, "count": -1, "on": "yes", "inner": {"depth": 0, "mark": "c", "x": 1}, "life": 0})
    assert list(found.items()) == [
        ("bogus", "is not a field here"),
        ("name", "is required"),
        ("count", "expected int >= 0"),
        ("on", "expected bool, got str"),
        ("life", "expected float > 0.0"),
        ("inner.x", "is not a field here"),
        ("inner.depth", "expected int >= 1"),
        ("inner.mark", "may be a or b"),
    ]


def test_near_names_are_suggested():
    assert problems({"name": "n", "conut": 1, "inner": {"depht": 1}}) == {
        "conut": "is not a field here; did you mean count?",
        "inner.depht": "is not a field here; did you mean depth?",
    }


def test_names_are_those_outside():
    assert "from_" in problems({"name": "n", "from_": "x"})
    assert problems({"name": "n", "from": 1}) == {"from": "expected str, got int"}


@pytest.mark.parametrize("secret", ["ro_secret", "SECRET - at `$.x`", "5"])
def test_what_was_given_is_not_repeated(secret):
    given_ = {"name": [secret], "life": secret, "inner": {"mark": secret, "depth": secret}, "either": secret}
    found = problems({**given_, "words": secret})
    assert found["life"] == "may be a float or for ever"
    assert found["inner.mark"] == "may be a or b"
    assert set(found) == {"name", "life", "inner.mark", "inner.depth", "either", "words"}
    assert secret.lower() not in str(found).lower() or secret == "5"


def test_text_stands_for_numbers_in_forms_only():
    texts = {"name": "n", "count": "2", "on": "true", "life": "1.5", "inner": {"depth": "4"}, "words": ["x"]}
    assert check(Outer, texts, strict=False) == Outer("n", 2, True, 1.5, Inner(4), words=("x",))
    assert set(problems(texts)) == {"count", "on", "life", "inner.depth"}


@pytest.mark.parametrize("huge", [10**400, -(10**400), 1e308 * 10, float("nan")])
def test_numbers_past_all_bounds(huge):
    assert "inner.depth" in problems({"name": "n", "inner": {"depth": huge}})


@given(st.dictionaries(st.text(max_size=100), st.none() | st.integers() | st.text() | st.lists(st.text()), max_size=6))
def test_any_mapping_is_taken_or_refused(given_):
    try:
        made = check(Outer, given_)
    except InvalidFields:
        assert problems(given_)
    else:
        assert made == msgspec.convert(given_, Outer)


@given(
    st.dictionaries(st.sampled_from(["name", "count", "on", "life", "words"]), st.none() | st.integers() | st.text())
)
def test_agrees_with_msgspec(given_):
    """It names more, but takes exactly what one conversion would take."""
    try:
        meant = msgspec.convert(given_, Outer)
    except msgspec.ValidationError:
        assert problems(given_)
    else:
        assert check(Outer, given_) == meant


def test_struct_in():
    assert struct_in(Inner) is Inner
    assert struct_in(Inner | float) is Inner
    assert struct_in(tuple[str, ...]) is None
    assert struct_in(int) is None
    assert struct_in(Any) is None
