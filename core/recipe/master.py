"""The number format in which trained weights are held: the one rule of plan and trainer.

Pure 16-bit weights do not learn at a usual rate: 8 bits of precision round a step of 2e-5 away on 96 % of
SmolLM2-135M's projection weights. Held in float32 they take every step; with stochastic rounding, on average.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from finetop.core.recipe.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Train

Held = Literal["float32", "stochastic", "nearest"]

# bitsandbytes 0.50 holds the states of an 8-bit optimizer in 32 bits for tensors smaller than SMALLEST_8BIT, and, as
# transformers' Trainer asks, for each nn.Embedding: a tied head is one too.
SMALLEST_8BIT = 4096  # parameters of a tensor
SHARE = 0.85  # of the memory for weights, gradients and optimizer states; the rest is for activations
FLOAT32 = 4.0
# Stochastic rounding computes in float32 on so many numbers of a weight at a time: an embedding of 128k words by 4,096
# would take 11.7 GiB at once, and takes 384 MiB.
SLICE = 1 << 24
SLICE_BYTES = 24.0  # for each of them


def optimizer_bytes(train: Train, held: float, wide: float = 0.0) -> float:
    """Return the mean bytes of optimizer state per trained parameter, which is held in `held` bytes.

    `wide` is the share of the parameters whose states an 8-bit optimizer holds in 32 bits (`is_wide`).
    """
    return OPTIMIZERS[train.optimizer].state_bytes(held, wide)


def is_wide(numbers: float, *, is_embedding: bool = False) -> bool:
    """Return True if an 8-bit optimizer holds the states of a tensor of so many parameters in 32 bits."""
    return is_embedding or numbers < SMALLEST_8BIT


def float32_bytes(train: Train, computed: float, wide: float = 0.0) -> float:
    """Return the bytes per trained parameter: itself, its gradient, the optimizer's states, a copy to compute with.

    18 with AdamW and bfloat16: autocast rounds each weight once per pass, and keeps the copy for the backward pass.
    """
    return 2 * FLOAT32 + optimizer_bytes(train, FLOAT32, wide) + computed


def held_in(
    train: Train,
    computed: float,
    moving: float,
    still: float,
    memory: float | None,
    wide: float = 0.0,
    *,
    in_float16: bool = False,
) -> Held:
    """Return how trained weights are held if the model computes in 16 bits.

    `moving` and `still` count trained and frozen parameters, `computed` is the bytes of one, `memory` the bytes of the
    device (None: unknown), `wide` as for `optimizer_bytes`. With float16 arithmetic (`in_float16`) only float32 works:
    the loss is scaled, and gradients in float16 can't be scaled back.
    """
    if train.master != "auto":
        return train.master
    if in_float16 or memory is None:
        return "float32"
    if moving * float32_bytes(train, computed, wide) + still * computed <= SHARE * memory:
        return "float32"
    return "stochastic" if OPTIMIZERS[train.optimizer].rounds else "nearest"
