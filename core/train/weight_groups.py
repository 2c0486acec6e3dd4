"""Splits trained weights into those with weight decay and the others."""

from __future__ import annotations

from typing import Any

import torch


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
