"""Exact match: the answer is the row's, once case, white space and marks at the ends are set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.recipe.answer_rules import exact

if TYPE_CHECKING:
    from finetop.core.recipe.answer_rules import ValueKind

ABOUT = "the answer is the row's answer"
TAKES: ValueKind = "nothing"
NEEDS_ANSWER = True


def score(text: str, value: None, answer: str | None) -> float:
    """Return 1 if both are the same, normalised."""
    return float(exact(text, answer or ""))
