"""How fast a run would be: from what earlier runs here reached, else from the device's arithmetic, said as such."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.preflight.plan.machine import Machine
    from finetop.core.preflight.plan.method_options import Trained
    from finetop.core.preflight.plan.shape import Shape

# Share of a device's arithmetic that training reaches: SmolLM2-135M, full, float32, 131 tokens/s on two cores of
# 74 GFLOP/s is 0.72; on GPUs 0.3 to 0.5 is usual for dense models, less for small ones.
CPU_SHARE, GPU_SHARE = 0.65, 0.35


@dataclass(frozen=True, slots=True)
class PastRun:
    """What an earlier run on this machine reached."""

    name: str
    model: str
    method: str
    objective: str
    on_gpu: bool
    tokens_per_s: float
    parameters: float = 0.0
    trainable: float = 0.0


@dataclass(frozen=True, slots=True)
class Speed:
    tokens_per_s: float
    source: str  # in words
    is_measured: bool


def flops_per_token(shape: Shape, trained: Trained, *, checkpointing: bool) -> float:
    """Arithmetic of a token in a step: 2 for each weight that it meets, up to 4 on the way back (arXiv:2001.08361)."""
    width = 3 if shape.is_gated else 2
    weights = shape.linear_weights + shape.output_weights
    if shape.experts:
        weights += width * shape.hidden * shape.mlp_width * shape.layers
    share = trained.depth * (2 if trained.beside and trained.beside == trained.numbers else 4)
    return weights * (2.0 + share + (2.0 if checkpointing else 0.0)) + 6.0 * trained.beside


def predict(
    model: str,
    method: str,
    flops: float,
    machine: Machine,
    past: Sequence[PastRun],
) -> Speed | None:
    """Say how many tokens a second a run would reach; None where nothing is known.

    `past` is newest first; `flops` is what one of its tokens costs.
    """
    here = [run for run in past if run.on_gpu == (machine.device == "gpu") and run.tokens_per_s > 0]
    for run in here:
        if (run.model, run.method) == (model, method):
            return Speed(run.tokens_per_s, f"as run {run.name} reached", True)
    for run in here:
        if run.parameters:
            share = 6.0 if run.trainable * 2 > run.parameters else 4.0
            reached = run.tokens_per_s * run.parameters * share
            return Speed(reached / flops, f"at the arithmetic that run {run.name} reached", True)
    if machine.flops is None:
        return None
    share = GPU_SHARE if machine.device == "gpu" else CPU_SHARE
    size, unit = (1e12, "TFLOP/s") if machine.flops >= 1e12 else (1e9, "GFLOP/s")
    words = f"a guess: {share:.0%} of the {machine.flops / size:.0f} {unit} of {machine.name}"
    return Speed(machine.flops * share / flops, words, False)
