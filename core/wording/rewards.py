"""What a run's answers are rewarded for: the reward model and each rule, with its weight."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from finetop.core.text import clean_line


def reward_words(objective: Mapping[str, Any]) -> str:
    """Return every reward of a resolved recipe's objective, with its weight; empty if it has none."""
    reward = objective.get("reward") or {}
    rewards = []
    if reward.get("model") is not None:
        rewards.append((f"model {reward['model']}", reward.get("weight", 1)))
    for rule in reward.get("rules") or ():
        value = rule.get("value")
        value_text = "" if value is None else f" {json.dumps(value, ensure_ascii=False)}"
        rewards.append((f"{rule['rule']}{value_text}", rule.get("weight", 1)))
    return "; ".join(f"{clean_line(what, limit=100)}, weight {weight:g}" for what, weight in rewards)
