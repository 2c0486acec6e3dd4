"""The settings shared by objectives that reward the model's own answers (ppo, rloo, grpo)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from finetop.core.recipe.schema import ONE_CHOICE
from finetop.core.train.rewards import Reward

MaxNewTokens = Annotated[
    int,
    Meta(
        ge=1,
        le=10**5,
        description="Maximum answer length in tokens; data.max_tokens limits the prompt alone.",
    ),
]
Temperature = Annotated[
    float, Meta(gt=0, le=10, description="Sampling temperature; 1 is the model's own distribution.")
]
Generations = Annotated[
    int,
    Meta(
        ge=2,
        le=1024,
        description="Answers per prompt, compared with one another; must divide batch_size x grad_accumulation.",
    ),
]
Passes = Annotated[int, Meta(ge=1, le=100, description="Passes over the same answers.")]
Clip = Annotated[
    float,
    Meta(
        gt=0,
        lt=1,
        description="PPO clipping range: how far an answer's probability ratio may move; 0.2 is 20 %.",
    ),
]
Paying = Annotated[Reward, ONE_CHOICE, "How answers are rewarded: by a reward model, rules, or both."]
