"""Room names: what is allowed, and when two are the same."""

from __future__ import annotations

import re
import unicodedata
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relayd.errors import InvalidFields
from relayd.wire import names
from relayd.wire.names import RESERVED, generated_name, name_key, normalise_name


def fault(text: str) -> str:
    with pytest.raises(InvalidFields) as caught:
        normalise_name(text)
    ((field, detail),) = caught.value.problems
    assert field == "name"
    assert caught.value.detail == f"name: {detail}"
    return detail


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "7",
        "Team lunch",
        "amber-otter-42",
        "v1.2_final",
        "Grüße",
        "комната",
        "会議室",
        "שלום",
        "हिन्दी",
        "Việt Nam",
        "٣",
    ],
)
def test_names_of_people_pass_as_they_are(name):
    assert normalise_name(name) == name


@pytest.mark.parametrize(
    ("given_", "kept"),
    [("  a b\t\n", "a b"), ("u\u0308ber", "über"), ("\u212b", "Å"), ("\u00a0x\u2003", "x"), ("x" + " " * 200, "x")],
)
def test_kept_as_it_is_shown(given_, kept):
    """NFC, without space around it."""
    assert normalise_name(given_) == kept


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        (" \t\u2003 ", "is empty"),
        ("x" * 65, "more than 64"),
        ("x" * 257, "more than 64"),
        (" " * 257, "more than 64"),
        ("a\0b", r"U\+0000"),
        ("a\nb", r"U\+000A"),
        ("a\ud800", r"U\+D800"),
        ("a/b", r"U\+002F"),
        ("a%20b", r"U\+0025"),
        ("<b>", r"U\+003C"),
        ("a\u00a0b", r"U\+00A0"),
        ("a\u200bb", r"U\+200B"),
        ("a\u202eb", r"U\+202E"),
        ("\ufeffa", r"U\+FEFF"),
        ("a\U0001f600", r"U\+1F600"),
        ("\u2163", r"U\+2163"),
        ("\u00bd", r"U\+00BD"),
        ("...", "needs a letter or a digit"),
        ("--", "needs a letter or a digit"),
        ("\u0301", r"U\+0301|needs a letter"),
        ("e" + "\u0323\u0302\u0303\u0304\u0305\u0306\u0307", r"U\+0307"),
        (str(uuid.UUID(int=7)), "looks like a room id"),
        ("9026B275-B8EC-40B5-BDB1-1870EA00B967", "looks like a room id"),
        ("cb67f94c861640e7b1d525f89b5b4707", "looks like a room id"),
        ("room", "the API uses"),
        ("Room", "the API uses"),
        ("OPENAPI.JSON", "the API uses"),
        ("  Users ", "the API uses"),
    ],
)
def test_refused_with_a_reason(name, reason):
    assert re.search(reason, fault(name))


@pytest.mark.parametrize("word", sorted(RESERVED))
def test_reserved_words_in_any_case(word):
    fault(word)
    fault(word.title())
    normalise_name(word + "x")


def test_length_is_counted_after_normalisation():
    assert len(normalise_name("u\u0308" * 64)) == 64
    assert "more than 64" in fault("u\u0308" * 65)
    assert len(normalise_name("x" * 64)) == 64


def test_letters_stack_four_marks_and_no_more():
    """Written Vietnamese and Devanagari pass, what crawls over other lines does not."""
    marks = "\u0323\u0317\u0316\u0319\u0318"
    assert normalise_name("q" + marks[:4])
    assert "U+" in fault("q" + marks)
    assert normalise_name(("q" + marks[:4]) * 2)


@given(st.text(max_size=80))
@example("\u0345\u0301")
@example(" \u0301a")
def test_what_passes_holds_the_rules_and_passes_again(text):
    try:
        name = normalise_name(text)
    except InvalidFields:
        return
    assert normalise_name(name) == name
    assert unicodedata.is_normalized("NFC", name)
    assert name == name.strip()
    assert 1 <= len(name) <= 64
    assert any(char.isalnum() for char in name)
    assert all(unicodedata.category(char)[0] in "LMN" or char in " -_." for char in name)
    assert name_key(name) not in RESERVED
    name.encode()


@given(st.text(max_size=40))
def test_same_name_in_other_forms(text):
    """Case and composition make no difference, and finding by key is stable."""
    key = name_key(text)
    assert name_key(unicodedata.normalize("NFD", text)) == key
    assert name_key(unicodedata.normalize("NFC", text)) == key
    assert name_key(text.casefold()) == key or not unicodedata.is_normalized("NFC", text)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Straße", "STRASSE"), ("ΣΊΣΥΦΟΣ", "σίσυφος"), ("Über", "u\u0308BER"), ("ABC", "abc"), ("ﬁn", "FIN")],
)
def test_same(one, other):
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(("one", "other"), [("a b", "ab"), ("a-b", "a_b"), ("u", "ü"), ("\u0430", "a")])
def test_not_the_same(one, other):
    assert name_key(one) != name_key(other)


@given(st.binary(min_size=8, max_size=8))
@example(bytes(8))
@example(b"\xff" * 8)
def test_generated_names_are_names(drawn):
    name = generated_name(lambda count: drawn[:count])
    assert normalise_name(name) == name
    assert re.fullmatch(r"[a-z]+-[a-z]+-[1-9][0-9]", name)


def test_there_are_as_many_generated_names_as_is_said():
    words = len(names._ADJECTIVES) * len(names._ANIMALS)
    assert words * 90 == 734_400
    assert len(set(names._ADJECTIVES)) == len(names._ADJECTIVES)
    assert len(set(names._ANIMALS)) == len(names._ANIMALS)
    every = (number for number in range(words * 90))
    seen = {generated_name(lambda _, n=n: n.to_bytes(8, "big")) for n in every if n % 97 == 0}
    assert len(seen) == len(range(0, words * 90, 97))
