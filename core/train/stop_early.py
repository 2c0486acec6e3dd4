"""When training stops improving, and which step was the best: train.stop_early and train.keep.

All decisions follow from the measurements so far, step by step: a resumed run reads those from the events of its
earlier jobs, and decides like one that was never interrupted. With several ranks the first measures for all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput
from finetop.core.models import checkpoint, collectives
from finetop.core.protocol.check_result import LOWER_IS_BETTER
from finetop.core.protocol.events import Best
from finetop.core.recipe.cross_checks import watched_metric
from finetop.core.text import counted

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe, StopEarly
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.train.resume.resume_point import ResumePoint

EVAL_LOSS, EVAL_REWARD = "eval_loss", "eval_reward"


@dataclass
class Watch:
    """The watched metric, its values by step, and how it ends the run."""

    metric: str  # eval_loss, eval_reward, or one of the target's: nats_per_token …
    lower: bool  # lower values are better
    keeps: bool  # the best checkpoint is the run's result
    wanted: StopEarly | None  # None: the best is kept, but nothing stops early
    of_target: bool = False
    values: dict[int, float] = field(default_factory=dict)
    reason: str = ""  # why it stopped early

    @property
    def name(self) -> str:
        """The metric's displayed name: 'eval_loss', 'target nats_per_token'."""
        return f"target {self.metric}" if self.of_target else self.metric

    @property
    def judges_last(self) -> bool:
        """True if the last step is checked during training, since it may be the best by the target."""
        return self.of_target and self.keeps


def begin(recipe: Recipe, point: ResumePoint | None) -> Watch | None:
    """Return the watched metric with earlier jobs' values; None if none is. Raises BadInput if they end the run."""
    metric = watched_metric(recipe)
    if metric is None:
        return None
    target = recipe.check.target
    name = {"reward": EVAL_REWARD}.get(metric, metric)
    if metric == "target" and target is not None:
        name = target.metrics[0]
    train, lower = recipe.train, name == EVAL_LOSS or name in LOWER_IS_BETTER
    watch = Watch(name, lower, train.keep == "best", train.stop_early, of_target=metric == "target")
    if point is not None:
        watch.values = {step: value for step, value in _earlier(watch, point) if step <= point.step}
        if reason := end_of(watch):
            hint = "Raise it, or set train.stop_early to null: --set train.stop_early=null."
            patience = watch.wanted and watch.wanted.patience
            message = f"train.stop_early.patience ({patience}) is used up: {reason}."
            raise BadInput(message, hint=hint)
    return watch


def _earlier(watch: Watch, point: ResumePoint) -> list[tuple[int, float]]:
    earlier = point.earlier
    if not watch.of_target:
        values = earlier.eval_losses if watch.metric == EVAL_LOSS else earlier.eval_rewards
        return sorted(values.items())
    scores = ((step, target_of(watch, result)) for step, result in sorted(earlier.verdicts.items()))
    return [(step, value) for step, value in scores if value is not None]


def target_of(watch: Watch, result: Mapping[str, Any]) -> float | None:
    """Return the target's value in a check's result (plain data); None if it was not measured."""
    score = (result.get("target") or {}).get(watch.metric)
    return None if score is None else float(score["tuned"])


def note(watch: Watch, step: int, value: float) -> bool:
    """Record the value of a step; return whether it is the best so far. All ranks use the first rank's value."""
    watch.values[step] = collectives.from_first(lambda: value)
    return best_of(watch.values, lower=watch.lower) == step


def end_of(watch: Watch) -> str:
    """Return why a run that no longer improves ends; an empty string while it may improve.

    Gains of min_delta or less, and values that are not finite, do not count as improvements.
    """
    if watch.wanted is None or not watch.values:
        return ""
    reference: tuple[int, float] | None = None
    since = 0
    for step, value in sorted(watch.values.items()):
        gain = math.inf if reference is None else (reference[1] - value) * (1 if watch.lower else -1)
        if math.isfinite(value) and gain > watch.wanted.min_delta:
            reference, since = (step, value), 0
        else:
            since += 1
    if since < watch.wanted.patience:
        return ""
    last, times = max(watch.values), counted(since, "check" if watch.of_target else "evaluation")
    if reference is None:
        return f"stopped early at step {last}: {watch.name} was not finite in {times}"
    least = f" by more than {watch.wanted.min_delta:g}" if watch.wanted.min_delta else ""
    on = f"{reference[1]:.4g} (step {reference[0]})"
    return f"stopped early at step {last}: {watch.name} did not improve on {on}{least} in {times}"


def best_of(values: Mapping[int, float], *, lower: bool) -> int | None:
    """Return the step with the best value, the first of equals; values that are not finite are never the best."""
    known = {step: value if lower else -value for step, value in values.items() if math.isfinite(value)}
    return min(known, key=lambda step: (known[step], step), default=None)


def spared(watch: Watch | None) -> set[int]:
    """Return the checkpoint that must not be removed: the best so far, if it is to be kept."""
    best = best_of(watch.values, lower=watch.lower) if watch is not None and watch.keeps else None
    return set() if best is None else {best}


def finish(watch: Watch | None, run_folder: Path, events: EventLog) -> None:
    """Report which of the existing checkpoints is the best, if it is to be kept."""
    if watch is None or not watch.keeps:
        return
    there = collectives.from_first(lambda: checkpoint.complete(run_folder))
    steps = {checkpoint.step_of(folder) for folder in there}
    best = best_of({step: value for step, value in watch.values.items() if step in steps}, lower=watch.lower)
    if best is None:
        print(f"no checkpoint has a measured {watch.name}: the newest is the run's result", flush=True)
        return
    most = "lowest" if watch.lower else "highest"
    among = counted(len(watch.values), "check" if watch.of_target else "evaluation")
    text = f"step {best}: the {most} {watch.name} ({watch.values[best]:.4g}) of {among}"
    events.write(Best(best, text, {} if watch.of_target else {watch.metric: watch.values[best]}))
    print(f"kept as the best: {text}", flush=True)
