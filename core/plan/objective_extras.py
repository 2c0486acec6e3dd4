"""What a step of each objective holds beyond one of supervised fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extras:
    """Additional models, texts per batch, logits."""

    texts_per_row: int = 1  # both answers of a pair go through the model
    reference: bool = False  # the base beside it: a separate copy, unless an adapter can be switched off
    teacher: bool = False
    whole_logits: int = 0  # models whose logits exist for every token and word at once, instead of in tiles
    no_logits: bool = False  # one number per text
    reads: int = 0  # extra passes over a batch per step without learning: by a reference, by the policy
    writes: bool = False  # keeps keys and values of the answers that it writes; a reward model may judge them
    is_known: bool = True


EXTRAS: Mapping[str, Extras] = {
    "sft": Extras(),
    "continued-pretraining": Extras(),
    "pretrain": Extras(),
    "reward": Extras(texts_per_row=2, no_logits=True),
    # Without an adapter, the reference's scores of each pair are stored before the first step.
    "dpo": Extras(texts_per_row=2, reads=1),
    # Each prompt is also read with another row's answer, without gradients: nothing of it is kept.
    "kto": Extras(reads=2),
    "orpo": Extras(texts_per_row=2, whole_logits=1),
    "distill": Extras(teacher=True, whole_logits=2),
    "ppo": Extras(reference=True, whole_logits=1, reads=2, writes=True),  # logits of answers alone
    "rloo": Extras(reference=True, reads=2, writes=True),
    "grpo": Extras(reference=True, reads=2, writes=True),
}


def extras_of(objective: str) -> Extras:
    """Return what an objective needs; an unknown one counts as supervised fine-tuning, and the plan notes that."""
    return EXTRAS.get(objective, Extras(is_known=False))
