"""Where training can go on: a run's newest whole checkpoint, and what the job that goes on from it is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetop.core.errors import BadInput, NotFound
from finetop.core.models import checkpoint


def resume_args(
    folder: Path, step: int, place: Path | None, *, anyway: bool = False, changes: Sequence[str] = ()
) -> dict[str, Any]:
    """Tell a training job where it goes on from, and what was changed in its recipe."""
    path = None if place is None else str(place.relative_to(folder))
    return {"resume": {"step": step, "checkpoint": path, "anyway": anyway}, "changes": list(changes)}


def choose(folder: Path, name: str, step: int | None) -> tuple[int, Path | None]:
    """Find the checkpoint to go on from: step and folder; 0 and none where there is none yet.

    Raises NotFound naming those that there are, BadInput for one that lacks the trainer's state.
    """
    there = {checkpoint.step_of(one): one for one in checkpoint.complete(folder)}
    if step is None:
        step = max((at for at, one in there.items() if checkpoint.is_resumable(one)), default=None)
        if step is None and not there:
            return 0, None
        if step is None:
            step = max(there)
    if step not in there:
        damaged = checkpoint.folder_of(folder, step)
        if damaged.exists():
            hint = (
                f"The newest complete one: {name}@{max(there)}."
                if there
                else "None is complete: start a new run."
            )
            raise NotFound(f"{name}@{step} is incomplete: {checkpoint.fault_of(damaged)}.", hint=hint)
        steps = ", ".join(str(at) for at in sorted(there))
        hint = (
            f"It has {steps}."
            if there
            else f"It has none: `finetop resume {name}` starts from the beginning."
        )
        raise NotFound(f"{name} has no checkpoint at step {step}.", hint=hint)
    if not checkpoint.is_resumable(there[step]):
        said = f"{name}@{step} has no trainer state: train.resumable was off"
        raise BadInput(f"{said}.", hint=f"Start from its weights: model.id: run:{name}@{step}.")
    return step, there[step]
