"""Length: the answer has a number of words within a range; the further outside, the lower the reward."""

from __future__ import annotations

from collections.abc import Sequence

from finetop.core.recipe.answer_rules import words
from finetop.core.train.rewards import RewardRule


class Length(RewardRule):
    about = "the answer has from value[0] to value[1] words"
    takes = "range"

    def score(self, text: str, value: Sequence[float], answer: str | None) -> float:
        """Return 1 within the range, words / value[0] below it, and value[1] / words above it."""
        count, (least, most) = len(words(text)), value
        if count < least:
            return count / least
        return most / count if count > most else 1.0


PLUGIN = Length()
