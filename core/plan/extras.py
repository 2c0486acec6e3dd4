"""What an objective needs beside the model that it trains: other models, longer batches, logits held whole.

One row an objective, by its name; one without a row is counted as supervised fine-tuning, and the plan says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Extras:
    """How a step of an objective differs from one of supervised fine-tuning."""

    texts_per_row: int = 1  # both answers of a pair go through the model
    reference: bool = False  # the base beside it: a second copy, but where the adapter can be switched off
    reward_model: bool = False
    value_model: bool = False  # learns too: with gradients and optimizer states of its own
    teacher: bool = False
    whole_logits: bool = False  # for every token and word at once, in place of tiles
    no_logits: bool = False
    generates: bool = False  # keeps keys and values of the texts that it writes
    packs: bool = False  # every text is as long as data.max_tokens
    is_known: bool = True


_EXTRAS: Mapping[str, Extras] = {
    "sft": Extras(),
    "continued-pretraining": Extras(),
    "pretrain": Extras(),
    "reward": Extras(texts_per_row=2, no_logits=True),
    "dpo": Extras(texts_per_row=2, reference=True),
    "kto": Extras(texts_per_row=2, reference=True),  # each answer, and another row's for the divergence
    "orpo": Extras(texts_per_row=2, whole_logits=True),
    "ppo": Extras(reference=True, reward_model=True, value_model=True, generates=True),
    "rloo": Extras(reference=True, reward_model=True, generates=True),
    "grpo": Extras(reference=True, reward_model=True, generates=True),
    "distill": Extras(teacher=True, whole_logits=True),
}


def extras_of(objective: str, options: Any) -> Extras:
    """Say what an objective with these options needs."""
    found = _EXTRAS.get(objective, Extras(is_known=False))
    if getattr(options, "packing", False):
        return Extras(packs=True, is_known=found.is_known)
    return found
