"""What the kinds of LoRA share: their configuration for PEFT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peft import LoraConfig


def lora_config(options: Any, **more: Any) -> LoraConfig:
    """Build PEFT's configuration from the settings that every kind of LoRA has; `more` are PEFT's own, and win."""
    from peft import LoraConfig

    settings: dict[str, Any] = {
        "r": options.rank,
        "lora_alpha": options.alpha,  # typed as int, but only ever divided
        "lora_dropout": options.dropout,
        "target_modules": _listed(options.target_modules),
        "modules_to_save": list(options.modules_to_save) or None,
    }
    return LoraConfig(task_type="CAUSAL_LM", **{**settings, **more})


def _listed(target_modules: str | tuple[str, ...]) -> str | list[str]:
    return target_modules if isinstance(target_modules, str) else list(target_modules)
