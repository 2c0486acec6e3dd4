"""Whether vLLM loads an exported adapter, by its rules: LoRA's two matrices for each layer, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that --max-lora-rank takes; 16 is its default
MATRICES = (".lora_A.weight", ".lora_B.weight")


def obstacle(config: Mapping[str, Any], tensors: Iterable[str]) -> str:
    """Return why vLLM can't load an adapter, from its adapter_config.json and the names of its tensors; or ''."""
    kind = str(config.get("peft_type"))
    if kind != "LORA":
        return f"it is of the kind {kind}, not LoRA"
    if config.get("use_dora"):
        return "it has DoRA's magnitudes"
    if saved := config.get("modules_to_save"):
        return f"{', '.join(map(str, saved))} is trained as a whole"
    if config.get("bias", "none") != "none":
        return "its biases are trained"
    for name in ("rank_pattern", "alpha_pattern"):
        if config.get(name):
            return f"layers differ in rank or alpha ({name}), which vLLM ignores"
    if config.get("target_parameters"):
        return "experts are trained (target_parameters)"
    if rank_of(config) is None:
        return f"rank {config.get('r')} is above {RANKS[-1]}"
    other = next((name for name in tensors if not name.endswith(MATRICES)), None)
    return "" if other is None else f"it has {other}"


def rank_of(config: Mapping[str, Any]) -> int | None:
    """Return the least --max-lora-rank with which an adapter loads."""
    return next((rank for rank in RANKS if rank >= int(config.get("r") or 0)), None)


def command(config: Mapping[str, Any], base: str, name: str, folder: str) -> str:
    """Return how to serve an adapter."""
    return f"vllm serve {base} --enable-lora --max-lora-rank {rank_of(config)} --lora-modules {name}={folder}"
