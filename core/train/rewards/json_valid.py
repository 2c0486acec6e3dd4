"""Valid JSON: the whole answer is one JSON value, of any kind."""

from __future__ import annotations

import json

from finetop.core.recipe.answer_rules import LONGEST_JSON_TEXT
from finetop.core.train.rewards import RewardRule


class JsonValid(RewardRule):
    about = "the answer is valid JSON"

    def score(self, text: str, value: None, answer: str | None) -> float:
        if len(text) > LONGEST_JSON_TEXT:
            return 0.0
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return 0.0
        return 1.0


PLUGIN = JsonValid()
