"""The number of steps of a run, and of steps between two measurements: the one count of plan and trainer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe, Train


def count_steps(train: Train, rows: int, ranks: int = 1) -> int:
    """Count the steps over that many rows (or packed sequences): max_steps if set, else those of the epochs.

    Each rank takes its own batch at a time: 36 rows in batches of 2 on two ranks are 9 steps.
    """
    if train.max_steps is not None:
        return train.max_steps
    assert train.epochs is not None  # one of them is set: see cross_checks
    batches = math.ceil(math.ceil(rows / train.batch_size) / ranks)
    return math.ceil(train.epochs * max(1, math.ceil(batches / train.grad_accumulation)))


def packs(recipe: Recipe) -> bool:
    """Return whether rows are packed into sequences, which are then counted instead."""
    return bool(getattr(recipe.objective.options, "packing", False))


def steps_between(pace: int | float, total: int) -> int:
    """Convert a recipe's pace (50 steps, or 0.25 of the run) to steps."""
    return pace if isinstance(pace, int) else max(1, round(pace * total))
