"""Whatever other people write, a terminal shows it and does nothing else: lines, names, tables, JSON."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relayd.cli.ctl_output import clean, cut, json_line, json_text
from relayd.cli.relay_text import safe_line, safe_lines, safe_nick
from relayd.client.files.names import safe_name

MOST_MARKS = 4
# Half of it what is dangerous, so that it meets: marks, joiners, overrides, controls, letters that NFC takes apart.
HOSTILE = st.sampled_from(
    "\u0301\u0300\u20dd\u0488\u064b\u200c\u200d\u2060\u200b\u00ad\ufeff\u202e\u2066\u2069\u061c\u2028\u2029"
    "\x00\x07\x08\n\r\t\x1b\x7f\x80\x85\x9b\x9d\x9f\ud800\udc00\U000e0041\U000e0001\ufff9\u0a5b\u0958\u2adc\uac00"
)
TEXT = st.text(st.one_of(HOSTILE, st.sampled_from("a.b -é日👩"), st.characters()), max_size=60)
PILES = [
    "a" + ("\u0301" * 4 + between) * 50
    for between in ("\u2060", "\u200b", "\u00ad", "\u200d", "\u200c", "\ufeff", "\u202e", "\U000e0041")
]


def most_marks(text: str) -> int:
    """The longest pile, joiners looked through, as terminals do."""
    most = here = 0
    for char in text:
        if unicodedata.category(char) in ("Mn", "Me"):
            here += 1
        elif char not in "\u200c\u200d":
            here = 0
        most = max(most, here)
    return most


def is_safe(text: str) -> bool:
    moving = [char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    return not set(moving) - set("\u200c\u200d") and most_marks(text) <= MOST_MARKS


@given(TEXT)
@example(PILES[0])
@example(PILES[3])
@example("\u0a5b" + "\u0301" * 5)
def test_text_of_others_is_safe(text):
    """And safe text stays as it is."""
    for made in (safe_line(text), *safe_lines(text), safe_nick(text), clean(text), cut(clean(text), 12)):
        assert is_safe(made)
        assert safe_line(made) == clean(made) == made


@pytest.mark.parametrize("text", PILES, ids=range(len(PILES)))
def test_piles_of_marks(text):
    """What is left out between marks starts no new count, and neither do joiners."""
    for made in (safe_line(text), clean(text), safe_name(text)):
        assert sum(unicodedata.category(char) == "Mn" for char in made) <= MOST_MARKS


@given(TEXT)
@example("\u0a5b" + "\u0301" * 5)
@example("a" + "\u2060\u0301" * 9)
def test_names_of_files_are_safe_and_settle(text):
    """Making a name safe again changes nothing, also where NFC takes a letter apart."""
    made = safe_name(text)
    assert is_safe(made)
    assert safe_name(made) == made == unicodedata.normalize("NFC", made)


@given(st.recursive(TEXT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)))
@example(PILES[0])
@example("\x7f\x9b31m")
def test_json_is_safe_and_means_the_same(value):
    """Escapes stand for what a terminal may act on; everything else is readable."""
    for made in (json_line(value), json_text(value).replace("\n", "")):
        assert is_safe(made)
    for made in (json_line(value), json_text(value)):
        assert json.loads(made) == json.loads(json.dumps(value))


@pytest.mark.parametrize("text", ["grüße", "日本語", "é", "👩", "क\u200cष", 'a"\\b'])
def test_ordinary_text_stays_readable(text):
    """In JSON and in tables."""
    assert json_line(text) == json.dumps(text, ensure_ascii=False)
    assert clean(text) == text
