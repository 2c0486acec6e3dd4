"""Exact match: the answer equals the row's, ignoring case, white space and marks at the ends."""

from __future__ import annotations

from finetop.core.recipe.answer_rules import exact
from finetop.core.train.rewards import RewardRule


class ExactMatch(RewardRule):
    about = "the answer is the row's answer"
    needs_answer = True

    def score(self, text: str, value: None, answer: str | None) -> float:
        """Return 1 if both are the same after normalization."""
        return float(exact(text, answer or ""))


PLUGIN = ExactMatch()
