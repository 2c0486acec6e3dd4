"""The settings of PPO, as a recipe has them under `objective:`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from finetop.core.train.objectives._generation import Clip, MaxNewTokens, Passes, Paying, Temperature
from finetop.core.train.rewards import Reward

Positive = Annotated[float, Meta(gt=0)]
Normalize = Literal["none", "batch", "running"]


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `objective:` when its name is ppo."""

    reward: Paying = Reward()
    max_new_tokens: MaxNewTokens = 128
    temperature: Temperature = 1.0
    minibatches: Annotated[
        int,
        Meta(ge=1, le=1024, description="Steps in one pass: a rollout has this many times a step's answers."),
    ] = 2
    passes: Passes = 2
    clip: Clip = 0.2
    kl_coefficient: Annotated[
        float, Meta(ge=0, le=100, description="What a nat of divergence from the model's start costs.")
    ] = 0.05
    kl_target: Annotated[
        Positive | None,
        Meta(description="Nats an answer that the coefficient is adapted to; null for a fixed coefficient."),
    ] = None
    kl_horizon: Annotated[
        int,
        Meta(
            ge=1,
            le=10**9,
            description="With kl_target: kl_coefficient changes at most 20 % in this many answers (arXiv:1909.08593).",
        ),
    ] = 10_000
    value: Annotated[
        Literal["head", "separate"],
        Meta(description="What guesses rewards: a head on the model, or a small network that can't move it."),
    ] = "head"
    value_weight: Annotated[float, Meta(ge=0, le=100, description="Weight of its error in the loss.")] = 0.1
    value_clip: Annotated[
        Positive | None, Meta(description="How far a value may move from its old one; null for any.")
    ] = 0.2
    value_learning_rate: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(description="Learning rate of its own weights; null for train.learning_rate."),
    ] = None
    gamma: Annotated[float, Meta(ge=0, le=1, description="What a reward a token later is worth.")] = 1.0
    gae_lambda: Annotated[
        float, Meta(ge=0, le=1, description="Trust in later rewards (1) or in values (0): arXiv:1506.02438.")
    ] = 0.95
    whiten: Annotated[bool, Meta(description="Scale advantages to mean 0 and variance 1 in a rollout.")] = (
        True
    )
    entropy_weight: Annotated[float, Meta(ge=0, le=10, description="Reward for staying unsure.")] = 0.0
    normalize: Annotated[
        Normalize,
        Meta(description="Scale rewards to mean 0 and deviation 1: of a rollout, or of all so far."),
    ] = "none"
    reward_limit: Annotated[
        Positive | None, Meta(description="Rewards beyond this count as this, either way; null for no limit.")
    ] = None
    no_end_penalty: Annotated[
        float, Meta(ge=0, le=1000, description="Taken off an answer that did not end in max_new_tokens.")
    ] = 0.0
