"""Group relative policy optimization (arXiv:2402.03300): rewards are relative to the other answers to the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from finetop.core.train.answer_settings import Clip, Generations, MaxNewTokens, Passes, Paying, Temperature
from finetop.core.train.objectives._generation import Grouped
from finetop.core.train.rewards import Reward

if TYPE_CHECKING:
    from finetop.core.train.trainer_setup import Setup


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `objective:` when its name is grpo."""

    reward: Paying = Reward()
    generations: Generations = 8
    max_new_tokens: MaxNewTokens = 128
    temperature: Temperature = 1.0
    kl_coefficient: Annotated[
        float,
        Meta(
            ge=0,
            le=100,
            description="Weight of the KL penalty against the starting model (TRL's default is 0: none).",
        ),
    ] = 0.04
    passes: Passes = 1
    clip: Clip = 0.2
    scale: Annotated[
        Literal["group", "batch", "none"],
        Meta(
            description="Divide advantages by the standard deviation of their group, of the whole batch, or not at all."
        ),
    ] = "group"
    loss: Annotated[
        Literal["grpo", "dapo", "dr_grpo", "bnpo"],
        Meta(description="How token losses are averaged: grpo per answer first, dapo over the whole step."),
    ] = "dapo"
    skip_unfinished: Annotated[
        bool, Meta(description="Mask answers that were cut off at max_new_tokens.")
    ] = False


class Grpo(Grouped):
    about = "learn from rewards of its own answers, compared within each prompt's group; usual for verifiable rules"
    options = Options
    config = "trl.GRPOConfig"
    own = {
        "loss_type": "objective.loss",
        "scale_rewards": "objective.scale",
        "mask_truncated_completions": "objective.skip_unfinished",
    }

    def make_trainer(self, setup: Setup) -> Any:
        """Build TRL's trainer over rendered prompts, with the recipe's reward. Raises BadInput."""
        from trl import GRPOConfig, GRPOTrainer

        from finetop.core.train.trainers import groups

        options: Options = setup.recipe.objective.options
        more = {
            "loss_type": options.loss,
            "scale_rewards": options.scale,
            "mask_truncated_completions": options.skip_unfinished,
        }
        return groups.make_trainer(setup, GRPOTrainer, GRPOConfig, more, self.own)


PLUGIN = Grpo()
