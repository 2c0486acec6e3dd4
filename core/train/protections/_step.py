"""What protections read of the base, and what they do in each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from finetop.core.recipe.schema import Recipe
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.home import Home
    from finetop.core.train.objectives import Objective


@dataclass(frozen=True)
class Base:
    """The base in memory before the method is applied, and what else a protection may read."""

    recipe: Recipe
    model: Any
    tokenizer: Tokenizer
    objective: Objective[Any]
    run_folder: Path
    home: Home
    events: EventLog


@dataclass(frozen=True)
class Acting:
    """What one protection does in each step, and the text that it reports when it begins.

    `gradients(scale)` adds its own gradients, times the loss scale, to the step's, and returns its metrics;
    `rate(loss)` returns the factor of this step's learning rate, from the mean loss of the step's batches.
    """

    about: str
    gradients: Callable[[float], dict[str, Any]] | None = None
    rate: Callable[[float], float] | None = None


def zero_if_none(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight's gradient, set to zeros if the loss did not reach it."""
    import torch

    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad
