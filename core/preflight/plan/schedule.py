"""How long a run is, how long it takes, and what it leaves on the disk: steps, time and checkpoints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from finetop.core.plugins import OBJECTIVES
from finetop.core.preflight.plan import speed
from finetop.core.preflight.plan.result import Disk, Steps, Time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.preflight.plan.lengths import Lengths
    from finetop.core.preflight.plan.machine import Machine
    from finetop.core.preflight.plan.memory import Workload
    from finetop.core.preflight.plan.shape import Shape
    from finetop.core.preflight.plan.speed import PastRun, Speed
    from finetop.core.recipe.schema import Recipe


def steps_of(recipe: Recipe, lengths: Lengths, gpus: int) -> Steps:
    """Count a run's steps and tokens, as the trainer will."""
    packs = bool(getattr(recipe.objective.options, "packing", False))
    rows = math.ceil(lengths.tokens / recipe.data.max_tokens) if packs else lengths.rows
    copies = copies_of(recipe)
    per_step = recipe.train.batch_size * recipe.train.grad_accumulation * max(1, gpus)
    steps = count_steps(recipe, math.ceil(rows * copies / max(1, gpus)))
    epochs = steps * per_step / max(1, rows * copies)
    return Steps(
        rows=lengths.rows,
        eval_rows=lengths.eval_rows,
        tokens_per_epoch=lengths.tokens,
        longest=lengths.longest,
        how=lengths.how,
        rows_per_step=per_step,
        steps=steps,
        tokens=round(lengths.tokens * epochs),
        too_long=lengths.too_long,
    )


def copies_of(recipe: Recipe) -> int:
    """How often each row counts in a run's steps."""
    objective = OBJECTIVES.load(recipe.objective.name)
    return int(objective.copies(recipe.objective.options)) if hasattr(objective, "copies") else 1


def count_steps(recipe: Recipe, rows: int) -> int:
    """Count the steps over that many rows; the trainer's own count, core/train/trainer_args.py, needs the trainer."""
    train = recipe.train
    per_epoch = max(1, math.ceil(math.ceil(rows / train.batch_size) / train.grad_accumulation))
    wanted = math.inf if train.epochs is None else math.ceil(train.epochs * per_epoch)
    return int(min(wanted, math.inf if train.max_steps is None else train.max_steps))


def time_of(
    recipe: Recipe,
    shape: Shape,
    work: Workload,
    machine: Machine,
    past: Sequence[PastRun],
    steps: Steps,
    gpus: int,
) -> Time | None:
    """How long the steps take; evaluation, samples and checks come on top."""
    cost = speed.flops_per_token(shape, work.trained, checkpointing=work.checkpointing)
    batches = max(1, steps.steps * recipe.train.grad_accumulation * max(1, gpus))
    cost += work.trained.batch_flops / max(1.0, steps.tokens / batches)
    found: Speed | None = speed.predict(recipe.model.id, recipe.method.name, cost, machine, past)
    if found is None:
        return None
    rate = found.tokens_per_s * max(1, gpus)
    return Time(steps.tokens / rate, rate, found.source, found.is_measured)


def disk_of(recipe: Recipe, shape: Shape, work: Workload, machine: Machine, steps: Steps | None) -> Disk:
    """What the checkpoints that are kept take, with the optimizer's states beside each for going on."""
    moving = work.trained
    weights = moving.beside * work.trained_bytes if moving.beside else shape.parameters * work.weight_bytes
    states = moving.numbers * work.optimizer_bytes if recipe.train.resumable else 0.0
    if moving.beside and states:
        states += moving.beside * work.trained_bytes  # an adapter is kept a second time, as it was held
    total = steps.steps if steps is not None else None
    every = recipe.train.save_every
    saves = math.ceil(1 / every) if isinstance(every, float) else math.ceil((total or every) / every)
    kept = min(saves, recipe.train.keep_checkpoints or saves) if saves else 1
    return Disk(
        checkpoint=weights,
        kept=kept,
        optimizer=states,
        total=kept * (weights + states),
        free=machine.free_disk,
    )
