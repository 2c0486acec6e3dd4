"""Has the answer: the row's answer stands somewhere in the text, as whole words in any case."""

from __future__ import annotations

from finetop.core.recipe.answer_rules import contains
from finetop.core.train.rewards import RewardRule


class HasAnswer(RewardRule):
    about = "the text contains the row's answer"
    needs_answer = True

    def score(self, text: str, value: None, answer: str | None) -> float:
        """Return 1 if the answer's words stand in the text in a row."""
        return float(contains(text, answer or ""))


PLUGIN = HasAnswer()
