"""REINFORCE leave-one-out (arXiv:2402.14740): answers to one prompt are compared, and no value is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from finetop.core.train.answer_settings import (
    Clip,
    Generations,
    MaxNewTokens,
    Passes,
    Paying,
    Temperature,
)
from finetop.core.train.objectives import _generation
from finetop.core.train.rewards import Reward
from finetop.core.train.trainers.groups import METRICS as OF_GROUPS

if TYPE_CHECKING:
    from finetop.core.train.trainer_setup import Setup

ABOUT = "learn from rewards of its own answers, each compared with the others to its prompt; simpler than ppo"
CONFIG = "trl.RLOOConfig"
ROWS = _generation.ROWS
METRICS = OF_GROUPS | _generation.PARTS
OWN = {"normalize_advantages": "objective.normalize", "reward_clip_range": "objective.reward_limit"}
LOSS_FALLS = False  # what it is paid rises; the loss is what is left of it after a comparison, about 0
limits, copies, examples = _generation.group_limits, _generation.group_copies, _generation.examples
require_rows = _generation.require_prompts


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


def make_trainer(setup: Setup) -> Any:
    """Build TRL's trainer over rendered prompts, paid by the recipe's reward. Raises BadInput."""
    from trl import RLOOConfig, RLOOTrainer

    from finetop.core.train.trainers import groups

    options: Options = setup.recipe.objective.options
    limit = options.reward_limit
    more = {
        "normalize_advantages": options.normalize,
        "reward_clip_range": None if limit is None else (-limit, limit),
    }
    return groups.make_trainer(setup, RLOOTrainer, RLOOConfig, more, OWN)
