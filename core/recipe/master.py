"""In which number format the weights that move are held: the one rule of plan and trainer.

Pure 16-bit weights do not learn at a usual rate: 8 bits behind the point round a step of 2e-5 away on 96 % of
SmolLM2-135M's projection weights. Held in float32 they take every step; rounded by chance they do so on average.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Train

Held = Literal["float32", "stochastic", "nearest"]

# Bytes of the optimizer's states for each number that moves, by the bytes that it is held in.
STATES = {"adamw": 2.0, "adafactor": 0.02, "sgd": 0.0}
# Two numbers in 8 bits, with a float32 scale for each 256 of either. bitsandbytes 0.50 holds both in 32 bits for what
# is smaller than SMALLEST_8BIT, and for each nn.Embedding, as transformers' Trainer asks it to: a tied head is one too.
STATES_8BIT = {"adamw-8bit": 2 + 2 * 4 / 256, "paged-adamw-8bit": 2 + 2 * 4 / 256}
STATES_32BIT = 8.0
SMALLEST_8BIT = 4096  # numbers of a tensor
SHARE = 0.85  # of the memory that weights, gradients and states may take; the rest is for activations
FLOAT32 = 4.0


def optimizer_bytes(train: Train, held: float, wide: float = 0.0) -> float:
    """Return the mean bytes of the optimizer's states for a number that moves, which is held in so many bytes.

    `wide` is the share of the numbers whose states an 8-bit optimizer holds in 32 bits (`is_wide`).
    """
    states = STATES_8BIT.get(train.optimizer)
    if states is None:
        return STATES.get(train.optimizer, 2.0) * held
    return states + wide * (STATES_32BIT - states)


def is_wide(numbers: float, *, is_embedding: bool = False) -> bool:
    """Return whether an 8-bit optimizer holds the states of a tensor of so many numbers in 32 bits."""
    return is_embedding or numbers < SMALLEST_8BIT


def float32_bytes(train: Train, computed: float, wide: float = 0.0) -> float:
    """Return the bytes of a number that moves: itself, its gradient, the optimizer's states, a copy to compute with.

    18 with AdamW beside bfloat16: autocast rounds each weight once a pass, and keeps that for the backward pass.
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
    """Say how weights that move are held where the model computes in 16 bits.

    `moving` and `still` count numbers, `computed` is the bytes of one, `memory` the bytes of the device (None: not
    known), `wide` as for `optimizer_bytes`. Beside arithmetic `in_float16` there is float32 alone: its loss is scaled,
    and gradients in float16 can't be scaled back.
    """
    if train.master != "auto":
        return train.master
    if in_float16 or memory is None:
        return "float32"
    if moving * float32_bytes(train, computed, wide) + still * computed <= SHARE * memory:
        return "float32"
    return "stochastic" if train.optimizer == "adamw" else "nearest"
