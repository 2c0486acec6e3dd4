"""Trained weights kept in float32 with 16-bit computation, or in 16 bits with stochastic rounding (train.master)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from finetop.core.errors import BadInput
from finetop.core.models import shards
from finetop.core.models.devices import memory_of
from finetop.core.models.engine import Engine
from finetop.core.recipe import master
from finetop.core.recipe.master import Held
from finetop.core.recipe.optimizers import OPTIMIZERS
from finetop.core.recipe.schema import Recipe
from finetop.core.train import methods

WORDS = {
    "float32": "trained weights are kept in float32; computation is in {}",
    "stochastic": "trained weights are kept in {} and rounded stochastically; so is the optimizer's state",
    "nearest": "trained weights are kept in {} and rounded to nearest: updates far smaller than a weight are lost",
}


def hold(model: Any, recipe: Recipe, dtype: str, device: str) -> Held | None:
    """Set the format of the trained weights as the recipe says, before a trainer is made; None if there is no choice.

    Adapters are float32 already; other weights trained beside one become so only in float16. Raises BadInput for an
    optimizer without stochastic rounding, and if float16 needs more memory than there is.
    """
    if dtype == "float32":
        return None
    if methods.load(recipe.method.name).keeps_base:
        return exact(model) if dtype == "float16" else None
    weights = [(weight.numel(), weight.requires_grad) for weight in model.parameters()]
    moving, still = (sum(count for count, moves in weights if moves is wanted) for wanted in (True, False))
    memory, in_float16 = memory_of(device, recipe.budget.memory_gib), dtype == "float16"
    wide = wide_numbers(model) / max(1, moving)
    held = master.held_in(recipe.train, 2.0, moving, still, memory, wide, in_float16=in_float16)
    if held == "stochastic" and not OPTIMIZERS[recipe.train.optimizer].rounds:
        message = f"train.master: stochastic works only with optimizer adamw, not {recipe.train.optimizer}."
        raise BadInput(message, hint="Set train.optimizer to adamw, or train.master to float32.")
    if held == "stochastic" and dtype != "bfloat16":
        message = f"train.master: stochastic rounds bfloat16 weights, not {dtype}."
        raise BadInput(message, hint="Set model.dtype to bfloat16, or train.master to float32.")
    needed = moving * master.float32_bytes(recipe.train, 2.0) + still * 2.0
    if in_float16 and memory is not None and needed > memory:
        message = f"train.master: in float16, trained weights are kept in float32, which needs {needed / 2**30:.1f} GiB"
        hint = (
            "Set method.name to lora, or use a GPU with bfloat16, where weights are rounded stochastically."
        )
        raise BadInput(f"{message} of {memory / 2**30:.1f}.", hint=hint)
    if held == "float32":
        for weight in moving_weights(model):
            weight.data = weight.data.float()
    print(f"train.master: {WORDS[held].format(dtype)}", flush=True)
    return held


def exact(model: Any) -> Held | None:
    """Convert to float32 what trains in float16 beside an adapter (heads, norms): its gradients must be unscaled."""
    rounded = [weight for weight in moving_weights(model) if weight.dtype == torch.float16]
    for weight in rounded:
        weight.data = weight.data.float()
    model.held_exactly = rounded
    return "float32" if rounded else None


def moving_weights(model: Any) -> list[Tensor]:
    return [weight for weight in model.parameters() if weight.requires_grad]


def wide_numbers(model: Any) -> int:
    """Count the trained numbers whose states an 8-bit optimizer keeps in 32 bits."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    pairs = [(weight.numel(), id(weight) in embeddings) for weight in moving_weights(model)]
    return sum(count for count, is_embedding in pairs if master.is_wide(count, is_embedding=is_embedding))


def mixed(held: Held | None, dtype: str, device: str) -> Any:
    """Return a context in which float32 weights compute in 16 bits, or one that does nothing if none are kept."""
    if held != "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, getattr(torch, dtype))


@contextmanager
def as_saved(model: Any, dtype: str) -> Iterator[None]:
    """Temporarily round float32 weights, except an adapter's own, to the format in which a checkpoint is scored."""
    kind = getattr(torch, dtype)
    moving = (
        [] if shards.is_divided(model)
        else getattr(model, "held_exactly", []) if shards.is_adapter(model)
        else moving_weights(model)
    )  # fmt: skip
    held = [(w, w.data) for w in moving if w.dtype != kind]
    for weight, _ in held:
        weight.data = weight.data.to(kind)
    try:
        yield
    finally:
        for weight, data in held:
            weight.data = data


def as_written(model: Any, dtype: str, engine: Engine) -> Any:
    """Round as a checkpoint does, for an engine whose key-value cache has the weights' format; exact takes any."""
    return nullcontext() if engine == "exact" else as_saved(model, dtype)
