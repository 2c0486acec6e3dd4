"""How a step of each objective differs from one of supervised fine-tuning, in what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extras:
    """What is more: models, texts in a batch, logits."""

    texts_per_row: int = 1  # both answers of a pair go through the model
    reference: bool = False  # the base beside it: a copy of its own, but where an adapter can be switched off
    teacher: bool = False
    whole_logits: int = 0  # models whose logits are there for every token and word at once, in place of tiles
    no_logits: bool = False  # one number a text
    reads: int = (
        0  # times that a batch is read once more in a step without learning: by a reference, by the policy
    )
    writes: bool = False  # keeps keys and values of the answers that it writes; a reward model may judge them
    is_known: bool = True


EXTRAS: Mapping[str, Extras] = {
    "sft": Extras(),
    "continued-pretraining": Extras(),
    "pretrain": Extras(),
    "reward": Extras(texts_per_row=2, no_logits=True),
    # Without an adapter, what the reference says of each pair is written down before the first step.
    "dpo": Extras(texts_per_row=2, reads=1),
    # Another row's answer behind each prompt is read too, without gradients: nothing of it is kept.
    "kto": Extras(reads=2),
    "orpo": Extras(texts_per_row=2, whole_logits=1),
    "distill": Extras(teacher=True, whole_logits=2),
    "ppo": Extras(reference=True, whole_logits=1, reads=2, writes=True),  # logits of answers alone
    "rloo": Extras(reference=True, reads=2, writes=True),
    "grpo": Extras(reference=True, reads=2, writes=True),
}


def extras_of(objective: str) -> Extras:
    """Say what an objective needs; one without a row is counted as supervised fine-tuning, and the plan says so."""
    return EXTRAS.get(objective, Extras(is_known=False))
