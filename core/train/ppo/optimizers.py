"""The optimizer that the arguments name, and schedules that begin at any step, without transformers' trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import TrainingArguments


def make_optimizer(model: Any, arguments: TrainingArguments) -> Any:
    """Make the optimizer that the arguments name, with weight decay on matrices alone, as transformers does."""
    from torch import nn
    from transformers import Trainer
    from transformers.trainer_pt_utils import get_parameter_names

    plain = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]
    decayed = set(get_parameter_names(model, [nn.LayerNorm], plain))
    moving = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    groups = [
        {
            "params": [weight for name, weight in moving if name in decayed],
            "weight_decay": arguments.weight_decay,
        },
        {"params": [weight for name, weight in moving if name not in decayed], "weight_decay": 0.0},
    ]
    kind, settings = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
    return kind([group for group in groups if group["params"]], **settings)


def put_at(schedule: Any, step: int) -> None:
    """Put a fresh schedule where it was after so many steps."""
    if not step:
        return
    schedule.last_epoch, schedule._step_count = step, step + 1
    rates = [rate * curve(step) for rate, curve in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)]
    for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    schedule._last_lr = rates
