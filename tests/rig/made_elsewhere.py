"""A base model and an adapter of it as other programs write them: configurations and small weights, without torch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy
from safetensors.numpy import save_file

if TYPE_CHECKING:
    from pathlib import Path

LAYER = "model.layers.0.mlp.down_proj"


def write_base(folder: Path) -> Path:
    folder.mkdir()
    config = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1}
    (folder / "config.json").write_text(json.dumps(config))
    weights = {f"{LAYER}.weight": numpy.zeros((8, 16), "float32")}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_adapter(folder: Path, base: Path | None, **config: object) -> Path:
    """Write a LoRA adapter as PEFT does; it names its base, if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    prefix = f"base_model.model.{LAYER}"
    shapes = {f"{prefix}.lora_A.weight": (2, 16), f"{prefix}.lora_B.weight": (8, 2)}
    weights = {name: numpy.ones(shape, "float32") for name, shape in shapes.items()}
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    named = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "target_modules": ["down_proj"], **config}
    named |= {} if base is None else {"base_model_name_or_path": str(base)}
    (folder / "adapter_config.json").write_text(json.dumps(named))
    return folder


def save_adapter(base: Path, folder: Path, weight: float) -> None:
    """Write a LoRA adapter of the tiny model, with second matrices of `weight` times noise: 0 changes nothing."""
    import numpy
    from safetensors.numpy import save_file

    write_adapter(folder, base, lora_alpha=4)
    random = numpy.random.default_rng(1)
    matrices = {}
    for layer in range(2):
        name = f"base_model.model.model.layers.{layer}.mlp.down_proj"
        matrices[f"{name}.lora_A.weight"] = random.normal(size=(2, 128)).astype("float32")
        matrices[f"{name}.lora_B.weight"] = (weight * random.normal(size=(64, 2))).astype("float32")
    save_file(matrices, folder / "adapter_model.safetensors", metadata={"format": "pt"})
