"""The optimizers, a row each: what the trainer calls one, the state it holds, and what it works with."""

from __future__ import annotations

from dataclasses import dataclass

STATES_32BIT = 8.0


@dataclass(frozen=True)
class Optimizer:
    """An optimizer's facts. Its states are counted in the bytes of the trained number, or in bytes if in 8 bits."""

    on_gpu: str  # what transformers' Trainer calls it
    on_cpu: str | None  # the same; None if it needs a GPU
    states: float  # for each trained number
    in_8_bits: bool = False
    shards: bool = False  # tested with sharded weights (fsdp)
    rounds: bool = False  # we have one of its kind that rounds 16-bit weights stochastically

    def state_bytes(self, held: float, wide: float = 0.0) -> float:
        """Return the mean bytes of its states per trained number, as `master.optimizer_bytes` counts them."""
        if self.in_8_bits:
            return self.states + wide * (STATES_32BIT - self.states)
        return self.states * held


# Two numbers in 8 bits, with a float32 scale for each 256 of either: arXiv:2110.02861.
_TWO_IN_8_BITS = 2 + 2 * 4 / 256
OPTIMIZERS = {
    "adamw": Optimizer("adamw_torch_fused", "adamw_torch", 2.0, shards=True, rounds=True),
    "adafactor": Optimizer("adafactor", "adafactor", 0.02),
    "sgd": Optimizer("sgd", "sgd", 0.0, shards=True),
    "adamw-8bit": Optimizer("adamw_bnb_8bit", None, _TWO_IN_8_BITS, in_8_bits=True),
    # Its states move to the host when the GPU is full.
    "paged-adamw-8bit": Optimizer("paged_adamw_8bit", None, _TWO_IN_8_BITS, in_8_bits=True),
}
