"""Number match: the last number of the answer is the last number of the row's answer, as in arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.recipe.answer_rules import numbers_in

if TYPE_CHECKING:
    from finetop.core.recipe.answer_rules import ValueKind

ABOUT = "the last number is that of the row's answer"
TAKES: ValueKind = "nothing"
NEEDS_ANSWER = True


def score(text: str, value: None, answer: str | None) -> float:
    """Return 1 if both have numbers, and the last ones are equal."""
    found, wanted = numbers_in(text), numbers_in(answer or "")
    return float(bool(found and wanted) and found[-1] == wanted[-1])
