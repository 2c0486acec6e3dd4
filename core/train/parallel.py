"""How a training is spread over several ranks: where its model is loaded, how it is divided, what a step keeps.

Adapters train with a copy of the model on each GPU (DDP, which the trainer does by itself); whole models with their
weights, gradients and optimizer divided (FSDP2, core/models/shards.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.errors import BadInput
from finetop.core.models import collectives, config_file, load, sent_weights, shards
from finetop.core.recipe.parallel import reads_once, way_of
from finetop.core.train.resume import random_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from finetop.core.models.resolved import ResolvedModel
    from finetop.core.recipe.schema import Recipe
    from finetop.core.train.resume.resume_point import ResumePoint


def load_model(recipe: Recipe, base: ResolvedModel, device: str, make: Callable[[str], Any]) -> Any:
    """Return the model that `make` reads of a base to a device, or to the machine's memory where it is divided.

    It may not fit on a GPU whole, nor in memory once for each rank: where it can be so, the first reads it, and the
    others build it without numbers, which they receive as it is divided. An error of the first rank is raised on all.
    """
    if way_of(recipe, collectives.count()) != "fsdp":
        return make(device)
    if not reads_once(recipe, config_file.read(base.path / "config.json")):
        return make("cpu")
    made: list[Any] = []
    collectives.from_first(lambda: made.append(make("cpu")))
    return made[0] if made else make(sent_weights.NOWHERE)


def divide(recipe: Recipe, model: Any, device: str, dtype: str) -> Any:
    """Return the model, its weights divided over the ranks where the recipe trains so.

    Random numbers go on alike on all ranks: those that received their weights have drawn none for them.
    """
    if way_of(recipe, collectives.count()) != "fsdp":
        return model
    divided = shards.divide(model, device, load.torch_dtype(dtype, device))
    random_state.put_back({**collectives.from_first(random_state.now), "cuda": []})
    return divided


def spare_search(trainer: Any) -> None:
    """Let copies (DDP) not search each step for weights without a gradient, behind a step in which all had one.

    Transformers has them search wherever a model has an adapter, or keeps its activations: they walk the whole graph,
    and exchange what they found. Experts, and layers that are dropped at random, may be left out by another step.
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
    """Return the recipe of a resumed run whose steps have as many rows as before, on however many ranks now.

    Raises BadInput where so many rows can't be had in batches of train.batch_size.
    """
    before = point.earlier.ranks if point is not None and point.step else collectives.count()
    now, added = collectives.count(), recipe.train.grad_accumulation
    if before == now:
        return recipe
    if added * before % now:
        rows = recipe.train.batch_size * added * before
        said = (
            f"budget.gpus: a step of this run has {rows} rows, which {now} ranks can't share in batches of "
        )
        hint = f"Set train.batch_size to {max(1, rows // now)}, or resume on {before}."
        raise BadInput(f"{said}{recipe.train.batch_size}.", hint=hint)
    print(
        f"{before} ranks before, {now} now: train.grad_accumulation is {added * before // now} in"
        f" place of {added}, so that a step has the same number of rows",
        flush=True,
    )
    train = msgspec.structs.replace(recipe.train, grad_accumulation=added * before // now)
    return msgspec.structs.replace(recipe, train=train)
