"""How training is spread over several ranks: where the model is loaded, how it is divided, what a step keeps.

Adapters train with a copy of the model on each GPU (DDP, by the trainer itself); whole models with their weights,
gradients and optimizer sharded (FSDP2, core/models/shards.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from finetop.core.errors import BadInput
from finetop.core.models import collectives, config_file, load, sent_weights, shards
from finetop.core.models.resolved import ResolvedModel
from finetop.core.recipe.parallel import reads_once, way_of
from finetop.core.recipe.schema import Recipe
from finetop.core.train.resume import random_state
from finetop.core.train.resume.resume_point import ResumePoint


def load_model(recipe: Recipe, base: ResolvedModel, device: str, make: Callable[[str], Any]) -> Any:
    """Return the model that `make` loads to a device, or to the machine's memory if it will be sharded.

    It may fit neither on one GPU nor, once per rank, in memory: if possible, the first rank reads it, and the others
    build it without weights, which they receive when it is sharded. An error of the first rank is raised on all.
    """
    if way_of(recipe, collectives.count()) != "fsdp":
        return make(device)
    if not reads_once(recipe, config_file.read(base.path / "config.json")):
        return make("cpu")
    loaded: list[Any] = []
    collectives.from_first(lambda: loaded.append(make("cpu")))
    return loaded[0] if loaded else make(sent_weights.NOWHERE)


def divide(recipe: Recipe, model: Any, device: str, dtype: str) -> Any:
    """Return the model, with its weights sharded over the ranks if the recipe trains that way.

    Random states are made equal on all ranks: ranks that received their weights have drawn no numbers for them.
    """
    if way_of(recipe, collectives.count()) != "fsdp":
        return model
    divided = shards.divide(model, device, load.torch_dtype(dtype, device))
    random_state.put_back({**collectives.from_first(random_state.now), "cuda": []})
    return divided


def skip_unused_search(trainer: Any) -> None:
    """Make copies (DDP) skip the search for weights without a gradient, after a step in which all had one.

    Transformers turns it on for every model with an adapter or activation checkpointing: it walks the whole graph and
    exchanges the result. It stays on for experts and for layerdrop, where another step may leave weights out.
    """
    if trainer.args.ddp_find_unused_parameters is not None:  # the recipe's trainer_args
        return
    model = trainer.model
    moving = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    varies = any(".experts." in name for name in moving)
    varies |= bool(getattr(model.config.get_text_config(), "layerdrop", 0.0))
    misses = any(weight.grad is None for weight in moving.values())
    if not collectives.largest([varies or misses])[0]:
        trainer.accelerator.ddp_handler.find_unused_parameters = False


def as_before(recipe: Recipe, point: ResumePoint | None) -> Recipe:
    """Return a resumed run's recipe with as many rows per step as before, on the present ranks. Raises BadInput."""
    before = point.earlier.ranks if point is not None and point.step else collectives.count()
    now, added = collectives.count(), recipe.train.grad_accumulation
    if before == now:
        return recipe
    if added * before % now:
        rows = recipe.train.batch_size * added * before
        message = f"budget.gpus: a step of this run has {rows} rows, which {now} ranks can't share in batches"
        hint = f"Set train.batch_size to {max(1, rows // now)}, or resume on {before}."
        raise BadInput(f"{message} of {recipe.train.batch_size}.", hint=hint)
    print(
        f"{before} ranks before, {now} now: train.grad_accumulation is {added * before // now} in"
        f" place of {added}, so that a step has the same number of rows",
        flush=True,
    )
    train = msgspec.structs.replace(recipe.train, grad_accumulation=added * before // now)
    return msgspec.structs.replace(recipe, train=train)
