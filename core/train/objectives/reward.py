"""Reward models: learn to score the better of two answers higher (arXiv:2203.02155, equation 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from finetop.core.train.objectives.dpo import Pairs

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase as Tokenizer

    from finetop.core.models.resolved import ResolvedModel
    from finetop.core.recipe.schema import Recipe
    from finetop.core.train.trainer_setup import Setup

BY_ROW = ("accuracy", "margin", "mean_reward")  # TRL averages these over batches of any size


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `objective:` when its name is reward."""

    center: Annotated[
        float,
        Meta(
            ge=0,
            le=10,
            description="Weight of the pull of each pair's summed scores towards 0 (arXiv:2312.09244).",
        ),
    ] = 0.01


class RewardModel(Pairs):
    about = "learn which of two answers is better: a reward model for ppo, rloo and grpo"
    options = Options
    config = "trl.RewardConfig"
    metrics = {
        "accuracy": "reward_accuracy",  # share of pairs whose better answer has the higher score
        "margin": "reward_margin",
        "mean_reward": "reward_mean",
    }
    own = {"center_rewards_coefficient": "objective.center"}
    writes = False
    own_model = True

    def limits(self, recipe: Recipe) -> Iterator[tuple[str, str, str]]:
        """Refuse methods that can't train the score layer, and targets, which need generated text."""
        from finetop.core.train.methods import LEARNED_TOKENS

        name = recipe.method.name
        if name in LEARNED_TOKENS:
            message = f"method.name: {name} can't make a reward model: it does not train the score."
            yield "method.name", message, "Set method.name to lora or full."
        if recipe.check.target is not None:
            message = "check.target: a reward model generates no answers."
            yield "check.target", message, "Set check.target to null."

    def load_model(
        self, options: Options, base: ResolvedModel, tokenizer: Tokenizer, dtype: torch.dtype, device: str
    ) -> PreTrainedModel:
        """Load the base with a score layer in place of its output layer. Raises BadInput."""
        from finetop.core.models import reward_model

        return reward_model.make(base, tokenizer, dtype, device)

    def make_trainer(self, setup: Setup) -> Any:
        """Build TRL's trainer over tokenized pairs; its averages weigh every pair equally."""
        from trl import RewardConfig, RewardTrainer

        from finetop.core.train.trainers import language

        options: Options = setup.recipe.objective.options
        values = {
            "center_rewards_coefficient": options.center or None,
            "max_length": None,  # rows are already truncated
        }

        class PairwiseReward(RewardTrainer):  # type: ignore[misc]
            def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **named: Any) -> Any:
                mode, pairs = "train" if model.training else "eval", len(inputs["input_ids"]) // 2
                loss = super().compute_loss(model, inputs, *rest, **named)
                for key in BY_ROW:
                    values = self._metrics[mode][key]
                    values.extend(values[-1:] * (pairs - 1))
                return loss

        def table(pairs: Sequence[Any]) -> Any:
            """Return a data set of the two whole texts of each pair, prompt included."""
            parts = ("chosen_ids", "rejected_ids")
            whole = {name: [pair.prompt_ids + getattr(pair, name) for pair in pairs] for name in parts}
            return language.data_set(whole)

        return language.build(setup, PairwiseReward, RewardConfig, values, self.own, table=table)


PLUGIN = RewardModel()
