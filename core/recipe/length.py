"""How many steps a run takes: the one count of plan and trainer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Train


def count_steps(train: Train, rows: int) -> int:
    """Count the steps over that many rows (or packed sequences): max_steps where it is set, else the epochs'."""
    if train.max_steps is not None:
        return train.max_steps
    assert train.epochs is not None  # one of them is set: see cross_checks
    per_epoch = max(1, math.ceil(math.ceil(rows / train.batch_size) / train.grad_accumulation))
    return math.ceil(train.epochs * per_epoch)
