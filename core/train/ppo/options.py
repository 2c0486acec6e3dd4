"""The settings of PPO, under `objective:` in a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from finetop.core.train.answer_settings import Clip, MaxNewTokens, Passes, Paying, Temperature
from finetop.core.train.rewards import Reward

Positive = Annotated[float, Meta(gt=0)]
Normalize = Literal["none", "batch", "running"]


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `objective:` when its name is ppo."""

    reward: Paying = Reward()
    max_new_tokens: MaxNewTokens = 128
    temperature: Temperature = 1.0
    minibatches: Annotated[
        int, Meta(ge=1, le=1024, description="Optimizer steps per pass over a rollout.")
    ] = 2
    passes: Passes = 2
    clip: Clip = 0.2
    kl_coefficient: Annotated[
        float,
        Meta(
            ge=0,
            le=100,
            description="Weight of the KL penalty against the starting model, in reward per nat.",
        ),
    ] = 0.05
    kl_target: Annotated[
        Positive | None,
        Meta(description="Adapt kl_coefficient to this KL, in nats per answer; null: keep it fixed."),
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
        Meta(
            description="Value function: a head on the model, or a separate small network that can't change it."
        ),
    ] = "head"
    value_weight: Annotated[float, Meta(ge=0, le=100, description="Weight of the value loss.")] = 0.1
    value_clip: Annotated[
        Positive | None, Meta(description="Clipping range of the value; null for none.")
    ] = 0.2
    value_learning_rate: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(description="Learning rate of the value function; null for train.learning_rate."),
    ] = None
    gamma: Annotated[float, Meta(ge=0, le=1, description="Discount per token.")] = 1.0
    gae_lambda: Annotated[
        float,
        Meta(ge=0, le=1, description="1 trusts later rewards, 0 the value function (arXiv:1506.02438)."),
    ] = 0.95
    whiten: Annotated[
        bool, Meta(description="Scale advantages to mean 0 and variance 1 within a rollout.")
    ] = True
    entropy_weight: Annotated[float, Meta(ge=0, le=10, description="Weight of the entropy bonus.")] = 0.0
    normalize: Annotated[
        Normalize,
        Meta(
            description="Scale rewards to unit variance, over a rollout (batch) or over all so far (running)."
        ),
    ] = "none"
    reward_limit: Annotated[
        Positive | None, Meta(description="Clip rewards to plus or minus this; null for no limit.")
    ] = None
    no_end_penalty: Annotated[
        float, Meta(ge=0, le=1000, description="Penalty for an answer that was cut off at max_new_tokens.")
    ] = 0.0
