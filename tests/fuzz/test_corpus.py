"""What fuzzing has found, once more: every input that reached new code, and every one that failed once."""

from __future__ import annotations

import pytest

from tests.fuzz.__main__ import CORPUS, read_corpus
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_corpus(target):
    """Each input is handled as the target says."""
    inputs = read_corpus(target)
    assert inputs
    for data in [b"", *inputs]:
        TARGETS[target](data)


def test_no_corpus_without_a_target():
    """A renamed target takes its corpus with it."""
    assert {file.stem for file in CORPUS.iterdir()} == set(TARGETS)
