"""A machine's memory beside its GPUs when a model is sharded over them: what all its ranks hold there.

Derived from how weights are read and written (core/train/parallel.py, core/train/resume/sharded.py); a file's pages
are not counted, because the system drops them when memory is needed.
"""

from __future__ import annotations

from finetop.core.plan.memory import CPU_FIXED_BYTES, DATA_BYTES, Workload
from finetop.core.recipe import parallel

# A process with a GPU, beside its libraries' pages: the driver's own, kernels, pinned rows. An estimate, not yet
# confirmed on a GPU.
DRIVER_BYTES = 1.5e9
# Files of a sharded state: copied from the GPU, as bytes, in the file format; and the previous one.
PARTS_HELD = 4


def held(work: Workload, tokens: float, here: int, *, readers: int, converts: bool) -> float:
    """Return the bytes that `here` ranks, the first among them, hold on one machine at their peak.

    `tokens` are of all rows, which each rank reads; `readers` of them read the model; `converts` is True if its file
    has another number format than the run, or there is no file.
    """
    each = CPU_FIXED_BYTES + DRIVER_BYTES + tokens * DATA_BYTES
    return here * each + max(readers * _read(work, converts=converts), _written(work, here))


def _read(work: Workload, *, converts: bool) -> float:
    """Return what a rank that reads the model holds of it: the file is mapped."""
    whole, size = work.shape.parameters, work.compute_bytes
    if work.linear_bytes is not None:
        return whole * size + work.shape.linear_weights * (work.linear_bytes - size)
    return whole * size if converts else 0.0


def _written(work: Workload, here: int) -> float:
    """Return what the first rank gathers for a checkpoint: the weights, and the state unless it is sharded."""
    whole, moving, size = work.shape.parameters, work.trained, work.compute_bytes
    if moving.beside:
        return moving.numbers * (2 * work.trained_bytes + work.optimizer_bytes)
    state = moving.numbers * work.optimizer_bytes + (whole * 4.0 if size < 4 else 0.0)
    if parallel.STATE_BYTES * whole > parallel.IN_PARTS_ABOVE:
        state = here * min(PARTS_HELD * float(parallel.PART_BYTES), PARTS_HELD * state / work.ranks)
    return whole * size + state
