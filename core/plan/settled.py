"""What `auto` means for a run on a machine: the one decision of plan and job, which gets it through run_job."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from msgspec import structs

from finetop.core.models import kernels
from finetop.core.models.resolved import Moving
from finetop.core.plan import memory
from finetop.core.plan.lengths import Lengths
from finetop.core.plan.machine import Machine, read_machine
from finetop.core.plan.shape import shape_of
from finetop.core.plan.workload import Known, capacity_of, workload
from finetop.core.plugins import METHODS
from finetop.core.recipe.schema import Recipe
from finetop.core.wording.units import gib_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from finetop.core.models.shape import Shape
    from finetop.core.runtime.home import Home

CHECKPOINTING = "train.activation_checkpointing"
FUSED = "fused kernels of liger-kernel are used (train.kernels: auto)"


def settle(
    recipe: Recipe, shape: Shape, machine: Machine, known: Known, ranks: int = 1
) -> tuple[Recipe, tuple[str, ...]]:
    """Return a recipe without `auto` for fused kernels and recomputed activations, and in words what is on by it.

    Kernels come first: with them a step keeps less.
    """
    recipe, fused = _fused(recipe, shape, machine)
    recipe, again = _recomputed(recipe, shape, machine, known, ranks)
    return recipe, tuple(words for words in (fused, again) if words)


def _fused(recipe: Recipe, shape: Shape, machine: Machine) -> tuple[Recipe, str]:
    """Settle the kernels: fused on a GPU for models that they are made for, unless torch.compile fuses them itself."""
    train = recipe.train
    if train.kernels != "auto":
        return recipe, ""
    is_plain = not (train.compile or recipe.model.trust_remote_code)
    on = machine.device == "gpu" and is_plain and kernels.suit(shape.family)
    train = structs.replace(train, kernels="liger" if on else "none")
    return structs.replace(recipe, train=train), FUSED if on else ""


def _recomputed(
    recipe: Recipe, shape: Shape, machine: Machine, known: Known, ranks: int
) -> tuple[Recipe, str]:
    """Settle recomputed activations, and return why they are recomputed; empty if not.

    They are if a step with all activations does not fit with its margin. On a CPU what counts is the machine's whole
    memory, as it is the same when the job begins.
    """
    if recipe.train.activation_checkpointing != "auto":
        return recipe, ""
    kept = _with(recipe, again=False)
    on_gpu = machine.device == "gpu"
    capacity = capacity_of(recipe, machine if on_gpu else replace(machine, memory=machine.total))
    if capacity is None or CHECKPOINTING in METHODS.load(recipe.method.name).refuses:
        return kept, ""
    need = memory.need(memory.parts(workload(kept, shape, machine, known, ranks)), on_gpu=on_gpu)
    if need <= capacity:
        return kept, ""
    why = f"a step that keeps them needs {gib_of(need)} GiB with margin, of {gib_of(capacity)}"
    return _with(recipe, again=True), f"activations are recomputed ({CHECKPOINTING}: auto): {why}"


def settle_in_job(
    recipe: Recipe,
    config: Mapping[str, Any],
    moving: Moving,
    home: Home,
    device: str,
    total: float | None,
    longest: int,
    ranks: int,
) -> tuple[Recipe, tuple[str, ...]]:
    """Settle a recipe as its plan does, with what its job has found: a device of `total` bytes, the longest row."""
    on_gpu = device != "cpu"
    machine = read_machine(home.root, measure=False, use_gpu=on_gpu)
    machine = replace(machine, device="gpu" if on_gpu else "cpu", memory=total, total=total)
    lengths = Lengths(rows=0, eval_rows=0, tokens=0, longest=longest, how="", longest_kept=longest)
    shape = moving.shape or shape_of(recipe, config)
    return settle(recipe, shape, machine, Known(lengths=lengths, moving=moving), ranks)


def _with(recipe: Recipe, *, again: bool) -> Recipe:
    return structs.replace(recipe, train=structs.replace(recipe.train, activation_checkpointing=again))
