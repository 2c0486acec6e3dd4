"""The memory of the machine beside its GPUs, where a model is divided over them: what all ranks on it hold there.

Counted by how weights are read and written (core/train/parallel.py, core/train/resume/sharded.py); a file's own pages
are not, which the system drops where room is wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.plan.memory import CPU_FIXED_BYTES, DATA_BYTES
from finetop.core.recipe import parallel

if TYPE_CHECKING:
    from finetop.core.plan.memory import Workload

# A process with a GPU beside its libraries' pages: the driver's own, kernels, pinned rows. An estimate that no GPU has
# confirmed.
DRIVER_BYTES = 1.5e9
PARTS_HELD = (
    4  # a file of a state in parts: copied from the GPU, as bytes, in its file's form; and the one before
)


def held(work: Workload, tokens: float, here: int, *, readers: int, converts: bool) -> float:
    """Count the bytes that ranks hold on one machine at their worst moment, `here` of them, the first among them.

    `tokens` are of all rows, which each rank reads; `readers` of them read the model; `converts` where its file has
    another number format than the run, or there is none.
    """
    each = CPU_FIXED_BYTES + DRIVER_BYTES + tokens * DATA_BYTES
    return here * each + max(readers * _read(work, converts=converts), _written(work, here))


def _read(work: Workload, *, converts: bool) -> float:
    """What a rank that reads the model holds of it: the file is mapped."""
    whole, size = work.shape.parameters, work.compute_bytes
    if work.linear_bytes is not None:
        return whole * size + work.shape.linear_weights * (work.linear_bytes - size)
    return whole * size if converts else 0.0


def _written(work: Workload, here: int) -> float:
    """What the first rank puts together for a checkpoint: the weights, and the state where it is not in parts."""
    whole, moving, size = work.shape.parameters, work.trained, work.compute_bytes
    if moving.beside:
        return moving.numbers * (2 * work.trained_bytes + work.optimizer_bytes)
    state = moving.numbers * work.optimizer_bytes + (whole * 4.0 if size < 4 else 0.0)
    if parallel.STATE_BYTES * whole > parallel.IN_PARTS_ABOVE:
        state = here * min(PARTS_HELD * float(parallel.PART_BYTES), PARTS_HELD * state / work.ranks)
    return whole * size + state
