"""Ends a run whose loss is NaN or infinite, and keeps such weights out of its checkpoints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from finetop.core.errors import FinetopError, Kind
from finetop.core.models import checkpoint, collectives, shards
from finetop.core.text import number_words
from finetop.core.train.alarms import nan

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe


class NotFinite(FinetopError):
    """The weights or the loss are NaN: nothing can be learned any more; exit code 1."""

    kind: Kind = "nan"


class NanGuard(TrainerCallback):  # type: ignore[misc]  # the library is untyped
    """Counts consecutive steps whose loss or gradient is NaN or infinite, and stops training after `limit` of them.

    One is not enough by default; a step skipped in float16 while the loss scale falls does not count.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.since: int | None = None  # first of the consecutive steps
        self.is_over = False

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs = kwargs["logs"]
        if "loss" not in logs:
            return  # an evaluation, or the trainer's summary at the end
        numbers = all(math.isfinite(float(logs.get(key, 0.0))) for key in ("loss", "grad_norm"))
        if numbers or nan.is_overflow(logs):
            self.since = None
            return
        self.since = state.global_step if self.since is None else self.since
        if self.limit is not None and state.global_step - self.since + 1 >= self.limit:
            self.is_over = control.should_training_stop = True


def are_finite(model: Any) -> bool:
    """Return whether all trained weights are finite, on all ranks."""
    moving = (shards.local(weight) for weight in model.parameters() if weight.requires_grad)
    return not collectives.largest([not all(bool(weight.isfinite().all()) for weight in moving)])[0]


def require(watch: NanGuard, model: Any, recipe: Recipe, run_folder: Path) -> None:
    """Check that the weights are fit to save. Raises NotFinite with the last good checkpoint."""
    if not watch.is_over and are_finite(model):
        return
    since = watch.since
    steps = [checkpoint.step_of(folder) for folder in checkpoint.complete(run_folder)]
    # The loss of a step is computed with the weights before it, so those are useless too.
    good = max((step for step in steps if since is None or step < since - 1), default=None)
    rate, name = recipe.train.learning_rate, run_folder.name.partition("-")[2]
    hint = f"Lower train.learning_rate (now {number_words(rate)})"
    if good is None:
        hint += ", and start again: there is no earlier checkpoint."
    else:
        hint += f": finetop resume {name}@{good} --set train.learning_rate={number_words(rate / 3, 2)}"
    cause = "the weights are NaN" if since is None else f"the loss is NaN since step {since}"
    raise NotFinite(f"{cause}: nothing can be learned any more.", hint=hint)
