"""The plan of a run: memory by part and a verdict, the cheapest change that makes it fit; with steps, time and disk.

`estimate` is pure and takes about a millisecond: what it needs to know of files and the machine is passed in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from finetop.core.models.shape import Shape
from finetop.core.plan import memory
from finetop.core.plan.changes import changes
from finetop.core.plan.memory import Workload
from finetop.core.plan.notes import notes
from finetop.core.plan.result import Fix, Host, Plan, Sharded, Verdict
from finetop.core.plan.schedule import disk_of, steps_of, time_of
from finetop.core.plan.settled import settle
from finetop.core.plan.shape import shape_of
from finetop.core.plan.workload import (
    UNBUILT,
    Known,
    capacity_of,
    dtype_of,
    saved_bytes,
    teacher_of,
    workload,
)
from finetop.core.recipe.parallel import of_ranks, reads_once
from finetop.core.recipe.schema import Recipe

if TYPE_CHECKING:
    from finetop.core.plan.machine import Machine


def estimate(
    recipe: Recipe,
    config: Mapping[str, Any],
    machine: Machine,
    known: Known | None = None,
    *,
    gpus: int | None = None,
) -> Plan:
    """Plan a run of a recipe on a machine, from the model's config.json.

    `gpus` overrides the recipe's. Without lengths every row is assumed to be as long as data.max_tokens. Raises
    BadInput for a config that is not a model's.
    """
    known = known or Known()
    shape = known.moving.shape or shape_of(recipe, config)
    count = gpus if gpus is not None else (recipe.budget.gpus or 1)
    asked = recipe
    recipe, decided = settle(asked, shape, machine, known, count)
    work = workload(recipe, shape, machine, known, count)
    phase, parts = memory.peak(work)
    capacity = capacity_of(recipe, machine)
    need = memory.need(parts, on_gpu=work.on_gpu)
    verdict = judge(memory.total(parts), need, capacity)
    fix = None
    if capacity is not None and verdict in ("tight", "no"):
        fix = find_fix(asked, shape, machine, known, capacity, count)
    lengths, teacher = known.lengths, teacher_of(recipe, shape, known)
    steps = None if lengths is None else steps_of(recipe, lengths, count)
    disk = disk_of(recipe, shape, work, machine, steps)
    time = None
    if steps is not None and lengths is not None:
        run = recipe, shape, work, machine, known.past, steps, disk, count
        time = time_of(*run, eval_tokens=lengths.eval_tokens, teacher=teacher)
    return Plan(
        model=recipe.model.id,
        family=shape.family or "unknown",
        parameters=shape.parameters,
        trainable=work.trained.numbers,
        device=machine.device,
        device_name=machine.name,
        dtype=dtype_of(recipe, shape, machine),
        parts=parts,
        estimate=memory.total(parts),
        need=need,
        capacity=capacity,
        verdict=verdict,
        fix=fix,
        gpus=count,
        sharded=ways(recipe, shape, machine, known, count) if count > 1 else (),
        steps=steps,
        time=time,
        disk=disk,
        notes=(*notes(recipe, shape, work, known, machine, count), *(f"{words}." for words in decided)),
        host=host_of(recipe, config, shape, work, known, machine),
        phase=phase,
    )


def host_of(
    recipe: Recipe, config: Mapping[str, Any], shape: Shape, work: Workload, known: Known, machine: Machine
) -> Host | None:
    """Return a machine's memory use beside its GPUs, if they share a model; None if it is not sharded."""
    if not (work.divided and work.on_gpu):
        return None
    here = -(-work.ranks // (recipe.budget.nodes or 1))
    # The file may not have fused experts.
    is_new = recipe.objective.name == "pretrain" or bool(shape.experts)
    converts = is_new or saved_bytes(shape) != work.compute_bytes
    readers = 1 if reads_once(recipe, config) else here
    needed = memory.host_memory(work, known.tokens, here, readers=readers, converts=converts)
    return Host(here, needed, machine.host)


def judge(estimated: float, need: float, capacity: float | None) -> Verdict:
    """Return "fits" if the estimate with its margin fits, "tight" if only the estimate does, else "no"."""
    if capacity is None:
        return "unknown"
    if need <= capacity:
        return "fits"
    return "tight" if estimated <= capacity else "no"


def find_fix(
    recipe: Recipe, shape: Shape, machine: Machine, known: Known, capacity: float, ranks: int = 1
) -> Fix | None:
    """Return the cheapest change with which the run fits, or None."""
    known = dataclasses.replace(known, moving=UNBUILT)  # it was counted for this method
    for change in changes(recipe, in_float16=dtype_of(recipe, shape, machine) == "float16"):
        changed, _ = settle(change.recipe, shape, machine, known, ranks)
        _, parts = memory.peak(workload(changed, shape, machine, known, ranks))
        need = memory.need(parts, on_gpu=machine.device == "gpu")
        if need <= capacity:
            return Fix(change.text, change.sets, need)
    return None


WAYS: dict[Literal["ddp", "fsdp"], str] = {"ddp": "a copy on each (ddp)", "fsdp": "weights sharded (fsdp)"}


def ways(recipe: Recipe, shape: Shape, machine: Machine, known: Known, ranks: int) -> tuple[Sharded, ...]:
    """Return what each GPU holds in each way the recipe can train on several (core/recipe/parallel.py)."""
    sharded = []
    for way in WAYS:
        train = msgspec.structs.replace(recipe.train, parallel=way)
        variant = msgspec.structs.replace(recipe, train=train)
        if not list(of_ranks(variant, ranks)):
            _, parts = memory.peak(workload(variant, shape, machine, known, ranks))
            sharded.append(Sharded(WAYS[way], memory.total(parts)))
    return tuple(sharded)
