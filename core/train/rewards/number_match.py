"""Number match: the last number of the answer is the last number of the row's answer, as in arithmetic."""

from __future__ import annotations

from finetop.core.recipe.answer_rules import numbers_in
from finetop.core.train.rewards import RewardRule


class NumberMatch(RewardRule):
    about = "the last number is that of the row's answer"
    needs_answer = True

    def score(self, text: str, value: None, answer: str | None) -> float:
        """Return 1 if both have numbers, and the last ones are equal."""
        numbers, wanted = numbers_in(text), numbers_in(answer or "")
        return float(bool(numbers and wanted) and numbers[-1] == wanted[-1])


PLUGIN = NumberMatch()
