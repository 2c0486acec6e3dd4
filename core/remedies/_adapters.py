"""Adapters that add s times something to the weights: which ones do, and another s."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from finetop.core.errors import FinetopError

if TYPE_CHECKING:
    from pathlib import Path

SCALED = ("LORA", "ADALORA", "LOHA", "LOKR")  # PEFT's types
# Settings of PEFT with which the scale is not all: a length of its own (DoRA), weights that are replaced.
NOT_ALONE = (
    "use_dora",
    "modules_to_save",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "arrow_config",
)


def has_scale(folder: Path) -> bool:
    """Say if a checkpoint is an adapter whose change of the weights is proportional to its scale."""
    try:
        said = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # a full model; or broken, which loading it tells
    is_alone = not any(said.get(key) for key in NOT_ALONE) and said.get("bias") in (None, "none")
    return said.get("peft_type") in SCALED and is_alone


def scaled(model: Any, strength: float) -> Any:
    """Scale a loaded adapter's change of the weights; base and adapter stay as they are. Raises FinetopError."""
    from peft.tuners.lora import LoraLayer
    from peft.tuners.lycoris_utils import LycorisLayer

    found = 0
    for name, layer in model.named_modules():
        if not isinstance(layer, LoraLayer | LycorisLayer):
            continue
        if getattr(layer, "lora_variant", None):
            raise FinetopError(f"{name}: the change of this adapter is not proportional to its scale.")
        for adapter in layer.active_adapters:
            layer.scaling[adapter] *= strength
            found += 1
    if not found:
        raise FinetopError("no layer of this adapter has a scale.")
    return model
