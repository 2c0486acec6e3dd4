"""Proximal policy optimization (arXiv:1707.06347): generate answers, score them, make well-rewarded ones likelier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from finetop.core.recipe.schema import Recipe
from finetop.core.train.objectives._generation import PARTS, Generating
from finetop.core.train.ppo.options import Options as Options

if TYPE_CHECKING:
    from finetop.core.train.trainer_setup import Setup


class Ppo(Generating):
    about = (
        "learn from rewards of its own answers, by a reward model or rules; PPO with a learned value function"
    )
    options = Options
    config = "transformers.TrainingArguments"
    metrics = {
        name: name
        for name in (
            "reward",
            "reward_deviation",
            "answer_kl",  # an answer's divergence from the reference, in nats
            "kl_coefficient",
            "policy_loss",
            "value_loss",
            "clip_fraction",
            "step_kl",  # the policy's divergence from the one that generated the rollout, in nats per token
            "explained_variance",
            "response_tokens",
            "unfinished",  # share of answers that were cut off
        )
    } | PARTS

    def limits(self, recipe: Recipe) -> Iterator[tuple[str, str, str]]:
        """Refuse dropout, which would make old and new probabilities differ by more than the weights."""
        yield from super().limits(recipe)
        if getattr(recipe.method.options, "dropout", 0):
            key = "method.dropout"
            message = f"{key}: ppo compares an answer's old and new probability, which dropout would blur."
            yield key, message, f"Set {key} to 0."

    def copies(self, options: Options) -> int:
        """Return how often each prompt's answer is learned from."""
        return options.passes

    def make_trainer(self, setup: Setup) -> Any:
        """Build finetop's own trainer, with the reward and the reference model that it needs. Raises BadInput."""
        from peft import PeftModel
        from transformers import TrainingArguments

        from finetop.core.train import methods
        from finetop.core.train.ppo.loop import PolicyTrainer
        from finetop.core.train.trainer_args import configure
        from finetop.core.train.trainers import reward_sum

        keeps_base = isinstance(setup.model, PeftModel) and methods.load(setup.recipe.method.name).keeps_base
        return PolicyTrainer(
            setup.model,
            configure(TrainingArguments, setup.arguments, setup.recipe.trainer_args),
            setup.recipe.objective.options,
            setup.tokenizer,
            setup.train,  # type: ignore[arg-type]
            setup.eval,  # type: ignore[arg-type]
            reward_sum.begin(setup),
            setup.hooks,
            adapter_keeps_base=keeps_base,
        )


PLUGIN = Ppo()
