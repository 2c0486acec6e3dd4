"""What approaches that train share: the adapter and the learning rate."""

from __future__ import annotations

from typing import Any

import msgspec

from finetop.core.recipe.schema import Recipe
from finetop.core.train import methods

FULL_RATE = 0.1  # of an adapter's learning rate: 2e-5 for full, where 2e-4 is usual for LoRA
NO_ROWS = "data.train has no rows to learn from"


def is_adapter(recipe: Recipe) -> bool:
    """Return True if the recipe's own method adds an adapter to the base."""
    return methods.load(recipe.method.name).keeps_base


def adapter(recipe: Recipe, quantize: str) -> dict[str, Any]:
    """Return the recipe's own adapter if it supports this quantization, else LoRA, with its learning rate."""
    name, own = recipe.method.name, is_adapter(recipe)
    fits = own and quantize in methods.load(name).quantized
    options = msgspec.to_builtins(recipe.method.options) if fits else {}
    rate = recipe.train.learning_rate if own else recipe.train.learning_rate / FULL_RATE
    method = {"name": name if fits else "lora", **options}
    return {"method": method, "model.quantize": quantize, "train.learning_rate": min(1.0, rate)}


def full(recipe: Recipe) -> dict[str, Any]:
    """Return the settings of full tuning: a tenth of the learning rate if the recipe's is for an adapter."""
    rate = recipe.train.learning_rate * (FULL_RATE if is_adapter(recipe) else 1.0)
    return {"method": {"name": "full"}, "model.quantize": "none", "train.learning_rate": rate}
