"""Which objectives and methods train on several GPUs, and how: one table for recipes, plans and the trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from finetop.core.plugins import METHODS
from finetop.core.recipe import protections, weight_formats
from finetop.core.recipe.optimizers import OPTIMIZERS
from finetop.core.recipe.protections import chosen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from finetop.core.recipe.protections import Problem
    from finetop.core.recipe.schema import Recipe

Way = Literal["single", "ddp", "fsdp"]
# How each objective was tested, two ranks against one: a copy on each (adapters), and sharded weights (full).
_BOTH = ("sft", "continued-pretraining", "dpo", "kto", "orpo", "reward", "pretrain")
WAYS: dict[str, tuple[Way, ...]] = {
    **dict.fromkeys(_BOTH, ("ddp", "fsdp")),
    **dict.fromkeys(("distill", "grpo", "rloo"), ("ddp",)),
}
READ_NO_WEIGHTS = ("full", "freeze", "lora")  # methods that don't read the weights when they wrap a model
# The state that a sharded run needs to resume is written in parts if it is larger than this: each weight and AdamW's
# two states, in float32. A part is what each rank writes into one file.
IN_PARTS_ABOVE = 32 << 30
STATE_BYTES = 12
PART_BYTES = 1 << 30
# Adapters on a sharded base, in 16 bits or in nf4, and the objectives they were tested with.
SHARDED_ADAPTERS = {"lora": ("sft", "continued-pretraining", "dpo")}


def way_of(recipe: Recipe, ranks: int) -> Way:
    """Return how a recipe trains on so many ranks."""
    if ranks == 1:
        return "single"
    if recipe.train.parallel != "auto":
        return recipe.train.parallel
    return "ddp" if METHODS.load(recipe.method.name).keeps_base else "fsdp"


def reads_once(recipe: Recipe, config: Mapping[str, Any]) -> bool:
    """Return True if only the first rank reads a sharded model, and the others receive its weights.

    `config` is the model's config.json. Each rank reads a quantized model, or one whose method reads the weights.
    """
    is_packed = recipe.model.quantize != "none" or bool(config.get("quantization_config"))
    return not is_packed and recipe.method.name in READ_NO_WEIGHTS


def problems(recipe: Recipe) -> Iterator[Problem]:
    """Yield what can't be trained on as many GPUs as the recipe requests."""
    if (gpus := recipe.budget.gpus or 1) > 1:
        yield from of_ranks(recipe, gpus)


def of_ranks(recipe: Recipe, ranks: int) -> Iterator[Problem]:
    """Yield what can't be trained on so many ranks."""
    way, objective = way_of(recipe, ranks), recipe.objective.name
    gpus = f"budget.gpus is {ranks}"
    if objective not in WAYS:
        yield "budget.gpus", f"{gpus}, and {objective} trains on one GPU.", "Set budget.gpus to 1."
        return
    if way not in WAYS[objective]:
        message = f"train.parallel: {objective} does not train with {way}."
        yield "train.parallel", message, f"Set it to {' or '.join(WAYS[objective])}."
    if recipe.train.compile:
        yield "train.compile", f"train.compile works on one GPU, and {gpus}.", "Set train.compile to false."
    if way == "fsdp":
        yield from _sharded_problems(recipe)
    for name, options in chosen(recipe).items():
        key = f"protect.{name}"
        reads_base = name == "mask_surprising" or getattr(options, "from_base", None) is not None
        if protections.load(name).steps:
            message = f"{key} works in a single process, but {gpus}."
            yield key, message, f"Set budget.gpus to 1, or {key} to null; protect.replay works with several."
        elif reads_base and way == "fsdp":
            message = f"{key} reads with the base, which is sharded over the GPUs (fsdp)."
            yield key, message, "Set budget.gpus to 1, or train.parallel to ddp."


def _sharded_problems(recipe: Recipe) -> Iterator[Problem]:
    """Yield what can't be done with weights that are sharded over the GPUs."""
    if recipe.train.master not in ("auto", "float32"):
        message = "train.master: weights sharded over GPUs (fsdp) are held in float32."
        yield "train.master", message, "Set it to auto."
    method, objective = recipe.method.name, recipe.objective.name
    if METHODS.load(method).keeps_base and objective not in SHARDED_ADAPTERS.get(method, ()):
        message = f"train.parallel: {method} with {objective} does not train with fsdp."
        yield "train.parallel", message, "Set it to ddp: a copy of the base is on each GPU."
    if not weight_formats.load(recipe.model.quantize).shards:
        message = f"model.quantize: {recipe.model.quantize} weights can't be sharded over GPUs (fsdp)."
        others = [name for name in reversed(weight_formats.NAMES) if weight_formats.load(name).shards]
        yield "model.quantize", message, f"Set it to {' or '.join(others)}, or train.parallel to ddp."
    if not OPTIMIZERS[recipe.train.optimizer].shards:
        message = f"train.optimizer: {recipe.train.optimizer} does not work with sharded weights (fsdp)."
        yield "train.optimizer", message, "Set it to adamw, or train.parallel to ddp."
