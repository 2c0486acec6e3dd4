"""Proximal policy optimization (arXiv:1707.06347): write answers, be paid for them, and write more of what pays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from finetop.core.train.objectives import _generation
from finetop.core.train.objectives._generation import Clip, MaxNewTokens, Passes, Paying, Temperature
from finetop.core.train.rewards import Reward

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transformers import PreTrainedTokenizerBase

    from finetop.core.data.examples import AnyExample
    from finetop.core.data.sources import Row
    from finetop.core.recipe.schema import Recipe
    from finetop.core.train.trainer_setup import Setup

ABOUT = "be paid for own answers by a reward model or rules; PPO with a learned value"
ROWS = _generation.ROWS
METRICS = {
    name: name
    for name in (
        "reward",
        "reward_deviation",
        "answer_kl",  # nats of an answer away from the reference
        "kl_coefficient",
        "policy_loss",
        "value_loss",
        "clip_fraction",
        "step_kl",  # nats a token that the policy moved from the one that wrote the rollout
        "explained_variance",
        "response_tokens",
        "unfinished",  # share of answers that were cut off
    )
} | _generation.PARTS
Positive = Annotated[float, Meta(gt=0)]
LOSS_FALLS = False  # what it is paid rises; the loss is what is left of it after a comparison, about 0


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `objective:` when its name is ppo."""

    reward: Paying = Reward()
    max_new_tokens: MaxNewTokens = 128
    temperature: Temperature = 1.0
    minibatches: Annotated[
        int, Meta(ge=1, le=1024, description="Steps in one pass: a rollout has so many times a step's rows.")
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
        int, Meta(ge=1, le=10**9, description="Answers in which it may move by a fifth (arXiv:1909.08593).")
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
        Literal["none", "batch", "running"],
        Meta(description="Scale rewards to mean 0 and deviation 1: of a rollout, or of all so far."),
    ] = "none"
    reward_limit: Annotated[
        Positive | None, Meta(description="Rewards beyond this count as this, either way; null for no limit.")
    ] = None
    no_end_penalty: Annotated[
        float, Meta(ge=0, le=1000, description="Taken off an answer that did not end in max_new_tokens.")
    ] = 0.0


def limits(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """Refuse what would make old and new probabilities differ by more than the weights."""
    yield from _generation.limits(recipe)
    if getattr(recipe.method.options, "dropout", 0):
        said = "method.dropout: ppo compares an answer's old and new probability, which dropout would blur."
        yield "method.dropout", said, "Set method.dropout to 0."
    if recipe.model.dtype == "float16":
        said = "model.dtype: ppo does not train in float16."
        yield "model.dtype", said, "Set model.dtype to bfloat16, or to float32."


def copies(options: Options) -> int:
    """Say how often each prompt's answer is learned from."""
    return options.passes


def examples(
    rows: Sequence[Row], options: Options, tokenizer: PreTrainedTokenizerBase, max_tokens: int
) -> list[list[AnyExample]]:
    """Render each prompt up to where the answer begins. Raises BadInput."""
    return _generation.examples(rows, options.reward, tokenizer)


def make_trainer(setup: Setup) -> Any:
    """Build finetop's own trainer, with the reward model and the reference that it needs. Raises BadInput."""
    from peft import PeftModel
    from transformers import TrainingArguments

    from finetop.core.train import methods
    from finetop.core.train.ppo.loop import PolicyTrainer
    from finetop.core.train.ppo.settings import Settings
    from finetop.core.train.trainer_args import configure
    from finetop.core.train.trainers import reward_sum

    options: Options = setup.recipe.objective.options
    settings = Settings(
        **{name: getattr(options, name) for name in Settings.__annotations__ if hasattr(options, name)},
        separate_value=options.value == "separate",
        lam=options.gae_lambda,
    )
    keeps_base = isinstance(setup.model, PeftModel) and methods.load(setup.recipe.method.name).KEEPS_BASE
    return PolicyTrainer(
        setup.model,
        configure(TrainingArguments, setup.arguments, setup.recipe.trainer_args),
        settings,
        setup.tokenizer,
        setup.train,  # type: ignore[arg-type]
        setup.eval,  # type: ignore[arg-type]
        reward_sum.begin(setup),
        setup.hooks,
        adapter_keeps_base=keeps_base,
    )
