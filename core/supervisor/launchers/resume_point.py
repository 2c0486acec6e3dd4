"""Where training can resume: a run's newest complete checkpoint, and the args of the job that resumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetop.core.errors import BadInput, NotFound
from finetop.core.models import checkpoint


def resume_args(
    folder: Path, step: int, place: Path | None, *, anyway: bool = False, changes: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the args of a training job that resumes, with the changes to its recipe."""
    path = None if place is None else str(place.relative_to(folder))
    return {"resume": {"step": step, "checkpoint": path, "anyway": anyway}, "changes": list(changes)}


def choose(folder: Path, name: str, step: int | None) -> tuple[int, Path | None]:
    """Return step and folder of the checkpoint to resume from; 0, None before the first. Raises NotFound, BadInput."""
    complete = {checkpoint.step_of(folder_at): folder_at for folder_at in checkpoint.complete(folder)}
    if step is None:
        if not complete:
            return 0, None
        step = max([at for at, place in complete.items() if checkpoint.is_resumable(place)] or complete)
    if step not in complete:
        damaged = checkpoint.folder_of(folder, step)
        if damaged.exists():
            newest = f"The newest complete one: {name}@{max(complete)}." if complete else ""
            message = f"{name}@{step} is incomplete: {checkpoint.fault_of(damaged)}."
            raise NotFound(message, hint=newest or "None is complete: start a new run.")
        hint = f"It has none: `finetop resume {name}` starts from the beginning."
        if complete:
            hint = f"It has {', '.join(map(str, sorted(complete)))}."
        raise NotFound(f"{name} has no checkpoint at step {step}.", hint=hint)
    if not checkpoint.is_resumable(complete[step]):
        hint = f"Start from its weights: model.id: run:{name}@{step}."
        raise BadInput(f"{name}@{step} has no trainer state: train.resumable was off.", hint=hint)
    return step, complete[step]
