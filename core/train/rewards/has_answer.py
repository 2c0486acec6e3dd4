"""Has answer: the text contains the row's answer, as whole words in any case."""

from __future__ import annotations

from finetop.core.recipe.answer_rules import contains
from finetop.core.train.rewards import RewardRule


class HasAnswer(RewardRule):
    about = "the text contains the row's answer"
    needs_answer = True

    def score(self, text: str, value: None, answer: str | None) -> float:
        """Return 1 if the text contains the answer's words in sequence."""
        return float(contains(text, answer or ""))


PLUGIN = HasAnswer()
