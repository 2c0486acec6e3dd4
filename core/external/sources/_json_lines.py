"""Numbers in JSON objects and Python dicts, as trainers log them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

STEPS = (
    *("train/global_step", "step", "global_step", "current_steps", "_step", "iteration", "iter"),
    *("trainer/global_step", "steps", "num_updates"),
)
TOTALS = ("total_steps", "max_steps", "total_iterations")
TIMES = ("_timestamp", "timestamp", "time", "t")
NOT_METRICS = frozenset((*STEPS, *TOTALS, *TIMES, "percentage", "epochs", "num_train_epochs"))
SUMMARIES = ("train_runtime", "train/train_runtime")  # of the Trainer's last entry: its train_loss is a mean
# as wandb and trackio write them
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
LOSSES = ("loss", "eval_loss", "train_loss", "val_loss", "reward")  # values with one of these need no step


def number(value: Any, *, texts: bool = False) -> float | None:
    """Return a number, with `texts` that of a text too ('1.5e-3', 'nan'); None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        if not texts:
            return NOT_FINITE.get(value)
        try:
            value = float(value) if len(value) <= 40 and "_" not in value else None
        except ValueError:
            return None
    if not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def flat(
    values: Mapping[str, Any], above: str = "", depth: int = 3, *, texts: bool = False
) -> dict[str, float]:
    """Return the numbers of a mapping by their path: {"loss": {"dpo": 1}} -> {"loss/dpo": 1.0}."""
    result: dict[str, float] = {}
    for key, value in values.items():
        name = f"{above}/{key}" if above else str(key)
        if isinstance(value, dict) and depth:
            result.update(flat(value, name, depth - 1, texts=texts))
        elif (value := number(value, texts=texts)) is not None:
            result[name] = value
    return result


def first(values: Mapping[str, float], names: tuple[str, ...]) -> float | None:
    """Return the first of these that is there and finite."""
    return next((values[name] for name in names if math.isfinite(values.get(name, math.nan))), None)


def step_of(values: Mapping[str, float]) -> int | None:
    step = first(values, STEPS)
    return None if step is None else int(step)


def metrics_of(values: Mapping[str, float]) -> dict[str, float]:
    """Return what is left without the step, the time and the plan; nothing of a summary of the whole run."""
    if any(key in values for key in SUMMARIES):
        return {}
    return {key: value for key, value in values.items() if key not in NOT_METRICS}


def has_loss(values: Mapping[str, float]) -> bool:
    return any(key.lower().replace("/", "_") in LOSSES for key in values)


def logged(values: Mapping[str, float], last: int) -> tuple[int, dict[str, float]] | None:
    """Return a line's step and metrics, None without any; a loss without a step counts as the one after `last`."""
    step, metrics = step_of(values), metrics_of(values)
    if not metrics or (step is None and not has_loss(metrics)):
        return None
    return last + 1 if step is None else step, metrics


def total_of(values: Mapping[str, float], known: int = 0) -> int:
    """Return the planned steps, if the values tell them, else those that are known."""
    total = first(values, TOTALS)
    return int(total) if total is not None and total > 0 else known
