"""AdamW on 16-bit weights with stochastic rounding, so that small updates count on average.

An update that is a tenth of the distance between two bfloat16 numbers moves a weight in one of ten cases, by all of
that distance; rounding to nearest would always lose it. Both moments are kept in 16 bits with the same rounding, since
the second one changes by 0.1 % per step, less than bfloat16's precision: 8 bytes per number with its gradient, as in
plain 16-bit AdamW.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from finetop.core.recipe.master import SLICE

LOST_BITS = 16  # of float32's 32 bits, those that bfloat16 lacks


class StochasticAdamW(Optimizer):  # type: ignore[misc]  # the library is untyped
    """AdamW (arXiv:1711.05101) for bfloat16 weights; all arithmetic is in float32."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step on every weight that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, group)
        return loss

    def _move(self, weight: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(weight)
            state["exp_avg_sq"] = torch.zeros_like(weight)
        state["step"] += 1
        tensors = weight, weight.grad, state["exp_avg"], state["exp_avg_sq"]
        if not all(tensor.is_contiguous() for tensor in tensors):
            _move_piece(*tensors, state["step"], group)
            return
        pieces = (tensor.view(-1).split(SLICE) for tensor in tensors)
        for part, slope, first, second in zip(*pieces, strict=True):
            _move_piece(part, slope, first, second, state["step"], group)


def _move_piece(
    weight: Tensor, slope: Tensor, first: Tensor, second: Tensor, step: int, group: dict[str, Any]
) -> None:
    """Move a part of a weight. In float32 there are six numbers of 4 bytes for each of its numbers."""
    keep, keep_square = group["betas"]
    gradient = slope.float()
    mean = first.float().lerp_(gradient, 1 - keep)
    square = second.float().mul_(keep_square).addcmul_(gradient, gradient, value=1 - keep_square)
    length = square.sqrt().div_(math.sqrt(1 - keep_square**step)).add_(group["eps"])
    moved = weight.float().mul_(1 - group["lr"] * group["weight_decay"])
    moved.addcdiv_(mean, length, value=-group["lr"] / (1 - keep**step))
    for held, exact in ((first, mean), (second, square), (weight, moved)):
        put_rounded(held, exact)


def make(trainer: Any) -> StochasticAdamW:
    """Build the optimizer of a trainer, of transformers or PPO's own, from its arguments."""
    arguments = trainer.args
    return StochasticAdamW(
        weight_groups(trainer.model, arguments.weight_decay),
        lr=arguments.learning_rate,
        betas=(arguments.adam_beta1, arguments.adam_beta2),
        eps=arguments.adam_epsilon,
    )


def put_rounded(held: Tensor, exact: Tensor) -> None:
    """Round float32 numbers into a tensor; for bfloat16 stochastically, so that the mean is exact.

    A random number added to the bits that will be cut off carries over with the right probability.
    """
    if held.dtype == torch.bfloat16:
        bits = exact.view(torch.int32)
        bits.add_(torch.randint_like(bits, 1 << LOST_BITS)).bitwise_and_(-(1 << LOST_BITS))
    held.copy_(exact)


def weight_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Return the trained weights in two groups: only matrices get weight decay, as in transformers."""
    from transformers.trainer_pt_utils import get_parameter_names

    plain = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]
    decayed = set(get_parameter_names(model, [torch.nn.LayerNorm], plain))
    moving = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for name, weight in moving if name in decayed], "weight_decay": weight_decay},
        {"params": [weight for name, weight in moving if name not in decayed], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
