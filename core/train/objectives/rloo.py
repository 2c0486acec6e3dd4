"""REINFORCE leave-one-out (arXiv:2402.14740): answers to one prompt are compared; no value function is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from finetop.core.train.answer_settings import Clip, Generations, MaxNewTokens, Passes, Paying, Temperature
from finetop.core.train.objectives._generation import Grouped
from finetop.core.train.rewards import Reward

if TYPE_CHECKING:
    from finetop.core.train.trainer_setup import Setup


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `objective:` when its name is rloo."""

    reward: Paying = Reward()
    generations: Generations = 4
    max_new_tokens: MaxNewTokens = 128
    temperature: Temperature = 1.0
    kl_coefficient: Annotated[
        float,
        Meta(
            ge=0,
            le=100,
            description="Weight of the KL penalty against the starting model, in reward per nat.",
        ),
    ] = 0.05
    passes: Passes = 1
    clip: Clip = 0.2
    normalize: Annotated[
        bool, Meta(description="Scale a step's advantages to mean 0 and standard deviation 1.")
    ] = False
    reward_limit: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Clip rewards to plus or minus this; null for no limit."),
    ] = None


class Rloo(Grouped):
    about = (
        "learn from rewards of its own answers, each compared with the others to its prompt; simpler than ppo"
    )
    options = Options
    config = "trl.RLOOConfig"
    own = {"normalize_advantages": "objective.normalize", "reward_clip_range": "objective.reward_limit"}

    def make_trainer(self, setup: Setup) -> Any:
        """Build TRL's trainer over rendered prompts, with the recipe's reward. Raises BadInput."""
        from trl import RLOOConfig, RLOOTrainer

        from finetop.core.train.trainers import groups

        options: Options = setup.recipe.objective.options
        limit = options.reward_limit
        clips = None if limit is None else (-limit, limit)
        more = {"normalize_advantages": options.normalize, "reward_clip_range": clips}
        return groups.make_trainer(setup, RLOOTrainer, RLOOConfig, more, self.own)


PLUGIN = Rloo()
