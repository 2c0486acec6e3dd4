"""What protections read of the base, and what one does in each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch
    from transformers import PreTrainedTokenizerBase

    from finetop.core.recipe.schema import Recipe
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.home import Home
    from finetop.core.train.objectives import Objective


@dataclass(frozen=True)
class Base:
    """The base in memory before the method is put onto it, and what a protection may read beside it."""

    recipe: Recipe
    model: Any
    tokenizer: PreTrainedTokenizerBase
    objective: Objective[Any]
    run_folder: Path
    home: Home
    events: EventLog


@dataclass(frozen=True)
class Acting:
    """What one protection does in each step, and what it says of itself when it begins.

    `gradients(scale)` adds its own, times the scaler's scale, to what the step has, and gives its metrics;
    `rate(loss)` gives the factor of this step's learning rate, from the mean loss of the step's batches.
    """

    about: str
    gradients: Callable[[float], dict[str, Any]] | None = None
    rate: Callable[[float], float] | None = None


def zero_if_none(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight's gradient, made of zeros where the loss did not reach it."""
    import torch

    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad
