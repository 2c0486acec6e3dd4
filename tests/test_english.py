"""Docstrings and comments are written in plain English: phrasings that readers stopped at are banned."""

import re

import pytest
from source import ROOT, files, texts

# A docstring says what comes back or what happens: "Return …", "Queue …".
STARTS = re.compile(r"(?:Say|Tell|Gives?|Have|Hear|See that|Know|Take care)\b(?! up)")
# In docstrings and comments, each with what to write.
PHRASES = {
    r"how manieth": "number", r"\bhas it not\b|\bhave it not\b|\bknows it not\b": "doesn't have it",
    r"\b(?:is|are|was|were) had\b": "is available", r"\bso many as\b": "as many as",
    r"(?<![`\"])\bmend(?:s|ed|ing)?\b": "fix", r"\b(?:is|are|was|were) paid\b": "is rewarded",
    r"\bgoes? as a whole\b": "whole", r"\b(?:is|are) no number\b": "is not a number",
    r"\bwhat is looked at\b": "what is checked", r"\bput right\b": "fixed",
}  # fmt: skip


@pytest.fixture(scope="module")
def words() -> list[tuple[str, str]]:
    """Return each docstring and comment of the source, with its place."""
    return [
        (f"{file.relative_to(ROOT)}:{line}", text)
        for file in files("core", "tui")
        for line, text in texts(file)
    ]


def test_a_docstring_begins_with_what_comes_back_or_happens(words: list[tuple[str, str]]) -> None:
    assert not [f"{place}: {text.splitlines()[0]}" for place, text in words if STARTS.match(text)]


@pytest.mark.parametrize("phrase", PHRASES)
def test_no_phrase_that_readers_stopped_at(phrase: str, words: list[tuple[str, str]]) -> None:
    places = [f"{place}: {text}" for place, text in words if re.search(phrase, text)]
    assert not places, f"write {PHRASES[phrase]!r}: {places}"
