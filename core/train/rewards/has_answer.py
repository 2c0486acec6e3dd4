"""Has the answer: the row's answer stands somewhere in the text, as whole words in any case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.recipe.answer_rules import contains

if TYPE_CHECKING:
    from finetop.core.recipe.answer_rules import ValueKind

ABOUT = "the text contains the row's answer"
TAKES: ValueKind = "nothing"
NEEDS_ANSWER = True


def score(text: str, value: None, answer: str | None) -> float:
    """Return 1 if the answer's words stand in the text in a row."""
    return float(contains(text, answer or ""))
