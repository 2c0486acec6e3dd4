"""Docstrings and comments are written in plain English: phrasings that readers stopped at are banned."""

import re

from source import ROOT, files, texts

# A docstring says what comes back or what happens: "Return …", "Queue …".
STARTS = re.compile(r"(?:Say|Tell|Gives?|Have|Hear|See that|Know|Take care)\b(?! up)")
# In docstrings and comments, each with what to write.
PHRASES = {
    r"how manieth": "number", r"\bhas it not\b|\bhave it not\b|\bknows it not\b": "doesn't have it",
    r"\b(?:is|are|was|were) had\b": "is available", r"\bso many as\b": "as many as",
    r"(?<![`\"])\bmend(?:s|ed|ing)?\b": "fix", r"\b(?:is|are|was|were) paid\b": "is rewarded",
    r"\bgoes? as a whole\b": "whole", r"\b(?:is|are) no number\b": "is not a number",
    r"\bwhat is looked at\b": "what is checked", r"\bput right\b": "fixed", r"\banew\b": "again",
}  # fmt: skip


def test_docstrings_and_comments_are_plain_english() -> None:
    texts_by_place = {
        f"{file.relative_to(ROOT)}:{line}": text
        for file in files("core", "tui")
        for line, text in texts(file)
    }
    assert len(texts_by_place) > 5000
    starts = [
        f"{place}: {text.splitlines()[0]}" for place, text in texts_by_place.items() if STARTS.match(text)
    ]
    assert not starts, "begin with what comes back or happens"
    for phrase, better in PHRASES.items():
        places = [f"{place}: {text}" for place, text in texts_by_place.items() if re.search(phrase, text)]
        assert not places, f"write {better!r}: {places}"
