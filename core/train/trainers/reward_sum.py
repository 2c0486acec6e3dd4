"""What an answer earns: the reward model's score and the rules of a recipe, each by its weight, added up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput
from finetop.core.train import rewards

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.data.formats import Message
    from finetop.core.models.reward_model import RewardModel
    from finetop.core.train.rewards import FoundRule, Reward
    from finetop.core.train.trainer_setup import Setup

MODEL = "model"  # what the reward model's part is called


@dataclass(frozen=True)
class Paid:
    """What answers earned, all in all, and by each part before its weight."""

    total: list[float]
    parts: dict[str, list[float]]


@dataclass(frozen=True)
class Payer:
    """Pays answers: a reward model with its weight, and rules with their values and weights."""

    model: RewardModel | None
    weight: float
    rules: tuple[tuple[FoundRule, Any, float], ...]

    def pay(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[str], right: Sequence[str | None]
    ) -> Paid:
        """Say what each answer earns behind its prompt; `right` are the rows' own answers, where they have one.

        Raises BadInput if the reward model gives no number.
        """
        total, parts = [0.0] * len(answers), {}
        if self.model is not None:
            parts[MODEL] = self.model.score(prompts, answers)
            if not all(map(math.isfinite, parts[MODEL])):
                hint = "Train it again at a lower train.learning_rate."
                raise BadInput("objective.reward.model: its scores are no numbers.", hint=hint)
            total = [self.weight * score for score in parts[MODEL]]
        for rule, value, weight in self.rules:
            found = [
                rule.score(answer.strip(), value, own) for answer, own in zip(answers, right, strict=True)
            ]
            parts[rule.name] = found
            total = [sum_ + weight * score for sum_, score in zip(total, found, strict=True)]
        return Paid(total, parts)


def begin(setup: Setup) -> Payer:
    """Load what the recipe's `objective.reward` names. Raises BadInput."""
    from finetop.core.models import load_reward

    reward: Reward = setup.recipe.objective.options.reward
    model = None
    if reward.model is not None:
        size = setup.recipe.train.eval_batch_size or setup.recipe.train.batch_size
        model = load_reward.load_reward(
            reward.model, setup.dtype, setup.device, size, setup.home, setup.events, reward.quantize
        )
        if model.tokenizer.get_vocab() != setup.tokenizer.get_vocab():
            print("the reward model reads answers in tokens of its own: its vocabulary is another one")
    rules = tuple((rewards.load(rule.rule), rule.value, rule.weight) for rule in reward.rules)
    return Payer(model, reward.weight, rules)
