"""The loss scale of training in float16: its value after each step, and which steps were skipped for it.

float16 ranges from 6e-8 to 65,504. The loss is scaled before the backward pass, so that small gradients are not lost,
and gradients are divided by the scale before they are clipped. A step whose gradients overflow is skipped and the scale
halved; after 2,000 steps without an overflow it is doubled (torch.amp.GradScaler).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from finetop.core.train.alarms.nan import LOSS_SCALE

if TYPE_CHECKING:
    import torch


class LossScale(TrainerCallback):  # type: ignore[misc]  # the library is untyped
    """Adds the loss scale to a step's log line. It runs before the callbacks that read that line."""

    def __init__(self) -> None:
        self.scaler: Any = None

    def watch(self, trainer: Any) -> None:
        """Store a trainer's loss scaler; None if it trains in another number format."""
        self.scaler = scaler_of(trainer)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.scaler is not None and "loss" in kwargs["logs"]:
            kwargs["logs"][LOSS_SCALE] = float(self.scaler.get_scale())


def scaler_of(trainer: Any) -> Any:
    """Return a trainer's loss scaler, or None."""
    holder = trainer if hasattr(trainer, "scaler") else getattr(trainer, "accelerator", None)
    return getattr(holder, "scaler", None)


def unscale(trainer: Any, weights: list[torch.Tensor]) -> None:
    """Divide gradients by the loss scale, if any, for a step that is undone; those that overflowed become 0."""
    scaler = scaler_of(trainer)
    if scaler is None:
        return
    scale = float(scaler.get_scale())
    for weight in weights:
        if weight.grad is not None:
            weight.grad.div_(scale).nan_to_num_(0.0, 0.0, 0.0)
