"""The memory of the machine beside its GPUs, where a model is divided over them: what all ranks on it hold there.

Counted by how weights are read and written (core/train/parallel.py, core/train/resume/sharded.py); a file's own pages
are not, which the system drops where room is wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.preflight.plan.memory import CPU_FIXED_BYTES, DATA_BYTES, LINEAR_BYTES
from finetop.core.recipe import parallel

if TYPE_CHECKING:
    from finetop.core.preflight.plan.memory import Workload

# A process with a GPU beside its libraries' pages: the driver's own, kernels, pinned rows. An estimate that no GPU has
# confirmed.
DRIVER_BYTES = 1.5e9
PARTS_HELD = (
    4  # a file of a state in parts: copied from the GPU, as bytes, in its file's form; and the one before
)


def held(work: Workload, tokens: float, here: int, *, converts: bool) -> float:
    """Count the bytes that ranks hold on one machine at their worst moment, `here` of them, the first among them.

    `tokens` are of all rows, which each rank reads; `converts` where the weights' file has another number format than
    the run, or there is none.
    """
    each = CPU_FIXED_BYTES + DRIVER_BYTES + tokens * DATA_BYTES
    return here * each + max(_reading(work, here, converts=converts), _writing(work, here))


def _reading(work: Workload, here: int, *, converts: bool) -> float:
    """The first rank reads the model, whose file is mapped; in fewer bits each rank has one of its own."""
    whole, size = work.shape.parameters, work.compute_bytes
    if work.quantize != "none":
        packed = work.shape.linear_weights * (LINEAR_BYTES[work.quantize] - size)
        return here * (whole * size + packed)
    return whole * size if converts else 0.0


def _writing(work: Workload, here: int) -> float:
    """The first rank puts the weights together, and the state where it is not written in parts."""
    whole, moving, size = work.shape.parameters, work.trained, work.compute_bytes
    if moving.beside:
        return moving.numbers * (2 * work.trained_bytes + work.optimizer_bytes)
    state = moving.numbers * work.optimizer_bytes + (whole * 4.0 if size < 4 else 0.0)
    if parallel.STATE_BYTES * whole > parallel.IN_PARTS_ABOVE:
        state = here * min(PARTS_HELD * float(parallel.PART_BYTES), PARTS_HELD * state / work.ranks)
    return whole * size + state
