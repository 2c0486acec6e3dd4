"""The costliest rollout and step of a PPO run: the longest prompts, each answer of the maximum length.

core/train/longest_batch.py restores what it changes in the trainer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch.nn.utils import clip_grad_norm_

from finetop.core.train.ppo import chance, losses

if TYPE_CHECKING:
    from finetop.core.train.ppo.generation import Writer
    from finetop.core.train.ppo.options import Options
    from finetop.core.train.ppo.rollouts import Batch


class Trainer(Protocol):
    """The members of the PPO trainer that are used here."""

    args: Any
    model: Any
    value: Any
    optimizer: Any
    value_optimizer: Any
    train_dataset: Any
    eval_dataset: Any
    writer: Writer
    settings: Options
    coefficient: float

    def make_optimizers(self) -> None: ...


def learn(trainer: Trainer) -> None:
    """Generate the longest answers, score them and take a step with both optimizers, without callbacks."""
    arguments = trainer.args
    if arguments.activation_checkpointing:
        trainer.model.activation_checkpointing_enable(
            activation_checkpointing_kwargs=arguments.activation_checkpointing_kwargs
        )
    trainer.make_optimizers()
    trainer.model.train()
    batches = _written(trainer, trainer.train_dataset, arguments.per_device_train_batch_size)
    # With gradient accumulation the second batch's gradient needs memory beside the first's.
    for batch in batches[: min(2, arguments.gradient_accumulation_steps)]:
        loss, _ = losses.batch_loss(*trainer.writer.read(batch), batch, trainer.settings)
        (loss / float(batch.mask.sum())).backward()
    limit = arguments.max_grad_norm or math.inf
    clip_grad_norm_([weight for weight in trainer.model.parameters() if weight.requires_grad], limit)
    trainer.optimizer.step()
    trainer.value_optimizer.step()
    trainer.model.zero_grad(set_to_none=True)
    trainer.value.zero_grad(set_to_none=True)


def measure(trainer: Trainer) -> None:
    """Generate and score the longest answers of an evaluation."""
    if trainer.eval_dataset:
        _written(trainer, trainer.eval_dataset, trainer.args.per_device_eval_batch_size)


def _written(trainer: Trainer, rows: Sequence[Any], size: int) -> list[Batch]:
    """Answer as many of the longest prompts as are answered at once, and score them `size` at a time."""
    writer = trainer.writer
    order = sorted(rows, key=lambda row: -len(row.prompt_ids))
    prompts = [order[index % len(order)] for index in range(max(size, writer.together))]
    answers = writer.answers(prompts, chance.seed_of(trainer.args.seed, chance.ANSWERS), ends=())
    rewards = writer.pay(prompts, answers).total
    return [
        writer.judge(
            prompts[at : at + size], answers[at : at + size], rewards[at : at + size], trainer.coefficient
        )[0]
        for at in range(0, min(2, len(prompts) // size) * size, size)
    ]
