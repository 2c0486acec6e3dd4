"""Valid JSON: the whole answer is one value of JSON, of any kind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from finetop.core.recipe.answer_rules import LONGEST_JSON_TEXT

if TYPE_CHECKING:
    from finetop.core.recipe.answer_rules import ValueKind

ABOUT = "the answer is valid JSON"
TAKES: ValueKind = "nothing"
NEEDS_ANSWER = False


def score(text: str, value: None, answer: str | None) -> float:
    """Return 1 if the text is JSON."""
    if len(text) > LONGEST_JSON_TEXT:
        return 0.0
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return 0.0
    return 1.0
