"""Docstrings and comments are written in plain English: phrasings that readers stopped at are banned."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# A docstring says what comes back or what happens: "Return …", "Queue …".
STARTS = re.compile(r"(?:Say|Tell|Gives?|Have|Hear|See that|Know|Take care)\b(?! up)")
# In docstrings and comments, each with what to write.
PHRASES = {
    r"how manieth": "number",
    r"\bhas it not\b|\bhave it not\b|\bknows it not\b": "doesn't have it",
    r"\b(?:is|are|was|were) had\b": "is available",
    r"\bso many as\b": "as many as",
    r"(?<![`\"])\bmend(?:s|ed|ing)?\b": "fix",
    r"\b(?:is|are|was|were) paid\b": "is rewarded",
    r"\bgoes? as a whole\b": "whole",
    r"\b(?:is|are) no number\b": "is not a number",
    r"\bwhat is looked at\b": "what is checked",
    r"\bput right\b": "fixed",
}
FILES = sorted([*(ROOT / "core").rglob("*.py"), *(ROOT / "tui").rglob("*.py")])


def docstrings(tree: ast.AST) -> list[tuple[int, str]]:
    return [
        (node.body[0].lineno, text)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if (text := ast.get_docstring(node))
    ]


@pytest.fixture(scope="module")
def texts() -> list[tuple[str, str]]:
    """Return each docstring and comment of the source, with its place."""
    read = []
    for file in FILES:
        source = file.read_text(encoding="utf-8")
        lines = docstrings(ast.parse(source))
        lines += [
            (number, comment[0])
            for number, line in enumerate(source.splitlines(), 1)
            if (comment := re.search(r"(?:^\s*|  )# .*", line))
        ]
        read += [(f"{file.relative_to(ROOT)}:{number}", text) for number, text in lines]
    return read


def test_a_docstring_begins_with_what_comes_back_or_happens(texts: list[tuple[str, str]]) -> None:
    assert not [f"{place}: {text.splitlines()[0]}" for place, text in texts if STARTS.match(text)]


@pytest.mark.parametrize("phrase", PHRASES)
def test_no_phrase_that_readers_stopped_at(phrase: str, texts: list[tuple[str, str]]) -> None:
    places = [f"{place}: {text}" for place, text in texts if re.search(phrase, text)]
    assert not places, f"write {PHRASES[phrase]!r}: {places}"
