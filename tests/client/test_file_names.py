"""Names that others give their files: whatever they say, what is created is one harmless file in one directory."""

from __future__ import annotations

import os
import unicodedata
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.client.files.names import candidates, safe_name


@pytest.mark.parametrize(
    ("given_name", "made"),
    [
        ("report.pdf", "report.pdf"),
        ("übersicht 2026.tar.gz", "übersicht 2026.tar.gz"),
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\windows\\win.ini", "win.ini"),
        ("a/b/", "b"),
        ("..", "file"),
        (".", "file"),
        ("", "file"),
        ("   ", "file"),
        ("/", "file"),
        (".bashrc", "bashrc"),
        ("...hidden", "hidden"),
        ("name.", "name"),
        ("name. . ", "name"),
        ("-rf", "_-rf"),
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("NUL .tar.gz", "_NUL .tar.gz"),
        ("com1", "_com1"),
        ("LPT\u00b2.txt", "_LPT\u00b2.txt"),
        ("console.txt", "console.txt"),
        ("a:b|c?.txt", "a_b_c_.txt"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("a\u200bb\u2066c\ufeff.txt", "abc.txt"),
        ("a\x00b\x1b[31m\x7f\x9b.txt", "ab[31m.txt"),
        ("two\nlines\ttabs.txt", "two lines tabs.txt"),
        ("\u3164\u2800.txt", "txt"),
        ("\ud800.txt", "txt"),
        ("e\u0301.txt", "\u00e9.txt"),
        ("z" + "\u0335" * 500, "z" + "\u0335" * 4),
    ],
)
def test_names_are_made_safe(given_name, made):
    assert safe_name(given_name) == made


def test_four_hundred_emoji_keep_their_extension():
    made = safe_name("\U0001f600" * 400 + ".jpeg")
    assert len(made.encode()) <= 255
    assert made == "\U0001f600" * 62 + ".jpeg"
    assert len(safe_name("a." + "b" * 400).encode()) == 255


def test_names_that_are_taken_are_counted_on():
    assert list(islice(candidates("a.tar.gz"), 3)) == ["a.tar.gz", "a.tar (1).gz", "a.tar (2).gz"]
    assert list(islice(candidates("noext"), 2)) == ["noext", "noext (1)"]
    long = safe_name("x" * 300 + ".txt")
    for name in islice(candidates(long, ".0123abcd.part"), 12):
        assert len(name.encode()) <= 255
        assert name.endswith(".txt.0123abcd.part")


@given(st.text(st.characters(), max_size=400))
def test_no_text_at_all_gives_a_name_that_does_harm(text):
    made = safe_name(text)
    assert 1 <= len(made.encode()) <= 255
    assert not set(made) & set('/\\<>:"|?*\0')
    assert made[0] not in ".- "
    assert made[-1] not in ". "
    assert not any(unicodedata.category(char).startswith("C") for char in made)
    assert safe_name(made) == made


@given(st.text(st.sampled_from("CONcon1.LPT \u200b\u202eaux/nul-"), max_size=12))
def test_hidden_tricks_do_not_come_back(text):
    made = safe_name(text)
    assert safe_name(made) == made
    assert os.sep not in made
